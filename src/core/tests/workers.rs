//! Whole releases without Services, on the model: shares of pods, and work that never stops.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{
    PolicySpec,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase},
};

use crate::core::{
    decide::decide,
    decision::action::Action,
    facts::deployment::DeploymentFacts,
    tests::model::{Crash, Model, policy},
    traffic::pods::{at_work, needs_service},
    view::View,
    why::refusal::pods::NeedsService,
};

/// A pod, a quarter and half of them, held until they are promoted, and what is otherwise.
fn held(different: &Value) -> PolicySpec {
    let mut text = json!({
        "steps": [{"weight": 1, "hold": "1h"}, {"weight": 25, "hold": "1h"}, {"weight": 50, "hold": "1h"}, {"weight": 100}],
        "keepPrevious": "0s", "progressDeadline": "60s",
    });
    json_patch::merge(&mut text, different);
    policy(text)
}

fn healthy(replicas: i32, policy: PolicySpec) -> Model {
    let mut model = Model::worker(replicas, policy);
    model.run_to(Phase::Healthy);
    model
}

fn request(model: &mut Model, action: RequestAction) {
    let (revision, id) = (model.hello().revision.clone(), model.now.to_string());
    let request = Request { id, action, revision, to: None, reason: String::new(), by: String::new() };
    model.edit_spec(|spec| spec.request = Some(request));
}

fn is_held(model: &Model, weight: u8) -> bool {
    model.status().step.as_ref().is_some_and(|at| at.weight == weight && at.since.is_some_and(|since| since < model.now))
}

/// A release of v2 that is held at a weight.
fn at_weight(replicas: i32, weight: u8, different: &Value) -> Model {
    let mut model = healthy(replicas, held(different));
    model.set_image("hello:v2");
    for step in [1, 25, 50] {
        model.run(|model| is_held(model, step));
        if step == weight {
            break;
        }
        request(&mut model, RequestAction::Promote);
    }
    model
}

fn uids(model: &Model, image: &str) -> Vec<String> {
    model.pods_of(image).iter().map(|pod| pod.uid.clone()).collect()
}

fn outcome(model: &Model) -> Option<Outcome> {
    model.status().history.last().map(|entry| entry.outcome)
}

/// All pods of the old version are there as they were, none of the new one, and the template is held.
fn assert_taken_back(mut model: Model, before: &[String]) {
    model.run_to(Phase::RolledBack);
    model.settle();
    assert_eq!(uids(&model, "hello:v1"), before);
    assert!(model.hello().paused && model.pods_of("hello:v2").is_empty());
    assert_eq!(outcome(&model), Some(Outcome::RolledBack));
    model.assert_clean();
}

#[test]
fn a_share_is_a_share_of_pods() {
    for (replicas, weight, canary, share) in
        [(1, 1, 1, 50), (1, 50, 1, 50), (4, 1, 1, 20), (4, 25, 1, 20), (4, 50, 4, 50), (10, 1, 1, 9), (10, 25, 3, 23), (10, 50, 10, 50)]
    {
        let model = at_weight(replicas, weight, &json!({}));
        let traffic = model.status().traffic.clone().unwrap_or_default();
        let found = (model.pods_of("hello:v2").len(), traffic.desired, traffic.routed);
        assert_eq!(found, (canary, weight, Some(share)), "{weight} % of {replicas}");
        assert_eq!(i32::try_from(model.pods_of("hello:v1").len()), Ok(replicas), "the old version keeps all of its own");
    }
}

#[test]
fn a_good_version_of_any_size_is_promoted_without_a_restart_and_the_work_goes_on() {
    for promotion in ["Adopt", "Roll"] {
        for replicas in [1, 2, 3, 4, 10] {
            let mut model = at_weight(replicas, 50, &json!({"promotion": promotion}));
            let tested = uids(&model, "hello:v2");
            request(&mut model, RequestAction::Promote);
            let least = model.least_at_work(|model| model.phase() == Phase::Healthy);
            model.settle();
            assert!(i32::try_from(least).is_ok_and(|least| least >= replicas), "{least} of {replicas} at work, {promotion}");
            assert_eq!(uids(&model, "hello:v2") == tested, promotion == "Adopt", "{replicas} replicas, {promotion}");
            assert_eq!(model.status().history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::Promoted, 100)));
            assert!(model.pods_of("hello:v1").is_empty() && model.status().why.contains("all pods are of revision"));
            model.assert_clean();
        }
    }
}

#[test]
fn the_new_pods_are_counted_as_such_whoevers_they_are() {
    for promotion in ["Adopt", "Roll"] {
        let mut model = at_weight(4, 50, &json!({"promotion": promotion}));
        let count = |model: &Model| View::of(&model.snapshot(), model.now).map(|view| at_work(&view));
        assert_eq!(count(&model), Some((4, 4)));
        request(&mut model, RequestAction::Promote);
        model.run(|model| {
            let (new, counted) = (model.pods_of("hello:v2"), count(model));
            let ready = i32::try_from(new.iter().filter(|pod| pod.serves()).count()).ok();
            assert_eq!(counted.map(|(_, new)| new), ready, "{promotion} {}", model.status().why);
            model.phase() == Phase::Promoting && model.pods_of("hello:v1").is_empty()
        });
    }
}

#[test]
fn both_versions_work_in_full_size_before_the_promotion_for_as_long_as_the_policy_says() {
    let mut model = healthy(3, held(&json!({"steps": [{"weight": 25}, {"weight": 100}], "keepPrevious": "10m"})));
    model.set_image("hello:v2");
    model.run(|model| model.phase() == Phase::Baking && model.pods_of("hello:v2").len() == 3);
    let status = model.status();
    assert!(status.why.starts_with("as many pods of the new version work as of the old one"), "{}", status.why);
    assert_eq!(status.traffic.as_ref().map(|traffic| (traffic.desired, traffic.routed)), Some((50, Some(50))));
    assert_eq!(status.release.as_ref().map(|release| release.max_weight), Some(50));
    let (since, phase) = (model.now, |model: &Model| model.phase() == Phase::Promoting);
    model.run_fast(phase);
    assert!(model.now.duration_since(since).as_secs() >= 590);
}

#[test]
fn a_canary_that_crashes_or_is_not_ready_is_scaled_to_zero_in_the_same_decision() {
    for weight in [1, 25, 50] {
        for crashes in [true, false] {
            let mut model = at_weight(4, weight, &json!({}));
            let (before, victim, now) = (uids(&model, "hello:v1"), model.pods_of("hello:v2")[0].uid.clone(), model.now);
            let pod = model.pods.iter_mut().find(|pod| pod.uid == victim).expect("the pod");
            if crashes {
                pod.last_restart = Some(now);
            } else {
                pod.ready = false;
            }
            let decision = decide(&model.snapshot(), model.now);
            assert!(decision.actions.first().is_some_and(Action::is_way_back), "{weight} %: {:?}", decision.actions);
            assert_eq!(decision.status.phase, Some(Phase::RollingBack));
            assert_taken_back(model, &before);
        }
    }
}

#[test]
fn a_canary_that_was_scaled_to_zero_stays_there_whoever_has_forgotten_it() {
    for weight in [1, 25, 50] {
        let mut model = at_weight(4, weight, &json!({}));
        let (before, victim) = (uids(&model, "hello:v1"), model.pods_of("hello:v2")[0].uid.clone());
        model.pods.iter_mut().filter(|pod| pod.uid == victim).for_each(|pod| pod.ready = false);
        // The write is made, and nothing of it is on record.
        model.control(Crash::After(1));
        model.settle();
        assert_eq!((model.phase(), model.pods_of("hello:v2").len()), (Phase::Progressing, 0), "{weight} %");
        model.control(Crash::Never);
        assert!(model.status().why.contains("found scaled to 0"), "{}", model.status().why);
        assert_taken_back(model, &before);
    }
}

#[test]
fn a_version_that_crashes_from_its_first_moment_on_is_not_waited_for() {
    let mut model = healthy(4, held(&json!({})));
    let before = uids(&model, "hello:v1");
    model.broken.push("hello:v2".into());
    model.set_image("hello:v2");
    model.run(|model| model.phase() == Phase::Progressing && !model.pods_of("hello:v2").is_empty());
    let (since, now) = (model.status().release.as_ref().and_then(|release| release.traffic_since), model.now);
    assert!(since.is_some_and(|since| since <= now), "since its ReplicaSet is there: {since:?}");
    let uid = model.pods_of("hello:v2")[0].uid.clone();
    model.pods.iter_mut().filter(|pod| pod.uid == uid).for_each(|pod| pod.last_restart = Some(now));
    model.control(Crash::Never);
    assert_eq!(model.phase(), Phase::RollingBack);
    assert_taken_back(model, &before);
}

#[test]
fn a_version_that_never_becomes_ready_is_given_up() {
    let mut model = healthy(4, held(&json!({})));
    let before = uids(&model, "hello:v1");
    model.broken.push("hello:v2".into());
    model.set_image("hello:v2");
    model.run_fast(|model| model.phase() == Phase::RollingBack);
    assert!(model.status().rejected.last().is_some_and(|rejected| rejected.reason.starts_with("no progress for 1m")));
    assert_taken_back(model, &before);
}

#[test]
fn a_canary_that_alone_works_is_not_ended() {
    let mut model = at_weight(2, 50, &json!({}));
    let old = uids(&model, "hello:v1");
    model.pods.iter_mut().filter(|pod| old.contains(&pod.uid)).for_each(|pod| pod.ready = false);
    request(&mut model, RequestAction::Abort);
    for _ in 0..4 {
        model.control(Crash::Never);
        model.settle();
    }
    assert_eq!((model.phase(), model.pods_of("hello:v2").len()), (Phase::RollingBack, 2));
    assert!(model.status().why.contains("the old one has no ready pod"), "{}", model.status().why);
    model.pods.iter_mut().for_each(|pod| pod.ready = true);
    assert_taken_back(model, &old);
}

#[test]
fn an_abort_and_another_template_end_the_canary_and_leave_the_old_pods_alone() {
    for weight in [1, 25, 50] {
        let mut model = at_weight(4, weight, &json!({}));
        let before = uids(&model, "hello:v1");
        request(&mut model, RequestAction::Abort);
        assert_taken_back(model, &before);

        let mut model = at_weight(4, weight, &json!({}));
        model.set_image("hello:v1");
        model.run_to(Phase::Healthy);
        model.settle();
        assert_eq!((uids(&model, "hello:v1"), outcome(&model)), (before, Some(Outcome::Superseded)), "{weight} %");
        model.assert_clean();

        let mut model = at_weight(4, weight, &json!({}));
        model.set_image("hello:v3");
        model.run(|model| !model.pods_of("hello:v3").is_empty());
        assert!(model.pods_of("hello:v2").is_empty(), "{weight} %");
    }
}

#[test]
fn a_failure_in_the_hand_over_takes_it_back_too() {
    let mut model = at_weight(4, 50, &json!({}));
    let before = uids(&model, "hello:v1");
    request(&mut model, RequestAction::Promote);
    model.run(|model| model.phase() == Phase::Promoting && model.trace.last().is_some_and(|line| line.contains("hand-over begins")));
    let victim = model.pods_of("hello:v2")[0].uid.clone();
    model.pods.iter_mut().filter(|pod| pod.uid == victim).for_each(|pod| pod.ready = false);
    assert_taken_back(model, &before);
}

#[test]
fn nothing_is_made_before_it_is_approved_or_while_it_is_paused() {
    let gates = json!({"gates": [{"name": "sign-off", "approval": {}}]});
    let mut model = healthy(2, held(&gates));
    model.edit_spec(|spec| spec.paused = true);
    model.set_image("hello:v2");
    for expected in ["paused at 0 % by spec.paused", "waiting at 0 % for the approval of gate sign-off"] {
        for _ in 0..20 {
            model.control(Crash::Never);
            model.settle();
            model.tick(250);
        }
        assert_eq!((model.deployments.len(), model.pods.len()), (1, 2), "{expected}");
        assert!(model.status().why.starts_with(expected), "{}", model.status().why);
        model.edit_spec(|spec| spec.paused = false);
    }
    request(&mut model, RequestAction::Approve);
    model.run(|model| is_held(model, 1));
}

#[test]
fn a_size_that_changes_in_mid_release_is_followed() {
    for (before, weight, size, canary) in
        [(4, 1, 8, 1), (4, 25, 8, 3), (4, 50, 8, 8), (4, 25, 2, 1), (4, 50, 2, 2), (10, 25, 2, 1), (10, 50, 9, 9), (4, 50, 1, 1)]
    {
        let mut model = at_weight(before, weight, &json!({}));
        model.scale(size);
        for _ in 0..20 {
            model.control(Crash::Never);
            model.settle();
            model.tick(250);
        }
        let counts = (model.pods_of("hello:v1").len(), model.pods_of("hello:v2").len());
        assert_eq!(counts, (usize::try_from(size).unwrap_or(0), canary), "{weight} % of {before}, then {size}");
        assert!(model.status().traffic.as_ref().is_some_and(|traffic| traffic.routed <= Some(50)), "{:?}", model.status().traffic);
        request(&mut model, RequestAction::PromoteFull);
        let least = model.least_at_work(|model| model.phase() == Phase::Healthy);
        model.settle();
        assert!(i32::try_from(least).is_ok_and(|least| least >= size), "{least} at work, {weight} % of {before}, then {size}");
        assert_eq!(i32::try_from(model.pods_of("hello:v2").len()), Ok(size));
        model.assert_clean();
    }
}

#[test]
fn a_size_that_changes_before_the_hand_over_is_asked_for_by_one_write() {
    for size in [2, 6] {
        let mut model = at_weight(4, 50, &json!({}));
        request(&mut model, RequestAction::Promote);
        model.run(|model| model.phase() == Phase::Promoting);
        model.scale(size);
        model.controllers();
        let actions = decide(&model.snapshot(), model.now).actions;
        let scales = actions.iter().filter(|action| matches!(action, Action::ScaleCanary { replicas, .. } if *replicas == size));
        assert_eq!((scales.count(), actions.len()), (1, 1), "{actions:?}");
        model.run_to(Phase::Healthy);
        model.assert_clean();
    }
}

#[test]
fn a_step_that_is_over_in_the_decision_that_finds_the_next_ones_pods_takes_none_of_them_away() {
    let mut model = at_weight(4, 25, &json!({}));
    request(&mut model, RequestAction::Promote);
    // The canary is given its four pods, and nothing of it is on record.
    model.control(Crash::After(1));
    model.settle();
    let tested = uids(&model, "hello:v2");
    assert_eq!(tested.len(), 4);
    model.run(|model| is_held(model, 50));
    assert_eq!(uids(&model, "hello:v2"), tested);
}

#[test]
fn the_deployment_rolls_itself_only_on_the_strength_of_pods_that_were_just_read() {
    let mut model = at_weight(4, 50, &json!({"promotion": "Roll"}));
    request(&mut model, RequestAction::Promote);
    model.run_to(Phase::Healthy);
    let writes: Vec<&String> = model.trace.iter().filter(|line| !line.starts_with("status")).collect();
    let rolls = writes.iter().position(|line| line.starts_with("SetPaused") && line.contains("paused: false")).expect("the roll");
    assert_eq!(writes[rolls - 1], "ReadPods", "{}", model.trace.join("\n"));
}

/// A release of v2 was aborted, and one of v3 is wanted or held back; a canary of v2 whose making was answered only now.
fn with_late_canary(model: &mut Model, between: impl FnOnce(&mut Model)) {
    let canary = model.deployments.iter().find(|deployment| deployment.name != "hello").cloned().expect("the canary");
    request(model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    between(model);
    model.deployments.push(DeploymentFacts { uid: "late".into(), replicas: 1, ..canary });
    model.settle();
    assert_eq!(model.pods_of("hello:v2").len(), 1);
}

#[test]
fn a_late_canary_does_not_work_while_the_next_release_waits_for_a_person() {
    let mut model = at_weight(2, 50, &json!({}));
    with_late_canary(&mut model, |model| {
        model.edit_spec(|spec| spec.paused = true);
        model.set_image("hello:v3");
        model.run(|model| model.status().why.starts_with("paused at 0 %"));
    });
    model.run(|model| model.deployments.len() == 1 && model.pods_of("hello:v2").is_empty());
    model.run(|model| model.status().why.starts_with("paused at 0 %"));
    assert!(model.pods_of("hello:v3").is_empty());
    model.edit_spec(|spec| spec.paused = false);
    model.run(|model| !model.pods_of("hello:v3").is_empty());
}

#[test]
fn a_late_canary_does_not_work_while_the_next_release_is_refused() {
    let mut model = at_weight(2, 50, &json!({}));
    with_late_canary(&mut model, |model| {
        model.policy = Arc::new(held(&json!({"onFailure": "Pause"})));
        model.set_image("hello:v3");
        model.run(|model| model.status().why.starts_with("onFailure is Pause"));
    });
    model.run(|model| model.deployments.len() == 1 && model.pods_of("hello:v2").is_empty());
    assert!(model.status().why.starts_with("onFailure is Pause"), "{}", model.status().why);
}

#[test]
fn a_canary_that_was_taken_away_by_hand_works_until_its_pods_end() {
    let mut model = at_weight(4, 50, &json!({}));
    let before = uids(&model, "hello:v1");
    model.deployments.retain(|deployment| deployment.name == "hello");
    // The garbage collector has not been there yet.
    for _ in 0..3 {
        model.control(Crash::Never);
        let status = model.status();
        assert_eq!((status.phase, status.traffic.as_ref().and_then(|traffic| traffic.routed)), (Some(Phase::RollingBack), None));
        assert!(status.why.starts_with("ending the pods of the new version"), "{}", status.why);
    }
    model.run(|model| outcome(model) == Some(Outcome::RolledBack));
    assert_eq!((uids(&model, "hello:v1"), model.pods_of("hello:v2").len()), (before, 0));
}

/// An Abort cut off the write that hands the new pods over, which was done all the same.
fn handed_over_late() -> (Model, Vec<String>) {
    let mut model = at_weight(4, 50, &json!({}));
    let before = uids(&model, "hello:v1");
    request(&mut model, RequestAction::Promote);
    let is_adoption = |action: &Action| matches!(action, Action::AdoptReplicaSet { .. });
    model.run(|model| decide(&model.snapshot(), model.now).actions.iter().any(is_adoption));
    request(&mut model, RequestAction::Abort);
    model.control(Crash::Never);
    let hello = model.hello().uid.clone();
    model.sets.iter_mut().for_each(|set| set.owner = Some(hello.clone()));
    (model, before)
}

#[test]
fn a_hand_over_after_which_no_old_pod_is_left_is_not_taken_back() {
    let (mut model, _) = handed_over_late();
    model.settle();
    assert!(model.pods_of("hello:v1").is_empty());
    let least = model.least_at_work(|model| model.phase() == Phase::Healthy);
    model.settle();
    assert_eq!((least, model.pods_of("hello:v2").len()), (4, 4));
    model.run(|model| model.deployments.len() == 1 && model.hello().labels.is_empty());
    model.assert_clean();
}

#[test]
fn a_hand_over_that_arrives_after_the_way_back_has_begun_is_taken_back_too() {
    let (mut model, before) = handed_over_late();
    // While any of its pods works, nothing else is said.
    for _ in 0..20 {
        let at_work = !model.pods_of("hello:v2").is_empty();
        model.control(Crash::Never);
        let status = model.status();
        let said = status.traffic.as_ref().and_then(|traffic| traffic.routed) == Some(0) || status.why.contains("works any more");
        assert!(!(at_work && said), "{}\n{}", status.why, model.trace.join("\n"));
        model.settle();
        model.tick(250);
    }
    assert_taken_back(model, &before);
}

#[test]
fn a_canary_whose_making_was_answered_late_is_removed() {
    let mut model = at_weight(2, 50, &json!({}));
    with_late_canary(&mut model, |_| {});
    model.control(Crash::Never);
    assert!(model.status().why.starts_with("ending the pods of the new version"), "{}", model.status().why);
    model.run(|model| model.deployments.len() == 1 && model.pods_of("hello:v2").is_empty());
    assert_eq!((model.phase(), model.pods_of("hello:v1").len()), (Phase::RolledBack, 2));
    model.run(|model| model.status().why.contains("is held"));
}

#[test]
fn a_deleted_rollout_gives_everything_back_at_every_weight() {
    for weight in [1, 25, 50] {
        let mut model = at_weight(3, weight, &json!({}));
        let before = uids(&model, "hello:v1");
        model.rollout.deleting = true;
        model.run(|model| !model.rollout.has_finalizer);
        model.settle();
        assert_eq!(uids(&model, "hello:v1"), before);
        assert!(model.hello().paused, "hello would run what was not released");
        model.assert_clean();
    }
}

#[test]
fn deciding_again_on_an_unchanged_world_changes_nothing() {
    for weight in [1, 25, 50] {
        let model = at_weight(4, weight, &json!({}));
        let first = decide(&model.snapshot(), model.now);
        let mut again = model.snapshot();
        again.status = first.status.clone();
        let second = decide(&again, model.now);
        assert_eq!((first.actions.as_slice(), &first.status), (second.actions.as_slice(), &second.status));
        assert!(first.actions.is_empty() && first.wake_at.is_some(), "{weight} %: {:?}", first.actions);
    }
}

#[test]
fn the_preset_promotes_what_is_good() {
    let (_, text) = crate::cli::command::presets::PRESETS.iter().find(|(name, _)| *name == "worker").expect("the preset");
    let preset: crate::api::ClusterRolloutPolicy = serde_saphyr::from_str(text).expect("a policy");
    let mut model = healthy(4, preset.spec.0);
    model.set_image("hello:v2");
    model.run(|model| model.status().release.is_some());
    assert!(model.least_at_work(|model| model.status().release.is_none()) >= 4);
    assert_eq!(outcome(&model), Some(Outcome::Promoted));
}

#[test]
fn nothing_that_is_said_speaks_of_clients() {
    let mut model = at_weight(4, 50, &json!({}));
    request(&mut model, RequestAction::Promote);
    model.run_to(Phase::Healthy);
    model.set_image("hello:v3");
    model.run(|model| is_held(model, 1));
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    let conditions: Vec<String> = model.status().conditions.iter().map(|condition| condition.message.clone()).collect();
    assert!(conditions.iter().any(|message| message.contains("hold the Deployment")), "{conditions:?}");
    let told = model.trace.iter().filter(|line| line.starts_with("status")).chain(&model.notices).chain(&conditions);
    let odd: Vec<&String> = told.filter(|line| ["client", "Service", "traffic"].iter().any(|word| line.contains(word))).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn what_needs_a_service_is_found_in_a_policy() {
    let gate = |when: Value| json!({"gates": [{"name": "healthz", "http": {"path": "/", "port": 80}, "when": when}]});
    for (different, found) in [
        (json!({}), None),
        (json!({"steps": [{"weight": 100}]}), None),
        (json!({"steps": [{"weight": 50}, {"weight": 51}, {"weight": 100}]}), Some(NeedsService::Step { weight: 51 })),
        (json!({"steps": [{"weight": 99}, {"weight": 100}]}), Some(NeedsService::Step { weight: 99 })),
        (json!({"affinity": {"clientIP": {}}}), Some(NeedsService::Affinity)),
        (json!({"split": "Exact"}), Some(NeedsService::ExactSplit)),
        (json!({"canaryReplicas": "Full"}), Some(NeedsService::FullCanary)),
        (json!({"onFailure": "Pause"}), Some(NeedsService::KeptCanary)),
        (gate(json!(["BeforeTraffic"])), Some(NeedsService::DarkGate { gate: "healthz".into() })),
        (gate(json!(["BeforeTraffic", "DuringSteps"])), None),
        (gate(json!(["BeforePromotion"])), None),
        (gate(json!(["BeforeTraffic", "BeforePromotion"])), Some(NeedsService::DarkGate { gate: "healthz".into() })),
        (gate(json!(["BeforeTraffic", "DuringSteps", "BeforePromotion"])), None),
        (json!({"gates": [{"name": "sign-off", "approval": {}, "when": ["BeforeTraffic"]}]}), None),
    ] {
        assert_eq!(needs_service(&held(&different)), found, "{different}");
    }
}
