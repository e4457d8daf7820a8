//! Services and their EndpointSlices, reduced to facts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use crate::core::facts::{
    port::{ServicePort, TargetPort},
    service::{ServiceFacts, SessionAffinity},
};

use super::{
    object::{protocol, version},
    store::fact,
};

/// One EndpointSlice: its Service, the ports of it that it has, and the pods behind its ready endpoints.
#[derive(Clone, Debug)]
pub struct SliceSeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub service: String,
    pub ports: Vec<String>,
    pub ready: Vec<String>,
}

fact!(SliceSeen);

/// A Service; its endpoints come from [`SliceSeen`].
pub fn service(object: &Service) -> ServiceFacts {
    let spec = object.spec.clone().unwrap_or_default();
    let policies = [("internalTrafficPolicy", &spec.internal_traffic_policy), ("externalTrafficPolicy", &spec.external_traffic_policy)];
    let local_traffic = policies.into_iter().find_map(|(field, policy)| (policy.as_deref() == Some("Local")).then_some(field));
    let affinity = session_affinity(&spec);
    let ports = service_ports(&spec);
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
        ports,
        endpoints: BTreeSet::new(),
        reached: BTreeMap::new(),
    }
}

/// The ports of a Service. One without a target leads to its own number.
fn service_ports(spec: &ServiceSpec) -> Vec<ServicePort> {
    let number = |number: i32| u16::try_from(number).unwrap_or_default();
    let ports = spec.ports.iter().flatten();
    ports
        .map(|port| ServicePort {
            name: port.name.clone().unwrap_or_default(),
            port: port.port,
            protocol: protocol(port.protocol.as_ref()),
            target: match &port.target_port {
                Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
                Some(IntOrString::Int(target)) => TargetPort::Number(number(*target)),
                None => TargetPort::Number(number(port.port)),
            },
        })
        .collect()
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
    let ports = object.ports.iter().flatten().filter(|port| port.port.is_some());
    SliceSeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        service: object.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        ports: ports.map(|port| port.name.clone().unwrap_or_default()).collect(),
        ready: ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.clone()).collect(),
    }
}

/// A Service with the endpoints that its slices, among those of the namespace, have. A dual-stack Service has a slice for each family, with
/// the same pods; pods that give other numbers to a named port have a slice of their own.
pub fn service_facts<'a>(service: &ServiceFacts, slices: impl Iterator<Item = &'a SliceSeen>) -> ServiceFacts {
    let (mut endpoints, mut reached): (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>) = Default::default();
    for slice in slices.filter(|slice| slice.service == service.name) {
        endpoints.extend(slice.ready.iter().cloned());
        for port in &slice.ports {
            reached.entry(port.clone()).or_default().extend(slice.ready.iter().cloned());
        }
    }
    ServiceFacts { endpoints, reached, ..service.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(ports: &Value, pods: &[&str]) -> SliceSeen {
        let endpoint = |pod: &&str| json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "uid": pod}});
        let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
        let labels = json!({"kubernetes.io/service-name": "hello"});
        let object =
            json!({"metadata": {"name": "hello-x", "labels": labels}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
        slice(&serde_json::from_value(object).expect("a slice"))
    }

    #[test]
    fn each_port_has_the_pods_of_the_slices_that_have_it() {
        let service = super::service(&serde_json::from_value(json!({"metadata": {"name": "hello"}})).expect("a Service"));
        let slices = [
            seen(&json!([{"name": "http", "port": 8080}, {"name": "admin", "port": 1}]), &["blue"]),
            seen(&json!([{"name": "http", "port": 9090}]), &["green"]),
            // The other family of addresses.
            seen(&json!([{"name": "http", "port": 9090}]), &["green"]),
            // A pod without any of the ports; a slice without ports, as null and as nothing; a slice of somebody's for no pod.
            seen(&json!([]), &["grey"]),
            seen(&Value::Null, &[]),
            seen(&json!([{"name": "http"}]), &["white"]),
        ];
        let facts = service_facts(&service, slices.iter());
        assert!(facts.endpoints.iter().eq(["blue", "green", "grey", "white"]), "{:?}", facts.endpoints);
        let reached: Vec<(&str, Vec<&str>)> =
            facts.reached.iter().map(|(port, pods)| (port.as_str(), pods.iter().map(String::as_str).collect())).collect();
        assert_eq!(reached, [("admin", vec!["blue"]), ("http", vec!["blue", "green"])]);
    }

    #[test]
    fn the_target_of_a_port_is_its_own_number_where_none_is_written() {
        let ports = json!([{"port": 80}, {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}, {"name": "n", "port": 1, "targetPort": 2}]);
        let object = json!({"metadata": {"name": "hello"}, "spec": {"ports": ports}});
        let ports = service(&serde_json::from_value(object).expect("a Service")).ports;
        let told: Vec<String> = ports.iter().map(|port| format!("{port} {} {}", port.protocol, port.target)).collect();
        assert_eq!(told, ["80 TCP 80", "dns (53) UDP dns", "n (1) TCP 2"]);
    }
}
