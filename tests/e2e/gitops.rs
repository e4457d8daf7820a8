//! Tools that apply the user's manifests again and again, all through a release.

use std::time::Duration;

use stepgate::api::status::Phase;

use crate::scenario::{Plan, Scenario, Style};

/// v2 comes from Git, in the first apply; the same manifests go on being applied twice a second.
async fn release(plan: Plan, style: Style) {
    let mut s = plan.replicas(3).start().await;
    s.manifests.set_image("v2");
    let tool = s.apply_again_and_again(style, Duration::from_millis(500));
    s.wait_for_phase(Phase::Preparing).await;
    s.wait_for_healthy("v2").await;
    let (applied, refused) = tool.stop().await;
    assert!(applied > 2, "only {applied} applies");
    // During an adoption the Deployment is closed to others for a moment, with the advice to try again.
    let wrong: Vec<String> = refused.into_iter().filter(|words| !words.contains("retry")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    s.finish().await;
}

async fn rollback(plan: Plan, style: Style) {
    let mut s: Scenario = plan.replicas(3).pods_change().start().await;
    s.manifests.set_image("v2");
    let mut env = std::collections::BTreeMap::new();
    env.insert("HEALTH".to_owned(), "500".to_owned());
    s.manifests.set_env(&env);
    let tool = s.apply_again_and_again(style, Duration::from_millis(500));
    s.wait_for_phase(Phase::RolledBack).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(s.status().phase, Some(Phase::RolledBack), "the tool has restarted what was rejected");
    let (_, refused) = tool.stop().await;
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    s.finish().await;
}

crate::scenarios! {
    async fn kubectl_apply_all_through_a_release(plan: Plan) {
        release(plan, Style::Apply).await;
    }

    async fn forced_server_side_apply_all_through_a_release(plan: Plan) {
        release(plan, Style::Force).await;
    }

    async fn kubectl_apply_all_through_a_rollback(plan: Plan) {
        rollback(plan, Style::Apply).await;
    }

    async fn forced_server_side_apply_all_through_a_rollback(plan: Plan) {
        rollback(plan, Style::Force).await;
    }
}
