//! Strategic merge patch: lists of built-in kinds are merged by key.

use serde_json::{Map, Value};

use super::problem::Problem;

/// Lists that are merged by a key, by the name of their field; every other list is replaced as a whole.
const MERGE_KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("conditions", "type"),
    ("ownerReferences", "uid"),
    ("secrets", "name"),
];

/// Lists of plain values that are merged as sets.
const SETS: &[&str] = &["finalizers"];

/// The key of a list's items. `ports` has two meanings: of a container and of a Service.
pub(super) fn merge_key(field: &str, items: &[Value]) -> Option<&'static str> {
    if field == "ports" {
        return Some(if items.iter().any(|item| item.get("containerPort").is_some()) { "containerPort" } else { "port" });
    }
    MERGE_KEYS.iter().find(|(name, _)| *name == field).map(|(_, key)| *key)
}

/// Applies the patch.
///
/// # Errors
/// `BadRequest` for a list item without its key.
pub fn merge(current: &Value, patch: &Value) -> Result<Value, Problem> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else { return Ok(patch.clone()) };
    fields(current, patch).map(Value::Object)
}

fn fields(current: &Map<String, Value>, patch: &Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let directive = patch.get("$patch").and_then(Value::as_str);
    let mut next = if directive == Some("replace") { Map::new() } else { current.clone() };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        next.retain(|name, _| kept.iter().any(|known| known == name));
    }
    for (name, change) in patch {
        if name.starts_with('$') {
            if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/")
                && let (Some(gone), Some(items)) = (change.as_array(), next.get_mut(list).and_then(Value::as_array_mut))
            {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        match (next.get(name), change) {
            (_, Value::Null) => drop(next.remove(name)),
            (Some(Value::Object(old)), Value::Object(new)) => {
                let merged = fields(old, new)?;
                next.insert(name.clone(), Value::Object(merged));
            }
            (_, Value::Object(new)) => {
                let merged = fields(&Map::new(), new)?;
                next.insert(name.clone(), Value::Object(merged));
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let merged = list(name, old, new)?;
                next.insert(name.clone(), Value::Array(merged));
            }
            (_, Value::Array(new)) => {
                let merged = list(name, &[], new)?;
                next.insert(name.clone(), Value::Array(merged));
            }
            (_, plain) => drop(next.insert(name.clone(), plain.clone())),
        }
    }
    Ok(next)
}

fn list(field: &str, old: &[Value], new: &[Value]) -> Result<Vec<Value>, Problem> {
    if SETS.contains(&field) {
        let added = new.iter().filter(|item| !old.contains(item));
        return Ok(old.iter().chain(added).cloned().collect());
    }
    let Some(key) = merge_key(field, if new.is_empty() { old } else { new }) else { return Ok(new.to_vec()) };
    let mut merged =
        if new.iter().any(|item| item.get("$patch").is_some_and(|word| word == "replace")) { Vec::new() } else { old.to_vec() };
    for item in new {
        let directive = item.get("$patch").and_then(Value::as_str);
        if directive == Some("replace") {
            continue;
        }
        let Some(id) = item.get(key) else {
            return Err(Problem::bad_request(format!("map: {item} does not contain declared merge key: {key}")));
        };
        let place = merged.iter().position(|known| known.get(key) == Some(id));
        match (place, directive) {
            (Some(place), Some("delete")) => drop(merged.remove(place)),
            (None, Some("delete")) => {}
            (Some(place), _) => merged[place] = merge(&merged[place], item)?,
            (None, _) => merged.push(merge(&Value::Object(Map::new()), item)?),
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_and_their_env_are_merged_by_name_and_ports_by_number() {
        let current = json!({"spec": {"containers": [
            {"name": "app", "image": "a:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "ports": [{"containerPort": 80}]},
            {"name": "side", "image": "s:1"},
        ]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "app"}], "containers": [
            {"name": "app", "image": "a:2", "env": [{"name": "B", "$patch": "delete"}, {"name": "C", "value": "3"}], "ports": [{"containerPort": 81}]},
        ]}});
        assert_eq!(
            merge(&current, &patch).unwrap(),
            json!({"spec": {"containers": [
                {"name": "app", "image": "a:2", "env": [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}], "ports": [{"containerPort": 80}, {"containerPort": 81}]},
                {"name": "side", "image": "s:1"},
            ]}})
        );
    }

    #[test]
    fn maps_are_merged_null_removes_and_retained_keys_drop_the_others() {
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "paused": true}});
        let patch = json!({"spec": {"paused": null, "strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(merge(&current, &patch).unwrap(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }
}
