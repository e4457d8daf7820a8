//! Why a release cannot begin: what was found, where, and what to do about it.

pub mod field;
pub mod pair;
pub mod pods;
pub mod service;

use std::fmt;

use crate::{
    api::{ROLLOUT_UID, ROTATION, Span, rollout::PolicyKind},
    core::{
        facts::port::ServicePort,
        why::{
            refusal::{
                pair::BadPair,
                pods::NeedsService,
                service::{Lacking, Mismatch, Named, Unsuitable},
            },
            words::Names,
        },
    },
};

/// Why a Rollout is not accepted. Its text names the object and the field, what was found there, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    DeploymentNotFound {
        deployment: String,
    },
    VersionNotFound {
        deployment: String,
    },
    BadPair(BadPair),
    PolicyNotFound {
        kind: PolicyKind,
        name: String,
    },
    RivalRollout {
        rollout: String,
        object: Contested,
    },
    ReservedLabel {
        deployment: String,
        found: Reserved,
    },
    ServiceNotFound {
        services: Vec<String>,
        named: Named,
    },
    UnlistedService {
        deployment: String,
        services: Vec<String>,
    },
    ServiceNotSelecting {
        service: String,
        named: Named,
        deployment: String,
        mismatch: Mismatch,
    },
    /// A port of a Service that leads to a container port by name, which the pods of a version do not have.
    PortMissing {
        service: String,
        named: Named,
        port: ServicePort,
        deployment: String,
        lacking: Lacking,
        known: Vec<String>,
    },
    ServiceUnsuitable {
        service: String,
        named: Named,
        problem: Unsuitable,
    },
    SelectsStrangers {
        service: String,
        named: Named,
        deployment: String,
        pods: Vec<String>,
    },
    OverlapNotAllowed {
        deployment: String,
        because: String,
    },
    CookieAffinity {
        services: Vec<String>,
    },
    NeedsService(NeedsService),
    DeadlineTooShort {
        deadline: Span,
        what: String,
        needs: Span,
    },
    UnknownPort {
        gate: String,
        kind: &'static str,
        deployment: String,
        port: String,
        known: Vec<String>,
    },
    HostNetwork {
        gate: String,
        kind: &'static str,
        deployment: String,
    },
    ReadinessGates {
        deployment: String,
        condition: String,
    },
    NameTaken {
        name: String,
    },
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
            Self::PortMissing { .. } => "PortMissing",
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
            | Self::PortMissing { .. }
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
            Self::PortMissing { service, named, port, deployment, lacking, known } => {
                let (target, protocol) = (&port.target, &port.protocol);
                write!(
                    f,
                    "port {port} of Service {service} ({named}) leads to the container port named {target} ({protocol}), but the pods of {lacking} {deployment} have no port of that name, so that nobody would reach them; {}",
                    way_to_a_port(port, known)
                )
            }
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
            Self::UnknownPort { gate, kind, deployment, port, known } => {
                write!(f, "gate {gate} ({kind}.port) names port {port:?}, which no container of Deployment {deployment} has; ")?;
                if known.is_empty() {
                    f.write_str("its containers name no port: use a number")
                } else {
                    write!(f, "use a number or one of {}", known.join(", "))
                }
            }
            Self::HostNetwork { gate, kind, deployment } => write!(
                f,
                "gate {gate} is of kind {kind}, but the pods of Deployment {deployment} have hostNetwork: true, where an address does not tell which pod answers; remove one of the two"
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

/// What to do where the pods have no port of the name that is targeted, but these.
fn way_to_a_port(port: &ServicePort, known: &[String]) -> String {
    let target = &port.target;
    let number = "set targetPort to a number that both versions listen on";
    if known.is_empty() {
        return format!("give the container's port the name {target}, or {number}");
    }
    format!("the names there are {}: give one of these ports the name {target}, or {number}", known.join(", "))
}
