//! policies/admission/held.yaml

use serde_json::json;

use crate::world::{V2, WHOLE, World, deployment, warned};

#[test]
fn the_warning_names_the_rollout_the_step_and_the_way_out() {
    let Some(world) = World::at_rest("held") else { return };
    world.user.feed(WHOLE[1].1, &deployment("hello", V2).to_string());
    world.in_release();
    let again = world.user.feed(WHOLE[1].1, &deployment("hello", V2).to_string());
    let expected = format!(
        "Deployment hello is held (spec.paused) by Stepgate Rollout hello: revision 2222222222 is being released: Progressing, step 1/2 (50 %). \
         Follow it: kubectl -n {ns} get rollouts.stepgate.dev hello -o wide -w. \
         Let go of the Deployment: kubectl -n {ns} delete rollouts.stepgate.dev hello",
        ns = world.namespace,
    );
    assert!(again.err.contains(&expected), "{}", again.err);
}

#[test]
fn the_write_that_is_held_is_told_that_it_is_stored() {
    let Some(world) = World::at_rest("held-first") else { return };
    let first = world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(first.err.contains("the change is stored, and released step by step from there"), "{}", first.err);
}

#[test]
fn after_a_rollback_it_says_what_was_taken_back() {
    let Some(world) = World::at_rest("held-back") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    world.set_status(&json!({ "phase": "RolledBack", "canary": { "revision": "2222222222" } }));
    let answer = world.user.run(&["annotate", "deployment/hello", "example.com/note=1"]);
    assert!(answer.err.contains("revision 2222222222 was taken back"), "{}", answer.err);
}

#[test]
fn neither_stepgate_nor_the_deployment_controller_is_warned() {
    let Some(world) = World::at_rest("held-ours") else { return };
    world.user.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(!warned(&world.stepgate.run(&["annotate", "deployment/hello", "example.com/note=1"])));
    assert!(!warned(&world.as_deployment_controller(|hello| hello["metadata"]["annotations"]["example.com/note"] = "2".into())));
    assert!(warned(&world.user.run(&["annotate", "deployment/hello", "example.com/note=3", "--overwrite"])));
}
