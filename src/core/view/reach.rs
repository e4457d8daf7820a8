//! Whether clients reach the pods that a Service selects, through each of its ports, as far as the endpoints show it.

use crate::core::{
    facts::{pod::PodFacts, port::ServicePort, service::ServiceFacts},
    view::View,
};

impl View<'_> {
    /// Whether a Service's endpoints are exactly the ready pods that its selector, as it is now, selects; of each of its ports, those pods
    /// that have it.
    pub fn endpoints_follow(&self, service: &ServiceFacts) -> bool {
        let selected = self.matching(&service.selector);
        let has = |port: &ServicePort| -> Vec<&String> {
            selected.iter().filter(|pod| port.number(&pod.ports).is_some()).map(|pod| &pod.uid).collect()
        };
        are(service, &selected) && service.ports.iter().all(|port| service.reaches(port, has(port).into_iter()))
    }

    /// Whether every port of a Service has exactly the pods that its selector selects as endpoints, and at least one. Only that confirms a
    /// weight: where nobody is reached, nothing is as it was asked for.
    pub fn is_reached(&self, service: &ServiceFacts) -> bool {
        let selected = self.matching(&service.selector);
        let all = |port: &ServicePort| service.reaches(port, selected.iter().map(|pod| &pod.uid));
        !selected.is_empty() && are(service, &selected) && service.ports.iter().all(all)
    }

    /// Services of which a port is not reached as their selector asks.
    pub fn unreached(&self) -> Vec<String> {
        self.services().into_iter().filter(|service| !self.is_reached(service)).map(|service| service.name.clone()).collect()
    }
}

fn are(service: &ServiceFacts, pods: &[&PodFacts]) -> bool {
    service.endpoints.len() == pods.len() && pods.iter().all(|pod| service.endpoints.contains(&pod.uid))
}
