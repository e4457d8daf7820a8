//! What the server fills in, and the form it brings built-in objects into, so that equal meaning is equal JSON.

use serde_json::{Map, Value, json};

use super::{ApiServer, kinds::Kind};
use crate::sim::{json, seed};

/// Completes an object of a built-in kind. Idempotent.
pub fn complete(server: &ApiServer, kind: &Kind, old: Option<&Value>, object: &mut Value) {
    json::drop_nulls(object);
    match kind.plural.as_str() {
        "deployments" => deployment(object),
        "replicasets" => replica_set(object),
        "pods" => pod(object),
        "services" => {
            if let Some(old) = old.filter(|_| json::text(object, "/spec/clusterIP").is_empty()) {
                // What was allocated stays, for those who send the Service without it.
                for field in ["/spec/clusterIP", "/spec/clusterIPs"] {
                    json::copy(old, object, field);
                }
            }
            service(server, object);
        }
        "namespaces" => namespace(object),
        "customresourcedefinitions" => definition(object),
        _ => {}
    }
}

/// Takes away what typed servers leave out when it has its zero value.
fn drop_zero(object: &mut Value, path: &str) {
    if object.pointer(path).is_some_and(|value| *value == json!(false) || *value == json!(0) || *value == json!("")) {
        json::unset(object, path);
    }
}

/// Takes away empty lists, as typed servers do: without containers, a pod is refused.
fn drop_empty_lists(object: &mut Value) {
    if let Value::Object(fields) = object {
        fields.retain(|name, value| name == "containers" || value.as_array().is_none_or(|items| !items.is_empty()));
    }
}

fn deployment(object: &mut Value) {
    json::default(object, "/spec/replicas", 1);
    json::default(object, "/spec/revisionHistoryLimit", 10);
    json::default(object, "/spec/progressDeadlineSeconds", 600);
    json::default(object, "/spec/strategy/type", "RollingUpdate");
    if json::text(object, "/spec/strategy/type") == "RollingUpdate" {
        json::default(object, "/spec/strategy/rollingUpdate/maxSurge", "25%");
        json::default(object, "/spec/strategy/rollingUpdate/maxUnavailable", "25%");
    }
    drop_zero(object, "/spec/paused");
    drop_zero(object, "/spec/minReadySeconds");
    json::default(object, "/status", json!({}));
    template(object);
}

fn replica_set(object: &mut Value) {
    json::default(object, "/spec/replicas", 1);
    drop_zero(object, "/spec/minReadySeconds");
    json::default(object, "/status", json!({ "replicas": 0 }));
    if object.pointer("/metadata/labels").is_none() {
        let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
        json::set(object, "/metadata/labels", labels);
    }
    template(object);
}

fn template(object: &mut Value) {
    json::unset(object, "/spec/template/metadata/creationTimestamp");
    if let Some(spec) = object.pointer_mut("/spec/template/spec") {
        pod_spec(spec);
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec") {
        pod_spec(spec);
    }
    json::default(object, "/status/phase", "Pending");
    let quality = quality(object);
    json::default(object, "/status/qosClass", quality);
}

/// The quality of service of a pod, by what its containers ask for.
fn quality(pod: &Value) -> &'static str {
    let asked = |what: &str| {
        let containers = json::items(pod, "/spec/containers").iter();
        containers.map(|container| container["resources"][what].clone()).collect::<Vec<_>>()
    };
    let (requests, limits) = (asked("requests"), asked("limits"));
    let is_full = |limit: &Value| limit.get("cpu").is_some() && limit.get("memory").is_some();
    let none = |amounts: &[Value]| amounts.iter().all(|amounts| amounts.as_object().is_none_or(Map::is_empty));
    match () {
        () if none(&requests) && none(&limits) => "BestEffort",
        () if limits.iter().all(is_full) && (none(&requests) || requests == limits) => "Guaranteed",
        () => "Burstable",
    }
}

fn pod_spec(spec: &mut Value) {
    drop_empty_lists(spec);
    json::default(spec, "/restartPolicy", "Always");
    json::default(spec, "/terminationGracePeriodSeconds", 30);
    json::default(spec, "/dnsPolicy", "ClusterFirst");
    json::default(spec, "/schedulerName", "default-scheduler");
    json::default(spec, "/securityContext", json!({}));
    for list in ["/containers", "/initContainers"] {
        for container in spec.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            self::container(container);
        }
    }
}

fn container(container: &mut Value) {
    drop_empty_lists(container);
    let image = json::text(container, "/image");
    let latest = image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
    json::default(container, "/imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    json::default(container, "/terminationMessagePath", "/dev/termination-log");
    json::default(container, "/terminationMessagePolicy", "File");
    json::default(container, "/resources", json!({}));
    for port in container.pointer_mut("/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        json::default(port, "/protocol", "TCP");
    }
    for env in container.pointer_mut("/env").and_then(Value::as_array_mut).into_iter().flatten() {
        drop_zero(env, "/value");
        if env.pointer("/valueFrom/fieldRef").is_some() {
            json::default(env, "/valueFrom/fieldRef/apiVersion", "v1");
        }
    }
    for name in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name) else { continue };
        for (field, value) in [("/timeoutSeconds", 1), ("/periodSeconds", 10), ("/successThreshold", 1), ("/failureThreshold", 3)] {
            json::default(probe, field, value);
        }
        if probe.get("httpGet").is_some() {
            json::default(probe, "/httpGet/path", "/");
            json::default(probe, "/httpGet/scheme", "HTTP");
        }
        drop_zero(probe, "/initialDelaySeconds");
    }
}

fn service(server: &ApiServer, object: &mut Value) {
    json::default(object, "/spec/type", "ClusterIP");
    json::default(object, "/spec/sessionAffinity", "None");
    drop_zero(object, "/spec/publishNotReadyAddresses");
    match json::text(object, "/spec/sessionAffinity") {
        "ClientIP" => json::default(object, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds", 10_800),
        _ => drop(json::unset(object, "/spec/sessionAffinityConfig")),
    }
    for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        json::default(port, "/protocol", "TCP");
        json::default(port, "/targetPort", port.get("port").cloned().unwrap_or_default());
    }
    if json::text(object, "/spec/type") != "ExternalName" {
        json::default(object, "/spec/internalTrafficPolicy", "Cluster");
        json::default(object, "/spec/ipFamilies", json!(["IPv4"]));
        json::default(object, "/spec/ipFamilyPolicy", "SingleStack");
        json::default(object, "/spec/clusterIP", free_address(server, object));
        json::default(object, "/spec/clusterIPs", json!([json::text(object, "/spec/clusterIP")]));
    }
    json::default(object, "/status", json!({ "loadBalancer": {} }));
}

/// An address that no other Service has.
fn free_address(server: &ApiServer, object: &Value) -> String {
    let [first, second] = server.service_network;
    let key = format!("{}/{}", json::namespace(object), json::name(object));
    let start = seed::hash(key.as_bytes());
    let taken = |address: &str| server.list("services", "").any(|service| json::text(service, "/spec/clusterIP") == address);
    (0..65_534u64)
        .map(|offset| start.wrapping_add(offset) % 65_534 + 1)
        .map(|host| format!("{first}.{second}.{}.{}", host >> 8, host & 0xff))
        .find(|address| !taken(address))
        .unwrap_or_else(|| "None".into())
}

fn namespace(object: &mut Value) {
    json::set(object, "/metadata/labels/kubernetes.io~1metadata.name", json::name(object).to_owned());
    json::default(object, "/spec/finalizers", json!(["kubernetes"]));
    let phase = if json::deleting(object) { "Terminating" } else { "Active" };
    json::set(object, "/status/phase", phase);
}

fn definition(object: &mut Value) {
    if json::text(object, "/spec/names/singular").is_empty() {
        json::set(object, "/spec/names/singular", json::text(object, "/spec/names/kind").to_lowercase());
    }
    if json::text(object, "/spec/names/listKind").is_empty() {
        json::set(object, "/spec/names/listKind", format!("{}List", json::text(object, "/spec/names/kind")));
    }
    json::default(object, "/spec/conversion/strategy", "None");
    let since = json::text(object, "/metadata/creationTimestamp").to_owned();
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since });
    let conditions = json!([
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]);
    json::set(object, "/status/conditions", conditions);
    json::set(object, "/status/acceptedNames", object["spec"]["names"].clone());
    let stored: Vec<Value> = json::items(object, "/spec/versions")
        .iter()
        .filter(|version| json::flag(version, "/storage"))
        .map(|version| version["name"].clone())
        .collect();
    json::set(object, "/status/storedVersions", stored);
}
