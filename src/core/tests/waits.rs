//! What a release waits for under its deadline: also writes of Stepgate's own that may never take effect.

use serde_json::json;

use crate::{
    api::{
        ROLLOUT_UID,
        policy::PolicySpec,
        rollout::{Request, RequestAction},
        status::{Phase, WaitEnd},
    },
    core::{
        decide::decide,
        decision::{Decision, action::Action, wait::Until},
        facts::deployment::DeploymentFacts,
        tests::model::{Model, policy},
        why::Why,
    },
};

fn held() -> PolicySpec {
    policy(json!({"steps": [{"weight": 50, "hold": "1h"}, {"weight": 75, "hold": "1h"}, {"weight": 100}], "progressDeadline": "60s"}))
}

/// A release of v2 that is just about to do this.
fn about_to(policy: PolicySpec, is_it: impl Fn(&Action) -> bool) -> Model {
    let mut model = Model::new(4, policy);
    model.run_to(Phase::Healthy);
    model.set_image("hello:v2");
    model.run(|model| decide(&model.snapshot(), model.now).actions.iter().any(&is_it));
    model
}

fn runs_the_deadline(decision: &Decision) -> bool {
    let waiting = decision.status.waiting.as_ref().expect("a wait");
    matches!(decision.wait.until, Until::Deadline(_)) && waiting.until == WaitEnd::Deadline && waiting.at == decision.wake_at
}

#[test]
fn rotation_labels_are_written_under_the_deadline() {
    let mut model = about_to(held(), |action| matches!(action, Action::PinService { .. }));
    model.run(|model| model.status().step.as_ref().is_some_and(|at| at.since.is_some_and(|since| since < model.now)));
    let (id, action, revision) = ("on".into(), RequestAction::Promote, model.hello().revision.clone());
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
    let labels = |model: &Model| decide(&model.snapshot(), model.now).actions.iter().any(|one| matches!(one, Action::LabelPod { .. }));
    model.run(labels);
    let decision = decide(&model.snapshot(), model.now);
    assert!(decision.wait.why == Why::ChangingWeight { weight: 75 } && runs_the_deadline(&decision), "{:?}", decision.wait);
}

#[test]
fn the_canary_of_an_earlier_release_is_removed_under_the_deadline() {
    let mut model = about_to(held(), |action| matches!(action, Action::CreateCanary { .. }));
    let labels = [(ROLLOUT_UID.to_owned(), "rollout".to_owned())].into();
    let owners = vec![model.hello().uid.clone()];
    let left = DeploymentFacts { name: "hello-01d000".into(), uid: "old".into(), labels, owners, deleting: true, ..model.hello().clone() };
    model.deployments.push(left);
    let decision = decide(&model.snapshot(), model.now);
    assert!(matches!(decision.wait.why, Why::CanaryBeingRemoved { .. }) && runs_the_deadline(&decision), "{:?}", decision.wait);
}

#[test]
fn a_live_version_that_is_missing_before_the_first_client_is_awaited_under_the_deadline() {
    let mut model = about_to(held(), |action| matches!(action, Action::CreateCanary { .. }));
    model.sets.clear();
    let decision = decide(&model.snapshot(), model.now);
    assert!(matches!(decision.wait.why, Why::LiveVersionGone { .. }) && runs_the_deadline(&decision), "{:?}", decision.wait);
}

#[test]
fn a_wait_is_reported_with_its_name_and_since_when_it_lasts() {
    let mut model = about_to(held(), |action| matches!(action, Action::PinService { .. }));
    model.run(|model| model.status().why.starts_with("holding"));
    let waiting = |model: &Model| model.status().waiting.clone().expect("a wait");
    let first = waiting(&model);
    assert_eq!((first.reason.as_str(), first.until), ("Holding", WaitEnd::Time));
    assert_eq!(first.at, model.status().step.as_ref().and_then(|step| step.until));
    let later = model.now.as_second() + 60;
    model.run(|model| model.now.as_second() >= later);
    assert_eq!(waiting(&model), first);
    model.edit_spec(|spec| spec.paused = true);
    model.run(|model| model.status().why.starts_with("paused"));
    let paused = waiting(&model);
    assert_eq!((paused.reason.as_str(), paused.until, paused.at), ("PausedBySpec", WaitEnd::Person, None));
    assert!(paused.since > first.since);
}
