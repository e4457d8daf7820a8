//! What is released is what was tested, and what is ours is ours by more than a label.

use serde_json::json;

use crate::{
    api::{
        ROLLOUT_UID,
        rollout::{Request, RequestAction},
        status::Phase,
    },
    core::{
        decide::decide,
        decision::action::Action,
        facts::deployment::DeploymentFacts,
        tests::model::{Model, policy, quarters},
    },
};

fn healthy(replicas: i32) -> Model {
    let mut model = Model::new(replicas, quarters());
    model.run_to(Phase::Healthy);
    model
}

fn request(model: &mut Model, action: RequestAction) {
    let revision = model.hello().revision.clone();
    let id = model.now.to_string();
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
}
#[test]
fn a_canary_whose_template_is_changed_fails_the_release_in_every_phase() {
    let promotions = ["Adopt", "Roll"];
    for (phase, promotion) in
        [Phase::Preparing, Phase::Progressing, Phase::Baking].into_iter().flat_map(|phase| promotions.map(|how| (phase, how)))
    {
        let steps = json!([{"weight": 25, "hold": "1h"}, {"weight": 100}]);
        let policy = policy(json!({"steps": steps, "settle": "0s", "keepPrevious": "1h", "promotion": promotion}));
        let mut model = Model::new(4, policy);
        model.run_to(Phase::Healthy);
        model.set_image("hello:v2");
        model.run(|model| model.deployments.len() == 2);
        if phase != Phase::Preparing {
            model.run(|model| model.status().step.as_ref().is_some_and(|step| step.since.is_some()));
        }
        if phase == Phase::Baking {
            request(&mut model, RequestAction::PromoteFull);
            model.run(|model| model.phase() == Phase::Baking);
        }
        assert_eq!(model.phase(), phase);
        model.change_canary("hello:v3");
        model.run_to(Phase::RolledBack);
        model.settle();
        let reason = model.status().history.last().map(|entry| entry.reason.clone()).unwrap_or_default();
        assert!(reason.contains("its template was changed after it was made"), "{phase:?} {promotion}: {reason}");
        assert_eq!((model.pods_of("hello:v1").len(), model.pods_of("hello:v2").len(), model.pods_of("hello:v3").len()), (4, 0, 0));
        model.assert_clean();
    }
}

#[test]
fn a_label_makes_nothing_ours() {
    let mut model = healthy(2);
    let ours = (ROLLOUT_UID.to_owned(), model.rollout.uid.clone());
    for (name, owners) in [("billing", vec![]), ("hello-web", vec![model.hello().uid.clone()]), ("hello-3f9c1a", vec![])] {
        let labels = [ours.clone()].into();
        let other = DeploymentFacts { name: name.into(), uid: name.into(), labels, owners, replicas: 0, ..model.hello().clone() };
        model.deployments.push(other);
    }
    model.set_image("hello:v2");
    model.run(|model| model.phase() == Phase::Progressing);
    model.run_to(Phase::Healthy);
    model.settle();
    let left: Vec<&str> = model.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    assert_eq!(left, ["hello", "billing", "hello-web", "hello-3f9c1a"]);
}

/// Another template whose digest has the same first ten digits is found in seconds.
#[test]
fn a_template_with_the_ten_digits_of_the_live_one_is_released_and_not_taken_for_it() {
    let mut model = healthy(4);
    model.run(|model| model.rollout.has_finalizer);
    let (mut snapshot, now) = (model.snapshot(), model.now);
    let live = snapshot.status.stable.clone().expect("a live version");
    assert_eq!((live.revision.len(), live.digest.len()), (10, 64));
    let hello = snapshot.deployments.iter_mut().find(|deployment| deployment.name == "hello").expect("hello");
    let hello = std::sync::Arc::make_mut(hello);
    (hello.digest, hello.paused, hello.held) = (format!("{}{}", live.revision, "f".repeat(54)), true, true);
    let decision = decide(&snapshot.resolved(), now);
    let release = decision.status.release.expect("a release");
    assert_eq!((release.revision.len(), &release.revision[..10], release.digest.len()), (40, live.revision.as_str(), 64));
    assert!(!decision.actions.iter().any(|action| matches!(action, Action::SetPaused { paused: false, .. })), "{:?}", decision.actions);
}
