//! How the gates of a release are.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::time_schema;

/// A gate of the release.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    pub name: String,
    /// `readiness`, `http` or `approval`.
    pub kind: String,
    pub state: GateState,
    /// What was measured, such as `3 of 4 ready`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    pub value: String,
    /// What it needs, such as `4 ready`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub threshold: String,
    /// Since when it is in this state.
    #[schemars(schema_with = "time_schema")]
    pub since: Timestamp,
    /// What was seen, in one sentence, where that is worth saying.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
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
