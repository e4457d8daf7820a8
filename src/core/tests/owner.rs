//! What its owner does to a Deployment is the owner's: a pause is told and kept, and what serves is what is said.

use crate::{
    api::{
        rollout::RequestAction,
        status::{Outcome, Phase},
    },
    core::tests::{
        managed::{at_weight, request},
        model::{Crash, Model, quarters},
    },
};

fn healthy(replicas: i32) -> Model {
    let mut model = Model::new(replicas, quarters());
    model.run_to(Phase::Healthy);
    rest(&mut model);
    model
}

fn rest(model: &mut Model) {
    for _ in 0..3 {
        model.control(Crash::Never);
        model.settle();
    }
}

fn holds(model: &Model, type_: &str) -> bool {
    model.status().conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn reason<'a>(model: &'a Model, type_: &str) -> &'a str {
    model
        .status()
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .map(|condition| condition.reason.as_str())
        .unwrap_or_default()
}

#[test]
fn a_deployment_that_its_owner_has_paused_is_released_once_when_it_is_resumed() {
    let mut model = healthy(4);
    model.pause();
    rest(&mut model);
    assert!(model.hello().paused && holds(&model, "Ready"), "nothing is pending: {}", model.status().why);
    assert_eq!(reason(&model, "Paused"), "PausedByOwner");
    for image in ["hello:v2", "hello:v3"] {
        model.set_image(image);
        rest(&mut model);
        assert!(model.hello().paused && model.status().release.is_none() && model.deployments.len() == 1);
        assert!(!holds(&model, "Ready") && !holds(&model, "Stalled") && holds(&model, "Paused") && holds(&model, "Serving"));
        let why = &model.status().why;
        assert!(why.contains(&model.hello().revision) && why.contains("kubectl -n shop rollout resume deployment/hello"), "{why}");
    }
    model.resume();
    model.run(|model| model.phase() == Phase::Healthy && !model.status().history.is_empty());
    rest(&mut model);
    let outcomes: Vec<_> = model.status().history.iter().map(|entry| (entry.images.clone(), entry.outcome)).collect();
    assert_eq!(outcomes, [(vec!["hello:v3".to_owned()], Outcome::Promoted)]);
    model.assert_clean();
    assert!(!model.hello().paused);
}

#[test]
fn a_template_that_comes_with_a_pause_waits_for_its_owner() {
    let mut model = healthy(2);
    model.pause();
    model.set_image("hello:v2");
    rest(&mut model);
    assert!(model.status().release.is_none() && model.hello().paused, "{}", model.status().why);
    // Back before it was resumed: nothing was ever released.
    model.set_image("hello:v1");
    rest(&mut model);
    assert!(model.hello().paused && holds(&model, "Ready"));
    model.resume();
    rest(&mut model);
    assert!(!model.hello().paused && model.status().history.is_empty());
    model.assert_clean();
}

#[test]
fn a_template_that_came_and_went_before_anybody_looked_leaves_no_pause() {
    let mut model = healthy(2);
    model.set_image("hello:v2");
    model.set_image("hello:v1");
    rest(&mut model);
    assert!(!model.hello().paused && model.status().history.is_empty(), "{}", model.status().why);
    model.assert_clean();
}

#[test]
fn without_the_policies_too_a_pause_is_its_owners() {
    let mut model = healthy(2);
    model.pause();
    model.set_image("hello:v2");
    rest(&mut model);
    model.unpause();
    model.control(Crash::Never);
    assert!(model.hello().paused && model.hello().held && model.status().release.is_some());
    model.run_to(Phase::Healthy);
    rest(&mut model);
    assert!(!model.hello().paused && !model.hello().held);
    model.assert_clean();
}

#[test]
fn an_owners_pause_outlives_the_rollout() {
    let mut model = healthy(2);
    model.pause();
    rest(&mut model);
    model.rollout.deleting = true;
    model.run(|model| !model.rollout.has_finalizer);
    model.settle();
    assert!(model.hello().paused);
    model.assert_clean();
}

#[test]
fn nobody_is_told_that_a_version_serves_which_has_no_ready_pod() {
    let mut model = healthy(4);
    assert!(holds(&model, "Ready") && holds(&model, "Serving"));
    model.set_ready("hello:v1", false);
    rest(&mut model);
    assert_eq!((model.phase(), holds(&model, "Ready"), holds(&model, "Serving")), (Phase::Healthy, false, false));
    assert_eq!((reason(&model, "Ready"), reason(&model, "Serving")), ("NoReadyEndpoints", "NoReadyEndpoints"));
    model.set_ready("hello:v1", true);
    rest(&mut model);
    assert!(holds(&model, "Ready") && holds(&model, "Serving"));
}

#[test]
fn what_is_held_is_not_ready_however_well_the_old_version_serves() {
    let mut model = at_weight(4, 25);
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    rest(&mut model);
    let held = ["Ready", "Serving", "Stalled", "Reconciling"].map(|type_| holds(&model, type_));
    assert_eq!(held, [false, true, true, false]);
}

/// As far as the write that hands the pods over, which the Deployment controller has not seen yet. Where the new ReplicaSet is.
fn just_adopted(model: &mut Model) -> usize {
    model.run_fast(|model| model.phase() == Phase::Promoting && model.hello().max_surge() == Some(&serde_json::json!("100%")));
    let adopted = |model: &Model| {
        let (uid, revision) = (&model.hello().uid, &model.hello().revision);
        model.sets.iter().position(|set| set.owner.as_ref() == Some(uid) && set.revision == *revision)
    };
    loop {
        if let Some(place) = adopted(model) {
            return place;
        }
        model.settle();
        model.control(Crash::Never);
    }
}

#[test]
fn new_pods_that_are_taken_away_beside_old_ones_that_are_kept_roll_the_release_back() {
    let mut model = at_weight(3, 100);
    let new = just_adopted(&mut model);
    model.sets[new].replicas = 1;
    model.control(Crash::Never);
    assert_eq!(model.phase(), Phase::RollingBack, "{}", model.trace.join("\n"));
}

#[test]
fn an_owner_who_scales_up_in_the_moment_of_an_adoption_gets_more_pods_and_no_rollback() {
    // Also where the release began with more pods than it has come to.
    for (before, after) in [(3, 4), (3, 6), (3, 12), (5, 4), (5, 6)] {
        let mut model = at_weight(before, 75);
        model.scale(3);
        just_adopted(&mut model);
        assert_eq!(model.pods_of("hello:v1").len(), 3);
        model.scale(after);
        model.control(Crash::Never);
        assert_eq!(model.phase(), Phase::Promoting, "{}", model.trace.join("\n"));
        model.run_to(Phase::Healthy);
        rest(&mut model);
        assert_eq!((model.pods_of("hello:v1").len(), model.pods_of("hello:v2").len()), (0, usize::try_from(after).unwrap()));
        model.assert_clean();
    }
}
