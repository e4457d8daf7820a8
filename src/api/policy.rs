//! `RolloutPolicy` and `ClusterRolloutPolicy`: how a release goes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{Span, between};

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

/// What keeps a client on its version. Exactly one of its kinds is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.clientIP) != has(self.cookie)")
    .message("affinity is exactly one of clientIP, cookie: set one of them"))]
pub struct Affinity {
    /// By address: set on the Services (`sessionAffinity: ClientIP`) for as long as a release lasts, and given back as it was.
    #[serde(default, rename = "clientIP", skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<ClientIpAffinity>,

    /// By a cookie: for routes, which see requests. A plain Service does not, and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieAffinity>,
}

/// Connections of one address go to the pod that the one before them went to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientIpAffinity {
    /// How long a client is known after its last connection; rounded up to seconds.
    #[serde(default = "ClientIpAffinity::default_timeout")]
    #[x_kube(validation = between("timeout", "1s", "24h"))]
    pub timeout: Span,
}

impl ClientIpAffinity {
    fn default_timeout() -> Span {
        Span::seconds(600)
    }
}

/// Requests with the cookie go to the version that gave it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieAffinity {
    /// Name of the cookie.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_.-]+$"))]
    pub name: String,

    /// How long clients keep it.
    #[x_kube(validation = between("maxAge", "1s", "8760h"))]
    pub max_age: Span,
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

/// A weight, and how long to hold it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Share of the clients that the new version gets, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,

    /// How long to stay at this weight, counted from its confirmation. Default: go on as soon as the gates pass.
    #[serde(default)]
    #[x_kube(validation = between("hold", "0s", "168h"))]
    pub hold: Span,
}

/// A check on the new version. Exactly one of its kinds is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.readiness) ? !has(self.http) && !has(self.approval) : has(self.http) != has(self.approval)")
        .message("a gate is exactly one of readiness, http, approval: set one of them"),
    validation = Rule::new("!has(self.approval) || !has(self.approval.weight) || !has(self.when) || self.when.exists(w, w == 'DuringSteps')")
        .message("approval: its weight is that of a step, so add DuringSteps to when, or leave the weight out"),
)]
pub struct Gate {
    /// Name of the gate in status and events.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// The share of the canary pods that must be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessGate>,

    /// An HTTP request to every ready canary pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpGate>,

    /// Somebody's approval, a request `Approve` for the revision under release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,

    /// When the gate is checked: `BeforeTraffic`, before the first client; `DuringSteps`, all through the steps and the time at 100 %;
    /// `BeforePromotion`, before the release is made final. Default: BeforeTraffic and DuringSteps.
    #[serde(default = "Gate::default_when")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("when: every moment may stand once"))]
    pub when: Vec<When>,
}

impl Gate {
    fn default_when() -> Vec<When> {
        vec![When::BeforeTraffic, When::DuringSteps]
    }
}

/// When a gate is checked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    BeforeTraffic,
    DuringSteps,
    BeforePromotion,
}

/// The share of the canary pods that must be ready.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadinessGate {
    /// Share of the canary pods that this step needs ready, such as `100%` or `75%`; rounded up to whole pods.
    #[serde(default = "ReadinessGate::default_min_ready")]
    #[schemars(length(min = 2, max = 4), regex(pattern = "^(100|[1-9][0-9]?)%$"))]
    #[x_kube(validation = Rule::new("self.matches('^(100|[1-9][0-9]?)%$')").message("minReady: a share from 1% to 100%, such as 75%"))]
    pub min_ready: String,
}

impl ReadinessGate {
    fn default_min_ready() -> String {
        "100%".into()
    }
}

/// An HTTP request to every ready canary pod, never to any other address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGate {
    /// Path of the request, with its query if any.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(r"self.matches('^/[^\\s\\\\#]*$')")
        .message("path: must begin with a slash and have no space, backslash or #, such as /healthz or /healthz?full=1"))]
    pub path: String,

    /// Name or number of a port of the pod.
    #[schemars(schema_with = "port_schema")]
    pub port: Port,

    /// Request method. Bodies are read up to 64 KiB.
    #[serde(default)]
    pub method: Method,

    /// Time from one request to the next, per pod.
    #[serde(default = "HttpGate::default_period")]
    #[x_kube(validation = between("period", "50ms", "1h"))]
    pub period: Span,

    /// How long an answer may take; later counts as none.
    #[serde(default = "HttpGate::default_timeout")]
    #[x_kube(validation = between("timeout", "10ms", "1m"))]
    pub timeout: Span,

    /// Failures in a row, on one pod, that take the release back.
    #[serde(default = "HttpGate::default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u32,

    /// Successes in a row, on every pod, before a step may be left.
    #[serde(default = "HttpGate::default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: u32,

    /// Statuses that count as success: numbers and ranges, such as `200-399` or `200,204`. Redirects are judged, not followed.
    #[serde(default = "HttpGate::default_expect_status")]
    #[schemars(length(min = 3, max = 64), regex(pattern = "^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$"))]
    #[x_kube(validation = Rule::new("self.matches('^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$') && \
        self.split(',').all(r, !r.contains('-') || int(r.split('-')[0]) <= int(r.split('-')[1]))")
        .message("expectStatus: numbers, and ranges from the smaller to the larger one, such as 200-399 or 200,204"))]
    pub expect_status: String,
}

impl HttpGate {
    fn default_period() -> Span {
        Span::seconds(1)
    }

    fn default_timeout() -> Span {
        Span::seconds(1)
    }

    fn default_threshold() -> u32 {
        3
    }

    fn default_expect_status() -> String {
        "200-399".into()
    }
}

/// Holds the release where it stands until somebody approves it; once in a release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalGate {
    /// Weight of the step that is held for it; absent where `when` says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<u8>,
}

/// Request method of an HTTP gate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    #[default]
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "HEAD")]
    Head,
}

/// Name or number of a pod's port.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum Port {
    Number(u16),
    Name(String),
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// By schema alone: the API server prices a rule on an int-or-string as if the text had no limit, and refuses the whole definition.
fn port_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "maximum": 65535,
        "pattern": "^([0-9][-0-9]*)?[a-z]([-a-z0-9]*[a-z0-9])?$",
        "maxLength": 15
    })
}

/// How many canary pods a step of less than 100 % runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CanaryReplicas {
    #[default]
    ByWeight,
    Full,
}

/// How a plain Service is split.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SplitMode {
    #[default]
    Resilient,
    Exact,
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
