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

/// Brings the slice of a Service up to date.
pub(in crate::sim) fn sync(context: &mut Context<'_>, id: &Id) -> Result<(), Problem> {
    let Some(service) = context.api.get("services", &id.namespace, &id.name).cloned() else { return Ok(()) };
    // A Service without a selector has its slices from somebody else.
    let Some(selector) = json::fields(&service, "/spec/selector").filter(|selector| !selector.is_empty()).map(Labels::of_map) else {
        return Ok(());
    };
    if json::deleting(&service) {
        return Ok(());
    }
    let pods: Vec<&Value> =
        context.api.list("pods", &id.namespace).map(|pod| &**pod).filter(|pod| selector.matches(pod) && has_address(pod)).collect();
    let endpoints: Vec<Value> = pods.iter().map(|pod| endpoint(&service, pod)).collect();
    let ports = ports(&service, pods.first().copied());
    let mut slices: Vec<Value> = context
        .api
        .list("endpointslices.discovery.k8s.io", &id.namespace)
        .filter(|slice| is_ours(slice, &service))
        .map(|slice| (**slice).clone())
        .collect();
    for surplus in slices.drain(slices.len().min(1)..) {
        let mut call = context.call(ME);
        context.api.delete(
            &mut call,
            &Key::new("endpointslices.discovery.k8s.io", &id.namespace, json::name(&surplus)),
            &DeleteOptions::default(),
        )?;
    }
    if let Some(mut slice) = slices.pop() {
        slice["endpoints"] = endpoints.into();
        slice["ports"] = ports;
        context.put(ME, slice, Part::Whole)?;
        return Ok(());
    }
    let mut call = context.call(ME);
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        "metadata": {
            "generateName": format!("{}-", id.name), "namespace": id.namespace, "ownerReferences": [owner_reference(&service)],
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

/// The ports of a Service as numbers. Named ports are looked up in one pod: templates of one Service agree on them here.
fn ports(service: &Value, pod: Option<&Value>) -> Value {
    let named = |name: &str| {
        let containers = pod.map(|pod| json::items(pod, "/spec/containers")).unwrap_or_default();
        containers
            .iter()
            .flat_map(|container| json::items(container, "/ports"))
            .find(|port| json::text(port, "/name") == name)
            .map(|port| json::int(port, "/containerPort"))
    };
    json::items(service, "/spec/ports")
        .iter()
        .filter_map(|port| {
            let number = match &port["targetPort"] {
                Value::String(name) => name.parse().ok().or_else(|| named(name))?,
                number => number.as_i64()?,
            };
            Some(json!({ "name": json::text(port, "/name"), "port": number, "protocol": json::text(port, "/protocol") }))
        })
        .collect()
}
