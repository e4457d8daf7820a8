//! What Stepgate reports in `Rollout.status`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod gate;
pub mod history;
pub mod release;
mod time;

pub use self::{
    gate::{GateState, GateStatus},
    history::{Asked, HistoryEntry, Outcome, Rejected, RequestRecord},
    release::{Approval, Release, Rollback, RollbackReason, StepStatus},
};

use self::time::time_schema;

/// What is live, what is being released, how far it is, and what it waits for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Where the Rollout stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Why it stands there, in one sentence.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    pub why: String,

    /// The same for machines: what is waited for, and what ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,

    /// The generation of the Rollout that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The version that serves, or served before the release under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<Version>,

    /// The version under release, or the one that was rejected last and is still pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Version>,

    /// The release under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,

    /// The step of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,

    /// Shares of the canary: of connections, and of clients where affinity keeps them on their version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,

    /// Session affinities that are set for the release. Each is given back at its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub affinity: Vec<HeldAffinity>,

    /// The Service that shows the version under release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,

    /// The gates of the release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    pub gates: Vec<GateStatus>,

    /// Ready, Reconciling, Stalled (kstatus), Accepted, Guarded, Paused.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "conditions")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,

    /// The last requests and what became of them, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub requests: Vec<RequestRecord>,

    /// Revisions that failed and get no traffic again without `Retry`, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub rejected: Vec<Rejected>,

    /// How the last releases ended, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,
}

/// What is waited for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The name of the reason, such as `CanaryPods`. `status.why` is its sentence.
    #[serde(rename = "for")]
    pub reason: String,
    /// What ends the wait at the latest.
    pub until: WaitEnd,
    /// When that is, where it is a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub at: Option<Timestamp>,
    /// Since when this is waited for.
    #[schemars(schema_with = "time_schema")]
    pub since: Timestamp,
}

/// What ends a wait at the latest.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// A change in the cluster; after a time without it the release is rolled back, or goes on another way.
    Deadline,
    /// A time.
    Time,
    /// The answer to a write or a read of Stepgate's own.
    Answer,
    /// A person. No clock runs.
    Person,
    /// Nothing: whatever happens next in the cluster.
    Rest,
}

/// The Service that shows the version under release before any client gets it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Preview {
    /// Its name. On record before it is written, so that it gets back what its owner wrote whatever becomes of `spec.preview`.
    pub service: String,
    /// Where the version under release is reached, for as long as it is: `http://hello-next.shop`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Why it does not show that version, though it should.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    pub message: String,
}

/// Where a Rollout stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Accepted; a live version is not known yet.
    Pending,
    /// One version, nothing of ours anywhere.
    Healthy,
    /// The canary is being made, without clients.
    Preparing,
    /// Clients are being moved, a step at a time.
    Progressing,
    /// All clients on the new version, the old one warm. Without Services both at work, in full size.
    Baking,
    /// The new version is made permanent.
    Promoting,
    /// Clients are back on the old version; the canary is being removed.
    RollingBack,
    /// The old version serves, the new template is held.
    RolledBack,
}

/// One version of the workload.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// Name of its Deployment, where the versions are Deployments of the user's own (`workload.versions`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Fingerprint of its pod template: SHA-256 over its canonical JSON, first 10 hex digits.
    pub revision: String,
    /// The whole SHA-256 over the canonical JSON of its pod template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The `pod-template-hash` of its pods; empty while it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// Images of its containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::visible::texts")]
    #[schemars(length(max = 32))]
    pub images: Vec<String>,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are asked for.
    pub replicas: i32,
}

/// Shares of the canary, in percent.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// What the step asks for. Without Services a share of the pods, at most 50 before the promotion.
    pub desired: u8,
    /// What the endpoints of the Services have been seen to give, rounded; absent while they are not settled. It is a share of connections;
    /// with affinity: of the clients that are new; without Services: of the ready pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<u8>,
    /// With affinity: share of the clients from before the release that its steps have moved, as far as they have come back since. Absent
    /// while the endpoints are not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<u8>,
}

/// The session affinity (`ClientIP`) of a Service that is set for a release, and what its owner had.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeldAffinity {
    /// Name of the Service.
    pub service: String,
    /// Seconds for which a client is known, as they are set.
    pub timeout_seconds: i32,
    /// The owner's own, to be given back; absent where the owner had no affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners_timeout_seconds: Option<i32>,
}

/// Reads conditions, and makes what they say visible.
fn conditions<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Condition>, D::Error> {
    let mut conditions = Vec::<Condition>::deserialize(from)?;
    for condition in &mut conditions {
        condition.message = crate::visible::owned(std::mem::take(&mut condition.message));
    }
    Ok(conditions)
}
