//! What people ask for while a release is under way.

use std::time::{Duration, Instant};

use serde_json::json;
use stepgate::api::{
    RolloutStatus,
    rollout::RequestAction,
    status::{Outcome, Phase},
};

use crate::{
    scenario::{Plan, Pods, Scenario},
    world::{HELLO, Kind},
};

/// A release that is held at this weight until somebody does something.
async fn held_at(plan: Plan, weight: u8) -> Scenario {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "500ms" }}));
    let mut s = plan.policy(&json!({"steps": steps})).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    s
}

fn outcome(status: &RolloutStatus, id: &str) -> Option<String> {
    status.requests.iter().find(|request| request.id == id).map(|request| request.outcome.clone())
}

async fn wait_for_outcome(s: &mut Scenario, id: &str, beginning: &str) {
    let status = s.wait_for(&format!("an answer to request {id}"), |status| outcome(status, id).is_some()).await;
    let found = outcome(&status, id).unwrap_or_default();
    assert!(found.starts_with(beginning), "request {id}: {found}");
}

async fn abort_at(plan: Plan, weight: u8) {
    let mut s = held_at(plan.replicas(3), weight).await;
    let at = Instant::now();
    let id = s.request(RequestAction::Abort).await;
    s.wait_for_phase(Phase::RolledBack).await;
    wait_for_outcome(&mut s, &id, "done").await;
    s.assert_no_answer("v2", at, Duration::from_secs(10));
    s.finish().await;
}

/// Deletes the Rollout and waits until it is gone.
async fn delete_rollout(s: &mut Scenario) {
    s.delete_rollout().await;
    s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
}

/// Asserts which version runs and whether the Deployment is left paused.
async fn expect(s: &mut Scenario, image: &str, paused: bool) {
    let suffix = format!(":{image}");
    s.wait_until(&format!("only pods of {image}"), |world| {
        let mut images = world.all(Kind::Pod).filter_map(|pod| pod.pointer("/spec/containers/0/image")?.as_str());
        images.all(|image| image.ends_with(&suffix))
    })
    .await;
    let deployment = s.timeline.borrow().now.get(Kind::Deployment, HELLO).cloned().expect("the user's Deployment");
    assert_eq!(deployment.pointer("/spec/paused") == Some(&json!(true)), paused, "spec.paused of the Deployment");
}

crate::scenarios! {
    async fn pause_stops_the_clock_and_resume_starts_it_again(plan: Plan) {
        let mut s = plan.replicas(2).hold("2s").start().await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        s.pause().await;
        s.wait_for("condition Paused", |status| status.conditions.iter().any(|condition| condition.type_ == "Paused" && condition.status == "True")).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let status = s.status();
        assert_eq!(status.step.as_ref().map(|step| (step.weight, step.until)), Some((50, None)), "{}", status.why);
        s.resume().await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_paused_release_is_still_taken_back(plan: Plan) {
        let mut s = held_at(plan.replicas(3).pods_change(), 50).await;
        s.pause().await;
        s.wait_for("condition Paused", |status| status.conditions.iter().any(|condition| condition.type_ == "Paused" && condition.status == "True")).await;
        let at = s.behave(Pods::Canary, "ready=false").await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.assert_no_answer("v2", at, Duration::from_secs(10));
        s.finish().await;
    }

    async fn abort_at_25(plan: Plan) {
        abort_at(plan, 25).await;
    }

    async fn abort_at_75(plan: Plan) {
        abort_at(plan, 75).await;
    }

    async fn abort_at_100(plan: Plan) {
        abort_at(plan, 100).await;
    }

    async fn abort_while_baking(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").policy(&json!({"keepPrevious": "10m"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.finish().await;
    }

    async fn abort_before_the_first_client(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().start().await;
        s.set_image("unready").await;
        s.wait_for("a canary pod", |status| status.phase == Some(Phase::Preparing) && status.canary.as_ref().is_some_and(|canary| canary.replicas > 0)).await;
        s.request(RequestAction::Abort).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| entry.max_weight), Some(0));
        s.finish().await;
    }

    async fn promote_ends_one_hold(plan: Plan) {
        let mut s = held_at(plan.replicas(2), 25).await;
        let id = s.request(RequestAction::Promote).await;
        wait_for_outcome(&mut s, &id, "done").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn promote_full_skips_the_remaining_steps(plan: Plan) {
        let mut s = held_at(plan.replicas(2).steps_skipped(), 25).await;
        s.request(RequestAction::PromoteFull).await;
        s.wait_for("100 %", |status| status.traffic.as_ref().is_some_and(|traffic| traffic.desired == 100)).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_stale_request_does_nothing(plan: Plan) {
        let mut s = held_at(plan.replicas(2), 50).await;
        let id = s.request_for(RequestAction::PromoteFull, "0123456789").await;
        wait_for_outcome(&mut s, &id, "refused").await;
        let id = s.request_for(RequestAction::Abort, &s.status().stable.expect("a live version").revision).await;
        wait_for_outcome(&mut s, &id, "refused").await;
        assert_eq!(s.status().step.map(|step| step.weight), Some(50));
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_repeated_request_is_carried_out_once(plan: Plan) {
        let steps = [25, 50, 100].map(|weight| json!({"weight": weight, "hold": if weight < 100 { "10m" } else { "1s" }}));
        let mut s = plan.replicas(2).policy(&json!({"steps": steps})).start().await;
        s.set_image("v2").await;
        let revision = s.wait_for_weight(25).await.canary.expect("a version under release").revision;
        let request = json!({"spec": {"request": {"id": "once", "action": "Promote", "revision": revision}}});
        s.patch_rollout(&request).await;
        s.wait_for_weight(50).await;
        s.patch_rollout(&json!({"spec": {"request": null}})).await;
        s.patch_rollout(&request).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = s.status();
        assert_eq!(status.step.map(|step| step.weight), Some(50), "the same request ended a second hold");
        assert_eq!(status.requests.iter().filter(|record| record.id == "once").count(), 1);
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn retry_releases_a_rejected_version_from_the_first_step(plan: Plan) {
        let mut s = held_at(plan.replicas(2).pods_change(), 25).await;
        s.behave(Pods::Canary, "ready=false").await;
        let revision = s.wait_for_phase(Phase::RolledBack).await.canary.expect("a rejected version").revision;
        s.request_for(RequestAction::Retry, &revision).await;
        s.wait_for_weight(25).await;
        s.request(RequestAction::Promote).await;
        let status = s.wait_for_healthy("v2").await;
        let outcomes: Vec<Outcome> = status.history.iter().map(|entry| entry.outcome).collect();
        assert_eq!(outcomes, [Outcome::RolledBack, Outcome::Promoted]);
        s.finish().await;
    }

    async fn deleting_the_rollout_at_rest_leaves_nothing(plan: Plan) {
        let mut s = plan.replicas(2).start().await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", false).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_while_preparing_goes_back(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().start().await;
        s.set_image("unready").await;
        s.wait_for("a canary pod", |status| status.phase == Some(Phase::Preparing) && status.canary.as_ref().is_some_and(|canary| canary.replicas > 0)).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", true).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_at_25_goes_back(plan: Plan) {
        let mut s = held_at(plan.replicas(3), 25).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", true).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_at_75_goes_back(plan: Plan) {
        let mut s = held_at(plan.replicas(3), 75).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", true).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_while_baking_goes_on(plan: Plan) {
        let mut s = plan.replicas(3).hold("300ms").policy(&json!({"keepPrevious": "10m"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v2", false).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_while_promoting_goes_on(plan: Plan) {
        let mut s = plan.replicas(3).hold("300ms").policy(&json!({"keepPrevious": "500ms"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Promoting).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v2", false).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_while_rolling_back_goes_back(plan: Plan) {
        let mut s = held_at(plan.replicas(3), 50).await;
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RollingBack).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", true).await;
        s.finish().await;
    }

    async fn deleting_the_rollout_once_rolled_back_leaves_the_template_held(plan: Plan) {
        let mut s = held_at(plan.replicas(3), 50).await;
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        delete_rollout(&mut s).await;
        expect(&mut s, "v1", true).await;
        s.finish().await;
    }
}
