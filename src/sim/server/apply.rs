//! Server-side apply: what a manager says of an object becomes so, what it no longer says goes, and what others own is a conflict.
//!
//! Ownership is kept from the first apply on, or from an object's creation on ([`Ownership`]), and of everything but the status; what an
//! object had before belongs to a manager of its own, as on a real server for objects without a history. Lists of built-in kinds are merged
//! by the keys of strategic merge, ports by their protocol too.

use serde_json::{Value, json};

use crate::sim::{clock::seconds, json};

use super::{
    call::Call,
    kinds::Kind,
    owned::{self, Fields, Path, Shape},
    problem::Problem,
};

/// From when on it is kept who owns which field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// From an object's first apply on: until then nobody asks, and each write would take its time for it.
    #[default]
    SinceApply,
    /// From its creation on, as on a real server.
    SinceCreation,
}

/// Who owns what an object had before its first apply.
const BEFORE: &str = "before-first-apply";
const APPLY: &str = "Apply";
const UPDATE: &str = "Update";

/// An entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq)]
struct Manager {
    name: String,
    operation: String,
    api_version: String,
    time: String,
    fields: Fields,
}

fn read(object: &Value) -> Vec<Manager> {
    let manager = |entry: &Value| Manager {
        name: json::text(entry, "/manager").into(),
        operation: json::text(entry, "/operation").into(),
        api_version: json::text(entry, "/apiVersion").into(),
        time: json::text(entry, "/time").into(),
        fields: owned::read(&entry["fieldsV1"]),
    };
    json::items(object, "/metadata/managedFields").iter().map(manager).collect()
}

fn write(managers: &[Manager], object: &mut Value) {
    let entry = |manager: &Manager| {
        json!({
            "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version, "time": manager.time,
            "fieldsType": "FieldsV1", "fieldsV1": owned::write(&manager.fields),
        })
    };
    let entries: Vec<Value> = managers.iter().filter(|manager| !manager.fields.is_empty()).map(entry).collect();
    json::set(object, "/metadata/managedFields", entries);
}

/// The entry of a manager, made where there is none.
fn entry<'a>(managers: &'a mut Vec<Manager>, call: &Call, kind: &Kind, operation: &str) -> &'a mut Manager {
    let place = managers.iter().position(|known| known.name == call.manager && known.operation == operation).unwrap_or_else(|| {
        managers.push(Manager {
            name: call.manager.clone(),
            operation: operation.into(),
            api_version: kind.api_version(),
            time: seconds(call.now),
            fields: Fields::new(),
        });
        managers.len() - 1
    });
    &mut managers[place]
}

/// A new object, as its manager applies it.
pub(super) fn created(call: &Call, kind: &Kind, mut applied: Value) -> Value {
    let mut managers = Vec::new();
    entry(&mut managers, call, kind, APPLY).fields = owned::of(kind, &applied);
    write(&managers, &mut applied);
    applied
}

/// Gives everything in a new object to its author.
pub(super) fn posted(call: &Call, kind: &Kind, object: &mut Value) {
    let mut managers = Vec::new();
    entry(&mut managers, call, kind, UPDATE).fields = owned::of(kind, object);
    write(&managers, object);
}

/// A stored object with what its manager applies.
///
/// # Errors
/// `Conflict` for fields of others that would change, unless by force.
pub(super) fn merged(call: &Call, kind: &Kind, live: &Value, applied: &Value, by: Will) -> Result<Value, Problem> {
    let mut managers = read(live);
    if managers.is_empty() {
        let fields = owned::of(kind, live);
        managers.push(Manager {
            name: BEFORE.into(),
            operation: UPDATE.into(),
            api_version: kind.api_version(),
            time: seconds(call.now),
            fields,
        });
    }
    let wanted = owned::of(kind, applied);
    let is_own = |manager: &Manager| manager.name == call.manager && manager.operation == APPLY;
    let disputed = |path: &&Path| !owned::is_item(path) && !owned::agree(kind, live, applied, path);
    let mut conflicts = Vec::new();
    for other in managers.iter_mut().filter(|manager| !is_own(manager)) {
        let lost: Vec<Path> = other.fields.intersection(&wanted).filter(disputed).cloned().collect();
        for path in lost {
            other.fields.remove(&path);
            let using = if other.operation == UPDATE { format!(" using {}", other.api_version) } else { String::new() };
            conflicts.push((format!("{:?}{using}", other.name), owned::shown(&path)));
        }
    }
    if by == Will::Ask && !conflicts.is_empty() {
        return Err(Problem::apply_conflict(&conflicts));
    }
    let mut next = live.clone();
    let own = std::mem::replace(&mut entry(&mut managers, call, kind, APPLY).fields, wanted);
    // An item goes as a whole, before what is in it: without the fields of its key it would not be found again.
    for path in own.iter().filter(|path| !owned::is_key(path) && !managers.iter().any(|manager| owns(manager, path))) {
        owned::remove(&mut next, path);
    }
    overlay(kind, "", &mut next, applied);
    let before = read(live);
    let own = entry(&mut managers, call, kind, APPLY);
    if before.iter().find(|known| is_own(known)).is_none_or(|known| known.fields != own.fields) {
        own.time = seconds(call.now);
    }
    write(&managers, &mut next);
    Ok(next)
}

/// What to do about conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Will {
    Ask,
    Force,
}

/// Whether a manager owns this, or something in it.
fn owns(manager: &Manager, path: &Path) -> bool {
    manager.fields.range(path.clone()..).next().is_some_and(|owned| owned.starts_with(path))
}

fn overlay(kind: &Kind, field: &str, live: &mut Value, applied: &Value) {
    match owned::shape(kind, field, applied) {
        Shape::Fields => {
            let fields = json::fields_mut(live, "");
            for (field, value) in applied.as_object().into_iter().flatten() {
                overlay(kind, field, fields.entry(field.clone()).or_insert(Value::Null), value);
            }
        }
        Shape::Items(key) => {
            let mut items = live.as_array().cloned().unwrap_or_default();
            for item in applied.as_array().into_iter().flatten() {
                match items.iter_mut().find(|known| owned::key_of(key, known) == owned::key_of(key, item)) {
                    Some(known) => overlay(kind, "", known, item),
                    None => items.push(item.clone()),
                }
            }
            *live = items.into();
        }
        Shape::Set => {
            let mut items = live.as_array().cloned().unwrap_or_default();
            for item in applied.as_array().into_iter().flatten() {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
            *live = items.into();
        }
        Shape::Leaf => *live = applied.clone(),
    }
}

/// Gives what another kind of write has changed to its author, if there is a history or is to be one.
pub(super) fn track(call: &Call, kind: &Kind, live: &Value, next: &mut Value, kept: Ownership) {
    json::copy(live, next, "/metadata/managedFields");
    let mut managers = read(live);
    if managers.is_empty() && kept == Ownership::SinceApply {
        return;
    }
    let now = owned::of(kind, next);
    let changed: Fields = now
        .iter()
        .filter(|path| owned::at(live, path).is_none() || !owned::is_item(path) && owned::at(live, path) != owned::at(next, path))
        .cloned()
        .collect();
    for manager in &mut managers {
        manager.fields.retain(|path| now.contains(path) && !changed.contains(path));
    }
    if !changed.is_empty() {
        let own = entry(&mut managers, call, kind, UPDATE);
        own.fields.extend(changed);
        own.time = seconds(call.now);
    }
    write(&managers, next);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{
        Setup, World,
        clock::DAWN,
        sample,
        server::{Reply, request::Request},
    };

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

    fn send(world: &mut World, query: &str, content_type: &str, object: &Value) -> (u16, Value) {
        let request = Request::new("PATCH", &format!("{DEPLOYMENTS}/hello?{query}"), "alice").with_body(content_type, object);
        match world.handle(DAWN, &request) {
            Reply::Answer { code, body, .. } => (code, body),
            Reply::Watch(_) => unreachable!("a patch is no watch"),
        }
    }

    fn apply(world: &mut World, query: &str, object: &Value) -> (u16, Value) {
        send(world, query, "application/apply-patch+yaml", object)
    }

    fn image(object: &Value) -> &str {
        json::text(object, "/spec/template/spec/containers/0/image")
    }

    #[test]
    fn what_is_no_longer_applied_goes_and_what_others_own_stays() {
        let mut world = World::new(&Setup::default());
        let plain = sample::deployment("default", "hello", "v1", 2);
        let mut labelled = plain.clone();
        labelled["metadata"]["labels"]["team"] = "shop".into();
        assert_eq!(apply(&mut world, "fieldManager=ci", &labelled).0, 201);
        let scaled = json!({"spec": {"replicas": 5}, "metadata": {"annotations": {"note": "mine"}}});
        assert_eq!(send(&mut world, "fieldManager=me", "application/merge-patch+json", &scaled).0, 200);
        let mut unsized_ = plain;
        json::unset(&mut unsized_, "/spec/replicas");
        let (code, stored) = apply(&mut world, "fieldManager=ci", &unsized_);
        assert_eq!((code, json::label(&stored, "team"), json::annotation(&stored, "note")), (200, None, Some("mine")));
        assert_eq!(stored["spec"]["replicas"], 5);
        assert_eq!(apply(&mut world, "fieldManager=ci", &unsized_).1, stored, "the same again changes nothing");
    }

    #[test]
    fn what_is_owned_since_its_creation_has_the_owner_who_wrote_it() {
        let mut world = World::new(&Setup { ownership: Ownership::SinceCreation, ..Setup::default() });
        let first = sample::deployment("default", "hello", "v1", 2);
        let post = Request::new("POST", DEPLOYMENTS, "alice").with_body("application/json", &first);
        assert!(matches!(world.handle(DAWN, &post), Reply::Answer { code: 201, .. }));
        let scaled = json!({"spec": {"replicas": 3}});
        let (_, stored) = send(&mut world, "fieldManager=me", "application/merge-patch+json", &scaled);
        let managers = read(&stored);
        let owners = |field: &str| -> Vec<&str> {
            let path = vec!["f:spec".to_owned(), format!("f:{field}")];
            managers.iter().filter(|manager| owns(manager, &path)).map(|manager| manager.name.as_str()).collect()
        };
        assert_eq!((owners("replicas"), owners("template")), (vec!["me"], vec!["alice"]));
        let before = json::text(&stored, "/metadata/resourceVersion");
        let (_, again) = send(&mut world, "fieldManager=me", "application/merge-patch+json", &scaled);
        assert_eq!(json::text(&again, "/metadata/resourceVersion"), before, "the same again changes nothing");
    }

    #[test]
    fn a_field_of_somebody_else_is_a_conflict_until_it_is_forced() {
        let mut world = World::new(&Setup::default());
        let first = sample::deployment("default", "hello", "v1", 2);
        apply(&mut world, "fieldManager=ci", &first);
        let second = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "hello:v2"}]}}}});
        send(&mut world, "fieldManager=kubectl-set", "application/strategic-merge-patch+json", &second);
        let (code, refusal) = apply(&mut world, "fieldManager=ci", &first);
        let said =
            r#"Apply failed with 1 conflict: conflict with "kubectl-set" using apps/v1: .spec.template.spec.containers[name="app"].image"#;
        assert_eq!((code, json::text(&refusal, "/message")), (409, said));
        let (code, stored) = apply(&mut world, "fieldManager=ci&force=true", &first);
        assert_eq!((code, image(&stored)), (200, "hello:v1"));
        assert!(read(&stored).iter().all(|manager| manager.name != "kubectl-set"), "it owns nothing any more");
    }

    #[test]
    fn what_was_there_before_the_first_apply_has_an_owner_too() {
        let mut world = World::new(&Setup::default());
        let first = sample::deployment("default", "hello", "v1", 2);
        let post = Request::new("POST", DEPLOYMENTS, "alice").with_body("application/json", &first);
        assert!(matches!(world.handle(DAWN, &post), Reply::Answer { code: 201, .. }));
        assert_eq!(apply(&mut world, "fieldManager=ci", &first).0, 200, "the same value is no conflict");
        let (code, refusal) = apply(&mut world, "fieldManager=other", &sample::deployment("default", "hello", "v1", 3));
        let said = "Apply failed with 2 conflicts: conflicts with \"before-first-apply\" using apps/v1:\n- .spec.replicas\nconflicts with \"ci\":\n- .spec.replicas";
        assert_eq!((code, json::text(&refusal, "/message")), (409, said));
    }

    #[test]
    fn an_item_that_is_no_longer_applied_goes_but_for_what_others_have_put_into_it() {
        let mut world = World::new(&Setup::default());
        let plain = sample::deployment("default", "hello", "v1", 2);
        let env = |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let mut coloured = plain.clone();
        coloured["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "VERSION", "value": "v1"}, {"name": "COLOUR", "value": "blue"}, {"name": "SIZE", "value": "1"}]);
        assert_eq!(apply(&mut world, "fieldManager=ci", &coloured).0, 201);
        let red = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "COLOUR", "value": "red"}]}]}}}});
        assert_eq!(send(&mut world, "fieldManager=me", "application/strategic-merge-patch+json", &red).0, 200);
        let (code, stored) = apply(&mut world, "fieldManager=ci", &plain);
        let left = json!([{"name": "VERSION", "value": "v1"}, {"name": "COLOUR", "value": "red"}]);
        assert_eq!((code, env(&stored)), (200, left));
    }

    #[test]
    fn an_object_without_anything_in_it_says_nothing_of_what_others_have_put_into_it() {
        let mut world = World::new(&Setup::default());
        let mut first = sample::deployment("default", "hello", "v1", 2);
        first["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        assert_eq!(apply(&mut world, "fieldManager=ci", &first).0, 201);
        let mut second = first.clone();
        second["spec"]["strategy"] = json!({});
        for _ in 0..2 {
            let (code, stored) = apply(&mut world, "fieldManager=other", &second);
            assert_eq!((code, &stored["spec"]["strategy"]), (200, &first["spec"]["strategy"]));
        }
    }

    #[test]
    fn a_port_may_be_there_for_two_protocols() {
        let kinds = crate::sim::server::kinds::Kinds::builtin();
        let service = kinds.find("", "services").unwrap();
        let mut live = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}});
        overlay(service, "", &mut live, &json!({"spec": {"ports": [{"port": 53, "name": "dns"}]}}));
        assert_eq!(live["spec"]["ports"], json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "name": "dns"}]));
        let path = ["f:spec", "f:ports", r#"k:{"port":53,"protocol":"UDP"}"#].map(str::to_owned);
        assert!(owned::of(service, &live).contains(path.as_slice()));
        assert_eq!(owned::shown(&path), r#".spec.ports[port=53,protocol="UDP"]"#);
    }

    #[test]
    fn a_finalizer_is_owned_by_itself() {
        let mut world = World::new(&Setup::default());
        let plain = sample::deployment("default", "hello", "v1", 2);
        let kept = |finalizers: Value| {
            let mut object = plain.clone();
            object["metadata"]["finalizers"] = finalizers;
            object
        };
        apply(&mut world, "fieldManager=ci", &kept(json!(["shop/one"])));
        let (code, both) = apply(&mut world, "fieldManager=other", &kept(json!(["shop/two"])));
        assert_eq!((code, &both["metadata"]["finalizers"]), (200, &json!(["shop/one", "shop/two"])));
        let (code, left) = apply(&mut world, "fieldManager=ci", &plain);
        assert_eq!((code, &left["metadata"]["finalizers"]), (200, &json!(["shop/two"])));
    }

    #[test]
    fn what_is_owned_is_written_as_managed_fields_and_read_back() {
        let kinds = crate::sim::server::kinds::Kinds::builtin();
        let owned = owned::of(kinds.find("apps", "deployments").unwrap(), &sample::deployment("default", "hello", "v1", 2));
        let written = owned::write(&owned);
        assert_eq!(owned::read(&written), owned);
        let container = &written["f:spec"]["f:template"]["f:spec"]["f:containers"][r#"k:{"name":"app"}"#];
        assert_eq!((&container["."], &container["f:image"]), (&json!({}), &json!({})));
    }
}
