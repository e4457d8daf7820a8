//! Whole releases of declared pairs, on the model.

mod back;
mod idle;
mod owner;
mod refused;
mod undo;

use serde_json::{Value, json};

use crate::api::{
    PolicySpec,
    policy::Idle,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase},
};

use crate::core::{
    decide::decide,
    facts::pin::Pin,
    tests::model::{Crash, Model, policy, quarters},
};

const BLUE: &str = "hello-blue";
const GREEN: &str = "hello-green";
const RED: &str = "hello-red";

fn side(value: &str) -> Pin {
    Pin::Side(value.to_owned())
}

fn blue_green() -> PolicySpec {
    policy(json!({"steps": [{"weight": 100}], "keepPrevious": "1m", "settle": "0s"}))
}

fn healthy(replicas: &[i32], policy: PolicySpec) -> Model {
    let mut model = Model::declared(replicas, policy);
    model.run_to(Phase::Healthy);
    model.run(|model| model.pin() == side("blue"));
    model
}

/// A release to green that has its weight confirmed.
fn at_weight(replicas: &[i32], weight: u8) -> Model {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "1h"}));
    let mut model = healthy(replicas, policy(json!({"steps": steps, "settle": "0s"})));
    model.set_live(GREEN);
    for step in [25, 50, 75, 100] {
        model.run(|model| {
            model.status().step.as_ref().is_some_and(|at| at.weight == step && at.since.is_some_and(|since| since < model.now))
        });
        if step == weight {
            break;
        }
        request(&mut model, RequestAction::Promote);
    }
    model
}

fn request(model: &mut Model, action: RequestAction) {
    let (revision, id) = (model.wanted().revision.clone(), model.now.to_string());
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
}

fn outcome(model: &Model) -> Option<Outcome> {
    model.status().history.last().map(|entry| entry.outcome)
}

fn pins(model: &Model) -> usize {
    model.trace.iter().filter(|line| line.contains("PinService")).count()
}

fn stable(model: &Model) -> &str {
    model.status().stable.as_ref().map_or("", |stable| &stable.name)
}

fn edit_template(model: &mut Model, name: &str, edit: impl Fn(&mut Value)) {
    let version = model.deployments.iter_mut().find(|deployment| deployment.name == name).expect("the version");
    edit(std::sync::Arc::make_mut(&mut version.template));
}

/// Reason and message of condition `Accepted`.
fn accepted(model: &Model) -> (String, String) {
    let accepted = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("Accepted");
    (accepted.reason.clone(), accepted.message.clone())
}

#[test]
fn a_service_that_names_a_version_is_taken_over_as_it_is() {
    let mut model = Model::declared(&[2, 2], quarters());
    model.services[0].selector.insert("version".into(), "blue".into());
    model.run_to(Phase::Healthy);
    model.run(|model| model.status().conditions.iter().any(|condition| condition.type_ == "Guarded"));
    assert_eq!((stable(&model), pins(&model)), (BLUE, 0));
}

#[test]
fn what_the_services_name_is_live_and_another_wish_is_a_release() {
    let mut model = Model::declared(&[2, 2], quarters());
    model.services[0].selector.insert("version".into(), "green".into());
    model.run(|model| model.phase() == Phase::Preparing);
    assert_eq!(stable(&model), GREEN);
    model.run_to(Phase::Healthy);
    assert_eq!(stable(&model), BLUE);
    model.assert_clean();
}

#[test]
fn a_service_that_names_no_version_is_pinned_to_the_live_one() {
    let model = healthy(&[2, 2], quarters());
    assert_eq!((stable(&model), pins(&model)), (BLUE, 1));
}

#[test]
fn a_release_swaps_the_roles_and_nobody_restarts() {
    for replicas in [1, 2, 3, 4, 10] {
        let mut model = healthy(&[replicas, replicas], quarters());
        let before = (model.uids_of(BLUE), model.uids_of(GREEN));
        model.set_live(GREEN);
        model.run(|model| model.phase() == Phase::Baking);
        model.run_to(Phase::Healthy);
        model.settle();
        assert_eq!((stable(&model), outcome(&model)), (GREEN, Some(Outcome::Promoted)));
        assert_eq!(before, (model.uids_of(BLUE), model.uids_of(GREEN)), "{replicas} replicas");
        model.assert_clean();
    }
}

#[test]
fn a_flip_and_the_way_back_are_one_write_each() {
    let mut model = healthy(&[3, 3], blue_green());
    model.trace.clear();
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Baking);
    assert_eq!((model.pin(), pins(&model)), (side("green"), 1), "{}", model.trace.join("\n"));
    model.trace.clear();
    model.set_live(BLUE);
    model.control(Crash::Never);
    assert_eq!((model.pin(), pins(&model)), (side("blue"), 1), "back in the next decision");
    model.run_to(Phase::Healthy);
    assert_eq!((stable(&model), outcome(&model), pins(&model)), (BLUE, Some(Outcome::Superseded), 1));
    model.assert_clean();
}

#[test]
fn the_previous_version_is_released_like_any_other_once_the_roles_are_swapped() {
    let mut model = healthy(&[2, 2], quarters());
    for (live, other) in [(GREEN, BLUE), (BLUE, GREEN)] {
        model.set_live(live);
        model.run(|model| model.status().release.is_some());
        assert_eq!(stable(&model), other);
        model.run_to(Phase::Healthy);
        assert_eq!(stable(&model), live);
    }
}

#[test]
fn the_other_version_is_made_as_large_as_the_live_one_and_never_smaller() {
    for (green, after) in [(0, 4), (1, 4), (4, 4), (6, 6)] {
        let mut model = healthy(&[4, green], quarters());
        model.set_live(GREEN);
        model.run(|model| stable(model) == GREEN);
        assert_eq!((model.version(BLUE).replicas, model.version(GREEN).replicas), (4, after), "from {green}");
    }
}

#[test]
fn counts_give_a_share_only_where_they_can() {
    for (replicas, weight, pin, in_rotation) in [
        (&[4, 0][..], 25, Pin::Open, 0),
        (&[4, 4], 25, Pin::Rotation, 4),
        (&[4, 4], 50, Pin::Open, 0),
        // Behind the owner's selector there would be a third version.
        (&[4, 0, 1], 25, Pin::Rotation, 4),
        (&[4, 4, 1], 50, Pin::Rotation, 8),
        (&[4, 0], 75, Pin::Rotation, 4),
        (&[4, 0], 100, side("green"), 0),
    ] {
        let model = at_weight(replicas, weight);
        let labelled = model.pods.iter().filter(|pod| pod.labels.contains_key("stepgate.dev/rotation")).count();
        assert_eq!((model.pin(), labelled), (pin, in_rotation), "{replicas:?} at {weight} %");
    }
}

#[test]
fn deciding_again_on_an_unchanged_world_changes_nothing() {
    for weight in [25, 50, 75, 100] {
        let model = at_weight(&[4, 4], weight);
        let first = decide(&model.snapshot(), model.now);
        assert!(first.actions.is_empty() && first.wake_at.is_some(), "{weight} %: {:?}", first.actions);
    }
}

#[test]
fn a_crash_after_any_write_changes_nothing_about_the_outcome() {
    for every in 2..40 {
        let mut model = healthy(&[4, 0], PolicySpec { idle: Idle::ScaleToZero, ..quarters() });
        let mut other = model.services[0].clone();
        other.name = "other".into();
        model.services.push(other);
        model.edit_spec(|spec| spec.services.push("other".into()));
        model.set_live(GREEN);
        for round in 0..4_000 {
            if stable(&model) == GREEN && model.status().release.is_none() {
                break;
            }
            let crash = if round % every == 0 { Crash::After(round % 3) } else { Crash::Never };
            model.control(crash);
            if round % 2 == 0 {
                model.settle();
            }
            model.tick(250);
            assert!(round < 3_999, "no end: {:?} {}\n{}", model.phase(), model.status().why, model.trace.join("\n"));
        }
        model.run_to(Phase::Healthy);
        model.settle();
        assert_eq!(outcome(&model), Some(Outcome::Promoted), "every {every}\n{}", model.trace.join("\n"));
        assert_eq!((model.version(BLUE).replicas, model.uids_of(GREEN).len()), (0, 4), "every {every}");
        model.assert_clean();
    }
}
