//! `Rollout`: what is released.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{policy::PolicySpec, status::RolloutStatus};

/// What to release: a Deployment, the Services whose clients are moved, and the policy that says how.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "stepgate.dev",
    version = "v1alpha1",
    kind = "Rollout",
    plural = "rollouts",
    shortname = "sgr",
    category = "stepgate",
    namespaced,
    status = "RolloutStatus",
    derive = "PartialEq",
    doc = "What to release: a Deployment, the Services whose clients are moved, and the policy that says how.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step.display"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.traffic.desired"),
    printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable.revision"),
    printcolumn(name = "Canary", type_ = "string", json_path = ".status.canary.revision"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.why", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.policy) != has(self.policyRef)")
        .message("set exactly one of policyRef (the name of a policy) and policy (the policy itself)"),
    validation = Rule::new("!has(self.unmanagedServices) || self.unmanagedServices.all(s, !(s in self.services))")
        .message("a Service is either in services (its clients are moved) or in unmanagedServices (it may see both versions), not in both"),
)]
pub struct RolloutSpec {
    /// What is released.
    pub workload: Workload,

    /// The Services whose clients are moved from the old version to the new one. All of them are moved together.
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    #[x_kube(
        validation = Rule::new("self.size() > 0").message("services: name at least one Service whose clients are to be moved"),
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("services: every Service may stand once")
    )]
    pub services: Vec<String>,

    /// Services that also select these pods and may see both versions as pods become ready (metrics, peers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub unmanaged_services: Vec<String>,

    /// The policy that says how releases go, by name. Exactly one of `policyRef` and `policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<PolicyRef>,

    /// The policy itself. Exactly one of `policyRef` and `policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySpec>,

    /// True: the release stays where it is. Safety gates still act; the clocks of hold and deadline stop.
    #[serde(default)]
    pub paused: bool,

    /// One command at a time, tied to a revision, so that a stale click does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// What is released.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Name of the Deployment to release. It is yours, and stays yours: Stepgate adds a canary Deployment beside it for as long as a
    /// release lasts. Cannot be changed later.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("workload.deployment cannot be changed: make another Rollout for another Deployment"))]
    pub deployment: String,

    /// Set to true where two versions running at once are a decision: strategy Recreate, a ReadWriteOnce claim, a hostPort.
    #[serde(default)]
    pub allow_overlap: bool,
}

/// Name of a policy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Kind of the policy: of this namespace, or of the cluster.
    #[serde(default)]
    pub kind: PolicyKind,

    /// Name of the policy.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Kind of a policy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PolicyKind {
    #[default]
    RolloutPolicy,
    ClusterRolloutPolicy,
}

impl PolicyKind {
    /// The kind's name as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RolloutPolicy => "RolloutPolicy",
            Self::ClusterRolloutPolicy => "ClusterRolloutPolicy",
        }
    }
}

/// A command to the release under way.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.id != oldSelf.id || (self.action == oldSelf.action && self.revision == oldSelf.revision)")
    .message("request: another command needs another id, because each id is carried out once"))]
pub struct Request {
    /// Any unique text. The last 20 are remembered, each is carried out once.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,

    /// What to do. None of these passes a failing gate.
    pub action: RequestAction,

    /// The revision it is meant for (`status.canary.revision`): a request for another revision is refused.
    #[schemars(length(max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{10}$')")
        .message("revision: the 10 hex digits of status.canary.revision, such as 3f9c1ab27d"))]
    pub revision: String,

    /// Why, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// Who asked. Stamped by an admission policy, never trusted from the client.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
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
}
