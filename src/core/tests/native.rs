//! Moments at which the Deployment's own controller moves pods, too.

use serde_json::json;

use crate::api::status::Phase;

use crate::core::{
    decide::decide,
    decision::action::Action,
    tests::model::{Crash, Model, policy, quarters},
};

// The Deployment controller scales the old ReplicaSet to 0 once the new one is whole, also of a paused Deployment: to scale that one to 0
// meanwhile leaves no pod.
#[test]
fn a_roll_out_whose_pods_are_all_there_is_left_to_the_deployment() {
    let mut model = Model::new(1, quarters());
    model.run_to(Phase::Healthy);
    model.guarded = Some(false);
    let (old, pods) = (model.sets[0].uid.clone(), model.pods.clone());
    model.set_image("hello:v2");
    model.deployments[0].paused = false;
    model.controllers();
    // The new ReplicaSet is whole, and the controller has not come to the old one yet.
    model.sets.iter_mut().filter(|set| set.uid == old).for_each(|set| set.replicas = 1);
    model.pods.retain(|pod| pod.owner.as_ref() != Some(&old));
    model.pods.extend(pods);
    for _ in 0..20 {
        model.kubelet();
        model.endpoints();
        model.tick(300);
        model.deployments[0].observed_generation = model.deployments[0].generation;
        let decided = decide(&model.snapshot(), model.now).actions;
        assert!(!decided.iter().any(|action| matches!(action, Action::ScaleReplicaSet { replicas: 0, .. })), "{decided:?}");
        if decided.iter().any(|action| matches!(action, Action::SetPaused { paused: false, .. })) {
            return;
        }
        model.control(Crash::Never);
    }
    panic!("{}", model.trace.join("\n"));
}

// Not paused, the Deployment's controller would bring the old pods back as fast as they are taken away.
#[test]
fn a_deployment_whose_old_template_comes_back_in_mid_roll_is_paused_before_the_roll_is_ended() {
    let mut model = Model::new(4, policy(json!({"steps": [{"weight": 100}], "promotion": "Roll", "keepPrevious": "1s", "settle": "0s"})));
    model.run_to(Phase::Healthy);
    let old = model.sets[0].uid.clone();
    model.set_image("hello:v2");
    model.run_fast(|model| model.phase() == Phase::Promoting && !model.hello().paused);
    model.controllers();
    model.sets.iter_mut().filter(|set| set.owner.as_ref() == Some(&model.deployments[0].uid)).for_each(|set| set.replicas = 2);
    model.set_image("hello:v1");
    model.deployments[0].paused = false;
    let mut paused = false;
    for _ in 0..20 {
        model.deployments[0].observed_generation = model.deployments[0].generation;
        let decided = decide(&model.snapshot(), model.now).actions;
        for action in &decided {
            paused |= matches!(action, Action::SetPaused { paused: true, .. });
            let empties = |set: &str| model.sets.iter().any(|known| known.name == set && known.uid == old);
            if let Action::ScaleReplicaSet { replica_set, replicas: 0 } = action {
                assert!(paused && empties(&replica_set.name), "{decided:?}");
                return;
            }
        }
        model.control(Crash::Never);
    }
    panic!("{}", model.trace.join("\n"));
}
