//! A Rollout without Services: a queue worker, whose pods work as soon as they are ready. Nobody asks them anything; the witness counts them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stepgate::api::{
    RolloutStatus,
    rollout::RequestAction,
    status::{GateState, Outcome, Phase},
};

use crate::{
    scenario::{Guard, Plan, Pods, Scenario},
    world::{HELLO, Kind, World, text},
};

/// A pod, then half of the pods, held for so long; no more time in full size than that.
fn shares(plan: Plan, hold: &str) -> Plan {
    let steps = json!([{"weight": 10, "hold": hold}, {"weight": 50, "hold": hold}, {"weight": 100}]);
    plan.worker().replicas(4).policy(&json!({"steps": steps, "keepPrevious": "500ms"}))
}

/// A release of v2 that is held at this weight.
async fn at(plan: Plan, weight: u8) -> Scenario {
    let mut s = shares(plan, "10m").start().await;
    s.set_image("v2").await;
    s.wait_for_weight(10).await;
    if weight > 10 {
        s.request(RequestAction::Promote).await;
        s.wait_for_weight(weight).await;
    }
    s
}

fn uids(s: &Scenario, pods: Pods) -> BTreeSet<String> {
    s.pods(pods).iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
}

fn pods(world: &World) -> usize {
    world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).count()
}

fn ready_pods(world: &World) -> usize {
    world.ready_pods(&[("app".to_owned(), HELLO.to_owned())].into()).len()
}

/// The old pods ahead of a release. Without the policies the Deployment may have ended one of them by itself before it is caught, and the one
/// in its place is another one.
fn uids_if_kept(s: &Scenario) -> Option<BTreeSet<String>> {
    (s.guard == Guard::On).then(|| uids(s, Pods::Stable))
}

/// The old version has all its pods, the very same where these are known, and the new one has none.
async fn expect_taken_back(s: &mut Scenario, before: Option<&BTreeSet<String>>) -> RolloutStatus {
    let status = s.wait_for_phase(Phase::RolledBack).await;
    assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::RolledBack));
    assert_eq!(status.rejected.len(), 1);
    s.wait_until("the old pods alone", |world| pods(world) == 4).await;
    let after = uids(s, Pods::Stable);
    assert_eq!(&after, before.unwrap_or(&after));
    status
}

/// Something happens to pods of the new version at a weight.
async fn fails_at(plan: Plan, weight: u8, setting: &str) {
    let mut s = at(plan.pods_change(), weight).await;
    let before = uids(&s, Pods::Stable);
    s.behave(Pods::OneCanary, setting).await;
    expect_taken_back(&mut s, Some(&before)).await;
    s.finish().await;
}

/// The Deployment gets another size at a weight, and the release goes on to its end.
async fn scaled_at(plan: Plan, weight: u8, size: usize, canary: usize) {
    let mut s = at(plan.pods_change().steps_skipped(), weight).await;
    s.scale(size).await;
    s.wait_until("a canary of that size", |world| pods(world) == size + canary && ready_pods(world) == size + canary).await;
    // Asked for before every new pod has been probed, the promotion would be refused.
    let probed = format!("{canary} of {canary} pods pass");
    let is_probed = |status: &RolloutStatus| {
        status.gates.iter().any(|gate| gate.name == "healthz" && gate.state == GateState::Passing && gate.value == probed)
    };
    s.wait_for("every pod of it to pass", is_probed).await;
    s.request(RequestAction::PromoteFull).await;
    s.wait_for_healthy("v2").await;
    s.wait_until("the size that was asked for", |world| pods(world) == size).await;
    s.finish().await;
}

crate::scenarios! {
    async fn are_released_by_shares_of_pods(plan: Plan) {
        let mut s = shares(plan, "2s").start().await;
        s.set_image("v2").await;
        for (weight, share) in [(10, 20), (50, 50)] {
            let routed = s.wait_for_weight(weight).await.traffic.and_then(|traffic| traffic.routed);
            // A pod that the Deployment has ended by itself is started again together with the canary: there may be one too few for a moment.
            assert!(s.guard == Guard::Off || routed == Some(share), "at {weight} %: {routed:?}");
        }
        s.wait_for_phase(Phase::Promoting).await;
        let tested = uids(&s, Pods::Canary);
        let status = s.wait_for_healthy("v2").await;
        assert_eq!(uids(&s, Pods::Stable), tested, "the pods that were tested stay");
        assert_eq!(status.history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::Promoted, 100)));
        s.finish().await;
    }

    async fn roll_where_the_policy_says_so(plan: Plan) {
        let mut s = shares(plan, "1s").policy(&json!({"promotion": "Roll"})).pods_change().start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.wait_until("the size that is asked for", |world| pods(world) == 4).await;
        s.finish().await;
    }

    async fn that_crash_from_the_start_are_ended(plan: Plan) {
        // An http gate would fail too, and which of the two is noticed first is chance.
        let policy = json!({"progressDeadline": "20s", "gates": [{"name": "ready", "readiness": {}}]});
        let mut s = shares(plan.pods_change(), "1s").policy(&policy).start().await;
        let before = uids_if_kept(&s);
        s.set_image("crash").await;
        let status = expect_taken_back(&mut s, before.as_ref()).await;
        assert_eq!(status.rejected[0].gate, "ready", "{:?}", status.rejected);
        s.finish().await;
    }

    async fn that_crash_at_work_are_ended(plan: Plan) {
        fails_at(plan, 50, "crash=true").await;
    }

    async fn that_are_never_ready_are_given_up(plan: Plan) {
        let mut s = shares(plan.pods_change(), "1s").policy(&json!({"progressDeadline": "5s"})).start().await;
        let before = uids_if_kept(&s);
        s.set_image("unready").await;
        let status = expect_taken_back(&mut s, before.as_ref()).await;
        assert!(status.rejected[0].reason.starts_with("no progress for 5s"), "{:?}", status.rejected);
        s.finish().await;
    }

    async fn that_lose_their_readiness_at_10_are_ended(plan: Plan) {
        fails_at(plan, 10, "ready=false").await;
    }

    async fn that_lose_their_readiness_at_50_are_ended(plan: Plan) {
        fails_at(plan, 50, "ready=false").await;
    }

    async fn are_aborted_and_retried(plan: Plan) {
        let mut s = at(plan.pods_change(), 50).await;
        let before = uids(&s, Pods::Stable);
        s.request(RequestAction::Abort).await;
        expect_taken_back(&mut s, Some(&before)).await;
        s.request(RequestAction::Retry).await;
        s.wait_for_weight(10).await;
        s.set_image("v1").await;
        s.wait_for_healthy("v1").await;
        assert_eq!(uids(&s, Pods::Stable), before);
        s.finish().await;
    }

    async fn grow_in_mid_release(plan: Plan) {
        // A tenth of 6 pods beside them is one, half is 6.
        scaled_at(plan, 50, 6, 6).await;
    }

    async fn shrink_in_mid_release(plan: Plan) {
        // The canary shrinks with the Deployment: half of the pods are of the new version, never more.
        scaled_at(plan, 50, 2, 2).await;
    }

    async fn whose_rollout_is_deleted_at_50_keep_the_old_version(plan: Plan) {
        let mut s = at(plan, 50).await;
        let before = uids(&s, Pods::Stable);
        s.delete_rollout().await;
        s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
        s.wait_until("the old pods alone", |world| pods(world) == 4).await;
        let timeline = s.timeline.borrow().now.clone();
        let left: BTreeSet<String> =
            timeline.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
        assert_eq!(left, before);
        s.finish().await;
    }

    async fn behind_a_service_are_refused(plan: Plan) {
        let mut plan = plan;
        plan.manifests.rollout["spec"]["services"] = json!([]);
        let steps = json!([{"weight": 50}, {"weight": 100}]);
        let mut s = plan.policy(&json!({"steps": steps})).start_without_clients().await;
        let message = s.wait_for_refusal(HELLO, "UnlistedService").await;
        assert!(message.contains("Service hello"), "{message}");
        s.finish().await;
    }
}

crate::scenarios_with_guard! { Off:
    async fn the_witness_sees_untested_work_and_a_size_that_is_not_kept(plan: Plan) {
        let mut s = shares(plan, "10m").replicas(2).start_without_controller().await;
        s.wait_until("two pods", |world| ready_pods(world) == 2).await;
        let hash = s.timeline.borrow().now.all(Kind::ReplicaSet).map(|set| text(set, "/metadata/labels/pod-template-hash").to_owned()).next();
        let status = json!({"status": {"phase": "Healthy", "stable": {"revision": "0123456789", "hash": hash}}}).to_string();
        s.kubectl(&["patch", "rollout", HELLO, "--subresource=status", "--type=merge", "--field-manager=stepgate", "-p", &status], &Value::Null).await;
        s.wait_for("the status", |status| status.stable.is_some()).await;
        // Nobody holds this roll-out, and nobody would miss a pod of it.
        s.allowance.unguarded = false;
        s.set_image("v2").await;
        s.wait_until("a new pod at work", |world| pods(world) > 0 && world.ready_pods(&[("app".to_owned(), HELLO.to_owned())].into()).iter().any(|pod| world.hash(pod) != hash)).await;
        s.scale(3).await;
        s.allowance.pods_change = false;
        s.wait_until("three pods", |world| pods(world) == 3).await;
        let found = crate::world::violations(&s.timeline.borrow(), &s.allowance);
        for rule in ["traffic before the gates", "too few pods at work"] {
            assert!(found.iter().any(|words| words.contains(rule)), "{rule:?} was not seen in {found:#?}");
        }
        s.remove().await;
    }
}
