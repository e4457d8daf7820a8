//! What keeps a client on its version.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::{Span, between};

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
