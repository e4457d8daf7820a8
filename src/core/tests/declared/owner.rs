//! What the owners of versions, Services and Rollouts do to them.

use super::*;
use crate::core::facts::{Rival, pin::Keys};

#[test]
fn a_roll_out_of_the_live_version_is_its_owners_affair() {
    let mut model = healthy(&[2, 2], quarters());
    model.trace.clear();
    model.set_image_of(BLUE, "hello:v9");
    model.run(|model| model.status().stable.as_ref().is_some_and(|stable| stable.images == ["hello:v9"] && stable.ready == 2));
    assert_eq!((model.phase(), pins(&model)), (Phase::Healthy, 0));
    let mut model = at_weight(&[2, 2], 50);
    model.set_image_of(BLUE, "hello:v9");
    model.run(|model| model.pods_of("hello:v9").len() == 2);
    assert!(model.status().release.as_ref().is_some_and(|release| release.rollback.is_none()), "{}", model.status().why);
}

#[test]
fn a_version_in_a_roll_out_of_its_own_is_awaited_before_it_gets_clients() {
    let mut model = healthy(&[2, 2], blue_green());
    model.broken.push("hello:v9".into());
    model.set_image_of(GREEN, "hello:v9");
    model.set_live(GREEN);
    for _ in 0..40 {
        model.control(Crash::Never);
        model.settle();
        model.tick(250);
    }
    assert_eq!((model.phase(), model.pin()), (Phase::Preparing, side("blue")), "{}", model.status().why);
}

#[test]
fn a_deleted_rollout_leaves_the_version_key_where_it_is() {
    let mut model = healthy(&[2, 2], quarters());
    model.rollout.deleting = true;
    model.run(|model| !model.rollout.has_finalizer);
    assert_eq!((model.pin(), pins(&model)), (side("blue"), 1));
}

#[test]
fn a_live_version_that_is_deleted_leaves_its_place_to_the_one_that_is_wanted() {
    for weight in [25, 75] {
        let mut model = at_weight(&[4, 4], weight);
        model.deployments.retain(|deployment| deployment.name != BLUE);
        model.run(|model| model.phase() == Phase::Healthy && model.pin() == side("green"));
        assert_eq!((stable(&model), outcome(&model)), (GREEN, Some(Outcome::Unguarded)), "{weight} %");
    }
}

#[test]
fn a_service_whose_key_was_taken_off_gets_it_back() {
    let mut model = healthy(&[2, 2], quarters());
    model.services[0].selector.remove("version");
    model.run(|model| model.pin() == side("blue"));
}

#[test]
fn a_live_version_that_is_down_does_not_block_a_release() {
    for named in [true, false] {
        let mut model = healthy(&[2, 2], quarters());
        let blue = model.uids_of(BLUE);
        model.pods.iter_mut().filter(|pod| blue.contains(&pod.uid)).for_each(|pod| pod.ready = false);
        if !named {
            model.services[0].selector.remove("version");
        }
        model.endpoints();
        model.set_live(GREEN);
        model.run(|model| stable(model) == GREEN);
        assert_eq!((outcome(&model), model.pin()), (Some(Outcome::Promoted), side("green")), "named: {named}");
    }
}

#[test]
fn the_live_version_keeps_its_clients_whatever_a_release_would_be_refused_for() {
    type Wrong = fn(&mut Model);
    let wrongs: [(&str, Wrong); 3] = [
        ("IdleUnguarded", |model| model.guarded = Some(false)),
        ("ServiceNotFound", |model| model.edit_spec(|spec| spec.services.push("absent".into()))),
        ("NoVersionLabel", |model| edit_template(model, GREEN, |template| template["metadata"]["labels"] = json!({"app": "hello"}))),
    ];
    for (reason, wrong) in wrongs {
        let mut model = healthy(&[2, 2], PolicySpec { idle: Idle::ScaleToZero, ..blue_green() });
        wrong(&mut model);
        model.services[0].selector.insert("version".into(), "green".into());
        model.run(|model| model.pin() == side("blue"));
        assert_eq!(accepted(&model).0, reason);
    }
}

#[test]
fn what_an_older_rollout_has_is_not_written() {
    let mut model = healthy(&[2, 2], quarters());
    model.rivals.push(Rival {
        name: "older".into(),
        uid: "a".into(),
        created_at: model.rollout.created_at,
        deployments: Vec::new(),
        services: vec!["hello".into()],
    });
    model.services[0].selector.insert("version".into(), "green".into());
    for _ in 0..10 {
        model.control(Crash::Never);
        model.settle();
        model.tick(250);
    }
    assert_eq!((accepted(&model).0.as_str(), model.pin()), ("RivalRollout", side("green")));
    model.services[0].selector = Keys { side: "version" }.apply(&Pin::Rotation, &model.services[0].selector);
    model.rollout.deleting = true;
    model.run(|model| !model.rollout.has_finalizer);
    assert_eq!(model.pin(), Pin::Rotation, "that is the older one's release");
}

#[test]
fn a_live_version_that_is_deleted_leaves_its_place_to_what_is_ready_of_the_other() {
    let mut model = healthy(&[4, 4], quarters());
    let late = model.uids_of(GREEN)[0].clone();
    model.pods.iter_mut().filter(|pod| pod.uid == late).for_each(|pod| pod.ready = false);
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Preparing);
    model.deployments.retain(|deployment| deployment.name != BLUE);
    model.run(|model| model.pin() == side("green"));
    assert_eq!(stable(&model), GREEN);
}

#[test]
fn a_version_that_is_being_deleted_is_as_good_as_gone() {
    let deleted = |name: &str| {
        let mut model = at_weight(&[4, 4], 75);
        model.deployments.iter_mut().filter(|deployment| deployment.name == name).for_each(|deployment| deployment.deleting = true);
        model
    };
    let mut model = deleted(BLUE);
    model.run(|model| model.phase() == Phase::Healthy && model.pin() == side("green"));
    assert_eq!((stable(&model), outcome(&model)), (GREEN, Some(Outcome::Unguarded)));
    let mut model = deleted(GREEN);
    model.control(Crash::Never);
    assert_eq!(model.pin(), side("blue"));
}

#[test]
fn a_rollout_that_goes_with_its_live_version_leaves_clients_where_there_are_pods() {
    let mut model = at_weight(&[4, 4], 75);
    model.deployments.retain(|deployment| deployment.name != BLUE);
    model.rollout.deleting = true;
    model.run(|model| !model.rollout.has_finalizer);
    assert_eq!(model.pin(), side("green"));
}

#[test]
fn a_pin_that_is_answered_late_is_put_right_at_rest() {
    for late in [Pin::Open, Pin::Rotation, side("green")] {
        let mut model = at_weight(&[2, 2], 25);
        request(&mut model, RequestAction::Abort);
        model.run_to(Phase::RolledBack);
        model.services[0].selector = Keys { side: "version" }.apply(&late, &model.services[0].selector);
        model.endpoints();
        model.run(|model| model.pin() == side("blue"));
        assert_eq!(model.phase(), Phase::RolledBack, "{late:?}");
    }
}

#[test]
fn a_third_version_that_gets_pods_in_mid_release_gets_no_clients() {
    let mut model = at_weight(&[4, 0, 0], 25);
    assert_eq!(model.pin(), Pin::Open);
    model.scale_version(RED, 2);
    model.controllers();
    // Its pods take longer to be ready than this.
    for _ in 0..5 {
        model.control(Crash::Never);
    }
    model.settle();
    let red = model.uids_of(RED);
    assert_eq!((model.pin(), red.len()), (Pin::Rotation, 2));
    assert!(model.services[0].endpoints.iter().all(|uid| !red.contains(uid)), "{}", model.trace.join("\n"));
}

#[test]
fn a_version_under_release_that_its_owner_scales_down_is_brought_up_again() {
    for weight in [25, 50, 75, 100] {
        let mut model = at_weight(&[4, 4], weight);
        model.scale_version(GREEN, 0);
        for _ in 0..20 {
            model.settle();
            model.control(Crash::Never);
            model.tick(250);
        }
        assert_eq!(model.phase(), Phase::Progressing, "{weight} %: {}", model.status().why);
        assert!(!model.uids_of(GREEN).is_empty() && model.status().rejected.is_empty(), "{weight} %: {}", model.status().why);
    }
}
