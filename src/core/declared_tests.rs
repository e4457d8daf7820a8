//! Whole releases of declared pairs, on the model.

use serde_json::json;

use crate::api::{
    PolicySpec,
    policy::Idle,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase},
};

use super::{
    decide::decide,
    model::{Crash, Model, policy, quarters},
    service_split::Pin,
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
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, reason: String::new(), by: String::new() }));
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
fn a_version_that_loses_its_readiness_goes_to_zero_in_the_same_decision_and_keeps_its_pods() {
    for weight in [25, 50, 75, 100] {
        let mut model = at_weight(&[4, 4], weight);
        let victim = model.uids_of(GREEN)[0].clone();
        model.pods.iter_mut().filter(|pod| pod.uid == victim).for_each(|pod| pod.ready = false);
        model.control(Crash::Never);
        assert_eq!(model.pin(), side("blue"), "{weight} %");
        model.run_to(Phase::RolledBack);
        assert_eq!((outcome(&model), stable(&model), model.uids_of(GREEN).len()), (Some(Outcome::RolledBack), BLUE, 4));
        model.assert_clean();
    }
}

#[test]
fn a_rejected_version_is_held_until_it_is_retried_or_live_goes_back() {
    for retried in [true, false] {
        let mut model = at_weight(&[2, 2], 25);
        request(&mut model, RequestAction::Abort);
        model.run_to(Phase::RolledBack);
        model.tick(3_600_000);
        model.control(Crash::Never);
        assert!(model.phase() == Phase::RolledBack && model.status().why.contains("is held"), "{}", model.status().why);
        if retried {
            request(&mut model, RequestAction::Retry);
            model.run(|model| model.phase() == Phase::Progressing);
        } else {
            model.set_live(BLUE);
            model.run_to(Phase::Healthy);
            model.assert_clean();
        }
    }
}

#[test]
fn a_third_version_named_in_mid_release_gets_its_clients_by_way_of_the_live_one() {
    let mut model = at_weight(&[4, 4, 4], 75);
    model.set_live(RED);
    model.control(Crash::Never);
    assert_eq!(model.pin(), side("blue"));
    model.run(|model| outcome(model) == Some(Outcome::Superseded));
    model.run(|model| model.status().canary.as_ref().is_some_and(|canary| canary.name == RED) && model.pin() == Pin::Rotation);
}

#[test]
fn a_new_template_of_the_version_under_release_begins_the_release_again() {
    let mut model = at_weight(&[2, 2], 50);
    model.set_image_of(GREEN, "hello:v9");
    model.control(Crash::Never);
    assert_eq!(model.pin(), side("blue"), "no gate has seen the new template");
    model.run(|model| outcome(model) == Some(Outcome::Superseded));
    model.run(|model| model.phase() == Phase::Progressing);
    assert_eq!(model.status().release.as_ref().map(|release| &release.revision), Some(&model.version(GREEN).revision));
}

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
fn a_deleted_rollout_leaves_the_version_key_where_it_is() {
    let mut model = healthy(&[2, 2], quarters());
    model.rollout.deleting = true;
    model.run(|model| !model.rollout.has_finalizer);
    assert_eq!((model.pin(), pins(&model)), (side("blue"), 1));
}

#[test]
fn a_release_under_way_goes_back_before_the_rollout_goes() {
    for (weight, version) in [(25, "blue"), (50, "blue"), (75, "blue"), (100, "blue")] {
        let mut model = at_weight(&[4, 4], weight);
        model.rollout.deleting = true;
        model.run(|model| !model.rollout.has_finalizer);
        assert_eq!(model.pin(), side(version), "{weight} %");
        assert!(model.pods.iter().all(|pod| !pod.labels.contains_key("stepgate.dev/rotation")), "{weight} %");
    }
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

/// What a Rollout of blue and green is refused for, once something is wrong with it.
fn refused(wrong: impl Fn(&mut Model)) -> (String, String) {
    let mut model = Model::declared(&[2, 2], quarters());
    wrong(&mut model);
    model.control(Crash::Never);
    assert_eq!((model.phase(), pins(&model)), (Phase::Pending, 0));
    let accepted = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("Accepted");
    (accepted.reason.clone(), accepted.message.clone())
}

fn template(model: &mut Model, name: &str, edit: impl Fn(&mut serde_json::Value)) {
    let version = model.deployments.iter_mut().find(|deployment| deployment.name == name).expect("the version");
    edit(std::sync::Arc::make_mut(&mut version.template));
}

#[test]
fn a_bad_pair_is_refused_with_a_sentence_that_names_what_is_wrong() {
    let (reason, said) = refused(|model| model.deployments.retain(|deployment| deployment.name != BLUE));
    assert!(reason == "DeploymentNotFound" && said.contains("Deployment hello-blue (workload.live) does not exist"), "{said}");

    let (reason, said) = refused(|model| template(model, GREEN, |template| template["metadata"]["labels"] = json!({"app": "hello"})));
    assert!(reason == "NoVersionLabel" && said.contains("hello-green (workload.versions) has no label version"), "{said}");

    let (reason, said) = refused(|model| template(model, GREEN, |template| template["metadata"]["labels"]["version"] = json!("blue")));
    assert!(reason == "SameVersion" && said.contains("hello-blue and hello-green (workload.versions) both have version=blue"), "{said}");

    let (reason, said) = refused(|model| model.deployments[1].selector = model.deployments[0].selector.clone());
    assert!(
        reason == "SameSelector" && said.contains("hello-blue and hello-green (workload.versions) have the same spec.selector"),
        "{said}"
    );

    let (reason, said) = refused(|model| {
        model.set_live(GREEN);
        model.services[0].selector.insert("version".into(), "blue".into());
        template(model, GREEN, |template| template["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 9090}]));
    });
    assert!(
        reason == "PortsDiffer" && said.contains("hello-blue have port http 8080, but those of Deployment hello-green have port http 9090"),
        "{said}"
    );

    let (reason, said) = refused(|model| {
        let mut other = model.services[0].clone();
        other.name = "other".into();
        other.selector.insert("version".into(), "green".into());
        model.services[0].selector.insert("version".into(), "blue".into());
        model.services.push(other);
        model.edit_spec(|spec| spec.services.push("other".into()));
    });
    assert!(reason == "ServicesDisagree" && said.contains("select Deployments hello-blue, hello-green by their label version"), "{said}");

    let (reason, said) = refused(|model| {
        let mut stranger = model.pods[0].clone();
        (stranger.uid, stranger.owner) = ("stranger".into(), None);
        stranger.ready = true;
        stranger.labels.insert("version".into(), "grey".into());
        model.pods.push(stranger);
        model.services[0].selector.insert("version".into(), "grey".into());
    });
    assert!(reason == "UnknownVersion" && said.contains("selects version=grey and has clients there"), "{said}");
}

#[test]
fn a_service_of_one_version_may_stay_unlisted_and_one_of_both_may_not() {
    let with = |selector: serde_json::Value| {
        let mut model = healthy(&[2, 2], quarters());
        let mut other = model.services[0].clone();
        other.name = "preview".into();
        other.selector = serde_json::from_value(selector).expect("labels");
        model.services.push(other);
        model.set_live(GREEN);
        model.control(Crash::Never);
        model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("Accepted").reason.clone()
    };
    assert_eq!(with(json!({"app": "hello", "version": "green"})), "Accepted");
    assert_eq!(with(json!({"app": "hello"})), "UnlistedService");
}
