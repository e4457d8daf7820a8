//! The release under way, on record.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{duration::Span, policy::PolicySpec};

use super::time::time_schema;

/// The release under way, as it was when it began.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The revision that is being released.
    pub revision: String,
    /// The whole SHA-256 over the canonical JSON of its pod template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
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
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
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
    #[serde(deserialize_with = "crate::visible::text")]
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
    /// Somebody changed the canary's template: what was looked at is not what would go live.
    CanaryChanged,
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
    pub held: Option<Span>,
    /// When it began to wait for pods or data, the start of `progressDeadline`; absent while it waits for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub waiting_since: Option<Timestamp>,
}
