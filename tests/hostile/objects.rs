//! Objects with anything in them, as a cluster may hold them that another version wrote, or a person with the right to: a decision is made
//! of them all the same, and made again of what it decided.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use stepgate::{
    api::{PolicySpec, Rollout},
    cli::{
        files::{manifest, world},
        paper::screen::line,
    },
    core::{decide::decide, facts::Snapshot},
    observe, visible,
};

use crate::{
    cases,
    mutation::{Graft, graft},
};

/// Room for the longest status that is ever decided: its lists are bounded, and so are the texts that are copied into it.
const STATUS_BYTES: usize = 256 * 1024;

fn now() -> Timestamp {
    "2026-11-21T14:18:25Z".parse().unwrap()
}

fn policy() -> Value {
    json!({
        "steps": [{"weight": 25, "hold": "1m"}, {"weight": 50}, {"weight": 100}],
        "gates": [
            {"name": "ready", "readiness": {}},
            {"name": "healthz", "http": {"path": "/healthz", "port": 8080}},
            {"name": "sign-off", "approval": {}, "when": ["BeforeTraffic"]},
        ],
        "keepPrevious": "5m",
        "progressDeadline": "10m",
    })
}

fn deployment(name: &str, uid: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "7", "generation": 2, "labels": {"app": "hello"}},
        "spec": {
            "replicas": 4, "paused": true,
            "selector": {"matchLabels": {"app": "hello"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["batch"]}]},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "hello"}},
                "spec": {"containers": [{"name": "hello", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
        "status": {
            "observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        },
    })
}

fn replica_set(name: &str, uid: &str, owner: &str, image: &str) -> Value {
    let mut set = deployment(name, uid, image);
    set["kind"] = json!("ReplicaSet");
    set["metadata"]["labels"]["pod-template-hash"] = json!(uid);
    set["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "hello", "uid": owner, "controller": true}]);
    set["status"] = json!({"replicas": 4});
    set
}

fn pod(name: &str, owner: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "8",
            "labels": {"app": "hello", "pod-template-hash": owner},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}],
        },
        "spec": {"containers": [{"name": "hello", "ports": [{"name": "http", "containerPort": 8080}]}], "nodeName": "one"},
        "status": {
            "phase": "Running", "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T14:00:00Z"}],
            "containerStatuses": [{
                "name": "hello", "ready": true, "restartCount": 1, "image": "hello:v1", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-21T14:00:00Z"}},
            }],
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "9"},
        "spec": {"selector": {"app": "hello", "pod-template-hash": "old"}, "ports": [{"port": 80, "targetPort": "http"}], "clusterIP": "10.1.0.1"},
    })
}

/// A release in the middle of everything, with everything on record that there can be.
fn rollout() -> Value {
    let version =
        |revision: &str, hash: &str| json!({"revision": revision, "hash": hash, "images": ["hello:v1"], "ready": 4, "replicas": 4});
    let at = "2026-11-21T14:10:00Z";
    json!({
        "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout",
        "metadata": {
            "name": "hello", "namespace": "shop", "uid": "rollout", "resourceVersion": "10", "generation": 3,
            "finalizers": ["stepgate.dev/rollout"], "creationTimestamp": at,
        },
        "spec": {
            "workload": {"deployment": "hello"}, "services": ["hello"], "policy": policy(),
            "request": {"id": "one", "action": "Approve", "revision": "0d3c79e08d", "reason": "looks good", "by": "ada"},
        },
        "status": {
            "phase": "Progressing", "why": "holding 25 %", "observedGeneration": 3,
            "stable": version("3f9c1ab27d", "old"), "canary": version("0d3c79e08d", "new"),
            "release": {
                "revision": "0d3c79e08d", "startedAt": at, "size": 4, "policy": policy(), "trafficSince": at, "maxWeight": 25,
                "approvals": [{"gate": "sign-off", "by": "ada", "verified": true, "at": at}],
            },
            "step": {"index": 1, "of": 3, "display": "1/3", "weight": 25, "since": at, "until": "2026-11-21T14:19:00Z"},
            "traffic": {"desired": 25, "routed": 20},
            "affinity": [{"service": "hello", "timeoutSeconds": 60}],
            "preview": {"service": "hello-next", "address": "http://hello-next.shop"},
            "gates": [{"name": "healthz", "kind": "http", "state": "Passing", "value": "1", "threshold": "1", "since": at, "message": "x"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "Progressing", "message": "x", "lastTransitionTime": at}],
            "requests": [{"id": "zero", "action": "Promote", "revision": "0d3c79e08d", "by": "ada", "verified": true, "at": at, "outcome": "done: x"}],
            "rejected": [{"revision": "aaaaaaaaaa", "reason": "x", "gate": "healthz", "at": at}],
            "history": [{
                "revision": "3f9c1ab27d", "images": ["hello:v1"], "outcome": "Promoted", "startedAt": at, "endedAt": at, "maxWeight": 100,
                "asked": [{"action": "Promote", "by": "ada"}],
            }],
        },
    })
}

fn objects() -> Value {
    json!({
        "rollout": rollout(),
        "deployments": [deployment("hello", "own", "hello:v2"), deployment("hello-0d3c79", "canary", "hello:v2")],
        "replicaSets": [replica_set("hello-1", "old", "own", "hello:v1"), replica_set("hello-2", "new", "canary", "hello:v2")],
        "pods": [pod("hello-1-1", "old"), pod("hello-2-1", "new")],
        "services": [service("hello"), service("hello-next")],
    })
}

/// The objects that can be read as what they are; the API server would not hold the others.
fn read<T: serde::de::DeserializeOwned>(objects: &Value) -> Vec<T> {
    objects.as_array().into_iter().flatten().filter_map(|object| serde_json::from_value(object.clone()).ok()).collect()
}

fn snapshot(objects: &Value) -> Option<Snapshot> {
    let rollout: Rollout = serde_json::from_value(objects["rollout"].clone()).ok()?;
    let plain = manifest::parse("file.yaml", &self::rollout().to_string()).ok()?;
    let base = world::snapshot(plain.first()?, &[]).ok()?;
    let seen = observe::rollout(&rollout);
    let policy = rollout.spec.policy.clone().map(Arc::new);
    let dynamic = |kind: &str| read::<DynamicObject>(&objects[kind]);
    Some(Snapshot {
        rollout: seen.facts,
        status: rollout.status.unwrap_or_default(),
        policy,
        deployments: dynamic("deployments").iter().map(|object| Arc::new(observe::deployment(object))).collect(),
        replica_sets: dynamic("replicaSets").iter().map(|object| Arc::new(observe::replica_set(object))).collect(),
        pods: read(&objects["pods"]).iter().map(|object| Arc::new(observe::pod(object, None, now()))).collect(),
        services: read(&objects["services"]).iter().map(|object| Arc::new(observe::service(object))).collect(),
        guarded: Some(true),
        stamped: Some(true),
        ..base
    })
}

/// Decides, and decides again on what was decided, as long as it takes for lists to fill.
fn decided(objects: &Value) {
    let Some(mut snapshot) = snapshot(objects) else { return };
    let written = objects.to_string().len();
    for turn in 0..25 {
        let decision = decide(&snapshot, now() + jiff::SignedDuration::from_secs(turn));
        let status = serde_json::to_string(&decision.status).unwrap();
        assert!(status.len() < STATUS_BYTES + 2 * written, "a status of {} bytes from objects of {written}", status.len());
        assert_eq!(visible::line(&decision.status.why), decision.status.why.as_str());
        snapshot.status = serde_json::from_str(&status).unwrap();
        assert_eq!(snapshot.status, decision.status, "what is read back is what was written, or it would be written again and again");
    }
}

fn grafted(object: &Value, grafts: &[Graft]) -> Value {
    let mut object = object.clone();
    for graft in grafts {
        graft.make(&mut object);
    }
    object
}

#[test]
fn the_objects_that_are_made_hostile_are_read_before() {
    let snapshot = snapshot(&objects()).unwrap();
    assert_eq!((snapshot.deployments.len(), snapshot.pods.len(), snapshot.services.len()), (2, 2, 2));
    assert!(snapshot.status.release.is_some() && snapshot.status.history.len() == 1);
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_decision_is_made_whatever_the_cluster_holds(grafts in vec(graft(), 1..8)) {
        decided(&grafted(&objects(), &grafts));
    }

    #[test]
    fn a_decision_is_made_whatever_the_status_holds(grafts in vec(graft(), 1..6)) {
        let mut objects = objects();
        objects["rollout"]["status"] = grafted(&objects["rollout"]["status"], &grafts);
        decided(&objects);
    }

    #[test]
    fn a_decision_is_made_whatever_the_policies_hold(at_start in vec(graft(), 0..6), now in vec(graft(), 0..6)) {
        let mut objects = objects();
        let read = |value: Value| serde_json::from_value::<PolicySpec>(value.clone()).is_ok().then_some(value);
        if let Some(policy) = read(grafted(&policy(), &at_start)) {
            objects["rollout"]["status"]["release"]["policy"] = policy;
        }
        if let Some(policy) = read(grafted(&policy(), &now)) {
            objects["rollout"]["spec"]["policy"] = policy;
        }
        decided(&objects);
    }

    #[test]
    fn a_template_and_a_selector_of_any_kind_are_facts(grafts in vec(graft(), 1..10)) {
        let object = grafted(&deployment("hello", "own", "hello:v1"), &grafts);
        if let Ok(object) = serde_json::from_value::<DynamicObject>(object) {
            let facts = observe::deployment(&object);
            let _ = (facts.selector.matches(&facts.labels), facts.images(), facts.max_unavailable(), facts.is_complete());
            prop_assert!(facts.images().iter().all(|image| visible::line(image) == image.as_str()));
        }
    }

    #[test]
    fn a_line_for_people_is_a_line_whatever_the_status_holds(grafts in vec(graft(), 1..8)) {
        if let Ok(rollout) = serde_json::from_value::<Rollout>(grafted(&rollout(), &grafts)) {
            let why = rollout.status.as_ref().map(|status| status.why.clone()).unwrap_or_default();
            prop_assert_eq!(visible::line(&why), why.as_str());
            let _ = line(&rollout);
        }
    }
}
