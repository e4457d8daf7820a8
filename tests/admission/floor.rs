//! policies/admission/floor.yaml

use serde_json::json;

use crate::world::{World, rollout, with};

const AUTOSCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

/// Scales as the autoscaler does, which may write the scale and nothing else.
fn autoscaled(world: &World, replicas: u32) -> i64 {
    let scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": { "name": "hello", "namespace": world.namespace }, "spec": { "replicas": replicas },
    });
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/hello/scale", world.namespace);
    world.user.user(AUTOSCALER).feed(&["replace", "--raw", &path, "-f", "-"], &scale.to_string());
    replicas_of(world)
}

fn scaled(world: &World, replicas: u32) -> i64 {
    world.user.run(&["scale", "deployment/hello", &format!("--replicas={replicas}")]);
    replicas_of(world)
}

fn replicas_of(world: &World) -> i64 {
    world.hello()["spec"]["replicas"].as_i64().unwrap()
}

#[test]
fn the_autoscaler_may_go_up_but_not_below_the_size_the_release_began_with() {
    let Some(world) = World::at_rest("floor") else { return };
    world.in_release();
    assert_eq!(autoscaled(&world, 1), 3);
    assert_eq!(autoscaled(&world, 5), 5);
    assert_eq!(autoscaled(&world, 2), 3);
}

#[test]
fn of_a_declared_pair_the_live_version_is_held() {
    for (live, expected) in [("hello", 3), ("other", 1)] {
        let Some(world) = World::at_rest("floor-versions") else { return };
        world.user.run(&["delete", "rollout", "hello"]);
        let versions = json!({ "versions": ["hello", "other"], "live": live });
        let declared = with(rollout("hello", "hello", &["hello"]), "/spec/workload", versions);
        world.user.feed(&["apply", "-f", "-"], &declared.to_string());
        world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "1111111111", "name": live } }));
        world.in_release();
        assert_eq!(autoscaled(&world, 1), expected, "{live} is live");
    }
}

#[test]
fn people_may_scale_as_they_like() {
    let Some(world) = World::at_rest("floor-people") else { return };
    world.in_release();
    assert_eq!(scaled(&world, 2), 2);
    assert_eq!(scaled(&world, 0), 0);
}

#[test]
fn without_a_release_the_autoscaler_is_free() {
    let Some(world) = World::at_rest("floor-rest") else { return };
    assert_eq!(autoscaled(&world, 1), 1);
    world.in_release();
    world.terminating();
    assert_eq!(autoscaled(&world, 2), 2);
}
