//! Gates that somebody has to approve: nothing goes on before that, and what was approved is one revision.

use std::time::Duration;

use serde_json::{Value, json};
use stepgate::api::{
    RolloutStatus,
    rollout::RequestAction,
    status::{Outcome, Phase},
};
use tokio::time;

use crate::scenario::{Guard, Plan, Pods, Scenario};

/// Steps with these weights, and gate `sign-off` as described beside the usual ones.
fn asking(plan: Plan, weights: &[u8], sign_off: &Value) -> Plan {
    let steps: Vec<Value> = weights.iter().map(|weight| json!({"weight": weight, "hold": "1s"})).collect();
    let mut gate = json!({"name": "sign-off"});
    crate::scenario::merge(&mut gate, sign_off);
    let (period, timeout) = ("250ms", "1s");
    let http = json!({"path": "/healthz", "port": "http", "period": period, "timeout": timeout, "successThreshold": 2});
    plan.policy(&json!({"steps": steps, "gates": [gate, {"name": "healthz", "http": http}]}))
}

/// A release of v2 that waits for its approval.
async fn waiting(plan: Plan) -> Scenario {
    let mut s = plan.start().await;
    s.set_image("v2").await;
    wait(&mut s).await;
    s
}

fn is_awaited(status: &RolloutStatus) -> bool {
    let paused = status.conditions.iter().find(|condition| condition.type_ == "Paused");
    paused.is_some_and(|paused| paused.status == "True" && paused.reason == "ApprovalAwaited")
}

async fn wait(s: &mut Scenario) -> RolloutStatus {
    s.wait_for("an approval to be asked for", is_awaited).await
}

/// Sends a request, and says what became of it.
async fn send(s: &mut Scenario, action: RequestAction, revision: &str) -> String {
    let id = s.request_for(action, revision).await;
    let outcome = |status: &RolloutStatus| status.requests.iter().find(|record| record.id == id).map(|record| record.outcome.clone());
    let status = s.wait_for(&format!("an answer to request {id}"), |status| outcome(status).is_some()).await;
    outcome(&status).unwrap_or_default()
}

async fn approve(s: &mut Scenario) {
    let revision = s.status().canary.expect("a version under release").revision;
    assert_eq!(send(s, RequestAction::Approve, &revision).await, "done: the gate is approved");
}

crate::scenarios! {
    async fn no_client_meets_a_version_before_somebody_has_approved_it(plan: Plan) {
        let mut s = waiting(asking(plan.replicas(3), &[100], &json!({"approval": {}}))).await;
        time::sleep(Duration::from_secs(3)).await;
        let status = s.status();
        assert!(is_awaited(&status) && status.phase == Some(Phase::Preparing), "{}", status.why);
        assert!(s.clients().first_answer("v2").is_none());
        approve(&mut s).await;
        // Where the policies act, the name under it is the one that the API server knows.
        let (guarded, record) = (s.guard == Guard::On, s.status().requests.last().cloned().expect("a record"));
        assert_eq!((record.verified, record.by.is_empty()), (Some(guarded), !guarded), "{record:?}");
        s.wait_for_healthy("v2").await;
        let asked = s.status().history.last().map(|ended| ended.asked.clone()).unwrap_or_default();
        assert_eq!(asked.iter().map(|asked| asked.action).collect::<Vec<_>>(), [RequestAction::Approve]);
        s.finish().await;
    }

    async fn a_version_that_fails_while_its_approval_is_awaited_is_taken_back(plan: Plan) {
        let mut s = waiting(asking(plan.replicas(2).pods_change(), &[50, 100], &json!({"approval": {"weight": 50}}))).await;
        assert_eq!(s.status().traffic.and_then(|traffic| traffic.routed), Some(50));
        let failed_at = s.behave(Pods::Canary, "ready=false").await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::RolledBack, 50)));
        s.assert_no_answer("v2", failed_at, Duration::from_secs(10));
        s.finish().await;
    }
}

crate::scenarios! {
    async fn what_was_approved_is_one_revision_and_no_other(plan: Plan) {
        let mut s = waiting(asking(plan.replicas(2), &[50, 100], &json!({"approval": {}}))).await;
        let seen = s.status().canary.expect("a version under release").revision;
        s.set_image("v3").await;
        s.wait_for("the next release to ask", |status| {
            is_awaited(status) && status.canary.as_ref().is_some_and(|canary| canary.revision != seen)
        }).await;
        let refused = send(&mut s, RequestAction::Approve, &seen).await;
        assert!(refused.starts_with("refused: revision ") && refused.ends_with(&format!(" is under release, not {seen}")), "{refused}");
        time::sleep(Duration::from_secs(2)).await;
        assert!(is_awaited(&s.status()), "{}", s.status().why);
        approve(&mut s).await;
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }

    async fn no_promotion_takes_the_place_of_an_approval(plan: Plan) {
        let sign_off = json!({"approval": {}, "when": ["DuringSteps"]});
        let mut s = waiting(asking(plan.replicas(2), &[50, 75, 100], &sign_off)).await;
        let revision = s.status().canary.expect("a version under release").revision;
        assert_eq!(send(&mut s, RequestAction::PromoteFull, &revision).await, "refused: gate sign-off has not passed yet");
        assert_eq!(send(&mut s, RequestAction::Promote, &revision).await, "done: the hold is over");
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(wait(&mut s).await.step.map(|step| step.weight), Some(50));
        approve(&mut s).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn the_end_can_wait_for_an_approval_too(plan: Plan) {
        let sign_off = json!({"approval": {}, "when": ["BeforePromotion"]});
        let mut s = waiting(asking(plan.replicas(2), &[50, 100], &sign_off)).await;
        assert_eq!(s.status().phase, Some(Phase::Baking));
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.finish().await;
    }
}

crate::scenarios_with_guard! { On:
    async fn an_approval_that_is_sent_while_no_controller_runs_is_taken_by_the_next(plan: Plan) {
        let mut s = waiting(asking(plan.replicas(2), &[50, 100], &json!({"approval": {"weight": 50}}))).await;
        s.kill9();
        s.request(RequestAction::Approve).await;
        s.start_controller();
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}
