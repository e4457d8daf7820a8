//! Reading and writing of objects as JSON. A path is a JSON pointer; what is missing reads as empty.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Fields of an object.
pub type Fields = Map<String, Value>;

/// The text at `path`, or `""`.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at `path`, or 0.
pub fn int(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether `true` stands at `path`.
pub fn flag(object: &Value, path: &str) -> bool {
    object.pointer(path).and_then(Value::as_bool).unwrap_or_default()
}

/// The items at `path`, or none.
pub fn items<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The fields at `path`, if an object stands there.
pub fn fields<'a>(object: &'a Value, path: &str) -> Option<&'a Fields> {
    object.pointer(path).and_then(Value::as_object)
}

/// The RFC 3339 time at `path`.
pub fn time(object: &Value, path: &str) -> Option<Timestamp> {
    text(object, path).parse().ok()
}

/// The value of a label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    fields(object, "/metadata/labels")?.get(key)?.as_str()
}

/// The value of an annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    fields(object, "/metadata/annotations")?.get(key)?.as_str()
}

/// The fields under `path`, made where they are missing. Anything else that stands in the way is replaced.
pub fn fields_mut<'a>(object: &'a mut Value, path: &str) -> &'a mut Fields {
    let mut here = object;
    for name in path.split('/').skip(1) {
        here = object_at(here).entry(name.replace("~1", "/").replace("~0", "~")).or_insert(Value::Null);
    }
    object_at(here)
}

fn object_at(value: &mut Value) -> &mut Fields {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("made an object just above"),
    }
}

/// Puts `value` at `path`, making the objects on the way.
pub fn set(object: &mut Value, path: &str, value: impl Into<Value>) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    fields_mut(object, parent).insert(name.replace("~1", "/").replace("~0", "~"), value.into());
}

/// Puts `value` at `path` unless something stands there.
pub fn default(object: &mut Value, path: &str, value: impl Into<Value>) {
    if object.pointer(path).is_none_or(Value::is_null) {
        set(object, path, value);
    }
}

/// Takes away what stands at `path`.
pub fn unset(object: &mut Value, path: &str) -> Option<Value> {
    let (parent, name) = path.rsplit_once('/')?;
    object.pointer_mut(parent)?.as_object_mut()?.remove(&name.replace("~1", "/").replace("~0", "~"))
}

/// Puts a copy of what `from` has at `path` there, or takes it away where `from` has nothing.
pub fn copy(from: &Value, to: &mut Value, path: &str) {
    match from.pointer(path) {
        Some(value) => set(to, path, value.clone()),
        None => drop(unset(to, path)),
    }
}

/// Takes away every `null` field, at any depth: typed servers never keep one.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The owner reference that says `controller: true`.
pub fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// The uid of the controlling owner, or `""`.
pub fn controller_uid(object: &Value) -> &str {
    controller(object).map(|owner| text(owner, "/uid")).unwrap_or_default()
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// Whether a deletion has begun.
pub fn deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// The status condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}
