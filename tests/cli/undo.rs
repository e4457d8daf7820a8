//! undo: in the bake, after it, to an older version, and where it cannot be meant.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stepgate::{
    api::{RolloutStatus, rollout::Request, status::Phase},
    cli::paper::exit::Exit,
};

use crate::desk::Desk;

/// One step, and a previous version that is kept warm for so long.
fn flip(keep_previous: &str) -> Value {
    json!({"steps": [{"weight": 100, "hold": "10s"}], "settle": "1s", "keepPrevious": keep_previous, "progressDeadline": "2m"})
}

/// A desk with these versions released one after the other, and the revisions of all, the oldest first.
async fn released(policy: &Value, versions: &[&str]) -> (Desk, Vec<String>) {
    let desk = Desk::new(policy).await;
    let mut revisions = vec![live(&desk.until(|status| status.stable.is_some()).await)];
    for version in versions {
        // Objects tell the second in which they were made.
        tokio::time::sleep(Duration::from_secs(1)).await;
        desk.set_version(version).await;
        let image = format!("hello:{version}");
        let status = desk.until(|status| is_live(status, &image)).await;
        revisions.push(live(&status));
    }
    (desk, revisions)
}

/// A desk with a release that has all clients and can be taken back for an hour, and the revisions of both versions.
async fn baking() -> (Desk, Vec<String>) {
    let desk = Desk::new(&flip("1h")).await;
    let stable = live(&desk.until(|status| status.stable.is_some()).await);
    desk.set_version("v2").await;
    let status = desk.until(|status| status.phase == Some(Phase::Baking)).await;
    let revisions = vec![stable, status.release.unwrap().revision];
    (desk, revisions)
}

fn live(status: &RolloutStatus) -> String {
    status.stable.as_ref().map(|stable| stable.revision.clone()).unwrap_or_default()
}

fn is_live(status: &RolloutStatus, image: &str) -> bool {
    let is_image = status.stable.as_ref().is_some_and(|stable| stable.images == [image]);
    is_image && status.phase == Some(Phase::Healthy) && status.release.is_none()
}

/// What a command said and how it ended, with names in place of revisions.
async fn transcript(desk: &Desk, revisions: &[String], command: &str) -> String {
    let said = desk.run(command).await;
    let end = said.exit.map_or_else(|error| format!("error: {error}"), |exit| format!("{exit:?}"));
    let names = revisions.iter().zip(1..);
    names.fold(format!("{}{end}\n", said.text), |text, (revision, number)| text.replace(revision.as_str(), &format!("REVISION-{number}")))
}

#[tokio::test(start_paused = true)]
async fn in_the_bake_the_release_is_taken_back() {
    let (desk, revisions) = baking().await;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello --reason errors").await, @r"
    hello: Undo of revision REVISION-2 to revision REVISION-1 is done: the release is taken back
    Done
    ");
    desk.until(|status| status.phase == Some(Phase::RolledBack)).await;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    hello: Undo of revision REVISION-2 to revision REVISION-1 is done: the abandoned revision was taken back already, and stays held
    hello: the template of revision REVISION-1 (hello:v1) is written to Deployment hello; follow it with `stepgate wait hello --for succeeded`
    Done
    ");
    assert_eq!(desk.run("wait hello --for succeeded").await.exit, Ok(Exit::Done));
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    error: Rollout hello remembers no version that was live before revision REVISION-1; there is no other one that --to could name
    ");
}

#[tokio::test(start_paused = true)]
async fn later_the_template_is_written_and_the_abandoned_version_stays_away() {
    let (desk, revisions) = released(&flip("5s"), &["v2"]).await;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello --reason errors").await, @r"
    hello: Undo of revision REVISION-2 to revision REVISION-1 is done: the abandoned revision is held from now on
    hello: the template of revision REVISION-1 (hello:v1) is written to Deployment hello; follow it with `stepgate wait hello --for succeeded`
    Done
    ");
    assert_eq!(desk.run("wait hello --for succeeded").await.exit, Ok(Exit::Done));
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    error: Rollout hello remembers no version that was live before revision REVISION-1; there is no other one that --to could name
    ");
    insta::assert_snapshot!(transcript(&desk, &revisions, &format!("undo hello --to {}", revisions[1])).await, @r"
    error: revision REVISION-2 is held as rejected (undone by request: errors); to release it all the same, write its template, then run `stepgate retry hello`
    ");
    let status = desk.until(|status| is_live(status, "hello:v1")).await;
    let by: Vec<(&str, Option<bool>)> = status.requests.iter().map(|request| (request.by.as_str(), request.verified)).collect();
    assert_eq!(by, [("alice", Some(true))]);
    let history = desk.run("history hello").await.text;
    assert!(history.lines().nth(1).is_some_and(|line| line.trim_end().ends_with("Undo by alice")), "{history}");
    desk.set_version("v2").await;
    let status = desk.until(|status| status.phase == Some(Phase::RolledBack)).await;
    assert_eq!((live(&status), status.history.len()), (revisions[0].clone(), 2), "it is not released again");
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    hello: Undo of revision REVISION-2 to revision REVISION-1 is done: the abandoned revision was taken back already, and stays held
    hello: the template of revision REVISION-1 (hello:v1) is written to Deployment hello; follow it with `stepgate wait hello --for succeeded`
    Done
    ");
    assert_eq!(desk.run("wait hello --for succeeded").await.exit, Ok(Exit::Done));
    let status = desk.until(|status| is_live(status, "hello:v1")).await;
    assert_eq!((status.history.len(), status.canary), (2, None), "nobody restarts for that");
}

#[tokio::test(start_paused = true)]
async fn typed_twice_it_is_done_once() {
    let (desk, revisions) = released(&flip("5s"), &["v2"]).await;
    desk.run("undo hello").await.exit.unwrap();
    desk.until(|status| status.release.is_some()).await;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    error: Rollout hello is on its way back to revision REVISION-1 already; follow it with `stepgate wait hello --for succeeded`, or call that off with `stepgate abort hello`
    ");
    let status = desk.until(|status| is_live(status, "hello:v1")).await;
    assert_eq!(status.requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn undo_after_undo_leads_further_back() {
    let (desk, revisions) = released(&flip("5s"), &["v2", "v3"]).await;
    for image in ["hello:v2", "hello:v1"] {
        desk.run("undo hello").await.exit.unwrap();
        desk.until(|status| is_live(status, image)).await;
    }
    let nothing =
        "error: Rollout hello remembers no version that was live before revision REVISION-1; there is no other one that --to could name\n";
    assert_eq!(transcript(&desk, &revisions, "undo hello").await, nothing);
    desk.set_version("v3").await;
    let status = desk.until(|status| status.phase == Some(Phase::RolledBack)).await;
    assert_eq!(live(&status), revisions[0], "the first that was abandoned is held like the last one");
    // One that is promoted sets them free, and does not make them versions to go back to.
    desk.set_version("v4").await;
    desk.until(|status| is_live(status, "hello:v4") && status.rejected.is_empty()).await;
    desk.run("undo hello").await.exit.unwrap();
    desk.until(|status| is_live(status, "hello:v1")).await;
    let said = transcript(&desk, &revisions, "undo hello").await;
    assert!(said.starts_with("error: Rollout hello remembers no version that was live before revision REVISION-1;"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn any_version_of_the_history_can_be_gone_back_to() {
    let (desk, revisions) = released(&flip("5s"), &["v2", "v3"]).await;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello --to 0123456789").await, @r"
    error: no ReplicaSet has the template of revision 0123456789 any more; write that template yourself, and it is released like any other; --to can name REVISION-1 (hello:v1), REVISION-2 (hello:v2)
    ");
    insta::assert_snapshot!(transcript(&desk, &revisions, &format!("undo hello --to {}", revisions[0])).await, @r"
    hello: Undo of revision REVISION-3 to revision REVISION-1 is done: the abandoned revision is held from now on
    hello: the template of revision REVISION-1 (hello:v1) is written to Deployment hello; follow it with `stepgate wait hello --for succeeded`
    Done
    ");
    desk.until(|status| is_live(status, "hello:v1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_live_skips_the_holds_where_the_policy_says_so() {
    for (undo, seconds) in [("FullPolicy", 600..660), ("Fast", 0..60)] {
        let mut policy = flip("5s");
        policy["steps"] = json!([{"weight": 50, "hold": "5m"}, {"weight": 100, "hold": "5m"}]);
        policy["undo"] = json!(undo);
        let (desk, _) = released(&policy, &["v2"]).await;
        let began = desk.now();
        desk.run("undo hello").await.exit.unwrap();
        desk.until(|status| is_live(status, "hello:v1")).await;
        let took = desk.now().duration_since(began).as_secs();
        assert!(seconds.contains(&took), "{undo}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_cannot_be_meant_nothing_is_written() {
    let desk = Desk::new(&flip("5s")).await;
    let revisions = [live(&desk.until(|status| status.stable.is_some()).await)];
    let before = desk.rollouts().get("hello").await.unwrap().metadata.generation;
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello").await, @r"
    error: Rollout hello remembers no version that was live before revision REVISION-1; there is no other one that --to could name
    ");
    insta::assert_snapshot!(transcript(&desk, &revisions, &format!("undo hello --to {}", revisions[0])).await, @r"
    error: revision REVISION-1 of Rollout hello is live itself; there is no other one that --to could name
    ");
    insta::assert_snapshot!(transcript(&desk, &revisions, "undo hello --revision 0123456789").await, @r"
    error: revision REVISION-1 of Rollout hello is live, not 0123456789; nothing was written
    ");
    assert_eq!(desk.rollouts().get("hello").await.unwrap().metadata.generation, before);
}

#[tokio::test(start_paused = true)]
async fn where_no_controller_answers_the_template_is_not_written() {
    let (desk, revisions) = released(&flip("5s"), &["v2"]).await;
    desk.stop_controller();
    let said = desk.run("undo hello --timeout 5s").await;
    assert_eq!(said.exit, Ok(Exit::TimedOut));
    let last = said.text.lines().last().map(str::to_owned);
    let wanted = format!("hello: nothing is written yet that releases revision {}; run this again once a controller answers", revisions[0]);
    assert_eq!(last, Some(wanted));
    desk.resume_controller();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let status = desk.until(|status| status.requests.len() == 1).await;
    assert!(is_live(&status, "hello:v2"), "its clients stay where they are: {}", status.why);
    assert_eq!(desk.run("undo hello").await.exit, Ok(Exit::Done));
    desk.until(|status| is_live(status, "hello:v1")).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_release_ends_as_it_is_asked_for_the_template_is_written_all_the_same() {
    let (desk, revisions) = baking().await;
    let status = desk.until(|status| status.phase == Some(Phase::Baking)).await;
    desk.stop_controller();
    // A controller whose record of the end was on its way as the request was read, and that answers it with that end.
    let ends = async {
        let Request { id, action, revision, to, .. } = desk.until_asked().await;
        let outcome = "done: the abandoned revision is held from now on";
        let requests = json!([{"id": id, "action": action, "revision": revision, "to": to, "outcome": outcome}]);
        let status =
            json!({"phase": "Healthy", "stable": status.canary, "canary": null, "release": null, "step": null, "requests": requests});
        desk.rollouts().patch_status("hello", &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
    };
    let (said, ()) = tokio::join!(transcript(&desk, &revisions, "undo hello"), ends);
    insta::assert_snapshot!(said, @r"
    hello: Undo of revision REVISION-2 to revision REVISION-1 is done: the abandoned revision is held from now on
    hello: the template of revision REVISION-1 (hello:v1) is written to Deployment hello; follow it with `stepgate wait hello --for succeeded`
    Done
    ");
}

#[tokio::test(start_paused = true)]
async fn an_undo_takes_the_place_of_a_request_that_has_no_answer() {
    let (desk, _) = baking().await;
    desk.stop_controller();
    assert_eq!(desk.run("promote hello --timeout 1s").await.exit, Ok(Exit::TimedOut));
    assert_eq!(desk.run("undo hello --timeout 1s").await.exit, Ok(Exit::TimedOut));
    desk.resume_controller();
    desk.until(|status| status.phase == Some(Phase::RolledBack)).await;
}
