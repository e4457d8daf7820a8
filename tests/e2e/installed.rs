//! With Stepgate installed as its users install it: `tests/installed` does that, and runs these.

use std::process::Command;

use serde_json::json;

use crate::scenario::{Guard, Plan, Scenario, run};

const IMAGE: &str = "stepgate.test/stepgate";

/// `stepgate install --image IMAGE:TAG | kubectl apply`, and waits until the new controllers run and the old ones do not.
async fn upgrade(s: &Scenario, tag: &str) {
    let objects = Command::new(env!("CARGO_BIN_EXE_stepgate")).args(["install", "--image", &format!("{IMAGE}:{tag}")]).output();
    let objects = String::from_utf8(objects.expect("the built binary").stdout).expect("YAML is text");
    s.kubectl_as_admin(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &objects).await;
    s.kubectl_as_admin(&["rollout", "status", "deployment/stepgate", "--timeout=60s"], "").await;
}

async fn upgraded_in_mid_release(plan: Plan) {
    let policy = json!({"keepPrevious": "0s", "steps": [{"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}]});
    let mut s = plan.installed().replicas(3).policy(&policy).start().await;
    s.set_image("v2").await;
    s.wait_for_weight(50).await;
    upgrade(&s, "next").await;
    s.wait_for_healthy("v2").await;

    s.set_image("v3").await;
    s.wait_for_hand_over().await;
    upgrade(&s, "dev").await;
    s.wait_for_healthy("v3").await;
    s.finish().await;
}

#[test]
#[ignore = "tests/installed runs it"]
fn upgraded_in_the_middle_of_a_release_and_of_an_adoption() {
    run("upgraded", Guard::On, upgraded_in_mid_release);
}
