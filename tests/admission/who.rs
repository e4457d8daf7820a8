//! policies/admission/who.yaml

use serde_json::{Value, json};

use crate::world::World;

fn asked(world: &World, user: &str, request: &Value) -> Value {
    let patch = json!({ "spec": { "request": request } }).to_string();
    world.user.user(user).run(&["patch", "rollout", "hello", "--type=merge", "-p", &patch]);
    by(world)
}

fn by(world: &World) -> Value {
    world.user.get(&["rollout", "hello"])["spec"]["request"]["by"].clone()
}

/// Two users who may do everything in the namespace.
fn world(test: &str) -> Option<World> {
    let world = World::at_rest(test)?;
    world.user.run(&["create", "rolebinding", "admins", "--clusterrole=admin", "--user=alice", "--user=mallory"]);
    crate::kubectl::eventually("rights of the kinds are aggregated", || {
        world.user.user("alice").try_run(&["auth", "can-i", "approve", "rollouts.stepgate.dev"]).ok
    });
    Some(world)
}

#[test]
fn a_request_is_stamped_with_who_really_asked() {
    let Some(world) = world("who") else { return };
    let request = json!({ "id": "1", "action": "Promote", "revision": "2222222222", "by": "mallory" });
    assert_eq!(asked(&world, "alice", &request), "alice");
}

#[test]
fn a_later_write_leaves_the_stamp_alone_unless_it_changes_the_request() {
    let Some(world) = world("who-later") else { return };
    asked(&world, "alice", &json!({ "id": "1", "action": "Promote", "revision": "2222222222", "reason": "fine" }));
    world.user.user("mallory").run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"spec": {"paused": true}}"#]);
    assert_eq!(by(&world), "alice");
    assert_eq!(asked(&world, "mallory", &json!({ "by": "bob" })), "alice", "a stamp cannot be changed by itself");
    world.stepgate.run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"metadata": {"finalizers": ["stepgate.dev/rollout"]}}"#]);
    assert_eq!(by(&world), "alice");
    for (number, change) in [
        json!({ "id": "x", "action": "Abort" }),
        json!({ "id": "y", "revision": "3333333333" }),
        json!({ "reason": "no" }),
        json!({ "id": "z" }),
        json!({ "reason": null }),
    ]
    .into_iter()
    .enumerate()
    {
        let id = number.to_string();
        assert_eq!(asked(&world, "alice", &json!({ "id": id, "action": "Promote", "revision": "2222222222", "reason": "fine" })), "alice");
        assert_eq!(asked(&world, "mallory", &change), "mallory", "{change}");
    }
}

#[test]
fn a_request_at_creation_is_stamped_too() {
    let Some(world) = world("who-create") else { return };
    let mut rollout = crate::world::rollout("second", "other", &["other"]);
    rollout["spec"]["request"] = json!({ "id": "1", "action": "Abort", "revision": "2222222222", "by": "mallory" });
    world.user.user("alice").feed(&["create", "-f", "-"], &rollout.to_string());
    assert_eq!(world.user.get(&["rollout", "second"])["spec"]["request"]["by"], "alice");
}

#[test]
fn a_name_longer_than_the_field_is_cut() {
    let Some(world) = world("who-long") else { return };
    let name = "a".repeat(300);
    world.user.run(&["create", "rolebinding", "long", "--clusterrole=admin", &format!("--user={name}")]);
    let request = json!({ "id": "1", "action": "Promote", "revision": "2222222222" });
    crate::kubectl::eventually("the rights are there", || {
        world.user.user(&name).try_run(&["auth", "can-i", "patch", "rollouts.stepgate.dev"]).ok
    });
    assert_eq!(asked(&world, &name, &request), name[..256]);
}

#[test]
fn a_broken_object_is_refused_by_its_schema_and_not_by_the_policy() {
    let Some(world) = world("who-broken") else { return };
    for spec in ["{}", r#"{"request": {}}"#, r#"{"request": "now"}"#] {
        let object =
            format!(r#"{{"apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {{"name": "broken"}}, "spec": {spec}}}"#);
        let answer = world.user.pipe(&["create", "-f", "-"], &object);
        assert!(!answer.ok && !answer.err.contains("stepgate-"), "{spec}: {answer:?}");
    }
}

#[test]
fn a_dry_run_tells_whether_requests_are_stamped() {
    let Some(world) = world("who-dry-run") else { return };
    asked(&world, "alice", &json!({ "id": "1", "action": "Promote", "revision": "2222222222" }));
    let wrong = json!({ "id": "stepgate-dry-run", "by": "stepgate-dry-run", "action": "Promote", "revision": "0000000000" });
    let patch = json!({ "spec": { "request": wrong } }).to_string();
    let dry = ["patch", "rollout", "hello", "--type=merge", "--dry-run=server", "-o", "jsonpath={.spec.request.by}", "-p", &patch];
    let answer = world.stepgate.run(&dry);
    assert!(!answer.out.is_empty() && answer.out != "stepgate-dry-run", "{answer:?}");
    assert_eq!(by(&world), "alice", "and nothing is stored");
}
