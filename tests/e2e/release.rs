//! Releases that go well.

use std::time::Duration;

use serde_json::json;
use stepgate::api::status::{Outcome, Phase};

use crate::scenario::{Plan, Scenario};

/// From v1 to v2 through all steps.
async fn release_with(plan: Plan) -> Scenario {
    let mut s = plan.start().await;
    s.set_image("v2").await;
    s.wait_for_phase(Phase::Preparing).await;
    let status = s.wait_for_healthy("v2").await;
    let ended = status.history.last().expect("a release in the history");
    assert_eq!((ended.outcome, ended.max_weight), (Outcome::Promoted, 100));
    assert!(status.release.is_none() && status.rejected.is_empty(), "{status:?}");
    s
}

crate::scenarios! {
    async fn of_one_pod(plan: Plan) {
        release_with(plan.replicas(1)).await.finish().await;
    }

    async fn of_three_pods(plan: Plan) {
        release_with(plan.replicas(3)).await.finish().await;
    }

    async fn of_four_pods(plan: Plan) {
        release_with(plan.replicas(4)).await.finish().await;
    }

    async fn gives_clients_the_shares_it_shows(plan: Plan) {
        let mut s = plan.replicas(4).hold("4s").policy(&json!({"split": "Exact"})).start().await;
        s.set_image("v2").await;
        for weight in [25, 50, 75] {
            let routed = s.wait_for_weight(weight).await.traffic.and_then(|traffic| traffic.routed);
            assert_eq!(routed, Some(weight));
            let from = std::time::Instant::now();
            tokio::time::sleep(Duration::from_millis(3200)).await;
            let shares = s.clients().shares(from, std::time::Instant::now());
            let share = shares.get("v2").copied().unwrap_or_default() * 100.0;
            // About 300 requests: three standard deviations are less than 10 percent points.
            assert!((share - f64::from(weight)).abs() < 10.0, "{share:.1} % of the answers at weight {weight}");
        }
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn blue_green_is_one_step(plan: Plan) {
        let plan = plan.replicas(3).policy(&json!({"steps": [{"weight": 100, "hold": "1s"}]}));
        let mut s = release_with(plan).await;
        s.stop_clients().await;
        let report = s.report();
        let first = report.first_answer("v2").expect("answers of v2").sent_at;
        let last = report.last_answer("v1", report.started_at).expect("answers of v1").sent_at;
        assert!(last < first + Duration::from_secs(2), "v1 still answered {:?} after v2's first answer", last - first);
        s.finish().await;
    }

    async fn by_rolling_instead_of_adoption(plan: Plan) {
        // The Deployment makes pods of its own: that is what Roll means.
        let plan = plan.replicas(3).policy(&json!({"promotion": "Roll"})).pods_change();
        release_with(plan).await.finish().await;
    }

    async fn of_a_new_image_in_mid_release_begins_again(plan: Plan) {
        let mut s = plan.replicas(3).hold("2s").start().await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        s.set_image("v3").await;
        let status = s.wait_for_healthy("v3").await;
        let outcomes: Vec<Outcome> = status.history.iter().rev().take(2).map(|entry| entry.outcome).collect();
        assert_eq!(outcomes, [Outcome::Promoted, Outcome::Superseded]);
        s.finish().await;
    }

    async fn of_a_new_image_while_baking_begins_again(plan: Plan) {
        let mut s = plan.replicas(2).hold("500ms").policy(&json!({"keepPrevious": "20s"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        s.set_image("v3").await;
        s.wait_for_phase(Phase::RollingBack).await;
        s.wait_for(
            "v3 to bake",
            |status| status.phase == Some(Phase::Baking) && status.canary.as_ref().is_some_and(|canary| canary.images[0].ends_with(":v3")),
        )
        .await;
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }

    async fn back_and_forth_between_two_templates(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").policy(&json!({"keepPrevious": "500ms"})).start().await;
        for image in ["v2", "v1", "v2", "v1", "v2", "v1"] {
            s.set_image(image).await;
            s.wait_for_phase(Phase::Preparing).await;
            s.wait_for_healthy(image).await;
        }
        assert!(s.status().history.iter().all(|entry| entry.outcome == Outcome::Promoted));
        s.finish().await;
    }

    async fn of_no_pods_is_nothing_to_release(plan: Plan) {
        let mut s = plan.replicas(0).pods_change().start_without_clients().await;
        s.wait_for_phase(Phase::Healthy).await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn is_followed_by_scaling(plan: Plan) {
        let mut s = plan.replicas(2).hold("2s").start().await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        s.scale(4).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}

crate::scenarios_with_guard! { On:
    // Without the policies such a Deployment ends all its old pods before anybody can see it.
    async fn of_a_recreate_deployment_overlaps_where_that_is_allowed(plan: Plan) {
        let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
        let plan = plan.replicas(2).deployment(&recreate).rollout(&json!({"spec": {"workload": {"allowOverlap": true}}}));
        release_with(plan).await.finish().await;
    }
}
