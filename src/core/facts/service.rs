//! Services and their endpoints, as far as decisions look at them.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::facts::{labels::Labels, port::ServicePort};

/// A Service's session affinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionAffinity {
    /// Every connection goes to any pod.
    #[default]
    Off,
    /// Those of one address go to the pod that the one before them went to, for so many seconds after it.
    ClientIp(i32),
}

/// A Service, with the endpoints that the data plane has for it.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub deleting: bool,
    pub selector: Labels,
    pub affinity: SessionAffinity,
    pub external_name: bool,
    pub headless: bool,
    pub publish_not_ready: bool,
    /// The one of `internalTrafficPolicy` and `externalTrafficPolicy` that is Local, if any is.
    pub local_traffic: Option<&'static str>,
    pub ports: Vec<ServicePort>,
    /// uids of the pods behind ready endpoints, from the EndpointSlices. A set: each decision looks up every pod in it.
    pub endpoints: BTreeSet<String>,
    /// The same for each of its ports, by its name: only of slices that have the port.
    pub reached: BTreeMap<String, BTreeSet<String>>,
}

impl ServiceFacts {
    /// Whether some pod that is ready takes connections through every one of its ports.
    pub fn serves(&self) -> bool {
        !self.endpoints.is_empty() && self.unserved_port().is_none()
    }

    /// The first of its ports that has no ready endpoint.
    pub fn unserved_port(&self) -> Option<&ServicePort> {
        self.ports.iter().find(|port| self.reached.get(&port.name).is_none_or(BTreeSet::is_empty))
    }

    /// The number of its first port.
    pub fn first_port(&self) -> Option<i32> {
        self.ports.first().map(|port| port.port)
    }

    /// Whether these pods, and nobody else, are behind ready endpoints of a port.
    pub fn reaches<'a>(&self, port: &ServicePort, mut uids: impl ExactSizeIterator<Item = &'a String>) -> bool {
        match self.reached.get(&port.name) {
            Some(reached) => reached.len() == uids.len() && uids.all(|uid| reached.contains(uid)),
            None => uids.len() == 0,
        }
    }
}
