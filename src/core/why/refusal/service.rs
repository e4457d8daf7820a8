//! What is wrong with a Service.

use std::fmt;

/// The field of a Rollout that names a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Services,
    Preview,
}

impl Named {
    /// What to do where the Service cannot be what it is named for.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Services => "take it off the list",
            Self::Preview => "name another one",
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "services",
            Self::Preview => "spec.preview",
        })
    }
}

/// What a Service selects and the pods are not, as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub wanted: Vec<String>,
    pub found: Vec<String>,
}

/// Which pods a Service does not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Those of a Deployment's template.
    Template,
    /// Those that serve, which are of an earlier template.
    LiveVersion,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template => "Deployment",
            Self::LiveVersion => "the live version of Deployment",
        })
    }
}

/// Why a Service cannot be used to move clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    NoSelector,
    OnlyOurKey { key: String },
    ExternalName,
    PublishNotReady,
    LocalTraffic { field: &'static str },
    ReservedKey { found: String },
    HeadlessAffinity,
}

impl Unsuitable {
    /// What is wrong, and what to do about it.
    pub fn sentence(&self, named: Named) -> String {
        let way_out = named.way_out();
        match self {
            Self::NoSelector => format!("has no selector, so its clients cannot be moved by one; give it a selector, or {way_out}"),
            Self::OnlyOurKey { key } => format!(
                "selects by {key} alone, a key that Stepgate changes; add a label to its selector that the pods of all versions have"
            ),
            Self::ExternalName => format!("is of type ExternalName, which has no endpoints to move; {way_out}"),
            Self::PublishNotReady => {
                let instead = match named {
                    Named::Services => "list it under unmanagedServices instead",
                    Named::Preview => way_out,
                };
                format!("has publishNotReadyAddresses: true, which sends clients to pods that are not ready; set it to false, or {instead}")
            }
            Self::LocalTraffic { field } => {
                format!("has {field}: Local, so that clients of a node without a canary pod would be cut off; set it to Cluster")
            }
            Self::ReservedKey { found } => format!("has {found} in its selector, a key that Stepgate needs for itself; remove it"),
            Self::HeadlessAffinity => format!(
                "is headless, so that its clients choose pods by themselves and affinity.clientIP cannot keep them; leave affinity out of the policy, or {way_out}"
            ),
        }
    }
}
