//! Fields that a kind does not have are never stored: they are refused, warned about or passed over, as a request asks. Of built-in kinds,
//! those are known that people write most, with the fields of Kubernetes 1.33.

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

/// Drops unknown fields, and returns warnings.
///
/// # Errors
/// What is wrong: unknown fields, where the request wants them refused; values of the wrong type in built-in kinds that people write.
pub(super) fn check(kind: &Kind, object: &mut Value, request: &Request) -> Result<Vec<String>, String> {
    let unknown = match &kind.schema {
        Some(schema) => {
            let unknown = schema.unknown(object);
            schema.prune(object);
            unknown
        }
        None => drop_unknown_to_type(kind, object)?,
    };
    let said: Vec<String> = unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect();
    match request.param("fieldValidation") {
        "Strict" if !said.is_empty() => Err(format!("strict decoding error: {}", said.join(", "))),
        "Ignore" => Ok(Vec::new()),
        _ => Ok(said),
    }
}

fn drop_unknown_to_type(kind: &Kind, object: &mut Value) -> Result<Vec<String>, String> {
    spell_quantities(object);
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

/// Writes amounts of resources as texts, as a server does that is sent `cpu: 1`. Only in `resources`: a definition may have a property named
/// `limits`, and the numbers in that are limits of another kind.
fn spell_quantities(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            let resources = fields.get_mut("resources").and_then(Value::as_object_mut).into_iter().flatten();
            let amounts = resources.filter(|(field, _)| matches!(field.as_str(), "limits" | "requests"));
            for (_, amount) in amounts.filter_map(|(_, amounts)| amounts.as_object_mut()).flatten() {
                if amount.is_number() {
                    *amount = amount.to_string().into();
                }
            }
            fields.values_mut().for_each(spell_quantities);
        }
        Value::Array(items) => items.iter_mut().for_each(spell_quantities),
        _ => {}
    }
}

/// What a type keeps of an object.
fn kept<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(object)?)
}

fn lost(object: &mut Value, kept: &Value, path: &str, unknown: &mut Vec<String>) {
    match object {
        Value::Object(fields) => fields.retain(|field, value| {
            let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
            match kept.get(field) {
                Some(kept) => lost(value, kept, &path, unknown),
                None if value.is_null() => {}
                None => unknown.push(path),
            }
            value.is_null() || kept.get(field).is_some()
        }),
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                lost(item, &kept[at], &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::{sample, server::kinds::Kinds};

    fn checked(object: &mut Value, asked: &str) -> Result<Vec<String>, String> {
        let kinds = Kinds::builtin();
        check(kinds.find("apps", "deployments").unwrap(), object, &Request::new("POST", &format!("/?fieldValidation={asked}"), "alice"))
    }

    #[test]
    fn a_field_that_a_deployment_does_not_have_is_refused_or_dropped() {
        let clean = sample::deployment("default", "hello", "v1", 1);
        let mut wrong = clean.clone();
        wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = json!("Always");
        wrong["spec"]["paused"] = Value::Null;
        let field = r#"unknown field "spec.template.spec.containers[0].imagePullPolice""#;
        assert_eq!(checked(&mut wrong.clone(), "Strict"), Err(format!("strict decoding error: {field}")));
        assert_eq!(checked(&mut wrong.clone(), ""), Ok(vec![field.to_owned()]));
        assert_eq!(checked(&mut wrong, "Ignore"), Ok(Vec::new()));
        crate::sim::json::drop_nulls(&mut wrong);
        assert_eq!(wrong, clean);
    }

    #[test]
    fn an_amount_may_be_a_number() {
        let mut object = sample::deployment("default", "hello", "v1", 1);
        object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": 1, "memory": "1Gi"}});
        assert_eq!(checked(&mut object, "Strict"), Ok(Vec::new()));
        assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["resources"], json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
    }

    #[test]
    fn every_definition_of_ours_is_kept_as_it_is() {
        let kinds = Kinds::builtin();
        let kind = kinds.find("apiextensions.k8s.io", "customresourcedefinitions").unwrap();
        for (name, definition) in crate::cli::command::crds::definitions() {
            let mut object = serde_json::to_value(definition).unwrap();
            crate::sim::json::drop_nulls(&mut object);
            let before = object.clone();
            let unknown = check(kind, &mut object, &Request::new("POST", "/?fieldValidation=Strict", "alice"));
            assert_eq!((unknown, object), (Ok(Vec::new()), before), "{name}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_whatever_is_asked() {
        let mut wrong = sample::deployment("default", "hello", "v1", 1);
        wrong["spec"]["replicas"] = json!("many");
        assert_eq!(checked(&mut wrong, "Ignore").unwrap_err(), r#"invalid type: string "many", expected i32"#);
    }
}
