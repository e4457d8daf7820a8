//! Whether anybody serves, as far as pods and endpoints show it. That is not a question of the release: a good one ends, and its pods may fail later.

use std::fmt;

use crate::{
    api::RolloutStatus,
    core::facts::{Snapshot, service::ServiceFacts},
};

/// What keeps traffic, or work, from being served.
#[derive(Clone, Debug, PartialEq)]
pub enum Unserved {
    /// No pod of either version is ready.
    NoPods { wanted: i32 },
    /// A Service, or this port of it, has no ready endpoint.
    NoEndpoints { service: String, port: Option<String> },
    /// The live version's size is 0, as its owner set it.
    ScaledToZero,
}

impl Unserved {
    /// The name of the reason, for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPods { .. } => "NoReadyPods",
            Self::NoEndpoints { .. } => "NoReadyEndpoints",
            Self::ScaledToZero => "ScaledToZero",
        }
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPods { wanted } => write!(f, "none of {wanted} pods is ready"),
            Self::NoEndpoints { service, port: None } => write!(f, "Service {service} has no ready endpoint"),
            Self::NoEndpoints { service, port: Some(port) } => write!(f, "port {port} of Service {service} has no ready endpoint"),
            Self::ScaledToZero => f.write_str("the Deployment is scaled to 0"),
        }
    }
}

/// What keeps traffic from being served through every port of every Service that the Rollout names; without Services, what keeps work from
/// being done.
pub fn unserved(snapshot: &Snapshot, status: &RolloutStatus) -> Option<Unserved> {
    let versions = || status.stable.iter().chain(&status.canary);
    let spec = &snapshot.rollout.spec;
    if status.stable.as_ref().is_some_and(|stable| stable.replicas == 0) && versions().all(|version| version.ready == 0) {
        return Some(Unserved::ScaledToZero);
    }
    if spec.is_worker() {
        let wanted = versions().map(|version| version.replicas).sum();
        return versions().all(|version| version.ready == 0).then_some(Unserved::NoPods { wanted });
    }
    let named = |name: &String| snapshot.services.iter().find(|service| service.name == *name && !service.deleting);
    spec.services.iter().find_map(|name| match named(name) {
        Some(service) if service.serves() => None,
        found => Some(Unserved::NoEndpoints { service: name.clone(), port: found.and_then(|service| port(service)) }),
    })
}

/// The port that nobody serves, where others of the same Service are served.
fn port(service: &ServiceFacts) -> Option<String> {
    let unserved = service.unserved_port().filter(|_| !service.endpoints.is_empty())?;
    Some(if unserved.name.is_empty() { unserved.port.to_string() } else { unserved.name.clone() })
}
