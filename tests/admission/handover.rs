//! policies/admission/handover.yaml

use serde_json::json;

use crate::world::{ANNOTATE, World};

const STRATEGY: &str = r#"{"spec": {"strategy": {"rollingUpdate": {"maxSurge": "100%"}}}}"#;

/// In the middle of an adoption: paused, and labelled by the controller.
fn in_handover(test: &str) -> Option<World> {
    let world = World::at_rest(test)?;
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    world.stepgate.run(&["label", "deployment/hello", "stepgate.dev/handover=2222222222"]);
    crate::kubectl::eventually("the hand-over policy is in effect", || {
        !world.user.try_run(&["patch", "deployment", "hello", "--dry-run=server", "--type=merge", "-p", ANNOTATE]).ok
    });
    Some(world)
}

#[test]
fn a_new_template_or_strategy_is_refused_with_the_way_out() {
    let Some(world) = in_handover("handover") else { return };
    for patch in [ANNOTATE, STRATEGY] {
        let answer = world.user.try_run(&["patch", "deployment", "hello", "--type=strategic", "-p", patch]);
        let way_out = format!("kubectl -n {} label deployment hello stepgate.dev/handover-", world.namespace);
        assert!(!answer.ok && answer.err.contains("Stepgate is promoting Deployment hello") && answer.err.contains(&way_out), "{answer:?}");
    }
    let both = json!({ "metadata": { "labels": { "stepgate.dev/handover": null } }, "spec": { "template": { "metadata": { "annotations": { "a": "b" } } } } });
    assert!(
        !world.user.try_run(&["patch", "deployment", "hello", "--type=merge", "-p", &both.to_string()]).ok,
        "the label and the template in one write"
    );
}

#[test]
fn what_is_no_danger_passes() {
    let Some(world) = in_handover("handover-passes") else { return };
    world.user.run(&["scale", "deployment/hello", "--replicas=2"]);
    world.user.run(&["annotate", "deployment/hello", "example.com/note=1"]);
    world.user.run(&["rollout", "resume", "deployment/hello"]);
    assert!(world.paused());
}

#[test]
fn taking_the_label_off_always_passes_and_ends_it() {
    let Some(world) = in_handover("handover-off") else { return };
    world.user.run(&["label", "deployment/hello", "stepgate.dev/handover-"]);
    world.user.run(&["patch", "deployment", "hello", "--type=merge", "-p", ANNOTATE]);
}

#[test]
fn the_controller_and_the_deployment_controller_are_not_held_up() {
    let Some(world) = in_handover("handover-ours") else { return };
    world.stepgate.run(&["patch", "deployment", "hello", "--type=merge", "-p", STRATEGY]);
    world.as_deployment_controller(|hello| hello["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "7".into());
}
