//! Who owns which field: sets of fields in the form of `metadata.managedFields`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{kinds::Kind, strategic};
use crate::sim::json;

/// Maps and objects that are owned as a whole, by the name of their field.
const ATOMIC: [&str; 6] = ["selector", "nodeSelector", "fieldRef", "resourceFieldRef", "secretKeyRef", "configMapKeyRef"];
/// What of the metadata can be owned.
const METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];
/// What tells items of a list apart beside the field by which strategic merge does.
const SECOND_KEYS: [(&str, &str); 3] = [("port", "protocol"), ("containerPort", "protocol"), ("topologyKey", "whenUnsatisfiable")];

/// A way to a field, a step each: `f:` and a field's name, `k:` and the key of a list's item, `v:` and an item that is a value of its own.
/// Its last step may be an item by itself.
pub(super) type Path = Vec<String>;

/// Fields that somebody owns: each leaf, each object that was said to be there without anything in it, and each item of a list that is
/// merged.
pub(super) type Fields = BTreeSet<Path>;

/// How a value with items or fields of its own is merged.
pub(super) enum Shape {
    Fields,
    /// A list whose items are told apart by this field first.
    Items(&'static str),
    /// A list of values, each for itself.
    Set,
    /// A whole.
    Leaf,
}

/// How the value of a field is merged. Lists of custom kinds are wholes, as in definitions that say nothing else; their metadata are those
/// of every kind.
pub(super) fn shape(kind: &Kind, field: &str, value: &Value) -> Shape {
    match value {
        Value::Object(_) if kind.is_custom() || !ATOMIC.contains(&field) => Shape::Fields,
        Value::Array(_) if field == "finalizers" => Shape::Set,
        Value::Array(items) if field == "ownerReferences" || !kind.is_custom() => {
            strategic::merge_key(field, items).map_or(Shape::Leaf, Shape::Items)
        }
        _ => Shape::Leaf,
    }
}

/// The key of an item in a list whose items are told apart by this field first.
pub(super) fn key_of(field: &str, item: &Value) -> Value {
    let second = SECOND_KEYS.iter().find(|(first, _)| *first == field).map(|(_, second)| *second);
    std::iter::once(field).chain(second).map(|field| (field.to_owned(), key_part(item, field))).collect()
}

/// A field of a key. A port that names no protocol is one of TCP.
fn key_part(item: &Value, field: &str) -> Value {
    match item.get(field) {
        Some(found) => found.clone(),
        None if field == "protocol" => "TCP".into(),
        None => Value::Null,
    }
}

/// Everything of an object that can be owned: not its identity, and not its status.
pub(super) fn of(kind: &Kind, object: &Value) -> Fields {
    let mut found = Fields::new();
    for (field, value) in object.as_object().into_iter().flatten() {
        match field.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for field in METADATA {
                    if let Some(value) = value.get(field) {
                        collect(kind, field, value, &mut vec!["f:metadata".into(), format!("f:{field}")], &mut found);
                    }
                }
            }
            field => collect(kind, field, value, &mut vec![format!("f:{field}")], &mut found),
        }
    }
    found
}

fn collect(kind: &Kind, field: &str, value: &Value, path: &mut Path, found: &mut Fields) {
    match shape(kind, field, value) {
        Shape::Fields => {
            if is_bare(value) {
                found.insert(path.clone());
            }
            for (field, value) in value.as_object().into_iter().flatten() {
                path.push(format!("f:{field}"));
                collect(kind, field, value, path, found);
                path.pop();
            }
        }
        Shape::Items(key) => {
            for item in value.as_array().into_iter().flatten() {
                path.push(format!("k:{}", key_of(key, item)));
                found.insert(path.clone());
                collect(kind, "", item, path, found);
                path.pop();
            }
        }
        Shape::Set => {
            for item in value.as_array().into_iter().flatten() {
                path.push(format!("v:{item}"));
                found.insert(path.clone());
                path.pop();
            }
        }
        Shape::Leaf => drop(found.insert(path.clone())),
    }
}

/// Whether it is an object without anything in it.
fn is_bare(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// Whether two objects say the same of a field. That there is an object says nothing of what is in it.
pub(super) fn agree(kind: &Kind, found: &Value, said: &Value, path: &[String]) -> bool {
    let field = path.last().and_then(|step| step.strip_prefix("f:")).unwrap_or_default();
    match (at(found, path), at(said, path)) {
        (None | Some(Value::Object(_)), Some(said)) if is_bare(said) && matches!(shape(kind, field, said), Shape::Fields) => true,
        (found, said) => found == said,
    }
}

/// What stands at the end of a path.
pub(super) fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |here, step| match step.strip_prefix("f:") {
        Some(field) => here.get(field),
        None => here.as_array()?.iter().find(|item| leads_to(step, item)),
    })
}

/// Takes away what stands at the end of a path, and what is empty then on the way.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    match object {
        Value::Object(fields) => {
            let Some(field) = step.strip_prefix("f:") else { return };
            let Some(inner) = fields.get_mut(field) else { return };
            remove(inner, rest);
            if rest.is_empty() || is_bare(inner) || inner.as_array().is_some_and(Vec::is_empty) {
                fields.remove(field);
            }
        }
        Value::Array(items) => {
            let Some(place) = items.iter().position(|item| leads_to(step, item)) else { return };
            if rest.is_empty() {
                items.remove(place);
            } else {
                remove(&mut items[place], rest);
            }
        }
        _ => {}
    }
}

/// Whether a step leads to this item of a list.
fn leads_to(step: &str, item: &Value) -> bool {
    match step.split_once(':') {
        Some(("k", key)) => key_read(key).iter().all(|(field, value)| key_part(item, field) == *value),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        _ => false,
    }
}

fn key_read(key: &str) -> Map<String, Value> {
    serde_json::from_str(key).unwrap_or_default()
}

/// Whether this is an item of a list that is merged by key.
pub(super) fn is_item(path: &[String]) -> bool {
    path.last().is_some_and(|step| step.starts_with("k:"))
}

/// Whether this is a part of an item's key, without which the item would not be found again.
pub(super) fn is_key(path: &[String]) -> bool {
    let [.., item, field] = path else { return false };
    match (item.strip_prefix("k:"), field.strip_prefix("f:")) {
        (Some(key), Some(field)) => key_read(key).contains_key(field),
        _ => false,
    }
}

/// As `fieldsV1`.
pub(super) fn write(fields: &Fields) -> Value {
    let mut written = json!({});
    for path in fields {
        let mut here = &mut written;
        for step in path {
            here = json::fields_mut(here, "").entry(step.clone()).or_insert_with(|| json!({}));
        }
        if is_item(path) {
            json::set(here, "/.", json!({}));
        }
    }
    written
}

/// From `fieldsV1`.
pub(super) fn read(written: &Value) -> Fields {
    fn descend(here: &Value, path: &mut Path, found: &mut Fields) {
        let inner = here.as_object().filter(|inner| !inner.is_empty());
        if inner.is_none() {
            found.insert(path.clone());
        }
        for (step, value) in inner.into_iter().flatten() {
            if step == "." {
                found.insert(path.clone());
            } else {
                path.push(step.clone());
                descend(value, path, found);
                path.pop();
            }
        }
    }
    let mut found = Fields::new();
    descend(written, &mut Path::new(), &mut found);
    found
}

/// As people read it: `.spec.template.spec.containers[name="app"].image`.
pub(super) fn shown(path: &[String]) -> String {
    let step = |step: &String| match step.split_once(':') {
        Some(("k", key)) => {
            let parts: Vec<String> = key_read(key).iter().map(|(field, value)| format!("{field}={value}")).collect();
            format!("[{}]", parts.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, field)) => format!(".{field}"),
        None => step.clone(),
    };
    path.iter().map(step).collect()
}
