//! The scale subresource: a small object over the two numbers of a larger one.

use serde_json::{Value, json};

use super::{kinds::Kind, selector::Labels};
use crate::sim::json;

/// The `autoscaling/v1` Scale of an object.
pub fn of(kind: &Kind, object: &Value) -> Value {
    let (spec, status) = kind.scale.as_ref().map_or(("", ""), |scale| (scale.spec_replicas.as_str(), scale.status_replicas.as_str()));
    let metadata = object.pointer("/metadata").unwrap_or(&Value::Null);
    let mut scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {},
        "spec": { "replicas": json::int(object, spec) }, "status": { "replicas": json::int(object, status) },
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(field) {
            scale["metadata"][field] = value.clone();
        }
    }
    if let Some(selector) = object.pointer("/spec/selector") {
        scale["status"]["selector"] = Labels::of_selector(selector).to_string().into();
    }
    scale
}

/// The object with the number of replicas that its Scale asks for.
pub fn apply(kind: &Kind, object: &Value, scale: &Value) -> Value {
    let mut object = object.clone();
    if let Some(paths) = &kind.scale {
        json::set(&mut object, &paths.spec_replicas, json::int(scale, "/spec/replicas"));
    }
    json::copy(scale, &mut object, "/metadata/resourceVersion");
    object
}
