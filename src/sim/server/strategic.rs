//! Strategic merge patch: lists of built-in kinds are merged by key, and what a patch adds comes before what it does not speak of.

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
/// Begins the name of a field that says in which order the items of a list are to stand.
const ORDER: &str = "$setElementOrder/";

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
    let order = |list: &str| patch.get(&format!("{ORDER}{list}")).and_then(Value::as_array);
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
                let merged = list(name, old, new, order(name))?;
                next.insert(name.clone(), Value::Array(merged));
            }
            (_, Value::Array(new)) => {
                let merged = list(name, &[], new, order(name))?;
                next.insert(name.clone(), Value::Array(merged));
            }
            (_, plain) => drop(next.insert(name.clone(), plain.clone())),
        }
    }
    Ok(next)
}

fn list(field: &str, old: &[Value], new: &[Value], order: Option<&Vec<Value>>) -> Result<Vec<Value>, Problem> {
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
    Ok(ordered(merged, key, order.map_or(new, Vec::as_slice), old))
}

/// The items that a patch speaks of in the order in which it does, the others in the order that they had. Of one of these and one of
/// those, the one goes first that stood first; what is new goes before what the patch does not speak of.
fn ordered(merged: Vec<Value>, key: &str, spoken_of: &[Value], before: &[Value]) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|known| known.get(key) == item.get(key));
    let (mut ours, mut others): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| place(spoken_of, item).is_some());
    ours.sort_by_key(|item| place(spoken_of, item));
    others.sort_by_key(|item| place(before, item));
    let (mut ours, mut others) = (ours.into_iter().peekable(), others.into_iter().peekable());
    let mut all = Vec::new();
    while let (Some(our), Some(other)) = (ours.peek(), others.peek()) {
        let stood_first = matches!((place(before, other), place(before, our)), (Some(other), Some(our)) if other < our);
        all.extend(if stood_first { others.next() } else { ours.next() });
    }
    all.extend(ours.chain(others));
    all
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
                {"name": "app", "image": "a:2", "env": [{"name": "C", "value": "3"}, {"name": "A", "value": "1"}], "ports": [{"containerPort": 81}, {"containerPort": 80}]},
                {"name": "side", "image": "s:1"},
            ]}})
        );
    }

    #[test]
    fn what_a_patch_adds_comes_first_unless_it_says_where_it_is_to_stand() {
        let current = json!({"env": [{"name": "A"}, {"name": "B"}]});
        let names = |patch: Value| -> Vec<String> {
            let merged = merge(&current, &patch).unwrap();
            merged["env"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(json!({"env": [{"name": "C"}]})), ["C", "A", "B"]);
        assert_eq!(names(json!({"env": [{"name": "B", "value": "2"}]})), ["A", "B"]);
        let order = json!([{"name": "A"}, {"name": "B"}, {"name": "C"}]);
        assert_eq!(names(json!({"env": [{"name": "C"}], "$setElementOrder/env": order})), ["A", "B", "C"]);
    }

    #[test]
    fn maps_are_merged_null_removes_and_retained_keys_drop_the_others() {
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "paused": true}});
        let patch = json!({"spec": {"paused": null, "strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(merge(&current, &patch).unwrap(), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }
}
