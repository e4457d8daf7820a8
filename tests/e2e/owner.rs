//! What owners of an application do to it while a release is under way, and the applications they have.

use std::time::Duration;

use kube::{Api, api::EvictParams};
use serde_json::{Value, json};
use stepgate::api::status::{Outcome, Phase};

use crate::{
    scenario::{Plan, Pods, Scenario, has_image, merge},
    world::{HELLO, Kind, World, text},
};

/// A release of v2 that stays at this weight for long enough to do something.
async fn at(plan: Plan, weight: u8) -> Scenario {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "3s" } else { "300ms" }}));
    let mut s = plan.policy(&json!({"steps": steps})).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    s
}

async fn scaled_at(plan: Plan, weight: u8, from: usize, to: usize) {
    let mut s = at(plan.replicas(from), weight).await;
    s.scale(to).await;
    s.wait_for_healthy("v2").await;
    assert_eq!(s.timeline.borrow().now.size(HELLO), to);
    s.finish().await;
}

/// kubectl against the Deployment, as its owner.
async fn kubectl(s: &Scenario, args: &[&str]) {
    s.kubectl(args, &Value::Null).await;
}

fn outcomes(s: &Scenario) -> Vec<Outcome> {
    s.status().history.iter().map(|entry| entry.outcome).collect()
}

crate::scenarios_unguarded_at_night! {
    async fn ten_pods(plan: Plan) {
        let mut s = plan.replicas(10).hold("500ms").start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn rollout_undo_after_a_release_is_a_release(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.manifests.set_image("v1");
        kubectl(&s, &["rollout", "undo", "deployment", HELLO]).await;
        s.wait_for_phase(Phase::Progressing).await;
        s.wait_for_healthy("v1").await;
        assert_eq!(outcomes(&s), [Outcome::Promoted, Outcome::Promoted]);
        s.finish().await;
    }

    async fn rollout_restart_is_a_release(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").start().await;
        kubectl(&s, &["rollout", "restart", "deployment", HELLO]).await;
        s.wait_for_phase(Phase::Progressing).await;
        s.wait_for_healthy("v1").await;
        assert_eq!(outcomes(&s), [Outcome::Promoted]);
        s.finish().await;
    }

    async fn scaled_up_at_25(plan: Plan) {
        scaled_at(plan, 25, 2, 5).await;
    }

    async fn scaled_up_at_75(plan: Plan) {
        scaled_at(plan, 75, 3, 5).await;
    }

    async fn scaled_down_at_50(plan: Plan) {
        scaled_at(plan, 50, 5, 2).await;
    }

    async fn scaled_down_at_100(plan: Plan) {
        scaled_at(plan, 100, 4, 2).await;
    }

    async fn scaled_while_baking(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").policy(&json!({"keepPrevious": "4s"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Baking).await;
        s.scale(4).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn scaled_while_promoting(plan: Plan) {
        let mut s = plan.replicas(3).hold("300ms").policy(&json!({"keepPrevious": "0s"})).start().await;
        s.set_image("v2").await;
        s.wait_for_phase(Phase::Promoting).await;
        s.scale(5).await;
        s.wait_for_healthy("v2").await;
        s.wait_until("5 pods", |world| world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).count() == 5).await;
        s.finish().await;
    }

    async fn scaled_to_zero_at_75_ends_the_release(plan: Plan) {
        let mut s = at(plan.replicas(3).service_breaks(), 75).await;
        s.forget_clients().await;
        s.scale(0).await;
        s.wait_for("the release to be over", |status| status.history.last().is_some_and(|entry| entry.outcome == Outcome::ScaledToZero)).await;
        s.scale(2).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_pod_of_each_side_deleted_at_75(plan: Plan) {
        let mut s = at(plan.replicas(4).pods_change(), 75).await;
        s.delete_pods(Pods::OneCanary).await;
        s.delete_pods(Pods::OneStable).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn an_evicted_canary_pod_is_awaited(plan: Plan) {
        let mut s = at(plan.replicas(3).pods_change(), 50).await;
        let pod = text(&s.pods(Pods::OneCanary)[0], "/metadata/name").to_owned();
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(s.client.clone(), &s.namespace);
        pods.evict(&pod, &EvictParams::default()).await.expect("an eviction");
        s.wait_for_healthy("v2").await;
        assert_eq!(outcomes(&s), [Outcome::Promoted]);
        s.finish().await;
    }

    async fn a_third_template_in_the_middle_of_an_adoption(plan: Plan) {
        let mut s = plan.replicas(3).hold("300ms").policy(&json!({"keepPrevious": "0s"})).start().await;
        s.set_image("v2").await;
        s.wait_until("a hand-over", |world| world.get(Kind::Deployment, HELLO).is_some_and(|hello| hello.pointer("/metadata/labels/stepgate.dev~1handover").is_some())).await;
        // The hand-over policy refuses it for some moments, and says to try again.
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": HELLO, "image": "stepgate.test/hello:v3"}]}}}}).to_string();
        s.manifests.set_image("v3");
        let mut refused = 0;
        while let Err(error) = s.try_kubectl(&["patch", "deployment", HELLO, "--field-manager=user", "-p", &patch], &Value::Null).await {
            assert!(error.contains("again"), "{error}");
            refused += 1;
            assert!(refused < 100, "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }

    async fn the_service_edited_by_its_owner_at_75(plan: Plan) {
        let mut s = at(plan.replicas(3), 75).await;
        let more = json!({"spec": {"ports": [{"name": "control", "port": 8081, "targetPort": "control"}]}});
        kubectl(&s, &["patch", "service", HELLO, "-p", &more.to_string()]).await;
        s.wait_for_healthy("v2").await;
        let ports = s.timeline.borrow().now.get(Kind::Service, HELLO).and_then(|service| service.pointer("/spec/ports")?.as_array().map(Vec::len));
        assert_eq!(ports, Some(2));
        kubectl(&s, &["patch", "service", HELLO, "--type=json", "-p", r#"[{"op": "remove", "path": "/spec/ports/0"}]"#]).await;
        s.finish().await;
    }

    async fn two_services_move_together(plan: Plan) {
        let mut plan = plan.replicas(3).rollout(&json!({"spec": {"services": ["hello", "second"]}}));
        let mut second = plan.manifests.service.clone();
        merge(&mut second, &json!({"metadata": {"name": "second", "labels": {"e2e": "true"}}}));
        plan.manifests.others.push(second);
        let mut s = plan.start().await;
        s.set_image("v2").await;
        for weight in [25, 75, 100] {
            s.wait_for_weight(weight).await;
            let timeline = s.timeline.borrow();
            let world: &World = &timeline.now;
            assert_eq!(world.selector(HELLO), world.selector("second"), "at {weight} %");
            assert_eq!(world.endpoints(HELLO), world.endpoints("second"), "at {weight} %");
        }
        s.wait_for_healthy("v2").await;
        assert_eq!(s.timeline.borrow().now.selector("second"), [("app".to_owned(), HELLO.to_owned())].into());
        s.finish().await;
    }

    async fn a_quota_that_keeps_the_canary_out(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().policy(&json!({"progressDeadline": "6s"})).start().await;
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "2"}}});
        s.kubectl(&["create", "-f", "-"], &quota).await;
        s.set_image("v2").await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::RolledBack, 0)));
        s.finish().await;
    }

    async fn min_ready_seconds_are_waited_for(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").deployment(&json!({"spec": {"minReadySeconds": 3}})).start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn pods_that_take_20_seconds_to_end(plan: Plan) {
        let slow = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 40}}}});
        let mut s = plan.replicas(2).hold("300ms").deployment(&slow).start().await;
        s.set_image_and_env("v2", "LAME_DUCK", "20s").await;
        s.wait_for_healthy("v2").await;
        s.set_image_and_env("v3", "LAME_DUCK", "20s").await;
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }

    async fn the_policy_edited_in_mid_release_counts_from_the_next_one(plan: Plan) {
        let mut s = at(plan.replicas(2), 25).await;
        s.patch_rollout(&json!({"spec": {"policy": {"steps": [{"weight": 100}], "promotion": "Roll"}}})).await;
        s.wait_for_weight(50).await;
        let pods = names(&s.pods(Pods::Canary));
        s.wait_for_healthy("v2").await;
        assert!(names(&s.pods(Pods::Stable)).is_superset(&pods), "adopted, as the policy said when the release began");
        s.finish().await;
    }

    async fn a_policy_deleted_in_mid_release_changes_nothing(plan: Plan) {
        let spec = plan.manifests.rollout["spec"]["policy"].clone();
        let mut plan = plan.replicas(2).rollout(&json!({"spec": {"policy": null, "policyRef": {"kind": "RolloutPolicy", "name": "quick"}}}));
        let policy = json!({"apiVersion": "stepgate.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "quick"}, "spec": spec});
        plan.manifests.others.push(policy.clone());
        let mut s = at_own_policy(plan).await;
        kubectl(&s, &["delete", "rolloutpolicy", "quick"]).await;
        s.wait_for_healthy("v2").await;
        let refused = s.wait_for("a refusal", |status| status.conditions.iter().any(|condition| condition.type_ == "Accepted" && condition.status == "False")).await;
        assert!(refused.why.contains("quick"), "{}", refused.why);
        s.kubectl(&["create", "-f", "-"], &policy).await;
        s.set_image("v3").await;
        s.wait_for_healthy("v3").await;
        s.finish().await;
    }

    async fn the_namespace_deleted_in_mid_release(plan: Plan) {
        let mut s = at(plan.replicas(2).service_breaks().pods_change(), 50).await;
        s.forget_clients().await;
        kubectl(&s, &["delete", "namespace", &s.namespace, "--wait=false"]).await;
        s.wait_until("everything to be gone", |world| Kind::ALL.into_iter().all(|kind| world.all(kind).next().is_none())).await;
        assert!(s.sigterm().await.success());
    }
}

/// A release with a policy of its own, held at 25 %.
async fn at_own_policy(plan: Plan) -> Scenario {
    let mut s = plan.start().await;
    s.set_image("v2").await;
    s.wait_for_weight(25).await;
    s
}

fn names(pods: &[Value]) -> std::collections::BTreeSet<String> {
    pods.iter().map(|pod| text(pod, "/metadata/name").to_owned()).collect()
}

/// The selection of clients after a flip is the whole test: one write, and one back.
async fn flipped(plan: Plan) -> Scenario {
    let mut s = plan.replicas(4).pods_change().policy(&json!({"steps": [{"weight": 100, "hold": "20s"}]})).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(100).await;
    s
}

crate::scenarios_unguarded_at_night! {
    async fn one_of_four_unready_after_the_flip(plan: Plan) {
        let mut s = flipped(plan).await;
        let at = s.behave(Pods::OneCanary, "ready=false").await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert!(status.stable.is_some_and(|stable| has_image(&stable.images, "v1")));
        s.assert_no_answer("v2", at, Duration::from_secs(10));
        s.finish().await;
    }

    async fn all_crash_right_after_the_flip(plan: Plan) {
        // Requests that reach a process as it dies are lost by any proxy; none may be lost once the endpoints are the old ones.
        let mut s = flipped(plan).await;
        let at = s.behave(Pods::Canary, "crash=true").await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.assert_failures_only_within(at, Duration::from_secs(10)).await;
        s.finish().await;
    }
}
