//! `stepgate undo`: back to what was live before, and what is abandoned does not come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepgate::api::{
    POD_TEMPLATE_HASH, RolloutStatus,
    rollout::RequestAction,
    status::{Outcome, Phase},
};
use tokio::time;

use crate::{
    scenario::{Guard, Plan, Scenario, Style},
    world::{HELLO, Kind},
};

/// A release of v2 that has come to its end, and the revisions of both.
async fn released(plan: Plan) -> (Scenario, String, String) {
    let mut s = plan.start().await;
    let old = live(&s.status());
    s.set_image("v2").await;
    let new = live(&s.wait_for_healthy("v2").await);
    (s, old, new)
}

fn live(status: &RolloutStatus) -> String {
    status.stable.as_ref().map(|stable| stable.revision.clone()).unwrap_or_default()
}

fn outcomes(s: &Scenario) -> Vec<Outcome> {
    s.status().history.iter().map(|entry| entry.outcome).collect()
}

/// The steps of a policy, held for so long.
fn steps(hold: &str) -> Value {
    [25, 50, 75, 100].iter().map(|weight| json!({"weight": weight, "hold": hold})).collect()
}

crate::scenarios! {
    async fn in_the_bake_clients_are_taken_back_and_nobody_restarts(plan: Plan) {
        let mut s = plan.replicas(3).policy(&json!({"steps": [{"weight": 100}], "keepPrevious": "10m"})).start().await;
        let (before, old) = (s.uids(), live(&s.status()));
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        let writes = s.service_writes();
        let said = s.undo(&["--reason", "e2e"]).await;
        assert!(said.ends_with(&format!("to revision {old} is done: the release is taken back\n")), "{said}");
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!((status.rejected.len(), outcomes(&s)), (1, vec![Outcome::RolledBack]));
        // Service and Rollout are seen by different watches.
        s.wait_until("the Service to be open", |world| !world.selector(HELLO).contains_key(POD_TEMPLATE_HASH)).await;
        assert_eq!(s.service_writes(), writes + 2, "back to the live version, and in the end as its owner wrote it");
        let off_at = Instant::now();
        // Again: the Deployment gets the template that serves.
        s.manifests.set_image("v1");
        s.undo(&[]).await;
        s.wait_for_healthy("v1").await;
        assert_eq!(s.uids(), before);
        s.assert_no_answer("v2", off_at, Duration::ZERO);
        s.finish().await;
    }

    async fn after_the_bake_it_is_a_release_and_the_abandoned_version_does_not_come_back(plan: Plan) {
        let (mut s, old, new) = released(plan.replicas(3).hold("300ms")).await;
        let said = s.undo(&["--reason", "e2e"]).await;
        let first = format!("{HELLO}: Undo of revision {new} to revision {old} is done: the abandoned revision is held from now on\n");
        assert!(said.starts_with(&first), "{said}");
        s.wait_for_phase(Phase::Progressing).await;
        let status = s.wait_for_healthy("v1").await;
        let ended = status.history.last().cloned().expect("a release");
        assert_eq!((ended.outcome, ended.replaced), (Outcome::Promoted, new));
        // Where the policies act, the name under it is the one that the API server knows.
        let asked: Vec<_> = ended.asked.iter().map(|asked| (asked.action, asked.verified)).collect();
        assert_eq!(asked, [(RequestAction::Undo, Some(s.guard == Guard::On))]);
        // Git still has v2, and says so again and again.
        let quiet_at = Instant::now();
        s.manifests.set_image("v2");
        let tool = s.apply_again_and_again(Style::Apply, Duration::from_millis(500));
        s.wait_for_phase(Phase::RolledBack).await;
        time::sleep(Duration::from_secs(5)).await;
        let (applied, refused) = tool.stop().await;
        assert!(applied > 1 && refused.is_empty(), "{applied} applies; {}", refused.join("\n"));
        assert_eq!((s.status().phase, outcomes(&s).len()), (Some(Phase::RolledBack), 2), "{}", s.status().why);
        if s.guard == Guard::On {
            s.assert_no_answer("v2", quiet_at, Duration::ZERO);
        }
        s.finish().await;
    }
}

crate::scenarios! {
    async fn leads_to_an_older_version_that_is_named(plan: Plan) {
        let (mut s, oldest, _) = released(plan.replicas(2).hold("300ms")).await;
        s.set_image("v3").await;
        s.wait_for_healthy("v3").await;
        s.manifests.set_image("v1");
        let said = s.undo(&["--to", &oldest]).await;
        assert!(said.contains(&format!("the template of revision {oldest} (stepgate.test/hello:v1) is written to Deployment {HELLO};")), "{said}");
        let status = s.wait_for_healthy("v1").await;
        assert_eq!(live(&status), oldest);
        assert_eq!(outcomes(&s), [Outcome::Promoted; 3]);
        s.finish().await;
    }

    async fn leads_to_an_older_version_from_the_middle_of_a_release(plan: Plan) {
        let (mut s, oldest, _) = released(plan.replicas(2).hold("300ms")).await;
        s.patch_rollout(&json!({"spec": {"policy": {"steps": [{"weight": 50, "hold": "10m"}, {"weight": 100}]}}})).await;
        s.set_image("v3").await;
        s.wait_for_weight(50).await;
        s.patch_rollout(&json!({"spec": {"policy": {"steps": steps("300ms")}}})).await;
        s.manifests.set_image("v1");
        s.undo(&["--to", &oldest]).await;
        s.wait_for_healthy("v1").await;
        assert_eq!(outcomes(&s), [Outcome::Promoted, Outcome::RolledBack, Outcome::Promoted]);
        s.finish().await;
    }

    async fn skips_the_holds_of_a_version_that_was_live_where_the_policy_says_so(plan: Plan) {
        let (mut s, ..) = released(plan.replicas(3).hold("300ms")).await;
        // Far longer than anything is waited for here.
        s.patch_rollout(&json!({"spec": {"policy": {"steps": steps("10m"), "undo": "Fast"}}})).await;
        s.manifests.set_image("v1");
        s.undo(&[]).await;
        let begun = s.wait_for("the release of v1", |status| status.release.is_some()).await;
        assert!(begun.release.is_some_and(|release| release.policy.steps.iter().all(|step| step.hold.0.is_zero())));
        for weight in [25, 50, 75] {
            s.wait_for(&format!("{weight} % to be confirmed"), |status| {
                let confirmed = status.release.as_ref().map_or(100, |release| release.max_weight);
                confirmed >= weight
            }).await;
        }
        let status = s.wait_for_healthy("v1").await;
        assert_eq!(status.history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::Promoted, 100)));
        s.finish().await;
    }

    async fn of_declared_versions_swaps_them_back_while_there_are_pods(plan: Plan) {
        let plan = plan.replicas(2).versions(&[("blue", "v1"), ("green", "v2")]);
        let mut s = plan.hold("300ms").policy(&json!({"keepPrevious": "500ms"})).start().await;
        let before = s.uids();
        s.set_live("green").await;
        s.wait_for_live("green").await;
        let said = s.undo(&[]).await;
        assert!(said.contains(&format!("{HELLO}: workload.live is {HELLO}-blue; follow it with ")), "{said}");
        s.wait_for_live("blue").await;
        assert_eq!((s.uids(), outcomes(&s)), (before, vec![Outcome::Promoted; 2]));
        s.set_live("green").await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.stable.map(|stable| stable.name), Some(format!("{HELLO}-blue")));
        s.set_live("blue").await;
        s.wait_for_live("blue").await;
        s.finish().await;
    }

    async fn of_declared_versions_says_what_to_do_where_there_are_no_pods(plan: Plan) {
        let plan = plan.replicas(2).pods_change().versions(&[("blue", "v1"), ("green", "v2")]);
        let mut s = plan.hold("300ms").policy(&json!({"keepPrevious": "500ms"})).start().await;
        s.set_live("green").await;
        s.wait_for_live("green").await;
        let blue = format!("{HELLO}-blue");
        s.kubectl(&["scale", "deployment", &blue, "--replicas=0"], &Value::Null).await;
        s.wait_until("blue to have no ready pods", |world| {
            world.get(Kind::Deployment, &blue).is_some_and(|blue| blue.pointer("/status/readyReplicas").is_none())
        }).await;
        let said = s.try_undo(&[]).await.expect_err("a refusal");
        assert!(said.contains("has no ready pods to take clients back to; release it like any other version"), "{said}");
        assert_eq!((s.status().requests.len(), s.status().rejected.len()), (0, 0), "nothing was written");
        s.finish().await;
    }
}
