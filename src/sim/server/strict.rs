//! Fields that a kind does not have: refused or warned about where a request asks for that, as kubectl does.
//!
//! A request that does not ask gets neither: on a real server it would get warnings.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{kinds::Kind, request::Request};

/// Looks for unknown fields, and in objects of the built-in kinds that people write for values of the wrong type. Returns warnings.
///
/// # Errors
/// What is wrong, where the request wants it refused.
pub(super) fn check(kind: &Kind, object: &Value, request: &Request) -> Result<Vec<String>, String> {
    let asked = request.param("fieldValidation");
    if !matches!(asked, "Strict" | "Warn") {
        return Ok(Vec::new());
    }
    let unknown = match &kind.schema {
        Some(schema) => schema.unknown(object),
        None => unknown_to_type(kind, object)?,
    };
    let said: Vec<String> = unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect();
    if asked == "Strict" && !said.is_empty() {
        return Err(format!("strict decoding error: {}", said.join(", ")));
    }
    Ok(said)
}

fn unknown_to_type(kind: &Kind, object: &Value) -> Result<Vec<String>, String> {
    let kept = match kind.qualified().as_str() {
        "Deployment.apps" => kept::<Deployment>(object),
        "ReplicaSet.apps" => kept::<ReplicaSet>(object),
        "ConfigMap" => kept::<ConfigMap>(object),
        "Namespace" => kept::<Namespace>(object),
        "Pod" => kept::<Pod>(object),
        "Secret" => kept::<Secret>(object),
        "Service" => kept::<Service>(object),
        "ServiceAccount" => kept::<ServiceAccount>(object),
        "CustomResourceDefinition.apiextensions.k8s.io" => kept::<CustomResourceDefinition>(object),
        _ => return Ok(Vec::new()),
    };
    let mut unknown = Vec::new();
    lost(object, &kept.map_err(|error| error.to_string())?, "", &mut unknown);
    Ok(unknown)
}

/// What a type keeps of an object.
fn kept<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(object)?)
}

fn lost(object: &Value, kept: &Value, path: &str, unknown: &mut Vec<String>) {
    match object {
        Value::Object(fields) => {
            for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
                match kept.get(field) {
                    Some(kept) => lost(value, kept, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                lost(item, &kept[at], &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}
