//! A Rollout with a preview: what the commands say of it.

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stepgate::{api::RolloutStatus, sim::sample};

use crate::desk::Desk;

/// A release that waits for somebody to look before its first client comes.
async fn dark() -> (Desk, RolloutStatus) {
    let policy = json!({
        "steps": [{"weight": 100, "hold": "1s"}], "settle": "1s", "keepPrevious": "1m", "progressDeadline": "2m",
        "gates": [{"name": "looked-at", "approval": {}}],
    });
    let desk = Desk::new(&policy).await;
    let mut next = sample::service("default", "hello");
    next["spec"]["ports"][0]["port"] = json!(8080);
    desk.add_service(next, "hello-next").await;
    let spec = Patch::Merge(json!({"spec": {"preview": "hello-next"}}));
    desk.rollouts().patch("hello", &PatchParams::default(), &spec).await.unwrap();
    desk.until(|status| status.preview.as_ref().is_some_and(|preview| preview.service == "hello-next")).await;
    desk.set_version("v2").await;
    let is_dark = |status: &RolloutStatus| {
        status.why.contains("approval") && status.preview.as_ref().is_some_and(|preview| !preview.address.is_empty())
    };
    let status = desk.until(is_dark).await;
    (desk, status)
}

async fn selector(desk: &Desk) -> serde_json::Value {
    let services: Api<Service> = Api::namespaced(desk.sim.client("alice"), "default");
    json!(services.get("hello-next").await.unwrap().spec.unwrap().selector)
}

async fn lines(desk: &Desk, command: &str, status: &RolloutStatus) -> String {
    let text = desk.run(command).await.text;
    let canary = status.canary.clone().unwrap();
    let told: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("  preview")).collect();
    let end = told.iter().skip(1).position(|line| !line.starts_with("      ")).map_or(told.len(), |end| end + 1);
    told[..end].join("\n").replace(&canary.revision, "<canary>").replace(&canary.hash, "<new>")
}

#[tokio::test(start_paused = true)]
async fn status_and_explain_tell_the_address_while_it_is_there() {
    let (desk, status) = dark().await;
    let hash = status.canary.clone().unwrap().hash;
    assert_eq!(selector(&desk).await, json!({"app": "hello", "pod-template-hash": hash}));
    let told = [lines(&desk, "status hello", &status).await, lines(&desk, "explain hello", &status).await];
    insta::assert_snapshot!(told.join("\n"), @r"
      preview  http://hello-next.default:8080
      preview    + hello-next (app=hello,pod-template-hash=<new>; pinned to the canary):
                   http://hello-next.default:8080 reaches revision <canary> and nothing else; 4 of 4
                   pods ready
    ");
    desk.run("abort hello").await;
    desk.run("wait hello --for rolled-back").await;
    let given_back = |status: &RolloutStatus| status.preview.as_ref().is_some_and(|preview| preview.address.is_empty());
    desk.until(given_back).await;
    for _ in 0..100 {
        if selector(&desk).await == json!({"app": "hello"}) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(selector(&desk).await, json!({"app": "hello"}));
    let told = [lines(&desk, "status hello", &status).await, lines(&desk, "explain hello", &status).await];
    insta::assert_snapshot!(told.join("\n"), @r"

      preview    . hello-next (app=hello; as its owner wrote it); the version under release is there for
                   as long as there is one
    ");
}

#[tokio::test(start_paused = true)]
async fn others_do_not_take_it_away_and_the_end_of_the_rollout_gives_it_back() {
    let (desk, status) = dark().await;
    let hash = status.canary.unwrap().hash;
    let services: Api<Service> = Api::namespaced(desk.sim.client("alice"), "default");
    let patch = Patch::Merge(json!({"spec": {"selector": {"pod-template-hash": null}}}));
    services.patch("hello-next", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(selector(&desk).await, json!({"app": "hello", "pod-template-hash": hash}));
    desk.rollouts().delete("hello", &kube::api::DeleteParams::default()).await.unwrap();
    for _ in 0..600 {
        if desk.rollouts().get_opt("hello").await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(desk.rollouts().get_opt("hello").await.unwrap().is_none());
    assert_eq!(selector(&desk).await, json!({"app": "hello"}));
}
