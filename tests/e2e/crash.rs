//! A controller that ends at any moment: the outcome is the same.

use std::time::Duration;

use serde_json::{Value, json};
use stepgate::api::status::{Outcome, Phase};
use tokio::time;

use crate::{
    scenario::{Guard, Plan, Pods, Scenario},
    world::HELLO,
};

/// One release with five kills, the first after `first`, then every 2.75 s: over five releases that is a kill every 0.55 s of a release.
async fn release_with_kills(s: &mut Scenario, image: &str, first: Duration) {
    s.set_image(image).await;
    let mut next = time::Instant::now() + first;
    for _ in 0..5 {
        time::sleep_until(next).await;
        s.kill9();
        s.start_controller();
        next += Duration::from_millis(2750);
    }
    s.wait_for_healthy(image).await;
}

async fn taken_back_by_the_next_controller(plan: Plan, weight: u8) {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "30s" } else { "300ms" }}));
    let mut s = plan.replicas(3).pods_change().policy(&json!({"steps": steps})).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    s.kill9();
    s.behave(Pods::Canary, "health=500").await;
    time::sleep(Duration::from_secs(1)).await;
    s.start_controller();
    let status = s.wait_for_phase(Phase::RolledBack).await;
    assert_eq!(status.rejected.len(), 1);
    s.finish().await;
}

crate::scenarios! {
    async fn at_25_moments_of_a_release(plan: Plan) {
        // Long enough for the last kill of each.
        let mut s = plan.replicas(3).hold("1s").policy(&json!({"keepPrevious": "2s"})).unwatched().start().await;
        for (number, image) in ["v2", "v3", "v4", "v5", "v2"].into_iter().enumerate() {
            let first = Duration::from_millis(50) + Duration::from_millis(550) * u32::try_from(number).expect("a small number");
            release_with_kills(&mut s, image, first).await;
        }
        // Without the policies a template that comes while nobody is there rolls out by itself.
        let known = |outcome| outcome == Outcome::Promoted || (outcome == Outcome::Unguarded && s.guard == Guard::Off);
        assert!(s.status().history.iter().all(|entry| known(entry.outcome)));
        s.finish().await;
    }

    async fn dead_for_a_while_at_75_costs_no_request(plan: Plan) {
        let mut s = plan.replicas(4).hold("2s").start().await;
        s.set_image("v2").await;
        s.wait_for_weight(75).await;
        s.kill9();
        time::sleep(Duration::from_secs(5)).await;
        s.start_controller();
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn dead_when_the_template_changes(plan: Plan) {
        // Without the admission policies the Deployment rolls by itself while nobody is there.
        let mut s = plan.replicas(2).pods_change().unwatched().start().await;
        s.kill9();
        s.set_image("v2").await;
        time::sleep(Duration::from_secs(8)).await;
        s.start_controller();
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn dead_while_the_canary_at_50_fails(plan: Plan) {
        taken_back_by_the_next_controller(plan, 50).await;
    }

    async fn dead_while_the_canary_at_75_fails(plan: Plan) {
        taken_back_by_the_next_controller(plan, 75).await;
    }

    async fn dead_while_the_canary_at_100_fails(plan: Plan) {
        taken_back_by_the_next_controller(plan, 100).await;
    }

    async fn ended_by_sigterm_in_mid_release(plan: Plan) {
        let mut s = plan.replicas(2).start().await;
        s.set_image("v2").await;
        for weight in [25, 75] {
            s.wait_for_weight(weight).await;
            let ended = s.sigterm().await;
            assert!(ended.success(), "{ended}");
            s.start_controller();
        }
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}

crate::scenarios_with_guard! { On:
    async fn with_a_hand_over_open_leaves_its_owner_a_way_out(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").pods_change().unwatched().policy(&json!({"keepPrevious": "0s"})).start().await;
        s.set_image("v2").await;
        s.wait_for_hand_over().await;
        s.kill9();
        let container = json!({"name": HELLO, "image": "stepgate.test/hello:v3"});
        let edit = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
        let edit = ["patch", "deployment", HELLO, "--field-manager=user", "-p", &edit];
        let refused = s.try_kubectl(&edit, &Value::Null).await.expect_err("a refusal while the hand-over is open");
        assert!(refused.contains("label deployment hello stepgate.dev/handover-"), "{refused}");
        s.kubectl(&["label", "deploy", HELLO, "stepgate.dev/handover-"], &Value::Null).await;
        s.set_image("v3").await;
        s.start_controller();
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }
}
