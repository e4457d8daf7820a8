//! What owners write about ports and selectors: clients reach a Service's port or stay where they are served.

use std::time::Duration;

use serde_json::{Value, json};
use stepgate::api::status::{Outcome, Phase};
use tokio::time;

use crate::{
    scenario::{Plan, Scenario, merge},
    world::{HELLO, Kind},
};

/// Long enough for anything that should not happen.
const A_WHILE: Duration = Duration::from_secs(3);

/// `kubectl patch` of the container `hello`; Git follows, as far as the patch says.
async fn patch_container(s: &Scenario, patch: &Value) {
    let mut container = json!({"name": HELLO});
    merge(&mut container, patch);
    s.patch_deployment(&json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
}

async fn patch_service(s: &Scenario, name: &str, patch: &Value) {
    s.kubectl(&["patch", "service", name, "--type=merge", "-p", &patch.to_string()], &Value::Null).await;
}

fn has_canary(s: &Scenario) -> bool {
    s.status().canary.is_some_and(|canary| canary.replicas > 0)
}

/// Steps that are held at this weight for ten minutes.
fn holding(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "300ms" }}));
    plan.policy(&json!({"steps": steps, "progressDeadline": "8s"}))
}

async fn at(plan: Plan, weight: u8) -> Scenario {
    let mut s = holding(plan, weight).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(weight).await;
    s
}

crate::scenarios_with_guard! { On:
    async fn a_template_that_renames_the_port_of_its_service_is_refused(plan: Plan) {
        let mut s = plan.hold("300ms").start().await;
        let probe = |port: &str| json!({"httpGet": {"port": port}});
        let image = "stepgate.test/hello:v2";
        s.manifests.set_image("v2");
        let writes = s.service_writes();
        patch_container(&s, &json!({"image": image, "ports": [{"containerPort": 8080, "name": "web"}], "readinessProbe": probe("web")})).await;
        let message = s.wait_for_refusal(HELLO, "PortMissing").await;
        for word in ["port http (80) of Service hello", "named http (TCP)", "web"] {
            assert!(message.contains(word), "{word}: {message}");
        }
        time::sleep(A_WHILE).await;
        assert!(!has_canary(&s) && s.service_writes() == writes, "{:?}", s.status());
        patch_container(&s, &json!({"ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": probe("http")})).await;
        s.wait_for_healthy("v2").await;
        s.finish().await;
    }

    async fn a_version_that_does_not_listen_where_the_service_leads_meets_no_client(plan: Plan) {
        let plan = plan.service(&json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}));
        let mut s = plan.replicas(2).hold("300ms").policy(&json!({"progressDeadline": "8s"})).start().await;
        let ports = json!([{"containerPort": 8080, "$patch": "delete"}, {"containerPort": 9090, "name": "http"}]);
        let env = json!([{"name": "PORT", "value": "9090"}]);
        patch_container(&s, &json!({"image": "stepgate.test/hello:v2", "ports": ports, "env": env})).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        let ended = status.history.last().expect("a release");
        assert_eq!((ended.outcome, ended.max_weight), (Outcome::RolledBack, 0));
        assert!(ended.reason.contains("to take connections at 8080"), "{}", ended.reason);
        s.stop_clients().await;
        assert!(s.report().requests.iter().all(|request| request.version.as_deref() != Some("v2")));
        s.remove().await;
    }

    async fn a_service_that_misses_the_new_version_in_mid_release_holds_the_step(plan: Plan) {
        let mut s = at(plan.service_breaks(), 50).await;
        s.forget_clients().await;
        let selector = |app: &str| json!({"spec": {"selector": {"app": app}}});
        patch_service(&s, HELLO, &selector("website")).await;
        let message = s.wait_for_refusal(HELLO, "ServiceNotSelecting").await;
        assert!(message.contains("Service hello"), "{message}");
        // Longer than progressDeadline: nobody is blamed for it.
        time::sleep(Duration::from_secs(10)).await;
        let status = s.status();
        assert_eq!((status.phase, status.rejected.len()), (Some(Phase::Progressing), 0));
        assert_eq!(status.traffic.and_then(|traffic| traffic.routed), None);
        patch_service(&s, HELLO, &selector(HELLO)).await;
        s.wait_for("Holding again", |status| status.traffic.as_ref().is_some_and(|traffic| traffic.routed == Some(50))).await;
        s.remove().await;
    }

    async fn a_service_taken_off_the_list_in_mid_release_is_given_back(plan: Plan) {
        let mut plan = holding(plan, 75).rollout(&json!({"spec": {"services": ["hello", "admin"]}}));
        let mut admin = plan.manifests.service.clone();
        merge(&mut admin, &json!({"metadata": {"name": "admin"}}));
        plan.manifests.others.push(admin);
        let mut s = plan.start().await;
        s.set_image("v2").await;
        s.wait_for_weight(75).await;
        s.patch_rollout(&json!({"spec": {"services": ["hello"]}})).await;
        s.wait_until("the selector of its owner", |world| world.selector("admin").len() == 1).await;
        s.request(stepgate::api::rollout::RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        assert!(s.exists(Kind::Service, "admin"));
        assert_eq!(s.timeline.borrow().now.selector("admin").len(), 1);
        s.remove().await;
    }

    async fn an_idler_in_mid_release_brings_the_live_version_back(plan: Plan) {
        let mut s = at(plan.replicas(2).service_breaks(), 75).await;
        s.forget_clients().await;
        s.scale(0).await;
        s.wait_for("the release to be over", |status| status.history.last().is_some_and(|entry| entry.outcome == Outcome::ScaledToZero)).await;
        s.wait_until("no pod", |world| world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).count() == 0).await;
        s.scale(1).await;
        let status = s.wait_for("the release to begin anew", |status| status.release.is_some()).await;
        assert_eq!(status.stable.map(|stable| stable.images), Some(vec!["stepgate.test/hello:v1".to_owned()]));
        s.wait_for_weight(50).await;
        s.remove().await;
    }
}

crate::scenarios! {
    async fn versions_of_a_pair_may_have_other_numbers_for_a_named_port(plan: Plan) {
        let mut plan = plan.replicas(2).versions(&[("blue", "v1"), ("green", "v2")]).hold("1s");
        let green = &mut plan.manifests.versions[1]["spec"]["template"]["spec"]["containers"][0];
        green["ports"] = json!([{"name": "http", "containerPort": 9090}, {"name": "control", "containerPort": 8081}]);
        green["env"] = json!([{"name": "PORT", "value": "9090"}]);
        let mut s = plan.start().await;
        s.set_live("green").await;
        s.wait_for_live("green").await;
        s.finish().await;
    }
}
