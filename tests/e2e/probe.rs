//! Gates that ask pods, and get anything but a plain 200.

use serde_json::{Value, json};
use stepgate::api::status::{GateState, Phase};

use crate::scenario::{Plan, Scenario, has_image};

/// The gate of the quick policy, with something different.
fn gate(plan: Plan, different: &Value) -> Plan {
    let mut http =
        json!({"path": "/healthz", "port": "http", "period": "250ms", "timeout": "500ms", "failureThreshold": 3, "successThreshold": 2});
    crate::scenario::merge(&mut http, different);
    plan.policy(&json!({"gates": [{"name": "healthz", "http": http}]}))
}

/// The same policy with this gate alone.
fn only(plan: Plan, kind: &str, gate: &Value) -> Plan {
    let mut fields = json!({"period": "250ms", "timeout": "500ms", "failureThreshold": 3, "successThreshold": 2});
    crate::scenario::merge(&mut fields, gate);
    plan.policy(&json!({"gates": [{"name": "healthz", kind: fields}]}))
}

/// v2 was rejected before any client had seen it, for this reason.
async fn rejected_in_the_dark(s: &mut Scenario, reason: &str) {
    let status = s.wait_for_phase(Phase::RolledBack).await;
    assert!(status.rejected.iter().any(|rejected| rejected.reason.contains(reason)), "{reason:?} is not in {:?}", status.rejected);
    assert_eq!(status.history.last().map(|entry| entry.max_weight), Some(0));
    assert!(status.stable.as_ref().is_some_and(|stable| has_image(&stable.images, "v1")), "{:?}", status.stable);
}

crate::scenarios! {
    async fn of_tcp_passes_a_version_that_takes_connections(plan: Plan) {
        let mut s = only(plan.replicas(2), "tcp", &json!({"port": "http"})).hold("300ms").start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn of_tcp_to_a_port_that_only_the_old_version_has_is_a_failure(plan: Plan) {
        let mut plan = only(plan.replicas(2).pods_change(), "tcp", &json!({"port": 8443}));
        plan.manifests.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "TLS_PORT", "value": "8443"}]);
        let mut s = plan.start().await;
        s.set_image_and_env("v2", "TLS_PORT", "8444").await;
        rejected_in_the_dark(&mut s, "refused").await;
        s.finish().await;
    }

    async fn of_grpc_passes_what_serves_and_rejects_what_does_not(plan: Plan) {
        let mut s = only(plan.replicas(2).pods_change(), "grpc", &json!({"port": "http", "service": "hello"})).hold("300ms").start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.set_image_and_env("v3", "HEALTH", "500").await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert!(status.rejected.iter().any(|rejected| rejected.reason.contains("NOT_SERVING")), "{:?}", status.rejected);
        s.finish().await;
    }

    async fn of_grpc_for_a_service_that_nobody_has_is_a_failure(plan: Plan) {
        let mut s = only(plan.replicas(1).pods_change(), "grpc", &json!({"port": "http", "service": "goodbye"})).start().await;
        s.set_image("v2").await;
        rejected_in_the_dark(&mut s, "gRPC status 5 (NOT_FOUND)").await;
        s.finish().await;
    }

    async fn by_tls_is_answered_by_a_server_whose_certificate_nobody_knows(plan: Plan) {
        let https = json!({"port": 8443, "scheme": "HTTPS", "host": "shop.example", "headers": [{"name": "X-Probe", "value": "gate"}]});
        let mut plan = gate(plan.replicas(2), &https).hold("300ms");
        plan.manifests.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "TLS_PORT", "value": "8443"}]);
        let mut s = plan.start().await;
        s.set_image("v2").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn that_hangs_is_a_failure_where_the_live_version_answers(plan: Plan) {
        let mut s = gate(plan.replicas(2).pods_change(), &json!({})).start().await;
        s.set_image_and_env("v2", "HEALTH", "hang").await;
        rejected_in_the_dark(&mut s, "no answer").await;
        s.finish().await;
    }

    async fn that_is_reset_by_both_versions_is_unknown_until_the_deadline(plan: Plan) {
        // As behind a network policy that lets nobody through: that is not the new version's fault, and not known to be right either.
        let env = json!([{"name": "HEALTH", "value": "refuse"}]);
        let mut plan = gate(plan.replicas(2).pods_change(), &json!({})).policy(&json!({"progressDeadline": "20s"}));
        plan.manifests.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        let mut s = plan.start().await;
        s.set_image("v2").await;
        let status = s.wait_for("a gate without data", |status| status.gates.iter().any(|gate| gate.state == GateState::NoData)).await;
        let gate = status.gates.iter().find(|gate| gate.state == GateState::NoData).expect("just seen");
        assert!(gate.message.contains("old version does not answer either"), "{}", gate.message);
        assert_eq!(status.phase, Some(Phase::Preparing));
        rejected_in_the_dark(&mut s, "healthz").await;
        s.finish().await;
    }

    async fn to_a_port_where_nobody_listens_is_unknown_until_the_deadline(plan: Plan) {
        let mut s = gate(plan.replicas(1).pods_change(), &json!({"port": 9999})).policy(&json!({"progressDeadline": "5s"})).start().await;
        s.set_image("v2").await;
        s.wait_for("a gate without data", |status| status.gates.iter().any(|gate| gate.state == GateState::NoData)).await;
        rejected_in_the_dark(&mut s, "healthz").await;
        s.finish().await;
    }

    async fn a_redirect_is_judged_by_its_own_status(plan: Plan) {
        // The page it leads to would answer 200.
        let mut s = gate(plan.replicas(2).pods_change(), &json!({"expectStatus": "200"})).start().await;
        s.set_image_and_env("v2", "HEALTH", "redirect").await;
        rejected_in_the_dark(&mut s, "status 302").await;
        s.finish().await;
    }

    async fn a_redirect_passes_by_default(plan: Plan) {
        let mut s = gate(plan.replicas(1), &json!({})).hold("300ms").start().await;
        s.set_image_and_env("v2", "HEALTH", "redirect").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_body_without_end_is_an_answer(plan: Plan) {
        let mut s = gate(plan.replicas(2), &json!({})).hold("300ms").start().await;
        s.set_image_and_env("v2", "HEALTH", "endless").await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }
}
