//! `Rollout`: what is released.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::{
    request::{Request, RequestAction},
    workload::{DEFAULT_VERSION_LABEL, Workload},
};

use super::{policy::PolicySpec, status::RolloutStatus};

// The last rules are those of `core::traffic::pods::needs_service`, for a policy that stands in the Rollout itself.
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
    validation = Rule::new("!has(self.preview) || !(self.preview in self.services)")
        .message("preview: a Service of services has the clients, who stay on the live version while the new one is looked at; name another Service"),
    validation = Rule::new("!has(self.preview) || !has(self.unmanagedServices) || !(self.preview in self.unmanagedServices)")
        .message("preview: Stepgate leaves the selectors of unmanagedServices alone; take the Service off that list, or name another one"),
    validation = Rule::new("!has(self.preview) || self.services.size() > 0")
        .message("preview: without Services (services: []) a pod of the new version works as soon as it runs, so there is no time to look at it before; leave preview out"),
    validation = Rule::new("!has(self.policy) || !has(self.policy.affinity) || !has(self.policy.affinity.cookie)")
        .message("policy.affinity.cookie: a plain Service gives out connections and sees no cookie in them; set affinity.clientIP, which tells clients by their address"),
    validation = Rule::new("(self.services.size() > 0) == (oldSelf.services.size() > 0)")
        .message("services cannot be emptied, nor filled where they were empty: make another Rollout"),
    validation = Rule::new("self.services.size() > 0 || !has(self.workload.versions)")
        .message("workload.versions: without Services (services: []) nothing keeps work from the versions that are not live; name one Deployment in workload.deployment"),
    validation = Rule::new("self.services.size() > 0 || !has(self.policy) || self.policy.steps.all(s, s.weight <= 50 || s.weight == 100)")
        .message("policy.steps: without Services (services: []) a share is one of pods, at most 50 % while the old version keeps all of its own; let the steps rise to 50 and end with 100, which is the promotion"),
    validation = Rule::new("self.services.size() > 0 || !has(self.policy) || !has(self.policy.affinity)")
        .message("policy.affinity: without Services (services: []) there are no clients that could keep their version; leave affinity out"),
    validation = Rule::new("self.services.size() > 0 || !has(self.policy) || ((!has(self.policy.split) || self.policy.split == 'Resilient') && \
        (!has(self.policy.canaryReplicas) || self.policy.canaryReplicas == 'ByWeight'))")
        .message("policy: without Services (services: []) every pod that runs works; set split: Resilient and canaryReplicas: ByWeight"),
    validation = Rule::new("self.services.size() > 0 || !has(self.policy) || !has(self.policy.onFailure) || self.policy.onFailure == 'Rollback'")
        .message("policy.onFailure: without Services (services: []) a canary that is kept would go on working; set onFailure: Rollback"),
    validation = Rule::new("self.services.size() > 0 || !has(self.policy) || !has(self.policy.gates) || \
        self.policy.gates.all(g, (!has(g.http) && !has(g.tcp) && !has(g.grpc)) || !has(g.when) || !('BeforeTraffic' in g.when) || 'DuringSteps' in g.when)")
        .message("policy.gates: without Services (services: []) a pod works as soon as it runs; add DuringSteps where when has BeforeTraffic"),
)]
pub struct RolloutSpec {
    /// What is released.
    pub workload: Workload,

    /// The Services whose clients are moved from the old version to the new one. All of them are moved together. `[]` for a queue worker,
    /// which has none: its pods take work as soon as they run, and a share is a share of its pods. Cannot be emptied or filled later.
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("services: every Service may stand once"))]
    pub services: Vec<String>,

    /// Services that also select these pods and may see both versions as pods become ready (metrics, peers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub unmanaged_services: Vec<String>,

    /// A Service of yours, none of `services`, that shows the new version before any client gets it: for as long as a release lasts it
    /// reaches the pods of the version under release alone. At rest it is as you wrote it, or, of `workload.versions`, reaches the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub preview: Option<String>,

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

impl RolloutSpec {
    /// Whether there are no clients to be moved, only work: a queue worker.
    pub fn is_worker(&self) -> bool {
        self.services.is_empty()
    }

    /// The Services whose selectors are Stepgate's to write: those whose clients are moved, and the preview.
    pub fn held_services(&self) -> impl Iterator<Item = &String> {
        self.services.iter().chain(&self.preview)
    }
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
