//! The cluster as manifests tell it: what the controller would decide on if there were nothing else, and every pod were ready.

use std::{collections::BTreeMap, ptr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::{API_VERSION, Rollout, RolloutStatus},
    core::{
        facts::{
            RolloutFacts, Snapshot,
            deployment::{DeploymentFacts, ReplicaSetFacts},
            pod::PodFacts,
        },
        view::declared::Pair,
    },
    observe::{self, RolloutSeen},
};

use super::{
    manifest::{self, Manifest},
    policy,
};

/// What the manifests tell of a Rollout among them, and of its namespace. What cannot be read as what its kind says is not there; what was
/// written by a cluster (status, uids) is no more taken notice of than where such a manifest is applied.
///
/// # Errors
/// When the Rollout does not hold to its schema.
pub fn snapshot(rollout: &Manifest, manifests: &[Manifest]) -> anyhow::Result<Snapshot> {
    let seen = observe::rollout(&manifest::typed::<Rollout>(rollout)?);
    let around = || manifests.iter().filter(|other| rollout.may_share_namespace(other));
    let deployments: Vec<DeploymentFacts> = around().filter_map(deployment).collect();
    let of_deployments: Vec<(ReplicaSetFacts, PodFacts)> =
        deployments.iter().filter(|deployment| deployment.replicas > 0).filter_map(pods).collect();
    let (replica_sets, pods): (Vec<_>, Vec<_>) = of_deployments.into_iter().unzip();
    // Applied in their order, those before it are older.
    let before = manifests.iter().take_while(|other| !ptr::eq(*other, rollout)).filter(|other| rollout.may_share_namespace(other));
    let older = before.filter(|other| other.name() != rollout.name()).filter_map(|other| read::<Rollout>(other, API_VERSION, "Rollout"));
    Ok(Snapshot {
        rollout: RolloutFacts { uid: String::new(), created_at: Timestamp::MAX, deleting: false, has_finalizer: false, ..seen.facts },
        status: RolloutStatus::default(),
        on_record: None,
        policy: policy::of_rollout(rollout, manifests).ok().map(|governing| Arc::new(governing.policy)),
        deployments: deployments.into_iter().map(Arc::new).collect(),
        replica_sets: replica_sets.into_iter().map(Arc::new).collect(),
        pods: pods.into_iter().chain(around().filter_map(lone_pod)).map(Arc::new).collect(),
        services: around()
            .filter_map(|manifest| read::<Service>(manifest, "v1", "Service"))
            .map(|service| Arc::new(observe::service(&service)))
            .collect(),
        rivals: older.map(|other| RolloutSeen::rival(&observe::rollout(&other))).collect(),
        probes: BTreeMap::new(),
        guarded: None,
        stamped: None,
        pods_read_at: None,
    })
}

/// What the Rollout names and no manifest has, such as `Service hello`.
pub fn absent(snapshot: &Snapshot) -> Vec<String> {
    let spec = &snapshot.rollout.spec;
    let deployments = spec.workload.deployments().filter(|name| find(name, snapshot).is_none()).map(|name| format!("Deployment {name}"));
    let has = |name: &str| snapshot.services.iter().any(|service| service.name == name);
    let services = spec.held_services().filter(|name| !has(name)).map(|name| format!("Service {name}"));
    let policy = spec.policy_ref.as_ref().filter(|_| snapshot.policy.is_none());
    deployments.chain(services).chain(policy.map(|policy| format!("{} {}", policy.kind.as_str(), policy.name))).collect()
}

/// The Deployment of that name, where a manifest has it.
pub fn find<'a>(name: &str, snapshot: &'a Snapshot) -> Option<&'a DeploymentFacts> {
    snapshot.deployments.iter().map(Arc::as_ref).find(|deployment| deployment.name == name)
}

/// The Deployment that a manifest is. Nothing else of its namespace has its name, which therefore is its uid.
pub fn deployment(manifest: &Manifest) -> Option<DeploymentFacts> {
    let facts = observe::deployment(&read::<DynamicObject>(manifest, "apps/v1", "Deployment")?);
    Some(DeploymentFacts { uid: facts.name.clone(), deleting: false, ..facts })
}

/// The Deployment of which a Rollout's release begins, where no manifest has it: of its template nothing is known but that its pods are
/// told from those of other versions.
pub fn unknown_deployment(snapshot: &Snapshot) -> DeploymentFacts {
    let workload = &snapshot.rollout.spec.workload;
    let (name, label) = (workload.name(), Pair::of(workload).keys().side);
    let mut object = DynamicObject { types: None, metadata: kube::api::ObjectMeta::default(), data: Value::Null };
    object.metadata.name = Some(name.to_owned());
    object.metadata.uid.clone_from(&object.metadata.name);
    object.data = json!({"spec": {"template": {"metadata": {"labels": {label: unknown_version(name)}}}}});
    observe::deployment(&object)
}

/// What stands for the version label's value where no manifest has the version.
pub fn unknown_version(deployment: &str) -> String {
    format!("<{deployment}>")
}

/// One of the Deployment's pods, and the ReplicaSet between the two.
fn pods(deployment: &DeploymentFacts) -> Option<(ReplicaSetFacts, PodFacts)> {
    let (name, template) = (&deployment.name, &deployment.template);
    let of = |kind: &str, owner: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": owner, "controller": true}]);
    let set = format!("{name}-<hash>");
    let replica_set = json!({
        "metadata": {"name": set, "uid": set, "ownerReferences": of("Deployment", name)},
        "spec": {"replicas": deployment.replicas, "template": **template},
    });
    let pod = json!({
        "metadata": {"name": format!("{name}-<pod>"), "labels": template["metadata"]["labels"], "ownerReferences": of("ReplicaSet", &set)},
    });
    let pod = serde_json::from_value::<Pod>(pod).ok()?;
    Some((observe::replica_set(&serde_json::from_value(replica_set).ok()?), ready(&pod)))
}

fn lone_pod(manifest: &Manifest) -> Option<PodFacts> {
    read(manifest, "v1", "Pod").as_ref().map(ready)
}

fn ready(pod: &Pod) -> PodFacts {
    PodFacts { deleting_since: None, finished: false, ready: true, ..observe::pod(pod, None, Timestamp::UNIX_EPOCH) }
}

fn read<T: DeserializeOwned>(manifest: &Manifest, api_version: &str, kind: &str) -> Option<T> {
    let is_one = manifest.api_version() == api_version && manifest.kind() == kind && !manifest.name().is_empty();
    is_one.then(|| manifest::typed(manifest).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
{apiVersion: stepgate.dev/v1alpha1, kind: Rollout, metadata: {name: older, namespace: shop}, spec: {workload: {deployment: web}, services: [web]}}
---
{apiVersion: stepgate.dev/v1alpha1, kind: Rollout, metadata: {name: hello, namespace: shop, uid: '1', creationTimestamp: '2026-01-01T00:00:00Z'},
 spec: {workload: {deployment: hello}, services: [hello, gone], policyRef: {name: gone}}, status: {phase: Healthy}}
---
{apiVersion: stepgate.dev/v1alpha1, kind: Rollout, metadata: {name: younger}, spec: {workload: {deployment: hello}, services: [hello]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: hello}, spec: {replicas: 2, template: {metadata: {labels: {app: hello}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: empty}, spec: {replicas: 0}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: far, namespace: elsewhere}, spec: {replicas: 2}}
---
{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {selector: {app: hello}}}
---
{apiVersion: v1, kind: Service, metadata: {name: wrong}, spec: {selector: app}}
---
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: gone}}
---
{apiVersion: v1, kind: Pod, metadata: {name: debug, labels: {app: hello}}}
";

    fn told() -> Snapshot {
        let manifests = manifest::parse("hello.yaml", TEXT).unwrap();
        snapshot(&manifests[1], &manifests).unwrap()
    }

    #[test]
    fn what_stands_before_a_rollout_in_its_namespace_is_older() {
        let snapshot = told();
        let rivals: Vec<&str> = snapshot.rivals.iter().map(|rival| rival.name.as_str()).collect();
        assert_eq!((rivals, snapshot.rivals[0].created_at < snapshot.rollout.created_at), (vec!["older"], true));
        assert_eq!(snapshot.status, RolloutStatus::default());
    }

    #[test]
    fn what_is_of_its_namespace_or_of_none_is_around_it() {
        let snapshot = told();
        let deployments: Vec<&str> = snapshot.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
        let services: Vec<&str> = snapshot.services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!((deployments, services), (vec!["hello", "empty"], vec!["hello"]));
    }

    #[test]
    fn a_deployment_with_replicas_has_a_ready_pod_of_its_own() {
        let snapshot = told();
        let pods: Vec<(&str, bool)> = snapshot.pods.iter().map(|pod| (pod.name.as_str(), pod.serves())).collect();
        assert_eq!(pods, [("hello-<pod>", true), ("debug", true)]);
        let (set, hello) = (&snapshot.replica_sets[0], find("hello", &snapshot).unwrap());
        assert_eq!((snapshot.pods[0].owner.as_ref(), set.owner.as_ref()), (Some(&set.uid), Some(&hello.uid)));
    }

    #[test]
    fn what_a_rollout_names_and_no_manifest_has_is_absent() {
        assert_eq!(absent(&told()), ["Service gone", "RolloutPolicy gone"]);
    }
}
