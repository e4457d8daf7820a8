//! policies/admission/pin.yaml

use serde_json::{Value, json};

use crate::world::{PIN, WHOLE, World, rollout, service, with};

const UNPIN: &str = r#"{"spec": {"selector": {"pod-template-hash": null}}}"#;

/// At rest, then pinned to h1 by the controller.
fn pinned(test: &str) -> Option<World> {
    let world = World::at_rest(test)?;
    world.user.feed(&["apply", "-f", "-"], &service("hello").to_string());
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", PIN]);
    assert_eq!(world.selector(), json!({ "app": "hello", "pod-template-hash": "h1" }));
    Some(world)
}

fn merge(world: &World, selector: &Value) -> Value {
    let patch = json!({ "spec": { "selector": selector } }).to_string();
    world.user.run(&["patch", "service", "hello", "--type=merge", "-p", &patch]);
    world.selector()
}

#[test]
fn the_owners_manifest_leaves_the_pin_alone_however_it_is_applied() {
    let Some(world) = pinned("pin-apply") else { return };
    for (way, args) in WHOLE {
        // Once as it is, once with a change of the owner's own.
        for manifest in [service("hello"), with(service("hello"), "/spec/ports/0/targetPort", 8081)] {
            world.user.feed(args, &manifest.to_string());
            assert_eq!(world.selector(), json!({ "app": "hello", "pod-template-hash": "h1" }), "by {way}");
        }
    }
    assert_eq!(world.user.get(&["service", "hello"])["spec"]["ports"][0]["targetPort"], 8081);
}

#[test]
fn a_dry_run_shows_no_drift() {
    let Some(world) = pinned("pin-dry") else { return };
    let answer = world
        .user
        .feed(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "json", "-f", "-"], &service("hello").to_string());
    let shown: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(shown["spec"]["selector"], world.selector());
}

#[test]
fn others_can_neither_remove_nor_change_nor_add_a_key_of_ours() {
    let Some(world) = pinned("pin-keys") else { return };
    let pinned = world.selector();
    assert_eq!(merge(&world, &json!({ "pod-template-hash": null })), pinned);
    assert_eq!(merge(&world, &json!({ "pod-template-hash": "h2" })), pinned);
    assert_eq!(merge(&world, &json!({ "stepgate.dev/rotation": "in" })), pinned);
    let all = merge(&world, &json!({ "pod-template-hash": null, "stepgate.dev/rotation": "in", "tier": "web" }));
    assert_eq!(all, json!({ "app": "hello", "pod-template-hash": "h1", "tier": "web" }), "keys of the owner pass");
}

#[test]
fn the_rotation_label_is_held_like_the_hash() {
    let Some(world) = World::at_rest("pin-rotation") else { return };
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", r#"{"spec": {"selector": {"stepgate.dev/rotation": "in"}}}"#]);
    world.user.feed(WHOLE[2].1, &service("hello").to_string());
    assert_eq!(world.selector(), json!({ "app": "hello", "stepgate.dev/rotation": "in" }));
}

#[test]
fn the_version_key_of_a_declared_pair_is_held_at_rest_too() {
    let Some(world) = World::at_rest("pin-versions") else { return };
    let live = json!({ "app": "hello", "version": "blue" });
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", r#"{"spec": {"selector": {"version": "blue"}}}"#]);
    // Of a Rollout of one Deployment this key is its owner's.
    assert_eq!(merge(&world, &json!({ "version": "green" }))["version"], "green");
    merge(&world, &json!({ "version": "blue" }));
    world.user.run(&["delete", "rollout", "hello"]);
    let declared = with(rollout("hello", "hello", &["hello"]), "/spec/workload", json!({ "versions": ["blue", "green"], "live": "blue" }));
    world.user.feed(&["apply", "-f", "-"], &declared.to_string());
    world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "1111111111", "name": "blue" } }));
    let green = with(service("hello"), "/spec/selector/version", "green");
    for (way, args) in WHOLE {
        for manifest in [service("hello"), green.clone()] {
            world.user.feed(args, &manifest.to_string());
            assert_eq!(world.selector(), live, "by {way}");
        }
    }
    let dry = [
        "patch",
        "service",
        "hello",
        "--dry-run=server",
        "-o",
        "json",
        "--type=merge",
        "-p",
        r#"{"spec": {"selector": {"version": "dry"}}}"#,
    ];
    let answer: Value = serde_json::from_str(&world.stepgate.run(&dry).out).unwrap();
    assert_eq!(answer["spec"]["selector"], live, "by this the controller finds out that the policy is in effect");
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", r#"{"spec": {"selector": {"version": "green"}}}"#]);
    assert_eq!(world.selector()["version"], "green");
}

#[test]
fn the_preview_is_held_like_those_that_have_clients() {
    let Some(world) = World::at_rest("pin-preview") else { return };
    let mut next = service("hello");
    next["metadata"]["name"] = json!("hello-next");
    let selector = || world.user.get(&["service", "hello-next"])["spec"]["selector"].clone();
    world.user.feed(&["apply", "-f", "-"], &next.to_string());
    world.user.run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"spec": {"preview": "hello-next"}}"#]);
    world.set_status(&json!({ "preview": { "service": "hello-next" } }));
    world.stepgate.run(&["patch", "service", "hello-next", "--type=merge", "-p", r#"{"spec": {"selector": {"pod-template-hash": "h2"}}}"#]);
    let pinned = selector();
    assert_eq!(pinned, json!({ "app": "hello", "pod-template-hash": "h2" }));
    for (way, args) in WHOLE {
        world.user.feed(args, &next.to_string());
        assert_eq!(selector(), pinned, "by {way}");
    }
    world.stepgate.run(&["patch", "service", "hello-next", "--type=merge", "-p", UNPIN]);
    assert_eq!(selector(), json!({ "app": "hello" }));
    for (way, args) in WHOLE {
        world.user.feed(args, &with(next.clone(), "/spec/selector/pod-template-hash", "h1").to_string());
        assert_eq!(selector(), json!({ "app": "hello" }), "by {way}");
    }
}

#[test]
fn the_session_affinity_of_a_release_is_held() {
    let Some(world) = World::at_rest("pin-affinity") else { return };
    world.user.feed(&["apply", "-f", "-"], &service("hello").to_string());
    let affinity = || {
        let spec = world.user.get(&["service", "hello"])["spec"].clone();
        (spec["sessionAffinity"].clone(), spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].clone())
    };
    let set = r#"{"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}}}"#;
    let off = r#"{"spec": {"sessionAffinity": "None", "sessionAffinityConfig": null}}"#;
    world.set_status(&json!({ "affinity": [{ "service": "hello", "timeoutSeconds": 600 }] }));
    // Until it is set it is the owner's.
    let longer = with(service("hello"), "/spec/sessionAffinity", "ClientIP");
    world.user.feed(&["apply", "-f", "-"], &longer.to_string());
    assert_eq!(affinity(), (json!("ClientIP"), json!(10_800)));
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", set]);
    let none = with(service("hello"), "/spec/sessionAffinity", "None");
    for (way, args) in WHOLE {
        for manifest in [service("hello"), none.clone(), longer.clone()] {
            world.user.feed(args, &manifest.to_string());
            assert_eq!(affinity(), (json!("ClientIP"), json!(600)), "by {way}: {}", manifest["spec"]["sessionAffinity"]);
        }
    }
    world.user.run(&["patch", "service", "hello", "--type=merge", "-p", off]);
    assert_eq!(affinity(), (json!("ClientIP"), json!(600)));
    // Given back, it is the owner's again.
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", off]);
    assert_eq!(affinity().0, "None");
    world.user.feed(WHOLE[2].1, &longer.to_string());
    assert_eq!(affinity(), (json!("ClientIP"), json!(10_800)));
}

#[test]
fn the_controller_pins_and_unpins() {
    let Some(world) = pinned("pin-controller") else { return };
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", r#"{"spec": {"selector": {"pod-template-hash": "h2"}}}"#]);
    assert_eq!(world.selector()["pod-template-hash"], "h2");
    world.stepgate.run(&["patch", "service", "hello", "--type=merge", "-p", UNPIN]);
    assert_eq!(world.selector(), json!({ "app": "hello" }));
}

#[test]
fn a_service_that_no_rollout_names_is_left_alone() {
    let Some(world) = World::at_rest("pin-unnamed") else { return };
    world.user.feed(&["apply", "-f", "-"], &service("metrics").to_string());
    world.user.run(&["patch", "service", "metrics", "--type=merge", "-p", PIN]);
    assert_eq!(world.user.get(&["service", "metrics"])["spec"]["selector"]["pod-template-hash"], "h1");
}

#[test]
fn every_service_of_the_list_is_held() {
    let Some(world) = World::at_rest("pin-list") else { return };
    world.user.feed(&["apply", "-f", "-"], &service("second").to_string());
    world.user.run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"spec": {"services": ["hello", "second"]}}"#]);
    crate::kubectl::eventually("the second Service is held", || {
        let dry = world.user.run(&["patch", "service", "second", "--dry-run=server", "-o", "json", "--type=merge", "-p", PIN]);
        !dry.out.contains("pod-template-hash")
    });
}

#[test]
fn a_rollout_on_its_way_out_holds_no_pin() {
    let Some(world) = pinned("pin-terminating") else { return };
    world.terminating();
    assert_eq!(merge(&world, &json!({ "pod-template-hash": null })), json!({ "app": "hello" }));
}

#[test]
fn neither_does_one_without_a_live_version_nor_one_in_a_namespace_that_opted_out() {
    for labels in [&[][..], &["stepgate.dev/admission=disabled"]] {
        let Some(world) = World::bare("pin-off", labels) else { return };
        if !labels.is_empty() {
            world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "1111111111" } }));
        }
        world.user.run(&["patch", "service", "hello", "--type=merge", "-p", PIN]);
        assert_eq!(world.selector()["pod-template-hash"], "h1", "{labels:?}");
    }
}
