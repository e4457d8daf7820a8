//! The checks on a new version.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    duration::{Span, between},
    policy::probe::{GrpcGate, Header, Pace, Port, Scheme, TcpGate, port_schema},
};

/// A check on the new version. Exactly one of its kinds is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.readiness), has(self.http), has(self.tcp), has(self.grpc), has(self.approval)].exists_one(set, set)")
        .message("a gate is exactly one of readiness, http, tcp, grpc, approval: set one of them"),
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

    /// A TCP connection to every ready canary pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpGate>,

    /// A health check by gRPC of every ready canary pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcGate>,

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

    /// How the pods are asked, where the gate is of a kind that asks them.
    pub fn pace(&self) -> Option<Pace<'_>> {
        let Self { name: _, when: _, readiness: _, http, tcp, grpc, approval: _ } = self;
        let http = http.as_ref().map(HttpGate::pace);
        http.or_else(|| tcp.as_ref().map(TcpGate::pace)).or_else(|| grpc.as_ref().map(GrpcGate::pace))
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

    /// `HTTPS`: by TLS, without a look at the certificate, as the kubelet's own probes.
    #[serde(default, skip_serializing_if = "Scheme::is_default")]
    pub scheme: Scheme,

    /// The host that the request names, in the header `Host` and, with HTTPS, to the server that chooses a certificate. The pod is asked
    /// all the same. Default: the pod's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$')")
        .message("host: a host name, with a port if need be, such as shop.example or shop.example:8443"))]
    pub host: Option<String>,

    /// Headers of the request. Whoever may read the policy reads them: they are no place for a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,

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
    /// How the pods are asked.
    pub fn pace(&self) -> Pace<'_> {
        let Self { port, period, timeout, failure_threshold, success_threshold, .. } = self;
        Pace { port, period: *period, timeout: *timeout, failure_threshold: *failure_threshold, success_threshold: *success_threshold }
    }

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
