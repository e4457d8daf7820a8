//! What may not be stored: the rules of built-in kinds that a controller or its user can run into.

use serde_json::Value;

use crate::sim::json;

use super::{
    call::Part,
    kinds::Kind,
    problem::{Cause, Problem},
    selector::Labels,
};

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (at most 63 characters)";

/// A new object.
pub(super) fn create(kind: &Kind, object: &Value) -> Result<(), Problem> {
    let mut causes = metadata(kind, object);
    causes.extend(content(kind, object, None));
    refuse(kind, object, &causes)
}

/// A changed object.
pub(super) fn update(kind: &Kind, part: Part, old: &Value, new: &Value) -> Result<(), Problem> {
    // The status of a built-in kind is written by those who know it.
    if part == Part::Status && !kind.is_custom() {
        return Ok(());
    }
    let mut causes = metadata(kind, new);
    causes.extend(content(kind, new, Some(old)));
    causes.extend(immutable(kind, old, new));
    refuse(kind, new, &causes)
}

fn refuse(kind: &Kind, object: &Value, causes: &[Cause]) -> Result<(), Problem> {
    if causes.is_empty() { Ok(()) } else { Err(Problem::invalid(kind, json::name(object), causes)) }
}

fn metadata(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = json::name(object);
    let (longest, dots) = match kind.plural.as_str() {
        "services" | "namespaces" => (63, false),
        _ => (253, true),
    };
    let rbac = kind.group == "rbac.authorization.k8s.io";
    if !rbac && !is_name(name, longest, dots) {
        let why = if dots {
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        } else {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
        };
        causes.push(Cause::invalid("metadata.name", &name.into(), why));
    }
    labels(object, "/metadata/labels", &mut causes);
    let annotations = json::fields(object, "/metadata/annotations").into_iter().flatten();
    let mut size = 0;
    for (key, value) in annotations {
        size += key.len() + value.as_str().map_or(0, str::len);
        if !is_qualified(key) || !value.is_string() {
            causes.push(Cause::invalid("metadata.annotations", &key.as_str().into(), "a qualified name with a text is needed"));
        }
    }
    if size > 256 << 10 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            field: "metadata.annotations".into(),
            message: "Too long: may not be more than 262144 bytes".into(),
        });
    }
    let owners = json::items(object, "/metadata/ownerReferences");
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if json::text(owner, &format!("/{field}")).is_empty() {
                causes.push(Cause::invalid(format!("metadata.ownerReferences.{field}"), &"".into(), "must not be empty"));
            }
        }
    }
    if owners.iter().filter(|owner| json::flag(owner, "/controller")).count() > 1 {
        causes.push(Cause::invalid("metadata.ownerReferences", &owners.into(), "Only one reference can have Controller set to true"));
    }
    causes
}

fn labels(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in json::fields(object, path).into_iter().flatten() {
        let field = path[1..].replace('/', ".");
        if !is_qualified(key) {
            causes.push(Cause::invalid(field, &key.as_str().into(), "name part must consist of alphanumeric characters, '-', '_' or '.'"));
        } else if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid(field, value, LABEL_VALUE));
        }
    }
}

fn content(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    if let Some(schema) = &kind.schema {
        return schema.refusals(object, old);
    }
    let mut causes = Vec::new();
    match kind.plural.as_str() {
        "deployments" | "replicasets" => workload(object, &mut causes),
        "services" => {
            let headless = json::text(object, "/spec/clusterIP") == "None";
            let external = json::text(object, "/spec/type") == "ExternalName";
            if json::items(object, "/spec/ports").is_empty() && !headless && !external {
                causes.push(Cause::required("spec.ports", ""));
            }
            for number in ["port", "targetPort"] {
                ports(json::items(object, "/spec/ports"), "spec.ports", number, &mut causes);
            }
            labels(object, "/spec/selector", &mut causes);
        }
        "pods" if json::items(object, "/spec/containers").is_empty() => causes.push(Cause::required("spec.containers", "")),
        _ => {}
    }
    causes
}

/// The numbers of ports; names are not looked at.
fn ports(ports: &[Value], path: &str, number: &str, causes: &mut Vec<Cause>) {
    for (at, port) in ports.iter().enumerate() {
        let found = &port[number];
        if found.is_number() && !found.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) {
            causes.push(Cause::invalid(format!("{path}[{at}].{number}"), found, "must be between 1 and 65535, inclusive"));
        }
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    labels(object, "/spec/template/metadata/labels", causes);
    let selector = object.pointer("/spec/selector");
    match selector {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) if Labels::of_selector(selector).is_empty() => {
            causes.push(Cause::invalid("spec.selector", selector, "empty selector is invalid for deployment"));
        }
        Some(_) => {}
    }
    let found = object.pointer("/spec/template/metadata/labels");
    let fits = |selector| Labels::of_selector(selector).match_labels(found.and_then(Value::as_object));
    if !selector.is_some_and(fits) {
        let found = found.unwrap_or(&Value::Null);
        causes.push(Cause::invalid("spec.template.metadata.labels", found, "`selector` does not match template `labels`"));
    }
    let containers = json::items(object, "/spec/template/spec/containers");
    if containers.is_empty() {
        causes.push(Cause::required("spec.template.spec.containers", ""));
    }
    for (at, container) in containers.iter().enumerate() {
        ports(json::items(container, "/ports"), &format!("spec.template.spec.containers[{at}].ports"), "containerPort", causes);
    }
    for (field, least) in [("replicas", 0), ("minReadySeconds", 0), ("revisionHistoryLimit", 0)] {
        let value = json::int(object, &format!("/spec/{field}"));
        if value < least {
            causes.push(Cause::invalid(format!("spec.{field}"), &value.into(), "must be greater than or equal to 0"));
        }
    }
    let (deadline, min_ready) = (json::int(object, "/spec/progressDeadlineSeconds"), json::int(object, "/spec/minReadySeconds"));
    if object.pointer("/spec/progressDeadlineSeconds").is_some() && deadline <= min_ready {
        causes.push(Cause::invalid("spec.progressDeadlineSeconds", &deadline.into(), "must be greater than minReadySeconds"));
    }
    if json::text(object, "/spec/strategy/type") == "Recreate" && object.pointer("/spec/strategy/rollingUpdate").is_some() {
        causes.push(Cause::forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"));
    }
    let zero = |field: &str| matches!(object.pointer(&format!("/spec/strategy/rollingUpdate/{field}")), Some(value) if *value == 0 || *value == "0%");
    if zero("maxSurge") && zero("maxUnavailable") {
        causes.push(Cause::invalid("spec.strategy.rollingUpdate.maxUnavailable", &0.into(), "may not be 0 when `maxSurge` is 0"));
    }
}

fn immutable(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let changed = |path: &str| old.pointer(path) != new.pointer(path);
    let mut causes = Vec::new();
    match kind.plural.as_str() {
        "deployments" | "replicasets" if changed("/spec/selector") => {
            causes.push(Cause::invalid("spec.selector", new.pointer("/spec/selector").unwrap_or(&Value::Null), "field is immutable"));
        }
        "services"
            if changed("/spec/clusterIP")
                && json::text(old, "/spec/type") != "ExternalName"
                && json::text(new, "/spec/type") != "ExternalName" =>
        {
            causes.push(Cause::invalid("spec.clusterIPs[0]", &json::text(new, "/spec/clusterIP").into(), "may not change once set"));
        }
        "pods" => {
            let frozen = |object: &Value| {
                let mut spec = object.pointer("/spec").cloned().unwrap_or_default();
                for container in spec.pointer_mut("/containers").and_then(Value::as_array_mut).into_iter().flatten() {
                    json::unset(container, "/image");
                }
                for field in ["/activeDeadlineSeconds", "/tolerations", "/terminationGracePeriodSeconds"] {
                    json::unset(&mut spec, field);
                }
                // The scheduler's binding is not an update: a pod that has no node may get one.
                if json::text(old, "/spec/nodeName").is_empty() {
                    json::unset(&mut spec, "/nodeName");
                }
                spec
            };
            if frozen(old) != frozen(new) {
                causes.push(Cause::forbidden(
                    "spec",
                    "pod updates may not change fields other than `spec.containers[*].image`, `spec.tolerations` and a few more",
                ));
            }
        }
        "leases" | "endpointslices" if changed("/addressType") => {
            causes.push(Cause::invalid("addressType", new.pointer("/addressType").unwrap_or(&Value::Null), "field is immutable"));
        }
        _ => {}
    }
    if json::deleting(old) {
        let kept = json::items(old, "/metadata/finalizers");
        if json::items(new, "/metadata/finalizers").iter().any(|finalizer| !kept.contains(finalizer)) {
            causes.push(Cause::forbidden("metadata.finalizers", "no new finalizers can be added if the object is being deleted"));
        }
    }
    causes
}

fn is_name(name: &str, longest: usize, dots: bool) -> bool {
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    name.len() <= longest
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || (dots && letter == '.'))
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_word(value)
}

fn is_word(value: &str) -> bool {
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    value.len() <= 63
        && edge(value.chars().next())
        && edge(value.chars().last())
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_name(prefix, 253, true) && is_word(name),
        None => is_word(key),
    }
}
