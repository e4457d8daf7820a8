//! policies/admission/pause.yaml

use serde_json::json;

use crate::{
    kubectl::Answer,
    world::{ANNOTATE, V1, V2, WHOLE, World, deployment, warned, with},
};

fn replica_sets(world: &World) -> usize {
    world.user.get(&["replicasets", "-l", "app=hello"])["items"].as_array().unwrap().len()
}

#[test]
fn every_way_of_changing_the_template_pauses_in_the_same_write() {
    let Some(world) = World::at_rest("pause") else { return };
    let second = deployment("hello", V2).to_string();
    let unpaused = with(deployment("hello", V2), "/spec/paused", false).to_string();
    let strategic =
        json!({ "spec": { "paused": false, "template": { "spec": { "containers": [{ "name": "hello", "image": V2 }] } } } }).to_string();
    let json_patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": V2 }]).to_string();
    let ways: Vec<(&str, Vec<&str>, &str)> = vec![
        ("set image", vec!["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"], ""),
        ("set env", vec!["set", "env", "deployment/hello", "COLOUR=blue"], ""),
        ("rollout restart", vec!["rollout", "restart", "deployment/hello"], ""),
        ("strategic patch that also unpauses", vec!["patch", "deployment", "hello", "-p", &strategic], ""),
        ("merge patch", vec!["patch", "deployment", "hello", "--type=merge", "-p", ANNOTATE], ""),
        ("JSON patch", vec!["patch", "deployment", "hello", "--type=json", "-p", &json_patch], ""),
        ("apply", WHOLE[0].1.to_vec(), &second),
        ("server-side apply", WHOLE[1].1.to_vec(), &second),
        ("server-side apply that also unpauses", WHOLE[1].1.to_vec(), &unpaused),
        ("replace", WHOLE[2].1.to_vec(), &second),
    ];
    for (way, args, input) in ways {
        let answer = world.user.feed(&args, input);
        assert!(world.paused(), "not paused by {way}");
        assert!(warned(&answer), "no warning by {way}: {}", answer.err);
        world.reset();
    }
    assert_eq!(replica_sets(&world), 1, "a new version was started");
}

#[test]
fn an_undo_at_rest_is_a_change_like_any_other() {
    let Some(world) = World::bare("undo", &[]) else { return };
    // A history of two, made while no live version is recorded yet.
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    crate::kubectl::eventually("two versions in the history", || replica_sets(&world) == 2);
    world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "2222222222", "hash": "h2" } }));
    crate::kubectl::eventually("the pause policy is in effect", || world.pauses_in_a_dry_run());

    world.user.run(&["rollout", "undo", "deployment/hello"]);
    let hello = world.hello();
    assert_eq!(hello["spec"]["paused"], true);
    assert_eq!(hello["spec"]["template"]["spec"]["containers"][0]["image"], V1);
    let again = world.user.try_run(&["rollout", "undo", "deployment/hello"]);
    assert!(!again.ok && again.err.contains("paused"), "{again:?}");
}

#[test]
fn others_cannot_unpause_and_are_told_so() {
    let Some(world) = World::at_rest("unpause") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    let spec = world.hello()["spec"].clone();
    let without = deployment("hello", V2).to_string();
    let unpaused = with(deployment("hello", V2), "/spec/paused", false).to_string();
    let ways: Vec<(&str, Answer)> = vec![
        ("rollout resume", world.user.run(&["rollout", "resume", "deployment/hello"])),
        ("replace without the field", world.user.feed(WHOLE[2].1, &without)),
        ("apply", world.user.feed(WHOLE[0].1, &unpaused)),
        ("server-side apply", world.user.feed(WHOLE[1].1, &unpaused)),
    ];
    for (way, answer) in ways {
        assert!(warned(&answer), "no warning by {way}: {}", answer.err);
    }
    assert!(world.paused());
    assert_eq!(world.hello()["spec"], spec, "something was changed all the same");
    assert_eq!(replica_sets(&world), 1);
}

#[test]
fn what_does_not_change_the_template_is_left_alone() {
    let Some(world) = World::at_rest("other") else { return };
    for args in [
        &["scale", "deployment/hello", "--replicas=2"][..],
        &["label", "deployment/hello", "team=shop"],
        &["annotate", "deployment/hello", "example.com/note=1"],
        &["patch", "deployment", "hello", "-p", r#"{"spec": {"minReadySeconds": 3, "strategy": {"rollingUpdate": {"maxSurge": 2}}}}"#],
    ] {
        let answer = world.user.run(args);
        assert!(!world.paused() && !warned(&answer), "{args:?}: {answer:?}");
    }
    assert_eq!(world.hello()["spec"]["replicas"], 2);
}

#[test]
fn a_held_deployment_can_be_scaled() {
    let Some(world) = World::at_rest("scale") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    world.user.run(&["scale", "deployment/hello", "--replicas=5"]);
    let hello = world.hello();
    assert_eq!((&hello["spec"]["replicas"], &hello["spec"]["paused"]), (&json!(5), &json!(true)));
}

#[test]
fn a_deployment_that_no_rollout_names_is_left_alone() {
    let Some(world) = World::at_rest("unnamed") else { return };
    world.user.feed(&["apply", "-f", "-"], &deployment("other", V1).to_string());
    let answer = world.user.run(&["set", "image", "deployment/other", "hello=stepgate.test/hello:v2"]);
    assert!(!warned(&answer));
    assert!(world.user.get(&["deployment", "other"])["spec"]["paused"].is_null());
}

#[test]
fn a_rollout_without_a_live_version_holds_nothing() {
    let Some(world) = World::bare("pending", &[]) else { return };
    world.set_status(&json!({ "phase": "Pending", "why": "a native roll-out is awaited" }));
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(!world.paused());
}

#[test]
fn a_namespace_can_opt_out() {
    let Some(world) = World::bare("opt-out", &["stepgate.dev/admission=disabled"]) else { return };
    world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "1111111111" } }));
    let answer = world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(!world.paused() && !warned(&answer));
    assert!(!world.pauses_in_a_dry_run());
}

#[test]
fn a_rollout_on_its_way_out_holds_nothing() {
    let Some(world) = World::at_rest("terminating") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(world.paused());
    world.terminating();
    let answer = world.user.run(&["rollout", "resume", "deployment/hello"]);
    assert!(!world.paused() && !warned(&answer), "{answer:?}");
}

#[test]
fn the_controller_may_unpause_and_change_the_template_and_its_dry_runs_are_paused() {
    let Some(world) = World::at_rest("controller") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    let answer = world.stepgate.run(&["rollout", "resume", "deployment/hello"]);
    assert!(!world.paused() && !warned(&answer));

    let before = world.hello()["spec"].clone();
    assert!(world.pauses_in_a_dry_run());
    assert_eq!(world.hello()["spec"], before, "a dry run was stored");

    world.stepgate.run(&["patch", "deployment", "hello", "--type=merge", "-p", ANNOTATE]);
    assert!(!world.paused());
}

#[test]
fn the_deployment_controller_is_never_in_the_way_of_itself() {
    let Some(world) = World::at_rest("kcm") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    let annotated =
        world.as_deployment_controller(|hello| hello["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "7".into());
    let status = world.user.run(&[
        "patch",
        "deployment",
        "hello",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status": {"collisionCount": 1}}"#,
    ]);
    assert!(!warned(&annotated) && !warned(&status));
    assert!(world.paused());
}
