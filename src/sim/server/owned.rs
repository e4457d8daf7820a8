//! Who owns which field: sets of fields in the form of `metadata.managedFields`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{kinds::Kind, strategic};
use crate::sim::json;

/// Maps and objects that are owned as a whole, by the name of their field.
const ATOMIC: [&str; 6] = ["selector", "nodeSelector", "fieldRef", "resourceFieldRef", "secretKeyRef", "configMapKeyRef"];
/// What of the metadata can be owned.
const METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// A way to a field: `f:` and a field's name, or `k:` and the key of a list's item, a step each. Its last step may be an item by itself.
pub(super) type Path = Vec<String>;

/// Fields that somebody owns: each leaf, and each item of a list that is merged by key.
pub(super) type Fields = BTreeSet<Path>;

/// How a value with items or fields of its own is merged.
pub(super) enum Shape {
    Fields,
    /// A list whose items are told apart by this key.
    Items(&'static str),
    /// A whole.
    Leaf,
}

/// How the value of a field is merged. Lists of custom kinds are wholes, as in definitions that say nothing else.
pub(super) fn shape(kind: &Kind, field: &str, value: &Value) -> Shape {
    match value {
        Value::Object(fields) if !fields.is_empty() && (kind.is_custom() || !ATOMIC.contains(&field)) => Shape::Fields,
        Value::Array(items) if !kind.is_custom() => strategic::merge_key(field, items).map_or(Shape::Leaf, Shape::Items),
        _ => Shape::Leaf,
    }
}

/// The step to an item.
pub(super) fn item_step(key: &str, item: &Value) -> String {
    format!("k:{}", json!({ key: item.get(key) }))
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
            for (field, value) in value.as_object().into_iter().flatten() {
                path.push(format!("f:{field}"));
                collect(kind, field, value, path, found);
                path.pop();
            }
        }
        Shape::Items(key) => {
            for item in value.as_array().into_iter().flatten() {
                path.push(item_step(key, item));
                found.insert(path.clone());
                collect(kind, "", item, path, found);
                path.pop();
            }
        }
        Shape::Leaf => drop(found.insert(path.clone())),
    }
}

/// What stands at the end of a path.
pub(super) fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |here, step| match step.split_once(':')? {
        ("f", field) => here.get(field),
        (_, key) => here.as_array()?.iter().find(|item| has_key(item, key)),
    })
}

/// Takes away what stands at the end of a path, and what is empty then on the way.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    let Some((sort, name)) = step.split_once(':') else { return };
    match object {
        Value::Object(fields) if sort == "f" => {
            let Some(inner) = fields.get_mut(name) else { return };
            remove(inner, rest);
            if rest.is_empty() || inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty) {
                fields.remove(name);
            }
        }
        Value::Array(items) => {
            let Some(place) = items.iter().position(|item| has_key(item, name)) else { return };
            if rest.is_empty() {
                items.remove(place);
            } else {
                remove(&mut items[place], rest);
            }
        }
        _ => {}
    }
}

fn has_key(item: &Value, key: &str) -> bool {
    let key: Value = serde_json::from_str(key).unwrap_or_default();
    key.as_object().into_iter().flatten().all(|(field, value)| item.get(field) == Some(value))
}

/// As `fieldsV1`.
pub(super) fn write(fields: &Fields) -> Value {
    let mut written = json!({});
    for path in fields {
        let mut here = &mut written;
        for step in path {
            here = json::fields_mut(here, "").entry(step.clone()).or_insert_with(|| json!({}));
        }
        if path.last().is_some_and(|step| step.starts_with("k:")) {
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
        Some(("k", key)) => format!("[{}]", key.trim_matches(['{', '}']).replacen('"', "", 2).replacen(':', "=", 1)),
        Some((_, field)) => format!(".{field}"),
        None => step.clone(),
    };
    path.iter().map(step).collect()
}
