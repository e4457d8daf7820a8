//! Gates of which every ready pod of the new version is asked: what they ask, and how often.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::{Span, between};

/// A TCP connection to every ready canary pod, never to any other address; closed as soon as it stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpGate {
    /// Name or number of a port of the pod.
    #[schemars(schema_with = "port_schema")]
    pub port: Port,

    /// Time from one connection to the next, per pod.
    #[serde(default = "default_time")]
    #[x_kube(validation = between("period", "50ms", "1h"))]
    pub period: Span,

    /// How long it may take until the connection stands; later counts as none.
    #[serde(default = "default_time")]
    #[x_kube(validation = between("timeout", "10ms", "1m"))]
    pub timeout: Span,

    /// Failures in a row, on one pod, that take the release back.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u32,

    /// Successes in a row, on every pod, before a step may be left.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: u32,
}

/// The call `Check` of `grpc.health.v1.Health` to every ready canary pod, never to any other address, without TLS. `SERVING` is a success.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcGate {
    /// Name or number of a port of the pod.
    #[schemars(schema_with = "port_schema")]
    pub port: Port,

    /// The service that the call names. Default: none, which asks for the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), regex(pattern = "^[!-~]*$"))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]*$')").message("service: visible ASCII without spaces, such as shop.v1.Cart"))]
    pub service: String,

    /// Time from one call to the next, per pod.
    #[serde(default = "default_time")]
    #[x_kube(validation = between("period", "50ms", "1h"))]
    pub period: Span,

    /// How long an answer may take; later counts as none.
    #[serde(default = "default_time")]
    #[x_kube(validation = between("timeout", "10ms", "1m"))]
    pub timeout: Span,

    /// Failures in a row, on one pod, that take the release back.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u32,

    /// Successes in a row, on every pod, before a step may be left.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub success_threshold: u32,
}

fn default_time() -> Span {
    Span::seconds(1)
}

fn default_threshold() -> u32 {
    3
}

/// Whether the request of an HTTP gate is encrypted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "HTTPS")]
    Https,
}

impl Scheme {
    /// Whether it is the one that nobody has to name.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A header of a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Its name; `Host` is the field `host`.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-A-Za-z0-9_]+$"))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9_]+$') && \
        !(self.lowerAscii() in ['host', 'connection', 'content-length', 'te', 'trailer', 'transfer-encoding', 'upgrade'])")
        .message("name: letters, digits, - and _; Host is the field host, and what belongs to the connection cannot be set"))]
    pub name: String,

    /// Its value.
    #[schemars(length(max = 512), regex(pattern = "^[ -~]*$"))]
    #[x_kube(validation = Rule::new("self.matches('^[ -~]*$')").message("value: printable ASCII"))]
    pub value: String,
}

/// Name or number of a pod's port.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum Port {
    Number(u16),
    Name(String),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// How the pods are asked, whatever they are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace<'a> {
    pub port: &'a Port,
    pub period: Span,
    pub timeout: Span,
    pub failure_threshold: u32,
    pub success_threshold: u32,
}

impl TcpGate {
    /// How the pods are asked.
    pub fn pace(&self) -> Pace<'_> {
        let Self { port, period, timeout, failure_threshold, success_threshold, .. } = self;
        Pace { port, period: *period, timeout: *timeout, failure_threshold: *failure_threshold, success_threshold: *success_threshold }
    }
}

impl GrpcGate {
    /// How the pods are asked.
    pub fn pace(&self) -> Pace<'_> {
        let Self { port, period, timeout, failure_threshold, success_threshold, .. } = self;
        Pace { port, period: *period, timeout: *timeout, failure_threshold: *failure_threshold, success_threshold: *success_threshold }
    }
}

/// By schema alone: the API server prices a rule on an int-or-string as if the text had no limit, and refuses the whole definition.
pub fn port_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "maximum": 65535,
        "pattern": "^([0-9][-0-9]*)?[a-z]([-a-z0-9]*[a-z0-9])?$",
        "maxLength": 15
    })
}
