//! A HorizontalPodAutoscaler of the cluster's own beside a release. What it sees is the work that the scenario writes on the namespace,
//! divided among the ready pods of both versions: during a release each of them has less to do.

use serde_json::{Value, json};
use stepgate::api::status::Outcome;

use crate::{
    scenario::{Guard, Plan, Scenario},
    world::{Change, HELLO, Kind, World},
};

/// 4 pods, with the work of 4, and an autoscaler that may make 2 to 8 of them, 60m each.
async fn autoscaled(plan: Plan) -> Scenario {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": HELLO},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": HELLO},
            "minReplicas": 2, "maxReplicas": 8,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "60m"}}}],
            // It does at once what it sees.
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]},
            },
        },
    });
    let s = plan.replicas(4).pods_change().hold("2s").start().await;
    work(&s, "240m").await;
    s.kubectl(&["create", "-f", "-"], &autoscaler).await;
    s
}

async fn work(s: &Scenario, cpu: &str) {
    s.kubectl(&["annotate", "namespace", &s.namespace, "--overwrite", &format!("stepgate.test/cpu={cpu}")], &Value::Null).await;
}

/// The autoscaler has looked and has its numbers.
async fn wait_for_a_look(s: &mut Scenario) {
    let mut looked = false;
    for _ in 0..100 {
        let active = ["get", "hpa", HELLO, "-o", r#"jsonpath={.status.conditions[?(@.type=="ScalingActive")].status}"#];
        looked = s.kubectl(&active, &Value::Null).await == "True";
        if looked {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(looked, "the autoscaler sees no numbers");
}

fn pods(world: &World) -> usize {
    world.live_pods(&[("app".to_owned(), HELLO.to_owned())].into()).count()
}

async fn settles_at(s: &mut Scenario, size: usize) {
    s.wait_until(&format!("{size} pods"), |world| world.size(HELLO) == size && pods(world) == size).await;
}

/// The least size that the Deployment was given before the release was over.
fn least(s: &Scenario) -> usize {
    let timeline = s.timeline.borrow();
    let changes = timeline.in_order();
    let ended = |change: &&Change| {
        change.kind == Kind::Rollout && change.object.as_deref().is_some_and(|rollout| rollout.pointer("/status/history/0").is_some())
    };
    let open = changes.iter().take_while(|change| !ended(change));
    let hello = open.filter(|change| change.kind == Kind::Deployment && change.name == HELLO);
    let sizes = hello.filter_map(|change| change.object.as_deref()?.pointer("/spec/replicas")?.as_u64());
    usize::try_from(sizes.min().expect("a size")).expect("a small number")
}

fn assert_promoted(s: &Scenario) {
    let outcomes: Vec<Outcome> = s.status().history.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Promoted]);
}

crate::scenarios! {
    async fn that_sees_half_idle_pods_does_not_starve_the_release(plan: Plan) {
        let mut s = autoscaled(plan).await;
        wait_for_a_look(&mut s).await;
        s.set_image("v2").await;
        s.wait_for_weight(50).await;
        // Two pods would do now, and it says so every second to the end of the release.
        work(&s, "120m").await;
        s.wait_for_healthy("v2").await;
        assert_promoted(&s);
        if s.guard == Guard::On {
            assert_eq!(least(&s), 4, "hello was scaled down in the middle of the release");
        }
        settles_at(&mut s, 2).await;
        s.finish().await;
    }

    async fn that_scales_up_in_the_middle_of_an_adoption(plan: Plan) {
        let mut s = autoscaled(plan.policy(&json!({"keepPrevious": "0s"}))).await;
        wait_for_a_look(&mut s).await;
        s.set_image("v2").await;
        s.wait_for_hand_over().await;
        work(&s, "420m").await;
        s.wait_for_healthy("v2").await;
        assert_promoted(&s);
        settles_at(&mut s, 7).await;
        s.finish().await;
    }

    async fn that_scales_down_in_the_middle_of_an_adoption(plan: Plan) {
        let mut s = autoscaled(plan.policy(&json!({"keepPrevious": "0s"}))).await;
        wait_for_a_look(&mut s).await;
        s.set_image("v2").await;
        s.wait_for_hand_over().await;
        work(&s, "120m").await;
        s.wait_for_healthy("v2").await;
        assert_promoted(&s);
        settles_at(&mut s, 2).await;
        s.finish().await;
    }
}
