//! What is remembered: requests, revisions that failed, releases that ended.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::request::RequestAction;

use super::time::time_schema;

/// A request and what became of it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    #[serde(deserialize_with = "crate::visible::text")]
    pub id: String,
    pub action: RequestAction,
    /// The revision that it was meant for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The revision that an `Undo` goes back to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    pub by: String,
    /// Whether an admission policy was seen to stamp who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub at: Option<Timestamp>,
    /// What became of it, in one sentence; begins with `done` or `refused`.
    #[serde(deserialize_with = "crate::visible::text")]
    pub outcome: String,
}

/// A revision that failed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub revision: String,
    #[serde(deserialize_with = "crate::visible::text")]
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
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::visible::texts")]
    #[schemars(length(max = 32))]
    pub images: Vec<String>,
    pub outcome: Outcome,
    #[schemars(schema_with = "time_schema")]
    pub started_at: Timestamp,
    #[schemars(schema_with = "time_schema")]
    pub ended_at: Timestamp,
    pub max_weight: u8,
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
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
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
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
