//! The witness itself: what must not happen is done by hand here, with no controller running and no policy that
//! would prevent it, and has to be seen.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    scenario::{Plan, Scenario},
    world::{HELLO, Kind, leftovers, text, violations},
};

/// An application whose Rollout says that the version that runs is the live one.
async fn healthy(plan: Plan) -> Scenario {
    let mut s = plan.replicas(2).start_without_controller().await;
    s.wait_until("two endpoints", |world| world.endpoints(HELLO).len() == 2).await;
    let hash = replica_sets(&s)[0].clone();
    say(&s, &json!({"phase": "Healthy", "stable": {"revision": "0123456789", "hash": hash}})).await;
    s.wait_for("the status", |status| status.stable.is_some()).await;
    s.start_clients(50.0).await;
    s
}

/// Writes the Rollout's status as the controller would.
async fn say(s: &Scenario, status: &Value) {
    let patch = json!({"status": status}).to_string();
    s.kubectl(&["patch", "rollout", HELLO, "--subresource=status", "--type=merge", "--field-manager=stepgate", "-p", &patch], &Value::Null)
        .await;
}

async fn select(s: &Scenario, selector: &Value) {
    let patch = json!({"spec": {"selector": selector}}).to_string();
    s.kubectl(&["patch", "service", HELLO, "--type=merge", "--field-manager=stepgate", "-p", &patch], &Value::Null).await;
}

/// `pod-template-hash` of the `ReplicaSet`s.
fn replica_sets(s: &Scenario) -> Vec<String> {
    let timeline = s.timeline.borrow();
    timeline.now.all(Kind::ReplicaSet).map(|object| text(object, "/metadata/labels/pod-template-hash").to_owned()).collect()
}

/// Asserts that exactly these rules were broken, by the beginnings of their names.
async fn expect(mut s: Scenario, rules: &[&str]) {
    let found = violations(&s.timeline.borrow(), &s.allowance);
    for rule in rules {
        assert!(found.iter().any(|words| words.contains(rule)), "{rule:?} was not seen in {found:#?}");
    }
    for words in &found {
        assert!(rules.iter().any(|rule| words.contains(rule)), "seen, but not expected: {words}");
    }
    s.forget_clients().await;
    s.remove().await;
}

crate::scenarios_with_guard! { Off:
    async fn sees_nothing_where_nothing_is_wrong(plan: Plan) {
        let mut s = healthy(plan).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let left = leftovers(&s.timeline.borrow(), false);
        assert!(left.is_empty(), "{left:?}");
        s.stop_clients().await;
        assert!(s.report().total() > 50);
        expect(s, &[]).await;
    }

    async fn sees_a_service_without_endpoints(plan: Plan) {
        let s = healthy(plan).await;
        select(&s, &json!({"pod-template-hash": "nobody"})).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let left = leftovers(&s.timeline.borrow(), false);
        assert!(left.iter().any(|words| words.contains("Service hello is not as its owner made it")), "{left:?}");
        expect(s, &["a Service without endpoints", "too few pods selected"]).await;
    }

    async fn sees_a_new_version_that_nobody_has_tested(plan: Plan) {
        let mut s = healthy(plan).await;
        s.set_image("v2").await;
        s.wait_until("pods of both", |world| world.endpoints(HELLO).iter().any(|pod| world.hash(pod) != world.status(HELLO).stable.map(|stable| stable.hash))).await;
        expect(s, &["traffic before the gates"]).await;
    }

    async fn sees_clients_on_a_third_version(plan: Plan) {
        let plan = plan.replicas(1).versions(&[("blue", "v1"), ("green", "v2"), ("red", "v3")]);
        let mut s = plan.start_without_controller().await;
        let version = |name: &str| BTreeMap::from([("version".to_owned(), name.to_owned())]);
        s.wait_until("a pod of each", |world| ["blue", "green", "red"].iter().all(|name| world.ready_pods(&version(name)).len() == 1)).await;
        let [blue, green] = ["blue", "green"].map(|name| {
            let world = s.timeline.borrow().now.clone();
            let hash = world.live_pods(&version(name)).map(|pod| text(pod, "/metadata/labels/pod-template-hash").to_owned()).next();
            json!({"revision": name, "name": format!("{HELLO}-{name}"), "hash": hash})
        });
        let since = "2026-01-01T00:00:00Z";
        let release = json!({"revision": "green", "startedAt": since, "trafficSince": since, "size": 1, "policy": {"steps": [{"weight": 100}]}, "maxWeight": 0});
        say(&s, &json!({"phase": "Progressing", "stable": blue, "canary": green, "release": release})).await;
        s.wait_for("the release", |status| status.release.is_some()).await;
        select(&s, &json!({"version": null})).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        expect(s, &["neither of the live version nor of the one under release"]).await;
    }

    async fn sees_a_hold_that_begins_too_early_and_a_phase_that_was_skipped(plan: Plan) {
        let s = healthy(plan).await;
        let step = json!({"index": 1, "of": 1, "display": "1/1", "weight": 100, "since": "2026-01-01T00:00:00Z"});
        say(&s, &json!({"phase": "Progressing", "step": step, "traffic": {"desired": 100, "routed": 100}, "canary": {"revision": "1", "hash": "new"}})).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        expect(s, &["hold before confirmation", "phases out of order", "a status that is not so"]).await;
    }

    async fn sees_a_foreign_field_written_and_a_label_left(plan: Plan) {
        let s = healthy(plan).await;
        let patch = json!({"metadata": {"labels": {"stepgate.dev/handover": "x"}}, "spec": {"minReadySeconds": 1}}).to_string();
        s.kubectl(&["patch", "deployment", HELLO, "--field-manager=stepgate", "-p", &patch], &Value::Null).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let left = leftovers(&s.timeline.borrow(), false);
        assert!(left.iter().any(|words| words.contains("stepgate.dev/handover")), "{left:?}");
        expect(s, &["foreign fields written"]).await;
    }

    async fn sees_the_same_write_again_and_again(plan: Plan) {
        let mut s = healthy(plan).await;
        s.allowance.unguarded = false;
        let release = json!({"revision": "1", "startedAt": "2026-01-01T00:00:00Z", "size": 2, "policy": {"steps": [{"weight": 100}]}, "maxWeight": 0});
        say(&s, &json!({"phase": "Preparing", "release": release})).await;
        s.wait_for("the release", |status| status.release.is_some()).await;
        let live = replica_sets(&s)[0].clone();
        for _ in 0..8 {
            select(&s, &json!({"pod-template-hash": live})).await;
            select(&s, &json!({"pod-template-hash": null})).await;
            // Field managers' times are whole seconds.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        expect(s, &["the same write again and again"]).await;
    }
}
