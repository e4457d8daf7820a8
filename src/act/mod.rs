//! Actions as API calls: each is timed out, carries the version of the object it was decided on, and may be made again.

mod patch;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    api::{FINALIZER, HANDOVER, HELD, ROTATION, ROTATION_IN, Rollout, RolloutStatus},
    core::{
        decision::action::{Action, Rotation},
        facts::{
            deployment::{DeploymentFacts, ReplicaSetFacts},
            object::Object,
            pin::Keys,
            service::ServiceFacts,
        },
    },
    observe::{self, RolloutSeen},
    vitals::metrics::{Metrics, Write, WriteOutcome},
};

use patch::{adoption_patch, pause_patch, pin_patch, surge_patch, versioned};

/// How long one call may take. Later its answer does not matter: the next decision finds what became of it.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The annotation that a dry run adds to a template to see whether the admission policies act on it. It is never stored.
const GUARD_PROBE: &str = "stepgate.dev/guard-probe";
/// The value that a dry run gives to a Service's version key for the same purpose. It is never stored either.
const PIN_PROBE: &str = "stepgate-dry-run";
/// The request, and the name under it, of a dry run that finds out whether a policy puts the right name there.
const STAMP_PROBE: &str = "stepgate-dry-run";

/// What an answer of the API server said.
#[derive(Debug)]
pub enum Written {
    Rollout(Box<RolloutSeen>),
    Deployment(Box<DeploymentFacts>),
    ReplicaSet(Box<ReplicaSetFacts>),
    Service(Box<ServiceFacts>),
    Pod(Box<Pod>),
    /// A complete list, read from the API server itself.
    Pods(Vec<Pod>),
    /// Whether the admission policies act on the Deployment.
    Guarded(bool),
    /// Whether the admission policies stamp who sends a request; asked for that of the request with this id.
    Stamped {
        id: String,
        acts: bool,
    },
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the object has changed meanwhile")]
    Conflict,
    #[error("no answer within {}s", TIMEOUT.as_secs())]
    Timeout,
    #[error("Deployment {name} still owns ReplicaSet {replica_set}")]
    StillOwns { name: String, replica_set: String },
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("a patch could not be written: {0}")]
    Patch(#[from] serde_json::Error),
}

/// Dry runs that may be under way at once, of all Rollouts: each costs the API server as much as all policies for all Rollouts of the
/// namespace do (measured: 70 ms of a core with 150 Rollouts in one namespace).
pub fn guard_turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(2))
}

/// How long a dry run waits for its turn: as long as it does, nothing else is done for its Rollout but to take clients back.
const TURN: Duration = Duration::from_secs(2);

/// The API of one namespace.
#[derive(Clone)]
pub struct Calls {
    client: Client,
    namespace: String,
    turns: Arc<Semaphore>,
    pub metrics: Metrics,
}

/// The Rollout that a call is made for.
#[derive(Clone, Debug)]
pub struct Target {
    pub rollout: Object,
    pub finalizers: Vec<String>,
}

/// The Deployment kind, carried as raw JSON.
pub fn deployments() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"))
}

/// The ReplicaSet kind, carried as raw JSON.
pub fn replica_sets() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "ReplicaSet"))
}

impl Calls {
    /// Calls in `namespace`. `turns` are those of all namespaces: see [`guard_turns`].
    pub fn new(client: Client, namespace: String, turns: Arc<Semaphore>, metrics: Metrics) -> Self {
        Self { client, namespace, turns, metrics }
    }

    fn rollouts(&self) -> Api<Rollout> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn deployments(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &deployments())
    }

    fn replica_sets(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &replica_sets())
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Does an action; the answer says what the object is now.
    ///
    /// # Errors
    /// When the API server refused or did not answer in time; the action may have been done all the same.
    pub async fn perform(&self, target: &Target, action: &Action) -> Result<Option<Written>, CallError> {
        let _turn = match action {
            Action::ProbeGuard { .. } | Action::ProbePin { .. } | Action::ProbeStamp { .. } => {
                match tokio::time::timeout(TURN, self.turns.acquire()).await {
                    Ok(turn) => turn.ok(),
                    // Others are before it: it is asked for again, with whatever there is to do by then.
                    Err(_) => return Ok(None),
                }
            }
            _ => None,
        };
        let result = tokio::time::timeout(TIMEOUT, self.call(target, action)).await.unwrap_or(Err(CallError::Timeout)).map_err(conflict);
        if let Some((kind, verb)) = write(action) {
            self.metrics.wrote(&Write { kind, verb, outcome: outcome(&result) });
        }
        match (result, action) {
            // What cannot be told is not relied on, and nothing else waits for it.
            (Err(_), Action::ProbeStamp { id }) => Ok(Some(Written::Stamped { id: id.clone(), acts: false })),
            (result, _) => result,
        }
    }

    /// Reads what an action was about, after a conflict: the watch may take its time, and a rollback has none.
    pub async fn read_again(&self, action: &Action) -> Option<Written> {
        let read = async {
            match action {
                Action::SetPaused { deployment, .. }
                | Action::ScaleCanary { deployment, .. }
                | Action::ScaleToZero { deployment }
                | Action::BeginHandover { deployment, .. }
                | Action::OpenSurge { deployment }
                | Action::EndHandover { deployment, .. }
                | Action::DeleteCanary { deployment, .. } => {
                    self.deployments().get(&deployment.name).await.map(|object| deployment_written(&object))
                }
                Action::ScaleReplicaSet { replica_set, .. }
                | Action::DeleteReplicaSet { replica_set }
                | Action::AdoptReplicaSet { replica_set, .. } => {
                    self.replica_sets().get(&replica_set.name).await.map(|object| replica_set_written(&object))
                }
                Action::PinService { service, .. } | Action::PinPreview { service, .. } => {
                    self.services().get(&service.name).await.map(|object| service_written(&object))
                }
                Action::LabelPod { pod, .. } => self.pods().get(&pod.name).await.map(|object| Written::Pod(Box::new(object))),
                Action::CreateCanary { name, .. } => self.deployments().get(name).await.map(|object| deployment_written(&object)),
                Action::AddFinalizer
                | Action::RemoveFinalizer
                | Action::ReadPods
                | Action::ProbeGuard { .. }
                | Action::ProbePin { .. }
                | Action::ProbeStamp { .. } => {
                    return None;
                }
            }
            .ok()
        };
        tokio::time::timeout(TIMEOUT, read).await.ok().flatten()
    }

    /// Writes a status.
    ///
    /// # Errors
    /// As [`Calls::perform`].
    pub async fn write_status(&self, rollout: &Object, status: &RolloutStatus) -> Result<Written, CallError> {
        let patch: json_patch::Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": rollout.resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]))?;
        let (api, params, patch) = (self.rollouts(), PatchParams::default(), Patch::Json::<Rollout>(patch));
        let write = api.patch_status(&rollout.name, &params, &patch);
        let answer = tokio::time::timeout(TIMEOUT, write).await.map_err(|_| CallError::Timeout);
        let result = answer.and_then(|answer| answer.map(|object| rollout_written(&object)).map_err(|error| conflict(error.into())));
        self.metrics.wrote(&Write { kind: "Rollout/status", verb: "patch", outcome: outcome(&result) });
        result
    }

    /// Reads a Rollout.
    pub async fn read_rollout(&self, name: &str) -> Option<Written> {
        tokio::time::timeout(TIMEOUT, self.rollouts().get(name)).await.ok()?.ok().map(|object| rollout_written(&object))
    }

    async fn call(&self, target: &Target, action: &Action) -> Result<Option<Written>, CallError> {
        let written = match action {
            Action::AddFinalizer => {
                let finalizers: Vec<&str> = target.finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
                self.patch_finalizers(target, &finalizers).await?
            }
            Action::RemoveFinalizer => {
                let finalizers: Vec<&str> =
                    target.finalizers.iter().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER).collect();
                self.patch_finalizers(target, &finalizers).await?
            }
            Action::ReadPods => Written::Pods(self.pods().list(&ListParams::default()).await?.items),
            Action::ProbeGuard { deployment } => Written::Guarded(self.is_guarded(deployment).await?),
            Action::SetPaused { deployment, paused } => self.patch_deployment(deployment, pause_patch(*paused)).await?,
            Action::ProbePin { service, side_key } => Written::Guarded(self.is_pin_held(service, side_key).await?),
            Action::ProbeStamp { id } => Written::Stamped { id: id.clone(), acts: self.is_stamped(&target.rollout.name).await? },
            Action::PinService { service, side_key, from: _, to, affinity } => {
                let patch = pin_patch(Keys { side: side_key }, to, *affinity);
                service_written(&self.patch(&self.services(), service, patch).await?)
            }
            Action::PinPreview { service, side_key, to } => {
                let patch = pin_patch(Keys { side: side_key }, to, None);
                service_written(&self.patch(&self.services(), service, patch).await?)
            }
            Action::CreateCanary { body, .. } => {
                let object: DynamicObject = serde_json::from_value(body.clone())?;
                deployment_written(&self.deployments().create(&PostParams::default(), &object).await?)
            }
            Action::ScaleCanary { deployment, replicas } => {
                self.patch_deployment(deployment, json!({"spec": {"replicas": replicas}})).await?
            }
            Action::ScaleToZero { deployment } => self.patch_deployment(deployment, json!({"spec": {"replicas": 0}})).await?,
            Action::ScaleReplicaSet { replica_set, replicas } => {
                replica_set_written(&self.patch(&self.replica_sets(), replica_set, json!({"spec": {"replicas": replicas}})).await?)
            }
            // Only as it was seen, which was empty.
            Action::DeleteReplicaSet { replica_set } => {
                return self.delete(&self.replica_sets(), replica_set, Some(replica_set.resource_version.clone())).await;
            }
            Action::LabelPod { pod, rotation } => {
                let value = match rotation {
                    Rotation::In => json!(ROTATION_IN),
                    Rotation::Out => Value::Null,
                };
                Written::Pod(Box::new(self.patch(&self.pods(), pod, json!({"metadata": {"labels": {ROTATION: value}}})).await?))
            }
            Action::BeginHandover { deployment, label } => {
                self.patch_deployment(deployment, json!({"metadata": {"labels": {HANDOVER: label}}})).await?
            }
            Action::OpenSurge { deployment } => self.patch_deployment(deployment, surge_patch(&json!("100%"))).await?,
            Action::AdoptReplicaSet { replica_set, owner, size } => {
                replica_set_written(&self.patch(&self.replica_sets(), replica_set, adoption_patch(owner, *size)).await?)
            }
            Action::EndHandover { deployment, max_surge, paused } => {
                let mut patch = max_surge.as_ref().filter(|surge| !surge.is_null()).map_or_else(|| json!({}), surge_patch);
                patch["metadata"] = json!({"labels": {HANDOVER: null}});
                if let Some(paused) = paused {
                    let pause = pause_patch(*paused);
                    patch["spec"]["paused"] = pause["spec"]["paused"].clone();
                    patch["metadata"]["labels"][HELD] = pause["metadata"]["labels"][HELD].clone();
                }
                self.patch_deployment(deployment, patch).await?
            }
            Action::DeleteCanary { deployment, must_own_nothing } => {
                if *must_own_nothing {
                    self.check_owns_nothing(deployment).await?;
                }
                return self.delete(&self.deployments(), deployment, None).await;
            }
        };
        Ok(Some(written))
    }

    /// A merge patch that is refused with a conflict unless the object still has the version that was read.
    async fn patch<K>(&self, api: &Api<K>, object: &Object, patch: Value) -> Result<K, kube::Error>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        api.patch(&object.name, &PatchParams::default(), &Patch::Merge(versioned(object, patch))).await
    }

    async fn patch_deployment(&self, deployment: &Object, patch: Value) -> Result<Written, CallError> {
        Ok(deployment_written(&self.patch(&self.deployments(), deployment, patch).await?))
    }

    async fn patch_finalizers(&self, target: &Target, finalizers: &[&str]) -> Result<Written, CallError> {
        let rollout = self.patch(&self.rollouts(), &target.rollout, json!({"metadata": {"finalizers": finalizers}})).await?;
        Ok(rollout_written(&rollout))
    }

    async fn delete<K>(&self, api: &Api<K>, object: &Object, resource_version: Option<String>) -> Result<Option<Written>, CallError>
    where
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let preconditions = Preconditions { uid: Some(object.uid.clone()), resource_version };
        match api.delete(&object.name, &DeleteParams::background().preconditions(preconditions)).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Live, not from a cache: after an adoption the canary must not take its ReplicaSet with it.
    async fn check_owns_nothing(&self, deployment: &Object) -> Result<(), CallError> {
        let sets = self.replica_sets().list(&ListParams::default()).await?;
        let owned = sets.items.iter().find(|set| set.metadata.owner_references.iter().flatten().any(|owner| owner.uid == deployment.uid));
        match owned {
            Some(set) => {
                Err(CallError::StillOwns { name: deployment.name.clone(), replica_set: set.metadata.name.clone().unwrap_or_default() })
            }
            None => Ok(()),
        }
    }

    /// A dry run that changes the template and unpauses: where the policies act, the answer is paused all the same, and says who paused it.
    async fn is_guarded(&self, deployment: &str) -> Result<bool, CallError> {
        let patch = json!({"spec": {"paused": false, "template": {"metadata": {"annotations": {GUARD_PROBE: "dry-run"}}}}});
        let answer = self.deployments().patch(deployment, &PatchParams::default().dry_run(), &Patch::Merge(patch)).await;
        acts(answer.map(|object| {
            object.data["spec"]["paused"].as_bool() == Some(true) && object.metadata.labels.is_some_and(|all| all.contains_key(HELD))
        }))
    }

    /// A dry run that sends another request under a wrong name: where the policies act, the answer has the right one.
    async fn is_stamped(&self, rollout: &str) -> Result<bool, CallError> {
        let request = json!({"id": STAMP_PROBE, "by": STAMP_PROBE, "action": "Promote", "revision": "0000000000"});
        let patch = Patch::Merge(json!({"spec": {"request": request}}));
        let answer = self.rollouts().patch(rollout, &PatchParams::default().dry_run(), &patch).await;
        acts(answer.map(|answer| answer.spec.request.is_some_and(|request| request.by != STAMP_PROBE)))
    }

    /// A dry run that changes the key: where the policies act, the answer has what the selector had.
    async fn is_pin_held(&self, service: &str, side_key: &str) -> Result<bool, CallError> {
        let patch = json!({"spec": {"selector": {side_key: PIN_PROBE}}});
        let answer = self.services().patch(service, &PatchParams::default().dry_run(), &Patch::Merge(patch)).await;
        acts(answer.map(|object| {
            let selector = object.spec.and_then(|spec| spec.selector).unwrap_or_default();
            selector.get(side_key).is_some_and(|value| value != PIN_PROBE)
        }))
    }
}

/// What a dry run says of the admission policies. Where somebody's rule refuses it, it cannot be told, and nothing is relied on.
fn acts(answer: Result<bool, kube::Error>) -> Result<bool, CallError> {
    match answer {
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => Ok(false),
        answer => Ok(answer?),
    }
}

/// What an action writes, and how; none for one that only reads.
fn write(action: &Action) -> Option<(&'static str, &'static str)> {
    let write = match action {
        Action::AddFinalizer | Action::RemoveFinalizer => ("Rollout", "patch"),
        Action::ReadPods => return None,
        Action::ProbeGuard { .. } => ("Deployment", "dry-run"),
        Action::ProbePin { .. } => ("Service", "dry-run"),
        Action::ProbeStamp { .. } => ("Rollout", "dry-run"),
        Action::SetPaused { .. }
        | Action::ScaleCanary { .. }
        | Action::ScaleToZero { .. }
        | Action::BeginHandover { .. }
        | Action::OpenSurge { .. }
        | Action::EndHandover { .. } => ("Deployment", "patch"),
        Action::PinService { .. } | Action::PinPreview { .. } => ("Service", "patch"),
        Action::CreateCanary { .. } => ("Deployment", "create"),
        Action::DeleteCanary { .. } => ("Deployment", "delete"),
        Action::ScaleReplicaSet { .. } | Action::AdoptReplicaSet { .. } => ("ReplicaSet", "patch"),
        Action::DeleteReplicaSet { .. } => ("ReplicaSet", "delete"),
        Action::LabelPod { .. } => ("Pod", "patch"),
    };
    Some(write)
}

fn outcome<T>(result: &Result<T, CallError>) -> WriteOutcome {
    match result {
        Ok(_) => WriteOutcome::Ok,
        Err(CallError::Conflict) => WriteOutcome::Conflict,
        Err(CallError::Timeout) => WriteOutcome::Timeout,
        Err(CallError::StillOwns { .. } | CallError::Api(_) | CallError::Patch(_)) => WriteOutcome::Error,
    }
}

fn conflict(error: CallError) -> CallError {
    match error {
        CallError::Api(kube::Error::Api(status)) if status.code == 409 => CallError::Conflict,
        other => other,
    }
}

fn deployment_written(object: &DynamicObject) -> Written {
    Written::Deployment(Box::new(observe::deployment(object)))
}

fn replica_set_written(object: &DynamicObject) -> Written {
    Written::ReplicaSet(Box::new(observe::replica_set(object)))
}

fn service_written(object: &Service) -> Written {
    Written::Service(Box::new(observe::service(object)))
}

fn rollout_written(object: &Rollout) -> Written {
    Written::Rollout(Box::new(observe::rollout(object)))
}
