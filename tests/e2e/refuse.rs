//! What is refused, with the reason and the way out.

use serde_json::{Value, json};
use stepgate::api::{RolloutStatus, status::Phase};

use crate::{
    scenario::{Plan, merge},
    world::{HELLO, Kind, World, text},
};

fn is_accepted(status: &RolloutStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Accepted" && condition.status == "True")
}

/// A copy of an object of the scenario under another name.
fn copy(object: &Value, name: &str) -> Value {
    let mut copy = object.clone();
    merge(&mut copy, &json!({"metadata": {"name": name, "labels": {"e2e": "true"}}}));
    copy
}

crate::scenarios! {
    async fn a_service_that_nobody_listed(plan: Plan) {
        let mut s = plan.replicas(1).start().await;
        let other = copy(&s.manifests.service, "metrics");
        s.kubectl(&["apply", "-f", "-"], &other).await;
        let message = s.wait_for_refusal(HELLO, "UnlistedService").await;
        assert!(message.contains("metrics"), "{message}");
        s.patch_rollout(&json!({"spec": {"unmanagedServices": ["metrics"]}})).await;
        s.wait_for("Accepted", is_accepted).await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_service_that_does_not_exist(plan: Plan) {
        let mut s = plan.replicas(1).rollout(&json!({"spec": {"services": ["hello", "absent"]}})).start_without_clients().await;
        let message = s.wait_for_refusal(HELLO, "ServiceNotFound").await;
        assert!(message.contains("absent"), "{message}");
        s.patch_rollout(&json!({"spec": {"services": ["hello"]}})).await;
        s.wait_for("Accepted", is_accepted).await;
        s.wait_for_phase(Phase::Healthy).await;
        s.finish().await;
    }

    async fn a_port_that_no_container_has(plan: Plan) {
        let gates = json!({"gates": [{"name": "healthz", "http": {"path": "/healthz", "port": "nope"}}]});
        let mut s = plan.replicas(1).policy(&gates).start_without_clients().await;
        let message = s.wait_for_refusal(HELLO, "UnknownPort").await;
        assert!(message.contains("nope") && message.contains("http"), "{message}");
        s.finish().await;
    }

    async fn a_second_rollout_for_one_deployment(plan: Plan) {
        let mut s = plan.replicas(1).start().await;
        // Creation times are whole seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let second = copy(&s.manifests.rollout, "second");
        s.kubectl(&["apply", "-f", "-"], &second).await;
        let message = s.wait_for_refusal("second", "RivalRollout").await;
        assert!(message.contains(HELLO), "{message}");
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.kubectl(&["delete", "rollout", "second", "--wait=true", "--timeout=20s"], &Value::Null).await;
        s.finish().await;
    }

    async fn a_recreate_deployment_whose_overlap_is_not_allowed(plan: Plan) {
        let mut s = plan.replicas(1).deployment(&json!({"spec": {"strategy": {"type": "Recreate"}}})).start_without_clients().await;
        s.wait_for_refusal(HELLO, "OverlapNotAllowed").await;
        s.finish().await;
    }

    async fn a_deployment_that_has_the_canarys_name_is_untouched(plan: Plan) {
        // The name is not known before the release: take it from a first attempt.
        // What is refused is not held either: without the admission policies the Deployment rolls by itself.
        let mut s = plan.replicas(1).hold("300ms").unwatched().start().await;
        s.set_image("v2").await;
        s.wait_until("a canary", |world| canary_name(world).is_some()).await;
        let name = canary_name(&s.timeline.borrow().now).expect("just seen");
        s.wait_for_healthy("v2").await;
        s.set_image("v1").await;
        s.wait_for_healthy("v1").await;
        let mut taken = copy(&s.manifests.deployment, &name);
        merge(&mut taken, &json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "taken"}}, "template": {"metadata": {"labels": {"app": "taken"}}}}}));
        s.kubectl(&["apply", "-f", "-"], &taken).await;
        s.set_image("v2").await;
        let message = s.wait_for_refusal(HELLO, "NameTaken").await;
        assert!(message.contains(&name), "{message}");
        s.kubectl(&["delete", "deployment", &name], &Value::Null).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}

fn canary_name(world: &World) -> Option<String> {
    let canary = world.all(Kind::Deployment).find(|deployment| text(deployment, "/metadata/name") != HELLO)?;
    Some(text(canary, "/metadata/name").to_owned())
}
