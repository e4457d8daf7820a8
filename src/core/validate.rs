//! What only the cluster can tell: whether a Rollout's Deployment, Services and policy are such that a release can go without harm.

use std::fmt;

use serde_json::Value;

use crate::api::policy::{Gate, PolicySpec, Port};

use super::{
    canary,
    service_split::{KEYS, owners},
    snapshot::{Labels, ServiceFacts, subset},
    view::View,
    why::Names,
};

/// Why a Rollout is not accepted. Its text names the object and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    DeploymentNotFound { deployment: String },
    PolicyNotFound { kind: &'static str, name: String },
    RivalRollout { rollout: String, object: String },
    ServiceNotFound { services: Vec<String> },
    UnlistedService { services: Vec<String> },
    ServiceNotSelecting { service: String },
    ServiceUnsuitable { service: String, problem: Unsuitable },
    SelectsStrangers { service: String, pods: Vec<String> },
    OverlapNotAllowed { deployment: String, because: String },
    UnknownPort { gate: String, port: String, known: Vec<String> },
    HostNetwork { gate: String },
    ReadinessGates { deployment: String },
    NameTaken { name: String },
}

/// Why a Service cannot be used to move clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    NoSelector,
    ExternalName,
    PublishNotReady,
    LocalTraffic,
    ReservedKey,
}

impl Refusal {
    /// The reason of condition `Accepted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DeploymentNotFound { .. } => "DeploymentNotFound",
            Self::PolicyNotFound { .. } => "PolicyNotFound",
            Self::RivalRollout { .. } => "RivalRollout",
            Self::ServiceNotFound { .. } => "ServiceNotFound",
            Self::UnlistedService { .. } => "UnlistedService",
            Self::ServiceNotSelecting { .. } => "ServiceNotSelecting",
            Self::ServiceUnsuitable { .. } => "ServiceUnsuitable",
            Self::SelectsStrangers { .. } => "SelectsStrangers",
            Self::OverlapNotAllowed { .. } => "OverlapNotAllowed",
            Self::UnknownPort { .. } => "UnknownPort",
            Self::HostNetwork { .. } => "HostNetwork",
            Self::ReadinessGates { .. } => "ReadinessGates",
            Self::NameTaken { .. } => "NameTaken",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeploymentNotFound { deployment } => {
                write!(
                    f,
                    "Deployment {deployment} (workload.deployment) does not exist in this namespace; create it, or correct the name in a new Rollout"
                )
            }
            Self::PolicyNotFound { kind, name } => write!(f, "{kind} {name} (policyRef) does not exist; create it, or name one that does"),
            Self::RivalRollout { rollout, object } => {
                write!(f, "Rollout {rollout} is older and already has {object}; delete one of the two")
            }
            Self::ServiceNotFound { services } => {
                write!(
                    f,
                    "{} (services) not found in this namespace; create what is missing, or take it off the list",
                    Names("Service", services)
                )
            }
            Self::UnlistedService { services } => write!(
                f,
                "{} also sends clients to these pods and would show them both versions unasked; add to services, or to unmanagedServices where that is meant",
                Names("Service", services)
            ),
            Self::ServiceNotSelecting { service } => write!(
                f,
                "Service {service} (services) does not select the pods of the Deployment's template, so it has no clients to move; correct its selector, or take it off the list"
            ),
            Self::ServiceUnsuitable { service, problem } => {
                write!(f, "Service {service} (services) ")?;
                match problem {
                    Unsuitable::NoSelector => f.write_str("has no selector, so its clients cannot be moved by one; give it a selector, or take it off the list"),
                    Unsuitable::ExternalName => f.write_str("is of type ExternalName, which has no endpoints to move; take it off the list"),
                    Unsuitable::PublishNotReady => f.write_str("has publishNotReadyAddresses, which sends clients to pods that are not ready; set it to false, or use unmanagedServices"),
                    Unsuitable::LocalTraffic => {
                        f.write_str("has a traffic policy of Local, so that clients of a node without a canary pod would be cut off; set internalTrafficPolicy and externalTrafficPolicy to Cluster")
                    }
                    Unsuitable::ReservedKey => write!(f, "has {} or {} in its selector, which Stepgate needs for itself; remove it", KEYS[0], KEYS[1]),
                }
            }
            Self::SelectsStrangers { service, pods } => write!(
                f,
                "Service {service} (services) also selects {}, not made by the Deployment; narrow its selector, or relabel them",
                Names("pod", pods)
            ),
            Self::OverlapNotAllowed { deployment, because } => write!(
                f,
                "Deployment {deployment} {because}, so two versions of it at once may not work; set workload.allowOverlap: true if they do"
            ),
            Self::UnknownPort { gate, port, known } => {
                write!(f, "gate {gate} names port {port:?}, which no container of the Deployment has; ")?;
                if known.is_empty() {
                    f.write_str("its containers name no port: use a number")
                } else {
                    write!(f, "use a number or one of {}", known.join(", "))
                }
            }
            Self::HostNetwork { gate } => write!(
                f,
                "gate {gate} is of kind http, but the pods use the host's network, where an address does not tell which pod answers; remove the gate"
            ),
            Self::ReadinessGates { deployment } => write!(
                f,
                "the pods of Deployment {deployment} have readinessGates, which a load balancer answers only for pods it already knows; remove them"
            ),
            Self::NameTaken { name } => {
                write!(f, "Deployment {name} exists and is not of this Rollout, but the canary needs that name; rename or delete it")
            }
        }
    }
}

/// The first reason not to begin a release, if there is any.
pub fn refusal(view: &View<'_>, policy: Option<&PolicySpec>) -> Option<Refusal> {
    let spec = &view.snapshot.rollout.spec;
    rival(view)
        .or_else(|| policy.is_none().then(|| missing_policy(view)).flatten())
        .or_else(|| services_missing(view))
        .or_else(|| view.services().into_iter().find_map(|service| unsuitable(view, service)))
        .or_else(|| unlisted(view))
        .or_else(|| template_problem(view, spec.workload.allow_overlap))
        .or_else(|| policy.and_then(|policy| policy.gates.iter().find_map(|gate| gate_problem(view, gate))))
}

/// The name of the policy that does not exist.
pub fn missing_policy(view: &View<'_>) -> Option<Refusal> {
    let reference = view.snapshot.rollout.spec.policy_ref.as_ref()?;
    Some(Refusal::PolicyNotFound { kind: reference.kind.as_str(), name: reference.name.clone() })
}

/// Another Rollout that was first, for the Deployment or for one of the Services.
fn rival(view: &View<'_>) -> Option<Refusal> {
    let (me, spec) = (&view.snapshot.rollout, &view.snapshot.rollout.spec);
    let older = view.snapshot.rivals.iter().filter(|other| (other.created_at, &other.uid) < (me.created_at, &me.uid));
    older.into_iter().find_map(|other| {
        let object = if other.deployment == spec.workload.deployment {
            format!("Deployment {}", other.deployment)
        } else {
            format!("Service {}", other.services.iter().find(|service| spec.services.contains(service))?)
        };
        Some(Refusal::RivalRollout { rollout: other.name.clone(), object })
    })
}

/// Services that are listed and do not exist.
pub fn services_missing(view: &View<'_>) -> Option<Refusal> {
    let found = view.services();
    let missing: Vec<String> =
        view.snapshot.rollout.spec.services.iter().filter(|name| found.iter().all(|service| service.name != **name)).cloned().collect();
    (!missing.is_empty()).then_some(Refusal::ServiceNotFound { services: missing })
}

fn unsuitable(view: &View<'_>, service: &ServiceFacts) -> Option<Refusal> {
    let problem = |problem| Some(Refusal::ServiceUnsuitable { service: service.name.clone(), problem });
    let owner = owners(&service.selector);
    if service.external_name {
        return problem(Unsuitable::ExternalName);
    }
    if owner.is_empty() {
        return problem(Unsuitable::NoSelector);
    }
    if service.publish_not_ready {
        return problem(Unsuitable::PublishNotReady);
    }
    if service.local_traffic {
        return problem(Unsuitable::LocalTraffic);
    }
    // With a live version on record such a key is a leftover of ours, which is taken off at rest; before that it is its owner's.
    if view.snapshot.status.stable.is_none() && owner.len() < service.selector.len() {
        return problem(Unsuitable::ReservedKey);
    }
    if !subset(&owner, &template_labels(view)) {
        return Some(Refusal::ServiceNotSelecting { service: service.name.clone() });
    }
    let ours: Vec<&str> = std::iter::once(view.hello).chain(view.ours()).map(|deployment| deployment.uid.as_str()).collect();
    let family = |owner: &str| {
        view.snapshot.replica_sets.iter().any(|set| set.uid == owner && set.owner.as_deref().is_some_and(|uid| ours.contains(&uid)))
    };
    let strangers: Vec<String> = view
        .snapshot
        .pods
        .iter()
        .filter(|pod| !pod.deleting() && !pod.finished && subset(&owner, &pod.labels))
        // A pod whose ReplicaSet has not been seen is not judged: the watches of both are not in step.
        .filter(|pod| {
            pod.owner.as_deref().is_none_or(|owner| view.snapshot.replica_sets.iter().any(|set| set.uid == owner) && !family(owner))
        })
        .map(|pod| pod.name.clone())
        .take(3)
        .collect();
    (!strangers.is_empty()).then(|| Refusal::SelectsStrangers { service: service.name.clone(), pods: strangers })
}

/// Services that select the pods and are on neither list.
fn unlisted(view: &View<'_>) -> Option<Refusal> {
    let (spec, labels) = (&view.snapshot.rollout.spec, template_labels(view));
    let mut services: Vec<String> = view
        .snapshot
        .services
        .iter()
        .filter(|service| !service.deleting && !service.external_name && !service.selector.is_empty())
        .filter(|service| !spec.services.contains(&service.name) && !spec.unmanaged_services.contains(&service.name))
        .filter(|service| subset(&owners(&service.selector), &labels))
        .map(|service| service.name.clone())
        .collect();
    services.sort();
    (!services.is_empty()).then_some(Refusal::UnlistedService { services })
}

fn template_problem(view: &View<'_>, allow_overlap: bool) -> Option<Refusal> {
    let (hello, spec) = (view.hello, &view.hello.template["spec"]);
    if spec["readinessGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return Some(Refusal::ReadinessGates { deployment: hello.name.clone() });
    }
    if let Some(taken) = canary::name_taken(view, &hello.revision) {
        return Some(Refusal::NameTaken { name: taken });
    }
    if allow_overlap {
        return None;
    }
    let because = if hello.is_recreate() {
        Some("has strategy Recreate".to_owned())
    } else if let Some(claim) =
        list(&spec["volumes"]).find_map(|volume| volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str))
    {
        Some(format!("mounts PersistentVolumeClaim {claim}"))
    } else {
        let host_port = |port: &&Value| port["hostPort"].as_i64().is_some_and(|port| port > 0);
        containers(spec)
            .find_map(|container| list(&container["ports"]).find(host_port))
            .map(|port| format!("uses hostPort {}", port["hostPort"]))
    };
    because.map(|because| Refusal::OverlapNotAllowed { deployment: hello.name.clone(), because })
}

fn gate_problem(view: &View<'_>, gate: &Gate) -> Option<Refusal> {
    let http = gate.http.as_ref()?;
    let spec = &view.hello.template["spec"];
    if spec["hostNetwork"].as_bool() == Some(true) {
        return Some(Refusal::HostNetwork { gate: gate.name.clone() });
    }
    let Port::Name(port) = &http.port else { return None };
    let known: Vec<String> = containers(spec)
        .flat_map(|container| list(&container["ports"]))
        .filter_map(|port| port["name"].as_str().map(str::to_owned))
        .collect();
    (!known.contains(port)).then(|| Refusal::UnknownPort { gate: gate.name.clone(), port: port.clone(), known })
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(&spec["containers"])
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The labels that pods of the Deployment's template get.
fn template_labels(view: &View<'_>) -> Labels {
    let labels = view.hello.template.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
