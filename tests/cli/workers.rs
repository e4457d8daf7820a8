//! A Rollout without Services: what the commands say of it.

use serde_json::{Value, json};
use stepgate::{api::status::Phase, cli::paper::exit::Exit};

use crate::desk::Desk;

fn shares() -> Value {
    json!({"steps": [{"weight": 25, "hold": "1m"}, {"weight": 100}], "keepPrevious": "1m", "progressDeadline": "2m"})
}

#[tokio::test(start_paused = true)]
async fn status_and_explain_speak_of_pods() {
    let desk = Desk::worker(&shares()).await;
    desk.set_version("v2").await;
    let status = desk.until_holding(25).await;
    let (stable, canary) = (status.stable.unwrap(), status.canary.unwrap());
    let said = |text: &str| {
        let text = text.replace(&stable.revision, "<stable>").replace(&canary.revision, "<canary>");
        text.replace(&canary.hash, "<hash>").replace(&stable.hash, "<hash>")
    };
    let screen = said(&desk.run("status hello").await.text);
    let head: Vec<&str> = screen.lines().take_while(|line| !line.starts_with("  last")).skip(1).collect();
    insta::assert_snapshot!(head.join("\n"), @r"
      Deployment hello
      ├─  stable  <stable>  4/4 pods ready  80 % of the pods  hello:v1
      └─  canary  <canary>  1/1 pods ready  20 % of the pods  hello:v2

      weight   25 % (20 % of the pods)
      why      holding 25 % until 00:01:02Z (in 1m)
    ");
    let facts = said(&desk.run("explain hello").await.text);
    let work: Vec<&str> = facts.lines().filter(|line| line.starts_with("  work")).collect();
    assert_eq!(work, ["  work       + no Services; of 5 pods at work 1 are the canary's (20 %)"], "{facts}");
    assert!(!screen.contains("client") && !facts.contains("client"), "{screen}{facts}");
}

#[tokio::test(start_paused = true)]
async fn a_good_version_is_waited_for_to_its_end() {
    let desk = Desk::worker(&shares()).await;
    desk.set_version("v2").await;
    let said = desk.run("wait hello --for succeeded").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    assert!(!said.text.contains("client"), "{}", said.text);
    let status = desk.until(|status| status.phase == Some(Phase::Healthy)).await;
    assert_eq!(status.history.last().map(|entry| entry.max_weight), Some(100));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_version_has_no_pod_left() {
    let desk = Desk::worker(&shares()).await;
    desk.set_version("v2").await;
    desk.until_holding(25).await;
    assert_eq!(desk.run("abort hello").await.exit, Ok(Exit::Done));
    let said = desk.run("wait hello --for rolled-back").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    let status = desk.until(|status| status.phase == Some(Phase::RolledBack)).await;
    let (stable, canary) = (status.stable.unwrap(), status.canary.unwrap());
    assert_eq!(((stable.ready, stable.replicas), (canary.ready, canary.replicas)), ((4, 4), (0, 0)));
}
