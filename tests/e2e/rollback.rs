//! Versions that fail: clients go back, and the live version was never touched.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepgate::api::{
    RolloutStatus,
    status::{Outcome, Phase},
};

use crate::{
    scenario::{Plan, Pods, Scenario},
    world::HELLO,
};

/// A readiness probe's period, the controller's reaction, and kube-proxy's next sync: about a second, and room for a busy machine.
const OFF_THE_TRAFFIC: Duration = Duration::from_secs(10);

/// v1 serves, v2 is rejected, and the template of v2 is held.
async fn expect_rejection(s: &mut Scenario) -> RolloutStatus {
    let status = s.wait_for_phase(Phase::RolledBack).await;
    let stable = status.stable.as_ref().expect("a live version");
    assert!(stable.images[0].ends_with(":v1"), "{:?} is live", stable.images);
    assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::RolledBack));
    let canary = status.canary.as_ref().expect("the version that was rejected").revision.clone();
    assert!(status.rejected.iter().any(|rejected| rejected.revision == canary), "{canary} is not among {:?}", status.rejected);
    status
}

/// Holds long enough for the scenario to do its harm at this weight.
fn at_leisure(plan: Plan) -> Plan {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "500ms"}));
    plan.replicas(4).pods_change().policy(&json!({"steps": steps, "keepPrevious": "30s"}))
}

fn holding(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "30s" } else { "300ms" }}));
    plan.replicas(4).pods_change().policy(&json!({"steps": steps}))
}

async fn readiness_lost_at(plan: Plan, weight: u8, pods: Pods) {
    let mut s = holding(plan, weight).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    let failed_at = s.behave(pods, "ready=false").await;
    expect_rejection(&mut s).await;
    s.assert_no_answer("v2", failed_at, OFF_THE_TRAFFIC);
    s.finish().await;
}

async fn readiness_lost_while_baking(plan: Plan, pods: Pods) {
    let mut s = at_leisure(plan).start().await;
    s.set_image("v2").await;
    s.wait_for_phase(Phase::Baking).await;
    let failed_at = s.behave(pods, "ready=false").await;
    expect_rejection(&mut s).await;
    s.assert_no_answer("v2", failed_at, OFF_THE_TRAFFIC);
    s.finish().await;
}

crate::scenarios! {
    async fn readiness_of_all_lost_at_25(plan: Plan) {
        readiness_lost_at(plan, 25, Pods::Canary).await;
    }

    async fn readiness_of_all_lost_at_50(plan: Plan) {
        readiness_lost_at(plan, 50, Pods::Canary).await;
    }

    async fn readiness_of_one_lost_at_50(plan: Plan) {
        readiness_lost_at(plan, 50, Pods::OneCanary).await;
    }

    async fn readiness_of_all_lost_at_75(plan: Plan) {
        readiness_lost_at(plan, 75, Pods::Canary).await;
    }

    async fn readiness_of_one_lost_at_75(plan: Plan) {
        readiness_lost_at(plan, 75, Pods::OneCanary).await;
    }

    async fn readiness_of_all_lost_at_100(plan: Plan) {
        readiness_lost_at(plan, 100, Pods::Canary).await;
    }

    async fn readiness_of_all_lost_while_baking(plan: Plan) {
        readiness_lost_while_baking(plan, Pods::Canary).await;
    }

    async fn readiness_of_one_lost_while_baking(plan: Plan) {
        readiness_lost_while_baking(plan, Pods::OneCanary).await;
    }

    async fn an_image_that_is_never_ready_gets_no_client(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().policy(&json!({"progressDeadline": "5s"})).start().await;
        s.set_image("unready").await;
        let status = expect_rejection(&mut s).await;
        assert_eq!(status.history.last().map(|entry| entry.max_weight), Some(0));
        s.finish().await;
    }

    async fn an_image_that_crashes_gets_no_client(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().policy(&json!({"progressDeadline": "20s", "gates": [{"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": "250ms", "successThreshold": 16}}]})).start().await;
        // It answers well for two seconds and then ends: the gate asks for four.
        s.set_image("crash").await;
        expect_rejection(&mut s).await;
        s.finish().await;
    }

    async fn a_version_that_answers_500_to_checks_gets_no_client(plan: Plan) {
        let mut s = plan.replicas(3).pods_change().start().await;
        s.set_image_and_env("v2", "HEALTH", "500").await;
        let status = expect_rejection(&mut s).await;
        let rejected = status.rejected.last().expect("a rejected revision");
        assert_eq!((rejected.gate.as_str(), status.history.last().map(|entry| entry.max_weight)), ("healthz", Some(0)));
        s.stop_clients().await;
        assert_eq!(s.report().first_answer("v2").map(|request| request.sent_at), None);
        s.finish().await;
    }

    async fn answers_of_500_to_checks_from_50_on_take_it_back(plan: Plan) {
        let mut s = holding(plan, 50).start().await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        let failed_at = s.behave(Pods::OneCanary, "health=500").await;
        let status = expect_rejection(&mut s).await;
        assert_eq!(status.rejected.last().map(|rejected| rejected.gate.as_str()), Some("healthz"));
        // Three probes of 250 ms, the reaction, and kube-proxy's next sync.
        s.assert_no_answer("v2", failed_at, OFF_THE_TRAFFIC);
        s.finish().await;
    }

    async fn a_version_that_hangs_while_baking_is_taken_back(plan: Plan) {
        let mut s = at_leisure(plan).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        s.behave(Pods::Canary, "health=hang").await;
        let status = expect_rejection(&mut s).await;
        assert_eq!(status.rejected.last().map(|rejected| rejected.gate.as_str()), Some("healthz"));
        s.finish().await;
    }

    async fn going_back_to_the_live_template_ends_the_hold(plan: Plan) {
        let mut s = holding(plan, 25).start().await;
        s.set_image("v2").await;
        s.wait_for_weight(25).await;
        s.behave(Pods::Canary, "ready=false").await;
        expect_rejection(&mut s).await;
        s.set_image("v1").await;
        s.wait_for_healthy("v1").await;
        s.finish().await;
    }

    async fn a_third_template_after_a_rejection_is_a_new_release(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().start().await;
        s.set_image_and_env("v2", "HEALTH", "503").await;
        expect_rejection(&mut s).await;
        s.set_image_and_env("v3", "HEALTH", "200").await;
        let status = s.wait_for_healthy("v3").await;
        assert!(status.rejected.is_empty(), "{:?}", status.rejected);
        s.finish().await;
    }

    async fn a_rejected_template_that_comes_again_stays_held(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().start().await;
        s.set_image_and_env("v2", "HEALTH", "503").await;
        expect_rejection(&mut s).await;
        s.set_image_and_env("v1", "HEALTH", "200").await;
        // Not quite the first template: it has a variable more.
        s.wait_for_healthy("v1").await;
        let promoted = s.status().history.last().map(|entry| entry.outcome);
        assert_eq!(promoted, Some(Outcome::Promoted));
        s.finish().await;
    }

    async fn going_back_to_the_live_template_in_mid_release_ends_it(plan: Plan) {
        let mut s = holding(plan, 75).start().await;
        s.set_image("v2").await;
        s.wait_for_weight(75).await;
        let at = Instant::now();
        s.set_image("v1").await;
        let status = s.wait_for_healthy("v1").await;
        assert!(status.rejected.is_empty(), "a revert is not a failure: {:?}", status.rejected);
        s.assert_no_answer("v2", at, OFF_THE_TRAFFIC);
        s.finish().await;
    }

    async fn a_service_that_disappears_takes_the_release_back(plan: Plan) {
        let mut s = holding(plan, 25).service_breaks().start().await;
        s.set_image("v2").await;
        s.wait_for_weight(25).await;
        s.forget_clients().await;
        s.kubectl(&["delete", "service", HELLO], &Value::Null).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::RolledBack));
        s.finish().await;
    }

    async fn a_canary_pod_that_is_deleted_is_awaited(plan: Plan) {
        let mut s = holding(plan, 50).policy(&json!({"steps": [{"weight": 50, "hold": "5s"}, {"weight": 100, "hold": "1s"}]})).start().await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        s.delete_pods(Pods::OneCanary).await;
        let status = s.wait_for_healthy("v2").await;
        assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::Promoted));
        s.finish().await;
    }

    async fn a_live_pod_that_is_deleted_at_75_leaves_the_service_whole(plan: Plan) {
        let mut s = holding(plan, 75).policy(&json!({"steps": [{"weight": 75, "hold": "5s"}, {"weight": 100, "hold": "1s"}]})).start().await;
        s.set_image("v2").await;
        s.wait_for_weight(75).await;
        s.delete_pods(Pods::Stable).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}
