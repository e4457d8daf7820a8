//! The `EndpointSlice` controller: which pods stand behind a Service, and in which state.

use serde_json::{Value, json};

use crate::sim::{
    json,
    server::{DeleteOptions, call::Part, problem::Problem, selector::Labels, store::Key},
};

use super::{Context, Id, owner_reference, replica_set::is_ready};

const ME: &str = "endpointslice-controller";
/// The label that names a slice's Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Brings the slices of a Service up to date: one for each set of ports that its pods give it. Pods that give different numbers to a named
/// port stand in different slices; a pod that has none of the ports stands in one without ports, behind which nobody is reached.
pub(in crate::sim) fn sync(context: &mut Context<'_>, id: &Id) -> Result<(), Problem> {
    let Some(service) = context.api.get("services", &id.namespace, &id.name).cloned() else { return Ok(()) };
    // A Service without a selector has its slices from somebody else.
    let Some(selector) = json::fields(&service, "/spec/selector").filter(|selector| !selector.is_empty()).map(Labels::of_map) else {
        return Ok(());
    };
    if json::deleting(&service) {
        return Ok(());
    }
    let mut wanted: Vec<(Value, Vec<Value>)> = Vec::new();
    for pod in context.api.list("pods", &id.namespace).filter(|pod| selector.matches(pod) && has_address(pod)) {
        let (ports, endpoint) = (ports(&service, pod), endpoint(&service, pod));
        match wanted.iter_mut().find(|(known, _)| *known == ports) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => wanted.push((ports, vec![endpoint])),
        }
    }
    if wanted.is_empty() {
        wanted.push((json!([]), Vec::new()));
    }
    let mut slices: Vec<Value> = context
        .api
        .list("endpointslices.discovery.k8s.io", &id.namespace)
        .filter(|slice| is_ours(slice, &service))
        .map(|slice| (**slice).clone())
        .collect();
    let mut missing = Vec::new();
    for (ports, endpoints) in wanted {
        match slices.iter().position(|slice| slice["ports"] == ports) {
            Some(known) => put(context, slices.remove(known), ports, endpoints)?,
            None => missing.push((ports, endpoints)),
        }
    }
    // A slice whose set of ports nobody has any more is used again for another one.
    for (ports, endpoints) in missing {
        match slices.pop() {
            Some(slice) => put(context, slice, ports, endpoints)?,
            None => create(context, id, &service, &ports, &endpoints)?,
        }
    }
    for surplus in slices {
        let mut call = context.call(ME);
        context.api.delete(
            &mut call,
            &Key::new("endpointslices.discovery.k8s.io", &id.namespace, json::name(&surplus)),
            &DeleteOptions::default(),
        )?;
    }
    Ok(())
}

fn put(context: &mut Context<'_>, mut slice: Value, ports: Value, endpoints: Vec<Value>) -> Result<(), Problem> {
    slice["endpoints"] = endpoints.into();
    slice["ports"] = ports;
    context.put(ME, slice, Part::Whole)?;
    Ok(())
}

fn create(context: &mut Context<'_>, id: &Id, service: &Value, ports: &Value, endpoints: &[Value]) -> Result<(), Problem> {
    let mut call = context.call(ME);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        "metadata": {
            "generateName": format!("{}-", id.name), "namespace": id.namespace, "ownerReferences": [owner_reference(service)],
            "labels": { SERVICE_NAME: id.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" },
        },
    });
    context.api.create(&mut call, slice).map(drop)
}

fn is_ours(slice: &Value, service: &Value) -> bool {
    json::controller_uid(slice) == json::uid(service)
        && json::label(slice, SERVICE_NAME) == Some(json::name(service))
        && !json::deleting(slice)
}

fn has_address(pod: &Value) -> bool {
    !json::text(pod, "/status/podIP").is_empty() && !matches!(json::text(pod, "/status/phase"), "Failed" | "Succeeded")
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let (serving, terminating) = (is_ready(pod), json::deleting(pod));
    let ready = json::flag(service, "/spec/publishNotReadyAddresses") || (serving && !terminating);
    json!({
        "addresses": [json::text(pod, "/status/podIP")],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "nodeName": json::text(pod, "/spec/nodeName"),
        "targetRef": { "kind": "Pod", "namespace": json::namespace(pod), "name": json::name(pod), "uid": json::uid(pod) },
    })
}

/// The ports of a Service as numbers of this pod. A port whose name it does not have is left out.
fn ports(service: &Value, pod: &Value) -> Value {
    json::items(service, "/spec/ports")
        .iter()
        .filter_map(|port| {
            let protocol = protocol(port);
            let number = match &port["targetPort"] {
                Value::String(name) => named(pod, name, protocol)?,
                number => number.as_i64()?,
            };
            Some(json!({ "name": json::text(port, "/name"), "port": number, "protocol": protocol }))
        })
        .collect()
}

/// The number of the first container port with this name and protocol; after the containers come the sidecars among the init containers.
fn named(pod: &Value, name: &str, protocol_wanted: &str) -> Option<i64> {
    let sidecars = json::items(pod, "/spec/initContainers").iter().filter(|container| container["restartPolicy"] == "Always");
    json::items(pod, "/spec/containers")
        .iter()
        .chain(sidecars)
        .flat_map(|container| json::items(container, "/ports"))
        .find(|port| json::text(port, "/name") == name && protocol(port) == protocol_wanted)
        .map(|port| json::int(port, "/containerPort"))
}

fn protocol(port: &Value) -> &str {
    match json::text(port, "/protocol") {
        "" => "TCP",
        protocol => protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_port_is_that_of_the_first_container_that_has_it_with_the_protocol() {
        let pod = json!({"spec": {
            "initContainers": [
                {"ports": [{"name": "setup", "containerPort": 1}]},
                {"restartPolicy": "Always", "ports": [{"name": "mesh", "containerPort": 2}, {"name": "http", "containerPort": 3}]},
            ],
            "containers": [
                {"ports": [{"name": "dns", "containerPort": 4, "protocol": "UDP"}, {"name": "http", "containerPort": 8080}]},
                {"ports": [{"name": "http", "containerPort": 9090}, {"name": "dns", "containerPort": 5}]},
            ],
        }});
        for (name, protocol, number) in [
            ("http", "TCP", Some(8080)),
            ("http", "UDP", None),
            ("dns", "UDP", Some(4)),
            ("dns", "TCP", Some(5)),
            ("mesh", "TCP", Some(2)),
            ("setup", "TCP", None),
            ("80", "TCP", None),
        ] {
            assert_eq!(named(&pod, name, protocol), number, "{name} {protocol}");
        }
    }
}
