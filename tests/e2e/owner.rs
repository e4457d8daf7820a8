//! What owners of an application do to it while a release is under way, and the applications they have.

use std::time::Duration;

use kube::{Api, api::EvictParams};
use serde_json::{Value, json};
use stepgate::api::status::{Outcome, Phase};
use tokio::time;

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

crate::scenarios! {
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

    async fn paused_by_its_owner_it_is_released_once_when_it_is_resumed(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").start().await;
        kubectl(&s, &["rollout", "pause", "deployment/hello"]).await;
        for image in ["v2", "v3"] {
            s.set_image(image).await;
            let pending = s.wait_for("the pause to be told", |status| status.why.contains("is paused by its owner") && status.why.contains("the release of revision")).await;
            assert!(pending.release.is_none(), "{}", pending.why);
            time::sleep(Duration::from_secs(3)).await;
            assert!(s.status().release.is_none() && s.timeline.borrow().now.get(Kind::Deployment, HELLO).is_some_and(|hello| hello["spec"]["paused"] == true));
        }
        kubectl(&s, &["rollout", "resume", "deployment/hello"]).await;
        s.wait_for_healthy("v3").await;
        assert_eq!(outcomes(&s), [Outcome::Promoted]);
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
        s.wait_for_hand_over().await;
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
        let mut plan = plan.replicas(3).hold("1s").rollout(&json!({"spec": {"services": ["hello", "second"]}}));
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

    async fn a_node_without_room_for_the_canary(plan: Plan) {
        let mut s = plan.replicas(2).pods_change().policy(&json!({"progressDeadline": "6s"})).start().await;
        let container = json!({"name": HELLO, "image": "stepgate.test/hello:v2", "resources": {"requests": {"cpu": "1000"}}});
        s.patch_deployment(&json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
        s.wait_for("the scheduler's words", |status| status.why.contains("Insufficient cpu")).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| (entry.outcome, entry.max_weight)), Some((Outcome::RolledBack, 0)));
        s.finish().await;
    }

    async fn names_as_long_as_they_may_be(plan: Plan) {
        // Beside hello, which is left alone: what a Deployment's pods are called has to fit into 63 characters.
        let mut plan = plan.replicas(1);
        let app = json!({"app": "long"});
        let name = "d".repeat(63);
        let mut deployment = plan.manifests.deployment.clone();
        merge(&mut deployment, &json!({"metadata": {"name": name, "labels": {"app": "long", "e2e": "true"}}, "spec": {"selector": {"matchLabels": app}, "template": {"metadata": {"labels": app}}}}));
        let mut service = plan.manifests.service.clone();
        merge(&mut service, &json!({"metadata": {"name": "s".repeat(63), "labels": {"e2e": "true"}}, "spec": {"selector": app}}));
        let mut rollout = plan.manifests.rollout.clone();
        merge(&mut rollout, &json!({"metadata": {"name": "long"}, "spec": {"workload": {"deployment": name}, "services": ["s".repeat(63)]}}));
        plan.manifests.others.extend([deployment, service, rollout]);
        let mut s = plan.start().await;
        let is_live = |tag: &'static str| move |world: &World| {
            let status = world.status("long");
            status.phase == Some(Phase::Healthy) && status.stable.is_some_and(|stable| has_image(&stable.images, tag))
        };
        s.wait_until("the first version to be recorded", is_live("v1")).await;
        kubectl(&s, &["set", "image", &format!("deployment/{name}"), "hello=stepgate.test/hello:v2"]).await;
        s.wait_until("v2 to be live", is_live("v2")).await;
        assert_eq!(s.timeline.borrow().now.status("long").history.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [Outcome::Promoted]);
        s.forget_clients().await;
        // Before the controller ends, so that it can let go of both.
        kubectl(&s, &["delete", "rollout", "long", HELLO, "--timeout=30s"]).await;
        s.remove().await;
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

crate::scenarios! {
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

async fn scaled_to_zero_while(plan: Plan, phase: Phase) {
    let policy = json!({"keepPrevious": if phase == Phase::Promoting { "0s" } else { "4s" }});
    let mut s = plan.replicas(2).hold("500ms").policy(&policy).service_breaks().start().await;
    s.set_image("v2").await;
    s.wait_for_phase(phase).await;
    s.forget_clients().await;
    s.scale(0).await;
    s.wait_for("the release to be over", |status| status.release.is_none() && !status.history.is_empty()).await;
    // Where it had not gone too far the live version comes back, and the release begins anew.
    s.scale(2).await;
    s.wait_for_healthy("v2").await;
    s.finish().await;
}

crate::scenarios! {
    async fn scaled_to_zero_while_preparing(plan: Plan) {
        scaled_to_zero_while(plan, Phase::Preparing).await;
    }

    async fn scaled_to_zero_while_baking(plan: Plan) {
        scaled_to_zero_while(plan, Phase::Baking).await;
    }

    async fn scaled_to_zero_while_promoting(plan: Plan) {
        scaled_to_zero_while(plan, Phase::Promoting).await;
    }

    async fn scaled_to_zero_and_back_while_held(plan: Plan) {
        let mut s = plan.replicas(2).service_breaks().pods_change().start().await;
        s.set_image("unready").await;
        s.wait_for_phase(Phase::Preparing).await;
        s.request(stepgate::api::rollout::RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        s.forget_clients().await;
        s.scale(0).await;
        s.wait_until("no pods", |world| world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).count() == 0).await;
        s.scale(2).await;
        s.wait_until("the old version's pods", |world| world.ready_pods(&[("app".to_owned(), HELLO.to_owned())].into()).len() == 2).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert!(status.stable.is_some_and(|stable| has_image(&stable.images, "v1")));
        s.finish().await;
    }
}
