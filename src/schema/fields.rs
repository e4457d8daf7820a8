//! Which fields a schema knows.

use serde_json::{Map, Value, json};

/// What the metadata of an object may have.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Gives the schema of an object the fields that every object has. What is in them is not the schema's concern.
pub(super) fn add_object_fields(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(properties) = schema.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        let text = || json!({ "type": "string" });
        let metadata = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let fields = [("apiVersion", text()), ("kind", text()), ("metadata", metadata)];
        properties.extend(fields.map(|(field, schema)| (field.to_owned(), schema)));
    }
}

/// What a schema says of one field.
enum Known<'a> {
    As(&'a Value),
    /// Kept, and nothing is known of what is in it.
    Freely,
    Not,
}

fn known<'a>(schema: &'a Value, field: &str) -> Known<'a> {
    match (schema["properties"].get(field), schema.get("additionalProperties")) {
        (Some(known), _) | (None, Some(known)) => Known::As(known),
        (None, None) if schema["x-kubernetes-preserve-unknown-fields"] == true => Known::Freely,
        (None, None) => Known::Not,
    }
}

fn inside(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Tells the path of each unknown field.
pub(super) fn unknown(schema: &Value, object: &Value, tell: &mut impl FnMut(String)) {
    for field in object["metadata"].as_object().into_iter().flat_map(Map::keys) {
        if !METADATA_FIELDS.contains(&field.as_str()) {
            tell(format!("metadata.{field}"));
        }
    }
    unknown_in(schema, object, "", tell);
}

fn unknown_in(schema: &Value, value: &Value, path: &str, tell: &mut impl FnMut(String)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match known(schema, field) {
                    Known::As(schema) => unknown_in(schema, value, &inside(path, field), tell),
                    Known::Freely => {}
                    Known::Not => tell(inside(path, field)),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                unknown_in(&schema["items"], item, &format!("{path}[{at}]"), tell);
            }
        }
        _ => {}
    }
}

/// Drops unknown fields, and every field that is `null` and may not be.
pub(super) fn prune(schema: &Value, object: &mut Value) {
    if let Some(fields) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        fields.retain(|field, _| METADATA_FIELDS.contains(&field.as_str()));
    }
    prune_in(schema, object);
}

fn prune_in(schema: &Value, value: &mut Value) {
    match value {
        // The object that a scalar should have been stays, to be refused.
        Value::Object(fields) => fields.retain(|field, value| match known(schema, field) {
            Known::As(schema) if value.is_null() && schema["nullable"] != true => false,
            Known::As(schema) => {
                prune_in(schema, value);
                true
            }
            Known::Freely => true,
            Known::Not => false,
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| prune_in(&schema["items"], item)),
        _ => {}
    }
}

/// To rules, a field that is `null` is absent.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(_, field)| !field.is_null()).map(|(name, field)| (name.clone(), without_nulls(field))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// What stands at a path such as `spec.steps[0].weight`.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let pointer: String = path.replace('[', ".").replace(']', "").split('.').fold(String::new(), |pointer, part| pointer + "/" + part);
    object.pointer(&pointer)
}
