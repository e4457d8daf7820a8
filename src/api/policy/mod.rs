//! `RolloutPolicy` and `ClusterRolloutPolicy`: how a release goes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{Span, between};

pub mod affinity;
pub mod gate;
pub mod probe;
pub mod step;

pub use self::{
    affinity::{Affinity, ClientIpAffinity, CookieAffinity},
    gate::{ApprovalGate, Gate, HttpGate, Method, ReadinessGate, When},
    probe::{GrpcGate, Header, Pace, Port, Scheme, TcpGate},
    step::{CanaryReplicas, SplitMode, Step},
};

/// How a release goes: its steps, its checks, and what happens in the end.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.steps.size() > 0 && self.steps[self.steps.size() - 1].weight == 100")
        .message("steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}"),
    validation = Rule::new("self.steps.map(s, s.weight).isSorted() && self.steps.all(a, self.steps.exists_one(b, a.weight == b.weight))")
        .message("steps: weights must rise from step to step, such as 25, 50, 75, 100; every weight may stand once"),
    validation = Rule::new("!has(self.gates) || self.gates.all(g, !has(g.approval) || !has(g.approval.weight) || \
        self.steps.exists(s, s.weight == g.approval.weight))")
        .message("gates: the weight of an approval must be that of a step"),
)]
pub struct PolicySpec {
    /// The weights a release goes through, in percent, strictly rising; the last one is 100. `[{weight: 100}]` alone is blue-green.
    #[schemars(length(min = 1, max = 32))]
    pub steps: Vec<Step>,

    /// Checks that must pass for the release to go on, and whose failure takes it back. Readiness is always checked, even
    /// when it is not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("gates: every gate needs a name of its own"),
        validation = Rule::new("self.filter(g, has(g.readiness)).size() <= 1").message("gates: at most one readiness gate; it covers all canary pods")
    )]
    pub gates: Vec<Gate>,

    /// What keeps a client on the version that it was given first, while the weight rises. Default: nothing, every connection is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How many canary pods a step of less than 100 % runs: `ByWeight`, as many as the weight needs; `Full`, as many as the
    /// stable side has, from the start.
    #[serde(default)]
    pub canary_replicas: CanaryReplicas,

    /// How a plain Service is split. `Resilient` uses pod counts up to 50 %, which stay right without a controller; `Exact` uses
    /// the rotation label at every step, which comes nearer to the weight (4 pods, 25 %: exactly 1 of 4 instead of 1 of 5).
    #[serde(default)]
    pub split: SplitMode,

    /// How a release ends. `Adopt` hands the canary's ReplicaSet to the Deployment: no pod restarts. `Roll` lets the Deployment
    /// roll itself, while the canary stands in.
    #[serde(default)]
    pub promotion: Promotion,

    /// How long the previous version stays warm at 100 %: until then going back is one write. Without Services: how long as many pods of
    /// either version work before the promotion.
    #[serde(default = "PolicySpec::default_keep_previous")]
    #[x_kube(validation = between("keepPrevious", "0s", "168h"))]
    pub keep_previous: Span,

    /// What becomes of the previous version after `keepPrevious`, where the versions are Deployments of the user's own
    /// (`workload.versions`). `Keep` leaves it as it is; `ScaleToZero` ends its pods, and needs the admission policies of Stepgate.
    #[serde(default, skip_serializing_if = "Idle::is_keep")]
    pub idle: Idle,

    /// How long to wait after a confirmed change of weight before the hold begins (kube-proxy syncs at most once a second). Nothing is
    /// waited for without Services.
    #[serde(default = "PolicySpec::default_settle")]
    #[x_kube(validation = between("settle", "0s", "5m"))]
    pub settle: Span,

    /// A step that waits longer than this for pods or data counts as failed.
    #[serde(default = "PolicySpec::default_progress_deadline")]
    #[x_kube(validation = between("progressDeadline", "1s", "168h"))]
    pub progress_deadline: Span,

    /// What a failure does. `Rollback` removes the canary; `Pause` takes the traffic back all the same and keeps the canary, without
    /// clients, for debugging until `Retry` or `Abort`.
    #[serde(default)]
    pub on_failure: OnFailure,

    /// How a release goes back to a revision that was live before and was not given up since. `FullPolicy`: like any other. `Fast`: by the
    /// same steps and gates, without their holds.
    #[serde(default, skip_serializing_if = "Undo::is_full_policy")]
    pub undo: Undo,
}

impl PolicySpec {
    fn default_keep_previous() -> Span {
        Span::seconds(300)
    }

    fn default_settle() -> Span {
        Span::seconds(2)
    }

    fn default_progress_deadline() -> Span {
        Span::seconds(600)
    }
}

/// What becomes of a declared pair's previous version.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Idle {
    /// It keeps its pods: going back is quick for as long as they run.
    #[default]
    Keep,
    /// It has no pods once `keepPrevious` is over.
    ScaleToZero,
}

impl Idle {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// How a release ends.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Promotion {
    #[default]
    Adopt,
    Roll,
}

/// What a failure does.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    #[default]
    Rollback,
    Pause,
}

/// How a release goes back to a revision that was live before.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Undo {
    #[default]
    FullPolicy,
    Fast,
}

impl Undo {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_full_policy(&self) -> bool {
        *self == Self::FullPolicy
    }
}

/// How releases go, for the Rollouts of one namespace that refer to it.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "stepgate.dev",
    version = "v1alpha1",
    kind = "RolloutPolicy",
    plural = "rolloutpolicies",
    shortname = "sgp",
    category = "stepgate",
    namespaced,
    derive = "PartialEq",
    doc = "How releases go, for the Rollouts of its namespace that refer to it: steps, gates, and what happens in the end.",
    printcolumn(name = "First Weight", type_ = "integer", json_path = ".spec.steps[0].weight"),
    printcolumn(name = "Promotion", type_ = "string", json_path = ".spec.promotion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(transparent)]
pub struct RolloutPolicySpec(pub PolicySpec);

/// How releases go, for any Rollout of the cluster that refers to it.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "stepgate.dev",
    version = "v1alpha1",
    kind = "ClusterRolloutPolicy",
    plural = "clusterrolloutpolicies",
    shortname = "sgcp",
    category = "stepgate",
    derive = "PartialEq",
    doc = "How releases go, for any Rollout of the cluster that refers to it: steps, gates, and what happens in the end.",
    printcolumn(name = "First Weight", type_ = "integer", json_path = ".spec.steps[0].weight"),
    printcolumn(name = "Promotion", type_ = "string", json_path = ".spec.promotion"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(transparent)]
pub struct ClusterRolloutPolicySpec(pub PolicySpec);
