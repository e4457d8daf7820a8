//! The preview (`spec.preview`): a Service of the user's that shows the new version before its first client comes, and the live one after the
//! end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stepgate::api::{
    rollout::RequestAction,
    status::{Outcome, Phase},
};
use tokio::time;

use crate::{
    scenario::{Plan, Pods, Scenario},
    world::{HELLO, Kind, VERSION, World, text},
};

const NEXT: &str = "hello-next";
/// Endpoints, and kube-proxy's next sync: about a second, and room for a busy machine.
const SYNC: Duration = Duration::from_secs(10);

/// The preview as its owner writes it.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NEXT, "labels": {"app": HELLO, "e2e": "preview"}},
        "spec": {"selector": {"app": HELLO}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    })
}

/// A release waits for an approval before its first client, then holds one half, then flips.
fn previewed(mut plan: Plan) -> Plan {
    plan.manifests.others.push(service());
    let http = json!({"path": "/healthz", "port": "http", "period": "250ms", "timeout": "1s", "successThreshold": 2});
    let gates = json!([{"name": "looked-at", "approval": {}}, {"name": "healthz", "http": http}]);
    let steps = json!([{"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "1s"}]);
    plan.rollout(&json!({"spec": {"preview": NEXT}})).policy(&json!({"steps": steps, "gates": gates}))
}

/// The version that answers one request to the preview, on a connection of its own; none where nobody answers.
async fn ask(s: &Scenario) -> Option<String> {
    let address = {
        let timeline = s.timeline.borrow();
        timeline.now.get(Kind::Service, NEXT).map(|service| text(service, "/spec/clusterIP").to_owned()).expect("the preview")
    };
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
    let answer = client.get(format!("http://{address}/")).timeout(Duration::from_secs(2)).send().await.ok()?;
    answer.headers().get("x-version").and_then(|version| version.to_str().ok()).map(str::to_owned)
}

/// The preview is soon answered by this version, and then by no other.
async fn shows(s: &Scenario, version: &str) {
    let limit = Instant::now() + SYNC;
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let answered = ask(s).await;
        in_a_row = if answered.as_deref() == Some(version) { in_a_row + 1 } else { 0 };
        assert!(in_a_row > 0 || Instant::now() < limit, "{answered:?} answers, not {version}: {:?}", s.status().preview);
        time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..40 {
        assert_eq!(ask(s).await.as_deref(), Some(version));
    }
}

/// Waits until the version under release has its address, and is to be looked at before its first client.
async fn dark(s: &mut Scenario) {
    let address = format!("http://{NEXT}.{}", s.namespace);
    let is_there = |status: &stepgate::api::RolloutStatus| {
        let paused = status.conditions.iter().any(|condition| condition.type_ == "Paused" && condition.reason == "ApprovalAwaited");
        paused && status.preview.as_ref().is_some_and(|preview| preview.address == address)
    };
    s.wait_for("an approval to be asked for, and the preview's address", is_there).await;
}

fn selector(world: &World) -> BTreeMap<String, String> {
    world.selector(NEXT)
}

/// Waits until the preview is at rest: with these keys besides its owner's.
async fn at_rest(s: &mut Scenario, keys: &[(&str, &str)]) {
    let owners = [("app", HELLO)];
    let rest: BTreeMap<String, String> = owners.iter().chain(keys).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    s.wait_until("the preview to be at rest", |world| selector(world) == rest).await;
}

crate::scenarios! {
    async fn is_answered_by_the_new_version_alone_before_the_first_client_is(plan: Plan) {
        let mut s = previewed(plan.replicas(3)).start().await;
        shows(&s, "v1").await;
        s.set_image("v2").await;
        dark(&mut s).await;
        shows(&s, "v2").await;
        assert!(s.clients().first_answer("v2").is_none(), "no client has met what is looked at");
        s.request(RequestAction::Approve).await;
        s.wait_for_weight(50).await;
        shows(&s, "v2").await;
        let status = s.wait_for_healthy("v2").await;
        assert_eq!(status.preview.map(|preview| preview.address).as_deref(), Some(""));
        at_rest(&mut s, &[]).await;
        shows(&s, "v2").await;
        s.finish().await;
    }

    async fn is_answered_by_the_live_version_after_a_rollback(plan: Plan) {
        let mut s = previewed(plan.replicas(3)).policy(&json!({"steps": [{"weight": 50, "hold": "10m"}, {"weight": 100}]})).start().await;
        s.set_image("v2").await;
        dark(&mut s).await;
        s.request(RequestAction::Approve).await;
        s.wait_for_weight(50).await;
        let failed_at = s.behave(Pods::Canary, "ready=false").await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.assert_no_answer("v2", failed_at, SYNC);
        at_rest(&mut s, &[]).await;
        shows(&s, "v1").await;
        s.finish().await;
    }

    async fn of_a_declared_pair_shows_the_other_version_and_then_the_live_one(plan: Plan) {
        let mut s = previewed(plan.replicas(3).versions(&[("blue", "v1"), ("green", "v2")])).start().await;
        at_rest(&mut s, &[(VERSION, "blue")]).await;
        shows(&s, "v1").await;
        s.set_live("green").await;
        dark(&mut s).await;
        shows(&s, "v2").await;
        assert!(s.clients().first_answer("v2").is_none(), "no client has met what is looked at");
        s.set_live("blue").await;
        s.wait_for("the release to be taken back", |status| {
            status.release.is_none() && status.history.last().is_some_and(|entry| entry.outcome == Outcome::Superseded)
        })
        .await;
        at_rest(&mut s, &[(VERSION, "blue")]).await;
        shows(&s, "v1").await;
        s.set_live("green").await;
        dark(&mut s).await;
        s.request(RequestAction::Approve).await;
        s.wait_for_live("green").await;
        at_rest(&mut s, &[(VERSION, "green")]).await;
        shows(&s, "v2").await;
        s.finish().await;
    }
}

crate::scenarios! {
    async fn is_given_back_when_the_rollout_is_deleted(plan: Plan) {
        let mut s = previewed(plan.replicas(2)).start().await;
        s.set_image("v2").await;
        dark(&mut s).await;
        s.delete_rollout().await;
        s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
        at_rest(&mut s, &[]).await;
        shows(&s, "v1").await;
        s.finish().await;
    }

    async fn is_found_again_by_the_next_controller(plan: Plan) {
        let mut s = previewed(plan.replicas(2)).start().await;
        s.set_image("v2").await;
        dark(&mut s).await;
        s.kill9();
        s.start_controller();
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        at_rest(&mut s, &[]).await;
        s.finish().await;
    }

    async fn that_is_deleted_in_mid_release_holds_nothing_up(plan: Plan) {
        let mut s = previewed(plan.replicas(2)).start().await;
        s.set_image("v2").await;
        dark(&mut s).await;
        s.kubectl(&["delete", "service", NEXT], &Value::Null).await;
        s.wait_for("word of it", |status| status.preview.as_ref().is_some_and(|preview| preview.message.contains("spec.preview"))).await;
        s.request(RequestAction::Approve).await;
        let healthy = |status: &stepgate::api::RolloutStatus| {
            status.release.is_none() && status.history.last().is_some_and(|entry| entry.outcome == Outcome::Promoted)
        };
        s.wait_for("the release to be over", healthy).await;
        s.kubectl(&["create", "-f", "-"], &service()).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}

crate::scenarios_with_guard! {On:
    async fn that_git_applies_in_mid_release_stays_where_it_is(plan: Plan) {
        let mut s = previewed(plan.replicas(2)).start().await;
        s.set_image("v2").await;
        dark(&mut s).await;
        let shown = selector(&s.timeline.borrow().now);
        for style in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"], &["replace", "-f", "-"]] {
            s.kubectl(style, &service()).await;
            assert_eq!(selector(&s.timeline.borrow().now), shown, "{style:?}");
        }
        shows(&s, "v2").await;
        s.request(RequestAction::Approve).await;
        s.wait_for_healthy("v2").await;
        at_rest(&mut s, &[]).await;
        s.finish().await;
    }
}
