//! Ways back: versions that fail, and what is asked for in mid-release.

use super::*;

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
fn a_retry_is_carried_out_also_where_a_service_has_to_be_put_right_first() {
    let mut model = at_weight(&[2, 2], 25);
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    model.services[0].selector.insert("version".into(), "green".into());
    request(&mut model, RequestAction::Retry);
    model.run(|model| model.phase() == Phase::Progressing);
}

#[test]
fn a_live_version_that_was_set_to_zero_gets_its_pods_before_its_clients() {
    let reasons: [fn(&mut Model); 3] =
        [|model| request(model, RequestAction::Abort), |model| model.set_live(BLUE), |model| model.rollout.deleting = true];
    for weight in [25, 50, 75, 100] {
        for reason in reasons {
            let mut model = at_weight(&[3, 3], weight);
            model.scale_version(BLUE, 0);
            model.settle();
            reason(&mut model);
            for _ in 0..100 {
                model.control(Crash::Never);
                model.settle();
                assert!(!model.services[0].endpoints.is_empty(), "{weight} %\n{}", model.trace.join("\n"));
                model.tick(250);
            }
            assert_eq!((model.pin(), model.version(BLUE).replicas), (side("blue"), 3), "{weight} %: {}", model.status().why);
            assert!(model.status().release.is_none(), "{weight} %: {}", model.status().why);
        }
    }
}

#[test]
fn a_live_version_is_reached_by_the_label_that_its_pods_have() {
    let mut model = at_weight(&[2, 2], 50);
    edit_template(&mut model, BLUE, |template| template["metadata"]["labels"]["version"] = json!("azure"));
    request(&mut model, RequestAction::Abort);
    model.control(Crash::Never);
    assert_eq!(model.pin(), side("blue"), "no pod is azure yet");
}

#[test]
fn live_that_is_set_back_is_said_to_be() {
    let mut model = at_weight(&[2, 2], 50);
    model.set_live(BLUE);
    model.run(|model| model.status().release.is_none());
    let reason = model.status().history.last().map(|entry| entry.reason.as_str());
    assert_eq!(reason, Some("workload.live names hello-blue again"));
}
