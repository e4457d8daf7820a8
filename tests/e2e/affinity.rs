//! Session affinity: clients of many addresses keep their version while the weight rises, and the owner gets the Service back as it was.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stepgate::api::{rollout::RequestAction, status::Phase};
use tokio::time;

use crate::{
    scenario::{Plan, Pods, Scenario, Style},
    world::{HELLO, Kind, World, text},
};

/// Clients with an address of their own, which come about four times a second each.
const CLIENTS: u8 = 24;
/// A readiness probe's period, the controller's reaction, and kube-proxy's next sync: about a second, and room for a busy machine.
const OFF_THE_TRAFFIC: Duration = Duration::from_secs(10);

/// Quarters with affinity, of which one is held until somebody ends that.
fn sticky(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "1s" }}));
    plan.clients(CLIENTS).policy(&json!({"steps": steps, "affinity": {"clientIP": {"timeout": "10m"}}}))
}

/// A release that is held at this weight.
async fn at(plan: Plan, weight: u8) -> Scenario {
    let mut s = sticky(plan, weight).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    s
}

/// What the Service's owner has there.
fn own(seconds: u64) -> Value {
    json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}})
}

/// Seconds of the Service's affinity by address; none where it has no affinity.
fn affinity(world: &World) -> Option<u64> {
    let service = world.get(Kind::Service, HELLO)?;
    let seconds = service.pointer("/spec/sessionAffinityConfig/clientIP/timeoutSeconds").and_then(Value::as_u64);
    assert_eq!(seconds.is_some(), text(service, "/spec/sessionAffinity") == "ClientIP", "{service}");
    seconds
}

fn affinity_now(s: &Scenario) -> Option<u64> {
    affinity(&s.timeline.borrow().now)
}

/// Waits until every client has had an answer of this version: kube-proxy may follow later than a step settles.
async fn everybody_meets(s: &mut Scenario, version: &str) {
    let limit = Instant::now() + Duration::from_secs(30);
    while s.clients().versions_by_source().values().any(|versions| !versions.contains(&version)) {
        assert!(Instant::now() < limit, "some clients never meet {version}: {:?}", s.clients().versions_by_source());
        time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends the clients, and says which versions a client met, one after the other.
async fn ways(s: &mut Scenario) -> BTreeSet<Vec<String>> {
    s.stop_clients().await;
    let seen = s.report().versions_by_source();
    assert_eq!(seen.len(), usize::from(CLIENTS), "clients that have had answers");
    seen.into_values().map(|versions| versions.into_iter().map(str::to_owned).collect()).collect()
}

fn way(versions: &[&str]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

crate::scenarios! {
    async fn a_client_moves_at_most_once_while_the_weight_rises(plan: Plan) {
        let mut s = at(plan.replicas(4), 50).await;
        assert_eq!(affinity_now(&s), Some(600));
        let shares = |s: &Scenario| s.status().traffic.map(|traffic| (traffic.routed, traffic.clients));
        assert_eq!(shares(&s), Some((Some(50), Some(0))));
        assert!(s.clients().first_answer("v2").is_none(), "up to 50 % those that are known keep their version");
        let new: BTreeSet<String> = s.newcomers(101..=160).await.into_iter().collect();
        assert_eq!(new, BTreeSet::from(["v1".to_owned(), "v2".to_owned()]), "those that are new are given to both");
        s.request(RequestAction::Promote).await;
        s.wait_for_weight(75).await;
        assert_eq!(shares(&s), Some((Some(80), Some(60))));
        s.wait_for_healthy("v2").await;
        assert_eq!(ways(&mut s).await, BTreeSet::from([way(&["v1", "v2"])]));
        s.finish().await;
    }

    async fn on_the_way_back_everybody_leaves_at_once(plan: Plan) {
        let mut s = at(plan.replicas(4).pods_change(), 75).await;
        time::sleep(Duration::from_secs(2)).await;
        let failed_at = s.behave(Pods::Canary, "ready=false").await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.assert_no_answer("v2", failed_at, OFF_THE_TRAFFIC);
        assert_eq!(affinity_now(&s), None);
        assert_eq!(ways(&mut s).await, BTreeSet::from([way(&["v1"]), way(&["v1", "v2", "v1"])]));
        s.finish().await;
    }
}

crate::scenarios! {
    async fn abort_takes_everybody_back_by_one_write(plan: Plan) {
        let mut s = at(plan.replicas(3), 100).await;
        everybody_meets(&mut s, "v2").await;
        let aborted_at = Instant::now();
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.assert_no_answer("v2", aborted_at, OFF_THE_TRAFFIC);
        assert_eq!(ways(&mut s).await, BTreeSet::from([way(&["v1", "v2", "v1"])]));
        s.finish().await;
    }

    async fn the_owners_own_comes_back_as_it_was(plan: Plan) {
        let mut s = at(plan.replicas(2).service(&own(60)), 50).await;
        assert_eq!(affinity_now(&s), Some(600));
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(affinity_now(&s), Some(60));
        s.finish().await;
    }

    async fn a_longer_one_of_the_owners_own_is_left_alone(plan: Plan) {
        let mut s = at(plan.replicas(2).service(&own(10_800)), 50).await;
        assert_eq!((affinity_now(&s), s.status().affinity.len()), (Some(10_800), 0));
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_declared_pair_keeps_its_clients_too(plan: Plan) {
        let plan = plan.replicas(3).versions(&[("blue", "v1"), ("green", "v2")]);
        let mut s = sticky(plan, 50).start().await;
        s.set_live("green").await;
        s.wait_for_weight(50).await;
        assert_eq!(affinity_now(&s), Some(600));
        s.request(RequestAction::Promote).await;
        s.wait_for_live("green").await;
        s.wait_until("the owner's affinity", |world| affinity(world).is_none()).await;
        assert_eq!(ways(&mut s).await, BTreeSet::from([way(&["v1", "v2"])]));
        s.finish().await;
    }

    async fn deleting_the_rollout_gives_it_back(plan: Plan) {
        let mut s = at(plan.replicas(2), 75).await;
        s.delete_rollout().await;
        s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
        assert_eq!(affinity_now(&s), None);
        s.finish().await;
    }

    async fn a_cookie_is_refused_with_the_alternative(plan: Plan) {
        let cookie = json!({"steps": [{"weight": 100}], "affinity": {"cookie": {"name": "version", "maxAge": "1h"}}});
        let mut s = plan.replicas(1).start().await;
        let inline = json!({"spec": {"policy": cookie}}).to_string();
        let refused = s.try_kubectl(&["patch", "rollout", HELLO, "--type=merge", "-p", &inline], &Value::Null).await.expect_err("a refusal");
        assert!(refused.contains("sees no cookie in them; set affinity.clientIP"), "{refused}");
        let policy = json!({"apiVersion": "stepgate.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "cookie"}, "spec": cookie});
        s.kubectl(&["apply", "-f", "-"], &policy).await;
        s.patch_rollout(&json!({"spec": {"policy": null, "policyRef": {"name": "cookie"}}})).await;
        let message = s.wait_for_refusal(HELLO, "CookieAffinity").await;
        assert!(message.contains("set affinity.clientIP, which tells clients by their address"), "{message}");
        s.finish().await;
    }
}

crate::scenarios_with_guard! { On:
    async fn a_tool_that_applies_none_lets_no_client_go(plan: Plan) {
        let plan = sticky(plan.replicas(4), 50).service(&json!({"spec": {"sessionAffinity": "None"}}));
        let mut s = plan.start().await;
        s.manifests.set_image("v2");
        let tool = s.apply_again_and_again(Style::Force, Duration::from_millis(500));
        s.wait_for_weight(50).await;
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy("v2").await;
        let (applied, refused) = tool.stop().await;
        assert!(applied > 2, "only {applied} applies");
        // During an adoption the Deployment is closed to others for a moment, with the advice to try again.
        let wrong: Vec<String> = refused.into_iter().filter(|words| !words.contains("try")).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(ways(&mut s).await, BTreeSet::from([way(&["v1", "v2"])]));
        s.finish().await;
    }

    async fn a_controller_that_is_killed_at_any_moment_gives_it_back(plan: Plan) {
        let policy = json!({
            "steps": [{"weight": 50}, {"weight": 75}, {"weight": 100}], "keepPrevious": "300ms", "affinity": {"clientIP": {"timeout": "10m"}},
        });
        let mut s = plan.replicas(2).clients(CLIENTS).policy(&policy).start().await;
        let images = ["v2", "v1"].into_iter().cycle().take(8);
        for (image, after) in images.zip((0..).map(|number| Duration::from_millis(250) * number)) {
            s.set_image(image).await;
            time::sleep(after).await;
            s.kill9();
            s.start_controller();
            s.wait_for_healthy(image).await;
            s.wait_until("the owner's affinity", |world| affinity(world).is_none()).await;
        }
        s.finish().await;
    }
}
