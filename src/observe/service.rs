//! Services and their EndpointSlices, reduced to facts.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt;

use crate::core::facts::service::{ServiceFacts, SessionAffinity};

use super::{object::version, store::fact};

/// One EndpointSlice: its Service, and the pods behind its ready endpoints.
#[derive(Clone, Debug)]
pub struct SliceSeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub service: String,
    pub ready: Vec<String>,
}

fact!(SliceSeen);

/// A Service; its endpoints come from [`SliceSeen`].
pub fn service(object: &Service) -> ServiceFacts {
    let spec = object.spec.clone().unwrap_or_default();
    let policies = [("internalTrafficPolicy", &spec.internal_traffic_policy), ("externalTrafficPolicy", &spec.external_traffic_policy)];
    let local_traffic = policies.into_iter().find_map(|(field, policy)| (policy.as_deref() == Some("Local")).then_some(field));
    let affinity = session_affinity(&spec);
    let port = spec.ports.iter().flatten().map(|port| port.port).next();
    ServiceFacts {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        deleting: object.metadata.deletion_timestamp.is_some(),
        selector: spec.selector.unwrap_or_default(),
        affinity,
        external_name: spec.type_.as_deref() == Some("ExternalName"),
        headless: spec.cluster_ip.as_deref() == Some("None"),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
        local_traffic,
        port,
        endpoints: BTreeSet::new(),
    }
}

/// The API server gives a time to every affinity by address that has none.
fn session_affinity(spec: &ServiceSpec) -> SessionAffinity {
    let seconds = || spec.session_affinity_config.as_ref()?.client_ip.as_ref()?.timeout_seconds;
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => SessionAffinity::ClientIp(seconds().unwrap_or_default()),
        _ => SessionAffinity::Off,
    }
}

/// An EndpointSlice.
pub fn slice(object: &EndpointSlice) -> SliceSeen {
    let ready =
        object.endpoints.iter().filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
    SliceSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        service: object.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        ready: ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.clone()).collect(),
    }
}

/// A Service with the endpoints that its slices, among those of the namespace, have. A dual-stack Service has a slice for each family, with
/// the same pods.
pub fn service_facts<'a>(service: &ServiceFacts, slices: impl Iterator<Item = &'a SliceSeen>) -> ServiceFacts {
    let endpoints = slices.filter(|slice| slice.service == service.name).flat_map(|slice| slice.ready.iter().cloned()).collect();
    ServiceFacts { endpoints, ..service.clone() }
}
