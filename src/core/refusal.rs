//! Why a Rollout is refused: data first, turned into a sentence in one place.

mod field;

use std::fmt;

use crate::api::{ROLLOUT_UID, ROTATION, Span, rollout::PolicyKind};

use super::{bad_pair::BadPair, why::Names, worker::NeedsService};

/// Why a Rollout is not accepted. Its text names the object and the field, what was found there, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    DeploymentNotFound { deployment: String },
    VersionNotFound { deployment: String },
    BadPair(BadPair),
    PolicyNotFound { kind: PolicyKind, name: String },
    RivalRollout { rollout: String, object: Contested },
    ReservedLabel { deployment: String, found: Reserved },
    ServiceNotFound { services: Vec<String>, named: Named },
    UnlistedService { deployment: String, services: Vec<String> },
    ServiceNotSelecting { service: String, named: Named, deployment: String, mismatch: Mismatch },
    ServiceUnsuitable { service: String, named: Named, problem: Unsuitable },
    SelectsStrangers { service: String, named: Named, deployment: String, pods: Vec<String> },
    OverlapNotAllowed { deployment: String, because: String },
    CookieAffinity { services: Vec<String> },
    NeedsService(NeedsService),
    DeadlineTooShort { deadline: Span, what: String, needs: Span },
    UnknownPort { gate: String, deployment: String, port: String, known: Vec<String> },
    HostNetwork { gate: String, deployment: String },
    ReadinessGates { deployment: String, condition: String },
    NameTaken { name: String },
}

/// The field of a Rollout that names a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Services,
    Preview,
}

impl Named {
    /// What to do where the Service cannot be what it is named for.
    fn way_out(self) -> &'static str {
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

/// What two Rollouts name, as the younger one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contested {
    Deployment(String),
    Service { service: String, named: Named },
}

impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(deployment) => write!(f, "Deployment {deployment}"),
            Self::Service { service, named: Named::Services } => write!(f, "Service {service}"),
            Self::Service { service, named: Named::Preview } => write!(f, "Service {service} ({})", Named::Preview),
        }
    }
}

/// A label that only Stepgate writes, where somebody else has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// On the Deployment: the mark of what Stepgate has made, and removes again.
    OnDeployment,
    /// In its template: every new pod would have clients from its first moment on.
    InTemplate,
}

/// What a Service selects and the pods are not, as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub wanted: Vec<String>,
    pub found: Vec<String>,
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

impl Refusal {
    /// The reason of condition `Accepted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DeploymentNotFound { .. } | Self::VersionNotFound { .. } => "DeploymentNotFound",
            Self::BadPair(bad) => bad.reason(),
            Self::PolicyNotFound { .. } => "PolicyNotFound",
            Self::RivalRollout { .. } => "RivalRollout",
            Self::ReservedLabel { .. } => "ReservedLabel",
            Self::ServiceNotFound { .. } => "ServiceNotFound",
            Self::UnlistedService { .. } => "UnlistedService",
            Self::ServiceNotSelecting { .. } => "ServiceNotSelecting",
            Self::ServiceUnsuitable { .. } => "ServiceUnsuitable",
            Self::SelectsStrangers { .. } => "SelectsStrangers",
            Self::OverlapNotAllowed { .. } => "OverlapNotAllowed",
            Self::CookieAffinity { .. } => "CookieAffinity",
            Self::NeedsService(_) => "NeedsService",
            Self::DeadlineTooShort { .. } => "DeadlineTooShort",
            Self::UnknownPort { .. } => "UnknownPort",
            Self::HostNetwork { .. } => "HostNetwork",
            Self::ReadinessGates { .. } => "ReadinessGates",
            Self::NameTaken { .. } => "NameTaken",
        }
    }

    /// Whether it leaves open whose the Services are, or which version they mean. Then they are not written at all; whatever else is wrong
    /// stops new releases only, and a declared pair's live version keeps its clients.
    pub fn leaves_live_open(&self) -> bool {
        match self {
            Self::DeploymentNotFound { .. } | Self::RivalRollout { .. } => true,
            Self::BadPair(bad) => bad.leaves_live_open(),
            Self::VersionNotFound { .. }
            | Self::PolicyNotFound { .. }
            | Self::ReservedLabel { .. }
            | Self::ServiceNotFound { .. }
            | Self::UnlistedService { .. }
            | Self::ServiceNotSelecting { .. }
            | Self::ServiceUnsuitable { .. }
            | Self::SelectsStrangers { .. }
            | Self::OverlapNotAllowed { .. }
            | Self::CookieAffinity { .. }
            | Self::NeedsService(_)
            | Self::DeadlineTooShort { .. }
            | Self::UnknownPort { .. }
            | Self::HostNetwork { .. }
            | Self::ReadinessGates { .. }
            | Self::NameTaken { .. } => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeploymentNotFound { deployment } => write!(
                f,
                "Deployment {deployment} (workload.deployment) does not exist in this namespace; create it, or correct the name in a new Rollout"
            ),
            Self::VersionNotFound { deployment } => {
                write!(
                    f,
                    "Deployment {deployment} (workload.live) does not exist in this namespace; create it, or set live to another version"
                )
            }
            Self::BadPair(bad) => bad.fmt(f),
            Self::PolicyNotFound { kind: PolicyKind::RolloutPolicy, name } => write!(
                f,
                "RolloutPolicy {name} (policyRef) does not exist in this namespace; create it, or set policyRef.kind: ClusterRolloutPolicy if one of the cluster is meant"
            ),
            Self::PolicyNotFound { kind: PolicyKind::ClusterRolloutPolicy, name } => write!(
                f,
                "ClusterRolloutPolicy {name} (policyRef) does not exist; create it, or set policyRef.kind: RolloutPolicy if one of this namespace is meant"
            ),
            Self::RivalRollout { rollout, object } => {
                write!(f, "Rollout {rollout} is older and already has {object}; delete one of the two, or let them name different ones")
            }
            Self::ReservedLabel { deployment, found: Reserved::OnDeployment } => write!(
                f,
                "Deployment {deployment} has label {ROLLOUT_UID}, the mark of what Stepgate has made and removes again; take it off: kubectl label deployment {deployment} {ROLLOUT_UID}-"
            ),
            Self::ReservedLabel { deployment, found: Reserved::InTemplate } => write!(
                f,
                "the template of Deployment {deployment} has label {ROTATION}, which Stepgate puts on pods to give them clients; remove it from the template"
            ),
            Self::ServiceNotFound { services, named } => write!(
                f,
                "{} ({named}) not found in this namespace; create what is missing, or {}",
                Names("Service", services),
                named.way_out()
            ),
            Self::UnlistedService { deployment, services } => write!(
                f,
                "the pods of Deployment {deployment} are also behind {}, whose clients would see both versions unasked; add to services, or to unmanagedServices where that is meant",
                Names("Service", services)
            ),
            Self::ServiceNotSelecting { service, named, deployment, mismatch: Mismatch { wanted, found } } => write!(
                f,
                "Service {service} ({named}) selects {}, but the pods of Deployment {deployment} have {}; correct its selector, or {}",
                wanted.join(", "),
                found.join(", "),
                named.way_out()
            ),
            Self::ServiceUnsuitable { service, named, problem } => {
                write!(f, "Service {service} ({named}) {}", problem.sentence(*named))
            }
            Self::SelectsStrangers { service, named, deployment, pods } => write!(
                f,
                "Service {service} ({named}) also selects {}, not made by Deployment {deployment}; narrow its selector, or relabel them",
                Names("pod", pods)
            ),
            Self::OverlapNotAllowed { deployment, because } => write!(
                f,
                "Deployment {deployment} {because}, so two versions of it at once may not work; set workload.allowOverlap: true if they do"
            ),
            Self::CookieAffinity { services } => write!(
                f,
                "affinity.cookie asks for what {} (services) cannot do: a plain Service gives out connections and sees no cookie in them; set affinity.clientIP, which tells clients by their address",
                Names("Service", services)
            ),
            Self::NeedsService(what) => what.fmt(f),
            Self::DeadlineTooShort { deadline, what, needs } => {
                write!(f, "progressDeadline is {deadline}, but {what} takes {needs} at least, so no release could succeed; make it longer")
            }
            Self::UnknownPort { gate, deployment, port, known } => {
                write!(f, "gate {gate} (http.port) names port {port:?}, which no container of Deployment {deployment} has; ")?;
                if known.is_empty() {
                    f.write_str("its containers name no port: use a number")
                } else {
                    write!(f, "use a number or one of {}", known.join(", "))
                }
            }
            Self::HostNetwork { gate, deployment } => write!(
                f,
                "gate {gate} is of kind http, but the pods of Deployment {deployment} have hostNetwork: true, where an address does not tell which pod answers; remove one of the two"
            ),
            Self::ReadinessGates { deployment, condition } => write!(
                f,
                "the pods of Deployment {deployment} have readinessGates ({condition}), which a load balancer answers only for pods that it already knows; remove them"
            ),
            Self::NameTaken { name } => {
                write!(f, "Deployment {name} exists and is not of this Rollout, but the canary needs that name; rename or delete it")
            }
        }
    }
}

impl Unsuitable {
    fn sentence(&self, named: Named) -> String {
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
