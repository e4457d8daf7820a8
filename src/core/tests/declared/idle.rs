//! `idle: ScaleToZero`: the one thing that a release does to a version of the user's own which cannot be taken back by one write.

use super::*;

/// A release to green of which only the end is left: to take blue its pods.
fn ending(replicas: i32) -> Model {
    let mut model = healthy(&[replicas, replicas], PolicySpec { idle: Idle::ScaleToZero, ..blue_green() });
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Promoting);
    model
}

#[test]
fn an_idle_version_is_scaled_to_zero_only_where_policies_hold_the_services() {
    let idle = PolicySpec { idle: Idle::ScaleToZero, ..blue_green() };
    let mut model = healthy(&[3, 3], idle.clone());
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Baking);
    assert_eq!(model.version(BLUE).replicas, 3, "the previous version stays warm for keepPrevious");
    model.run_to(Phase::Healthy);
    model.settle();
    assert_eq!((model.version(BLUE).replicas, model.uids_of(GREEN).len()), (0, 3));
    model.assert_clean();
    model.set_live(BLUE);
    model.run(|model| stable(model) == BLUE);
    assert_eq!(model.uids_of(BLUE).len(), 3, "the way back is a release like any other");

    let mut model = healthy(&[3, 3], idle);
    model.guarded = Some(false);
    model.set_live(GREEN);
    model.run(|model| model.status().why.contains("no admission policy holds the key version"));
    assert!(model.status().release.is_none() && model.pin() == side("blue"));
}

#[test]
fn a_release_that_is_to_empty_a_version_waits_until_it_is_known_whether_policies_act() {
    let mut model = healthy(&[3, 3], PolicySpec { idle: Idle::ScaleToZero, ..blue_green() });
    model.set_live(GREEN);
    for (guarded, reason) in [(None, "Accepted"), (Some(false), "IdleUnguarded"), (None, "IdleUnguarded"), (Some(true), "Accepted")] {
        assert!(model.status().release.is_none(), "{}", model.status().why);
        model.guarded = guarded;
        model.control(Crash::Never);
        assert_eq!(accepted(&model).0, reason, "guarded: {guarded:?}");
    }
    assert!(model.status().release.is_some(), "{}", model.status().why);
}

#[test]
fn a_release_that_cannot_be_guarded_any_more_leaves_the_previous_version_its_pods() {
    let mut model = healthy(&[2, 2], PolicySpec { idle: Idle::ScaleToZero, ..blue_green() });
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Baking);
    model.guarded = Some(false);
    model.run_to(Phase::Healthy);
    assert_eq!((stable(&model), model.version(BLUE).replicas), (GREEN, 2));
    assert!(model.notices.iter().any(|notice| notice.starts_with("KeptRunning")));
}

#[test]
fn nothing_is_emptied_before_that_is_on_record() {
    let mut model = ending(3);
    // The write that said so was lost.
    model.recorded.phase = Some(Phase::Baking);
    let decision = decide(&model.snapshot(), model.now);
    assert!(decision.actions.is_empty(), "{:?}", decision.actions);
}

#[test]
fn a_version_that_a_service_names_again_is_emptied_only_once_its_clients_have_left() {
    let mut model = ending(3);
    // A Service that is deleted and made anew is as Git has it: no policy sees that.
    model.services[0].selector.insert("version".into(), "blue".into());
    model.endpoints();
    model.run(|model| stable(model) == GREEN);
    assert_eq!((model.pin(), model.version(BLUE).replicas), (side("green"), 0));
}

#[test]
fn a_version_that_is_not_whole_at_the_end_leaves_the_previous_one_its_pods() {
    let mut model = ending(3);
    let (victim, now) = (model.uids_of(GREEN)[0].clone(), model.now);
    model.pods.iter_mut().filter(|pod| pod.uid == victim).for_each(|pod| pod.deleting_since = Some(now));
    model.broken.push("hello:v2".into());
    model.run(|model| stable(model) == GREEN);
    assert_eq!(model.version(BLUE).replicas, 3);
    assert!(model.notices.iter().any(|notice| notice.starts_with("KeptRunning")), "{:?}", model.notices);
}

#[test]
fn a_version_that_is_to_be_live_again_is_not_emptied() {
    let mut model = ending(3);
    model.set_live(BLUE);
    model.run(|model| stable(model) == GREEN);
    assert!(model.trace.iter().all(|line| !line.contains("ScaleToZero")), "{}", model.trace.join("\n"));
    model.run(|model| stable(model) == BLUE);
}

#[test]
fn a_new_version_that_is_gone_at_the_end_gives_its_clients_back() {
    for left in [3, 0] {
        let mut model = ending(3);
        model.scale_version(BLUE, left);
        model.settle();
        model.deployments.retain(|deployment| deployment.name != GREEN);
        model.run(|model| model.pin() == side("blue") && model.uids_of(BLUE).len() == 3);
        assert_eq!((stable(&model), outcome(&model)), (BLUE, None), "{left} pods were left");
        model.run(|model| outcome(model) == Some(Outcome::RolledBack));
    }
}
