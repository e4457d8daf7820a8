//! A command to a Rollout.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command to the release under way.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.id != oldSelf.id || (self.action == oldSelf.action && self.revision == oldSelf.revision && \
        (has(self.to) ? self.to : '') == (has(oldSelf.to) ? oldSelf.to : ''))")
        .message("request: another command needs another id, because each id is carried out once"),
    validation = Rule::new("self.action != 'Undo' || (has(self.to) && self.to != self.revision)")
        .message("request: Undo goes from one revision back to another one: revision is the one to abandon, to the other one"),
)]
pub struct Request {
    /// Any unique text. The last 20 are remembered, each is carried out once.
    #[schemars(length(min = 1, max = 128), regex(pattern = crate::visible::PATTERN))]
    #[serde(deserialize_with = "crate::visible::text")]
    pub id: String,

    /// What to do. None of these passes a failing gate.
    pub action: RequestAction,

    /// The revision it is meant for (`status.canary.revision`; of an `Undo` with no release under way `status.stable.revision`): a request
    /// for another revision is refused. More digits of its digest, up to all 64, may be given.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{10,64}$"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{10,64}$')")
        .message("revision: the 10 hex digits of status.canary.revision, such as 3f9c1ab27d"))]
    pub revision: String,

    /// The revision to go back to, of an `Undo`; other actions take no notice of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{10}$')")
        .message("to: the 10 hex digits of a revision, such as 3f9c1ab27d"))]
    pub to: Option<String>,

    /// Why, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    #[schemars(length(max = 1024), regex(pattern = crate::visible::PATTERN))]
    pub reason: String,

    /// Who asked. Stamped by an admission policy, never trusted from the client.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "crate::visible::text")]
    #[schemars(length(max = 256), regex(pattern = crate::visible::PATTERN))]
    pub by: String,
}

/// What a request asks for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAction {
    /// End this hold.
    Promote,
    /// Skip the remaining steps.
    PromoteFull,
    /// Take the release back.
    Abort,
    /// Release a rejected revision again, from the first step.
    Retry,
    /// Answer the approval gate that the release waits for.
    Approve,
    /// Abandon a revision for the one that `to` names. A release under way is taken back; with none, the live revision is held from then
    /// on, and whoever asks writes the template of the other one (of a declared pair `workload.live`), as `stepgate undo` does.
    Undo,
}
