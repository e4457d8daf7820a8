//! What Stepgate reports in `Rollout.status`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{policy::PolicySpec, rollout::RequestAction};

/// What is live, what is being released, how far it is, and what it waits for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// Where the Rollout stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Why it stands there, in one sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
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
    #[serde(skip_serializing_if = "String::is_empty")]
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
    /// The `pod-template-hash` of its pods; empty while it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// Images of its containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub images: Vec<String>,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are asked for.
    pub replicas: i32,
}

/// The release under way, as it was when it began.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The revision that is being released.
    pub revision: String,
    /// When it began.
    #[schemars(schema_with = "time_schema")]
    pub started_at: Timestamp,
    /// Replicas of the Deployment when it began.
    pub size: i32,
    /// The policy as it was then; it governs to the end. Without its holds where `undo: Fast` skips them.
    pub policy: PolicySpec,
    /// When the first clients were about to be sent to the canary, or, without Services, its first pods made; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub traffic_since: Option<Timestamp>,
    /// The largest weight that was confirmed.
    #[serde(default)]
    pub max_weight: u8,
    /// Gates that somebody has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub approvals: Vec<Approval>,
    /// Why it is being taken back, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
}

/// An approval of a gate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Name of the gate.
    pub gate: String,
    /// Who gave it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Whether an admission policy was seen to stamp who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// When it was given.
    #[schemars(schema_with = "time_schema")]
    pub at: Timestamp,
}

/// Why a release is being taken back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The reason in one word.
    pub reason: RollbackReason,
    /// The reason in one sentence.
    pub message: String,
    /// The gate that failed, if one did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gate: String,
    /// When it was decided.
    #[schemars(schema_with = "time_schema")]
    pub at: Timestamp,
    /// When the endpoints showed no canary pod any more, or, without Services, when its pods had been told to end; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub confirmed_at: Option<Timestamp>,
    /// Whether a canary that was kept for debugging may go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// Why a release is being taken back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackReason {
    /// A gate failed.
    GateFailed,
    /// Canary pods that had been ready are not, or have restarted.
    ReadinessLost,
    /// A step waited longer than `progressDeadline`.
    DeadlineExceeded,
    /// A request asked for it.
    Aborted,
    /// Another template came.
    Superseded,
    /// The template went back to the live one.
    Reverted,
    /// The Rollout is being deleted.
    Deleted,
    /// Something the release needs is gone.
    DependencyLost,
    /// The Deployment controller did not keep the pods that it was handed.
    AdoptionFailed,
    /// Found under way after a restart of the controller.
    Found,
}

/// The step of a release.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Number of the step, from 1.
    pub index: u32,
    /// Number of steps.
    pub of: u32,
    /// `index/of`, for columns.
    pub display: String,
    /// The weight it asks for, in percent.
    pub weight: u8,
    /// When its weight was confirmed and settled, the start of its hold; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub since: Option<Timestamp>,
    /// When its hold is over; absent while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub until: Option<Timestamp>,
    /// How much of the hold was over when it was paused; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<super::duration::Span>,
    /// When it began to wait for pods or data, the start of `progressDeadline`; absent while it waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub waiting_since: Option<Timestamp>,
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

/// A gate of the release.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    pub name: String,
    /// `readiness`, `http` or `approval`.
    pub kind: String,
    pub state: GateState,
    /// What was measured, such as `3 of 4 ready`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it needs, such as `4 ready`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub threshold: String,
    /// Since when it is in this state.
    #[schemars(schema_with = "time_schema")]
    pub since: Timestamp,
    /// What was seen, in one sentence, where that is worth saying.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// State of a gate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    Passing,
    Failing,
    /// Not enough seen yet.
    Pending,
    /// Nothing can be seen: neither passed nor failed.
    NoData,
}

/// A request and what became of it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    pub id: String,
    pub action: RequestAction,
    /// The revision that it was meant for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The revision that an `Undo` goes back to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Whether an admission policy was seen to stamp who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub at: Option<Timestamp>,
    /// What became of it, in one sentence; begins with `done` or `refused`.
    pub outcome: String,
}

/// A revision that failed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub revision: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gate: String,
    /// The revision that an `Undo` put in its place: it stays held also once that one has been promoted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instead: String,
    #[schemars(schema_with = "time_schema")]
    pub at: Timestamp,
}

/// How a release ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    pub revision: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub images: Vec<String>,
    pub outcome: Outcome,
    #[schemars(schema_with = "time_schema")]
    pub started_at: Timestamp,
    #[schemars(schema_with = "time_schema")]
    pub ended_at: Timestamp,
    pub max_weight: u8,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The revision that was live before, and is not any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub replaced: String,
    /// What people asked for, and had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub asked: Vec<Asked>,
}

/// A request that was carried out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    pub action: RequestAction,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Whether an admission policy was seen to stamp who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// How a release ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Promoted,
    RolledBack,
    /// Another template or the live one took its place.
    Superseded,
    /// A native roll-out that finished without Stepgate, or the live version of a declared pair went away in mid-release.
    Unguarded,
    /// The Deployment had no replicas, so there was nothing to release.
    ScaledToZero,
}

fn time_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}
