//! promote, abort, approve, retry, pause, resume: written once, answered, and refused where they cannot be meant.

use std::time::Duration;

use serde_json::json;
use stepgate::{
    api::{RolloutStatus, status::Phase},
    cli::paper::exit::Exit,
};

use crate::desk::{Desk, halves};

/// A desk in the hold of the first step, and the revision under release.
async fn holding() -> (Desk, String) {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let status = desk.until_holding(50).await;
    let revision = status.release.unwrap().revision;
    (desk, revision)
}

#[tokio::test(start_paused = true)]
async fn a_promote_ends_the_hold_and_says_so() {
    let (desk, revision) = holding().await;
    let began = desk.now();
    let said = desk.run("promote hello --reason looks-good").await;
    assert_eq!(said.exit, Ok(Exit::Done));
    assert_eq!(said.text, format!("hello: Promote of revision {revision} is done: the hold is over\n"));
    desk.until_holding(100).await;
    assert!(desk.now().duration_since(began).as_secs() < 20, "the hold was a minute");
    let request = desk.rollouts().get("hello").await.unwrap().spec.request.unwrap();
    assert_eq!((request.revision, request.reason.as_str()), (revision, "looks-good"));
}

#[tokio::test(start_paused = true)]
async fn a_full_promote_skips_the_steps() {
    let (desk, revision) = holding().await;
    let said = desk.run("promote hello --full").await;
    assert_eq!(said.text, format!("hello: PromoteFull of revision {revision} is done: the remaining steps are skipped\n"));
    desk.until_holding(100).await;
}

#[tokio::test(start_paused = true)]
async fn an_aborted_release_is_waited_for_and_released_again_by_a_retry() {
    let (desk, revision) = holding().await;
    let said = desk.run("abort hello --reason errors").await;
    assert_eq!(
        (said.exit, said.text),
        (Ok(Exit::Done), format!("hello: Abort of revision {revision} is done: the release is taken back\n"))
    );
    let said = desk.run("wait hello --for rolled-back").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    assert!(said.text.ends_with(&format!("hello: revision {revision} was rolled back: aborted by request: errors\n")), "{}", said.text);
    assert_eq!(desk.run("wait hello --for succeeded").await.exit, Ok(Exit::Otherwise));

    let said = desk.run("retry hello").await;
    assert_eq!(said.text, format!("hello: Retry of revision {revision} is done: the revision is released again, from the first step\n"));
    let said = desk.run("wait hello --for succeeded").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    assert!(said.text.ends_with(&format!("hello: revision {revision} is the live version\n")), "{}", said.text);
}

#[tokio::test(start_paused = true)]
async fn a_command_for_another_revision_is_refused_before_the_write() {
    let (desk, revision) = holding().await;
    let before = desk.rollouts().get("hello").await.unwrap().metadata.generation;
    let said = desk.run("abort hello --revision 0000000000").await;
    assert_eq!(said.exit, Err(format!("revision {revision} of Rollout hello is under release, not 0000000000; nothing was written")));
    assert_eq!(desk.rollouts().get("hello").await.unwrap().metadata.generation, before);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_changes_meanwhile_is_read_again() {
    let (desk, revision) = holding().await;
    desk.contend(2);
    let said = desk.run("promote hello").await;
    assert_eq!((said.exit, said.text), (Ok(Exit::Done), format!("hello: Promote of revision {revision} is done: the hold is over\n")));
    desk.until_holding(100).await;
    desk.contend(5);
    let said = desk.run("abort hello").await;
    let sentence = "Rollout hello changed 5 times between reading and writing it; nothing was written, so try again";
    assert_eq!(said.exit, Err(sentence.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_the_controller_refuses_is_an_error_with_its_reason() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let status = desk.until(|status| status.phase == Some(Phase::Preparing)).await;
    let said = desk.run("promote hello").await;
    let revision = status.release.unwrap().revision;
    assert_eq!(
        said.exit,
        Err(format!(
            "the controller refused the Promote of revision {revision}: no gate has passed yet: the release is still being prepared"
        ))
    );
}

#[tokio::test(start_paused = true)]
async fn where_no_controller_answers_that_is_said_in_time() {
    let (desk, revision) = holding().await;
    desk.stop_controller();
    let began = desk.now();
    let said = desk.run("abort hello --timeout 5s").await;
    assert_eq!(said.exit, Ok(Exit::TimedOut));
    assert!(said.text.starts_with(&format!("hello: Abort of revision {revision} is written (request ")), "{}", said.text);
    assert!(said.text.contains("but no controller has answered within 5s; it takes effect as soon as one runs"), "{}", said.text);
    assert!(desk.now().duration_since(began).as_secs() <= 6);
    let said = desk.run("promote hello").await;
    assert!(
        said.exit
            .unwrap_err()
            .starts_with(&format!("an earlier request for Rollout hello (Abort of revision {revision}) has no answer yet"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_paused_release_stays_until_it_is_resumed() {
    let (desk, _) = holding().await;
    let said = desk.run("pause hello").await;
    assert_eq!(
        (said.exit, said.text.as_str()),
        (Ok(Exit::Done), "hello is paused: paused at 50 % by spec.paused; set it to false to go on\n")
    );
    assert!(desk.run("pause hello").await.text.starts_with("hello was paused already: "));
    assert_eq!(desk.run("wait hello --for paused").await.exit, Ok(Exit::Done));
    tokio::time::sleep(Duration::from_secs(600)).await;
    desk.until(|status| status.why.starts_with("paused at 50 %")).await;
    let said = desk.run("resume hello").await;
    assert!(said.text.starts_with("hello goes on: holding 50 % until "), "{}", said.text);
    assert!(desk.run("resume hello").await.text.starts_with("hello was not paused: "));
    desk.until_holding(100).await;
}

#[tokio::test(start_paused = true)]
async fn with_no_release_there_is_nothing_to_steer() {
    let desk = Desk::new(&halves()).await;
    let live = desk.until(|status| status.stable.is_some()).await.stable.unwrap().revision;
    let said = desk.run("promote hello").await;
    assert_eq!(
        said.exit,
        Err(format!("no release of Rollout hello is under way, so there is nothing to Promote; revision {live} serves all clients"))
    );
    let said = desk.run("pause hello").await;
    assert_eq!(said.text, "hello is paused: no release is under way; the next one stays before its first client, or pod\n");
    let said = desk.run("abort other").await;
    assert_eq!(said.exit, Err("there is no Rollout other in namespace default; there are hello".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_cannot_be_read_leaves_its_neighbours_alone() {
    // It is there when the controller starts: a list that has it must be of use all the same.
    let desk = Desk::without_controller(&halves()).await;
    desk.add_unreadable_rollout().await;
    desk.start_controller();
    desk.until(|status| status.stable.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_an_approval_waits_until_it_has_it() {
    let mut policy = halves();
    policy["gates"] = json!([{"name": "sign-off", "approval": {}}]);
    let desk = Desk::new(&policy).await;
    desk.set_version("v2").await;
    let asks = |status: &RolloutStatus| status.why.starts_with("waiting at 0 % for the approval of gate sign-off;");
    let revision = desk.until(asks).await.release.unwrap().revision;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(desk.run("wait hello --for paused").await.exit, Ok(Exit::Done));
    let advised = desk.run("status hello").await.text;
    assert!(advised.contains(&format!("stepgate approve hello --revision {revision}  approve it")), "{advised}");
    let said = desk.run("approve hello --revision 0000000000").await;
    assert_eq!(said.exit, Err(format!("revision {revision} of Rollout hello is under release, not 0000000000; nothing was written")));
    let said = desk.run(&format!("approve hello --revision {revision}")).await;
    assert_eq!(said.text, format!("hello: Approve of revision {revision} is done: the gate is approved\n"));
    let gates = desk.until_holding(50).await.gates;
    assert!(gates.iter().any(|gate| gate.name == "sign-off" && gate.value == "approved by alice"), "{gates:?}");
    let said = desk.run("approve hello").await;
    assert_eq!(
        said.exit,
        Err(format!("the controller refused the Approve of revision {revision}: every gate that asks for an approval has it already"))
    );
}
