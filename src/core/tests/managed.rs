//! Whole releases, on the model.

use jiff::SignedDuration;
use serde_json::json;

use crate::api::{
    policy::OnFailure,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase},
};

use crate::core::{
    decide::decide,
    decision::action::Action,
    facts::pin::{MANAGED, Pin},
    tests::model::{Crash, Model, policy, quarters},
};

fn healthy(replicas: i32) -> Model {
    let mut model = Model::new(replicas, quarters());
    model.run_to(Phase::Healthy);
    model
}

/// A release of v2 that has its weight confirmed.
pub(super) fn at_weight(replicas: i32, weight: u8) -> Model {
    let mut model = Model::new(
        replicas,
        policy(
            json!({"steps": [{"weight": 25, "hold": "1h"}, {"weight": 50, "hold": "1h"}, {"weight": 75, "hold": "1h"}, {"weight": 100, "hold": "1h"}], "settle": "0s"}),
        ),
    );
    model.run_to(Phase::Healthy);
    model.set_image("hello:v2");
    for step in [25, 50, 75, 100] {
        model.run(|model| {
            model.status().step.as_ref().is_some_and(|at| at.weight == step && at.since.is_some_and(|since| since < model.now))
        });
        if step == weight {
            return model;
        }
        request(&mut model, RequestAction::Promote);
    }
    model
}

pub(super) fn request(model: &mut Model, action: RequestAction) {
    let revision = model.hello().revision.clone();
    let id = model.now.to_string();
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
}

fn live_hash(model: &Model) -> String {
    model.status().stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default()
}

pub(super) fn outcome(model: &Model) -> Option<Outcome> {
    model.status().history.last().map(|entry| entry.outcome)
}

#[test]
fn a_release_of_any_size_is_promoted_without_a_restart() {
    for replicas in [1, 2, 3, 4, 10] {
        let mut model = healthy(replicas);
        model.set_image("hello:v2");
        model.run(|model| model.phase() == Phase::Baking);
        let tested: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
        model.run_to(Phase::Healthy);
        model.settle();
        let kept: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
        assert_eq!(tested, kept, "{replicas} replicas");
        assert_eq!(model.pods.len(), kept.len());
        assert_eq!(outcome(&model), Some(Outcome::Promoted));
        model.assert_clean();
    }
}

#[test]
fn a_deployment_that_is_scaled_in_mid_release_is_adopted_at_its_new_size() {
    for weight in [25, 50, 75, 100] {
        for size in [2, 3, 6, 11] {
            let mut model = at_weight(4, weight);
            model.scale(size);
            request(&mut model, RequestAction::PromoteFull);
            model.run(|model| model.status().step.as_ref().is_some_and(|at| at.weight == 100 && at.since.is_some()));
            request(&mut model, RequestAction::Promote);
            model.run_fast(|model| model.phase() == Phase::Promoting);
            model.trace.clear();
            model.run_to(Phase::Healthy);
            model.settle();
            assert_eq!(outcome(&model), Some(Outcome::Promoted));
            assert_eq!(model.pods_of("hello:v2").len(), usize::try_from(size).unwrap_or(0), "{weight} % of 4, then {size}");
            let scaled = model.trace.iter().filter(|line| line.contains("ScaleCanary")).count();
            assert!(scaled <= 1, "{weight} % of 4, then {size}: scaled {scaled} times\n{}", model.trace.join("\n"));
            assert!(model.notices.iter().all(|notice| !notice.contains("RollingInstead")), "{weight} % of 4, then {size}");
            model.assert_clean();
        }
    }
}

#[test]
fn deciding_again_on_an_unchanged_world_changes_nothing() {
    for weight in [25, 50, 75, 100] {
        let model = at_weight(4, weight);
        let first = decide(&model.snapshot(), model.now);
        let mut again = model.snapshot();
        again.status = first.status.clone();
        let second = decide(&again, model.now);
        assert_eq!(first.actions, second.actions);
        assert_eq!(first.status, second.status);
        assert!(first.actions.is_empty(), "{weight} %: {:?}", first.actions);
        assert!(first.wake_at.is_some(), "{weight} %: no time to look again");
    }
}

#[test]
fn a_canary_that_loses_its_readiness_goes_to_zero_in_the_same_decision() {
    for weight in [25, 50, 75, 100] {
        for lost in ["one", "all"] {
            let mut model = at_weight(4, weight);
            let ids: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
            let ids = if lost == "one" { &ids[..1] } else { &ids[..] };
            for pod in model.pods.iter_mut().filter(|pod| ids.contains(&pod.uid)) {
                pod.ready = false;
            }
            model.control(Crash::Never);
            let pinned = Pin::Side(live_hash(&model));
            assert!(model.services.iter().all(|service| MANAGED.pin(&service.selector) == pinned), "{weight} %, {lost}");
            model.run_to(Phase::RolledBack);
            assert_eq!(outcome(&model), Some(Outcome::RolledBack));
            assert!(model.hello().paused && model.pods_of("hello:v2").is_empty());
            assert_eq!(model.status().canary.as_ref().map(|canary| (canary.ready, canary.replicas)), Some((0, 0)));
            model.assert_clean();
        }
    }
}

#[test]
fn a_deleted_canary_pod_is_no_failure_and_both_sides_serve_until_it_is_replaced() {
    let mut model = at_weight(4, 100);
    let (victim, now) = (model.pods_of("hello:v2")[0].uid.clone(), model.now);
    model.pods.iter_mut().filter(|pod| pod.uid == victim).for_each(|pod| pod.deleting_since = Some(now));
    model.endpoints();
    model.control(Crash::Never);
    assert!(model.services.iter().all(|service| MANAGED.pin(&service.selector) == Pin::Open));
    assert_eq!(model.phase(), Phase::Progressing);
    model.run(|model| model.services.iter().all(|service| matches!(MANAGED.pin(&service.selector), Pin::Side(_))));
    request(&mut model, RequestAction::PromoteFull);
    request(&mut model, RequestAction::Promote);
    model.run(|model| model.phase() == Phase::Baking);
}

#[test]
fn a_lost_node_is_no_fault_of_the_version() {
    for weight in [25, 50, 75, 100] {
        for images in [&["hello:v2"][..], &["hello:v1", "hello:v2"]] {
            let mut model = at_weight(4, weight);
            let lost: Vec<String> = images.iter().flat_map(|image| model.pods_of(image)).map(|pod| pod.uid.clone()).collect();
            for pod in model.pods.iter_mut().filter(|pod| lost.contains(&pod.uid)) {
                (pod.ready, pod.node_lost) = (false, true);
            }
            for _ in 0..20 {
                model.control(Crash::Never);
                model.settle();
                model.tick(1_000);
            }
            assert_eq!(model.phase(), Phase::Progressing, "{weight} %, {images:?}");
            for pod in model.pods.iter_mut().filter(|pod| lost.contains(&pod.uid)) {
                (pod.ready, pod.node_lost) = (true, false);
            }
            request(&mut model, RequestAction::PromoteFull);
            model.run(|model| model.status().step.as_ref().is_some_and(|at| at.weight == 100 && at.since.is_some()));
            request(&mut model, RequestAction::Promote);
            model.run(|model| model.phase() == Phase::Baking);
            assert!(model.status().rejected.is_empty(), "{weight} %, {images:?}");
        }
    }
}

#[test]
fn a_live_side_that_is_down_does_not_block_a_release() {
    let mut model = healthy(4);
    model.pods.iter_mut().for_each(|pod| pod.ready = false);
    model.endpoints();
    model.set_image("hello:v2");
    model.run(|model| model.phase() == Phase::Baking);
    assert_eq!(model.status().release.as_ref().map(|release| release.max_weight), Some(100));
}

#[test]
fn a_rejected_revision_is_held_until_it_is_retried() {
    let mut model = at_weight(4, 25);
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    model.tick(3_600_000);
    for _ in 0..20 {
        model.control(Crash::Never);
        model.settle();
    }
    assert_eq!(model.phase(), Phase::RolledBack);
    request(&mut model, RequestAction::Retry);
    model.run(|model| model.phase() == Phase::Progressing);
}

#[test]
fn a_held_revision_is_said_to_be_held_also_while_a_pod_is_seen_off() {
    let mut model = at_weight(4, 25);
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    let (live, now) = (Pin::Side(live_hash(&model)), model.now);
    model.pods[0].deleting_since = Some(now);
    model.services[0].selector = MANAGED.apply(&live, &model.services[0].selector);
    model.control(Crash::Never);
    assert!(model.status().why.contains("is held"), "{}", model.status().why);
    model.run(|model| MANAGED.pin(&model.services[0].selector) == Pin::Open);
}

#[test]
fn going_back_to_the_running_template_restarts_nobody() {
    let mut model = at_weight(4, 50);
    let before: Vec<String> = model.pods_of("hello:v1").iter().map(|pod| pod.uid.clone()).collect();
    model.set_image("hello:v1");
    model.run_to(Phase::Healthy);
    model.settle();
    assert!(!model.hello().paused);
    assert_eq!(before, model.pods_of("hello:v1").iter().map(|pod| pod.uid.clone()).collect::<Vec<_>>());
    model.assert_clean();
}

#[test]
fn a_third_template_takes_the_place_of_the_second() {
    let mut model = at_weight(4, 75);
    model.set_image("hello:v3");
    model.run(|model| model.status().history.last().is_some_and(|entry| entry.outcome == Outcome::Superseded));
    model.run(|model| model.status().step.as_ref().is_some_and(|step| step.weight == 25 && step.since.is_some()));
    assert!(!model.pods_of("hello:v3").is_empty() && model.pods_of("hello:v2").is_empty());
}

#[test]
fn a_version_that_never_becomes_ready_gets_no_client_and_is_given_up() {
    let mut model = healthy(3);
    model.broken.push("hello:bad".into());
    model.set_image("hello:bad");
    model.run_to(Phase::RolledBack);
    assert_eq!(model.status().history.last().map(|entry| entry.max_weight), Some(0));
    model.assert_clean();
}

#[test]
fn templates_that_come_and_go_are_released_each_time() {
    let mut model = healthy(2);
    for image in ["hello:v2", "hello:v1", "hello:v2", "hello:v1"] {
        model.set_image(image);
        model.run(|model| model.status().release.is_some());
        model.run_to(Phase::Healthy);
        model.settle();
        assert_eq!(model.pods_of(image).len(), 2, "{image}");
        model.assert_clean();
    }
}

#[test]
fn a_request_is_carried_out_once_and_only_for_its_revision() {
    let mut model = at_weight(4, 25);
    model.edit_spec(|spec| {
        spec.request = Some(Request {
            id: "stale".into(),
            action: RequestAction::Abort,
            revision: "0123456789".into(),
            to: None,
            reason: String::new(),
            by: String::new(),
        });
    });
    model.control(Crash::Never);
    model.control(Crash::Never);
    let requests = &model.status().requests;
    assert_eq!(requests.iter().filter(|request| request.id == "stale").count(), 1);
    assert!(requests.iter().any(|request| request.outcome.starts_with("refused: revision")), "{requests:?}");
    assert_eq!(model.phase(), Phase::Progressing);
}

#[test]
fn a_paused_release_stays_where_it_is_and_is_still_taken_back() {
    let mut model = at_weight(4, 50);
    model.edit_spec(|spec| spec.paused = true);
    for _ in 0..10 {
        model.control(Crash::Never);
        model.settle();
        model.tick(3_600_000);
    }
    assert_eq!(model.status().step.as_ref().map(|step| (step.weight, step.until)), Some((50, None)));
    let canary: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
    model.pods.iter_mut().filter(|pod| canary.contains(&pod.uid)).for_each(|pod| pod.ready = false);
    model.run_to(Phase::RolledBack);
}

#[test]
fn a_deleted_rollout_gives_everything_back_in_every_phase() {
    for weight in [25, 50, 75, 100] {
        let mut model = at_weight(4, weight);
        model.rollout.deleting = true;
        model.run(|model| !model.rollout.has_finalizer);
        model.settle();
        model.assert_clean();
        assert!(model.hello().paused, "hello would run what did not serve");
    }
}

#[test]
fn a_deployment_without_replicas_takes_a_template_without_a_release() {
    let mut model = healthy(2);
    model.scale(0);
    model.settle();
    model.set_image("hello:v2");
    model.run(|model| model.phase() == Phase::Healthy && !model.hello().paused && model.status().stable.is_some());
    assert!(model.status().history.iter().all(|entry| entry.outcome != Outcome::Promoted));
}

#[test]
fn a_rejected_version_stays_held_without_pods_and_never_comes_back_with_them() {
    for zero_while in [Phase::RollingBack, Phase::RolledBack] {
        let mut model = at_weight(4, 50);
        request(&mut model, RequestAction::Abort);
        model.run_fast(|model| model.phase() == zero_while);
        model.scale(0);
        model.run(|model| model.status().release.is_none() && model.pods.is_empty());
        model.settle();
        assert_eq!(outcome(&model), Some(Outcome::RolledBack), "{zero_while:?}");
        model.scale(3);
        model.run(|model| model.pods_of("hello:v1").len() == 3);
        model.settle();
        assert_eq!(model.phase(), Phase::RolledBack, "{zero_while:?}");
        assert!(model.pods_of("hello:v2").is_empty());
        model.assert_clean();
    }
}

#[test]
fn a_pin_that_is_answered_late_is_taken_off_once_nothing_is_released_any_more() {
    let mut model = healthy(2);
    let pinned = Pin::Side(live_hash(&model));
    model.set_image("hello:v2");
    model.run_fast(|model| model.phase() == Phase::Preparing);
    model.scale(0);
    model.run_fast(|model| model.status().release.is_none());
    for service in &mut model.services {
        service.selector = MANAGED.apply(&pinned, &service.selector);
    }
    model.run(|model| model.services.iter().all(|service| MANAGED.pin(&service.selector) == Pin::Open));
    model.settle();
    model.assert_clean();
}

#[test]
fn a_crash_after_any_write_changes_nothing_about_the_outcome() {
    for every in 2..60 {
        let mut model = healthy(4);
        model.set_image("hello:v2");
        let mut writes = 0;
        for round in 0..4_000 {
            if model.phase() == Phase::Healthy
                && model.status().release.is_none()
                && model.hello().revision == model.status().stable.as_ref().map(|stable| stable.revision.clone()).unwrap_or_default()
            {
                break;
            }
            writes += 1;
            let crash = if writes % every == 0 { Crash::After(round % 3) } else { Crash::Never };
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
        model.assert_clean();
    }
}

#[test]
fn every_preset_releases_what_is_good_and_takes_back_what_is_not() {
    for (name, text) in crate::cli::command::presets::PRESETS {
        let preset: crate::api::ClusterRolloutPolicy = serde_saphyr::from_str(text).expect("a preset");
        let mut model = Model::new(4, preset.spec.0);
        model.run_to(Phase::Healthy);
        model.set_image("hello:v2");
        model.run(|model| model.status().release.is_some());
        model.run_fast(|model| model.status().release.is_none());
        model.settle();
        assert_eq!(outcome(&model), Some(Outcome::Promoted), "{name}");
        model.assert_clean();

        model.set_image("hello:v3");
        model.run(|model| model.status().release.is_some());
        model.run_fast(|model| model.phase() == Phase::Baking);
        let canary: Vec<String> = model.pods_of("hello:v3").iter().map(|pod| pod.uid.clone()).collect();
        model.pods.iter_mut().filter(|pod| canary.contains(&pod.uid)).for_each(|pod| pod.ready = false);
        model.control(Crash::Never);
        assert_eq!(model.phase(), Phase::RollingBack, "{name}");
        if model.policy.on_failure == OnFailure::Pause {
            model.run(|model| model.status().why.contains("kept without clients"));
            request(&mut model, RequestAction::Abort);
        }
        model.run_to(Phase::RolledBack);
        assert_eq!(outcome(&model), Some(Outcome::RolledBack), "{name}");
        model.assert_clean();
    }
}

#[test]
fn no_wait_is_longer_because_the_controller_before_had_a_clock_that_was_an_hour_ahead() {
    let steps = json!([{"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "1m"}]);
    let mut model = Model::new(2, policy(json!({"steps": steps, "keepPrevious": "1m", "promotion": "Roll"})));
    model.run_to(Phase::Healthy);
    model.set_image("hello:v2");
    for phase in [Phase::Progressing, Phase::Baking, Phase::Promoting] {
        model.run_fast(|model| model.phase() == phase && model.status().step.as_ref().is_some_and(|step| step.until.is_some()));
        model.memory = None;
        model.now = model.now.checked_sub(SignedDuration::from_hours(1)).expect("a time");
        let began = model.now;
        // A controller that has just begun sees every end of a pod for the first time.
        model.pods.iter_mut().filter(|pod| pod.deleting()).for_each(|pod| pod.deleting_since = Some(began));
        model.run_fast(|model| model.phase() != phase);
        let took = model.now.duration_since(began);
        assert!(took < SignedDuration::from_mins(3), "{phase:?}: {took:#}");
    }
    assert_eq!(outcome(&model), Some(Outcome::Promoted));
}

// A pin whose answer was on its way when somebody deleted the canary.
#[test]
fn a_pin_to_a_canary_that_is_gone_is_taken_back_at_once() {
    let mut model = healthy(2);
    model.set_image("hello:v2");
    model.run_fast(|model| model.status().release.as_ref().is_some_and(|release| release.traffic_since.is_some()));
    let canary = model.status().canary.as_ref().expect("a canary").hash.clone();
    let own = model.hello().uid.clone();
    model.deployments.retain(|deployment| deployment.uid == own);
    model.sets.retain(|set| set.owner.as_ref() == Some(&own));
    model.pods.retain(|pod| model.sets.iter().any(|set| pod.owner.as_ref() == Some(&set.uid)));
    model.run_fast(|model| model.phase() == Phase::RollingBack);
    model.services[0].selector = MANAGED.apply(&Pin::Side(canary), &model.services[0].selector);
    let decided = decide(&model.snapshot(), model.now).actions;
    assert!(matches!(decided.as_slice(), [Action::PinService { .. }, ..]), "{decided:?}");
}
