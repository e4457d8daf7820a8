//! status, list, history, explain, wait: what is shown is what is so.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::Value;
use stepgate::{
    api::status::Phase,
    cli::paper::{exit::Exit, output::Reader},
};

use crate::desk::{Desk, halves};

#[tokio::test(start_paused = true)]
async fn a_template_written_a_moment_ago_is_not_taken_for_the_release_before_it() {
    let desk = Desk::without_controller(&halves()).await;
    desk.start_controller();
    desk.until(|status| status.phase == Some(Phase::Healthy)).await;
    desk.stop_controller();
    desk.set_version("v2").await;
    // The status says Healthy and is silent about v2.
    let said = desk.run("wait hello --for succeeded --timeout 5s").await;
    assert_eq!(said.exit, Ok(Exit::TimedOut), "{}", said.text);
    desk.resume_controller();
    let said = desk.run("wait hello --for succeeded").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    let stable = desk.until(|status| status.phase == Some(Phase::Healthy)).await.stable.unwrap();
    assert_eq!(stable.images, ["hello:v2"]);
    assert!(said.text.ends_with(&format!("hello: revision {} is the live version\n", stable.revision)), "{}", said.text);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_release_that_another_template_replaces_ends() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let first = desk.until_holding(50).await.release.unwrap().revision;
    let replace = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        desk.set_version("v3").await;
    };
    let (said, ()) = tokio::join!(desk.run("wait hello --for succeeded"), replace);
    assert_eq!(said.exit, Ok(Exit::Otherwise), "{}", said.text);
    assert!(said.text.contains(&format!("hello: the release of revision {first} was given up: revision ")), "{}", said.text);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_rollout_ends_a_wait() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    desk.until_holding(50).await;
    let delete = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        desk.rollouts().delete("hello", &kube::api::DeleteParams::default()).await.unwrap();
    };
    let (said, ()) = tokio::join!(desk.run("wait hello --for succeeded --timeout 5m"), delete);
    assert_eq!(said.exit, Ok(Exit::Otherwise), "{}", said.text);
    assert!(said.text.ends_with("was rolled back: the Rollout is being deleted\n"), "{}", said.text);
}

#[tokio::test(start_paused = true)]
async fn status_shows_a_release_as_it_is() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let status = desk.until_holding(50).await;
    let said = desk.run("status hello").await;
    let (stable, canary) = (status.stable.unwrap().revision, status.canary.unwrap().revision);
    let text = said.text.replace(&stable, "<stable>").replace(&canary, "<canary>");
    insta::assert_snapshot!(text, @r"
    default/hello  Progressing for 3s, step 1 of 2
      Deployment hello
      ├─  stable  <stable>  4/4 pods ready  50 % of the clients  hello:v1
      └─  canary  <canary>  4/4 pods ready  50 % of the clients  hello:v2

      weight   50 %
      why      holding 50 % until 00:01:03Z (in 58s)
      last     50 % was in effect, 2s ago
      gates    passing  readiness  4 of 4 ready  needs 4 ready  for 3s
      next     stepgate promote hello  end this hold
               stepgate abort hello    take the release back
    ");
}

#[tokio::test(start_paused = true)]
async fn the_rollout_itself_can_be_printed() {
    let desk = Desk::new(&halves()).await;
    let json: Value = serde_json::from_str(&desk.run("status hello -o json").await.text).unwrap();
    assert_eq!((&json["kind"], &json["status"]["phase"]), (&"Rollout".into(), &"Healthy".into()));
    assert!(json["metadata"].get("managedFields").is_none());
    let yaml: Value = serde_saphyr::from_str(&desk.run("list -o yaml").await.text).unwrap();
    assert_eq!((&yaml["kind"], &yaml["items"][0]["metadata"]["name"]), (&"List".into(), &"hello".into()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_prints_a_line_a_change_until_the_rollout_is_gone() {
    let desk = Desk::new(&halves()).await;
    let play = async {
        desk.set_version("v2").await;
        desk.until_holding(50).await;
        assert_eq!(desk.run("promote hello --full").await.exit, Ok(Exit::Done));
        desk.until(|status| status.phase == Some(Phase::Baking)).await;
        assert_eq!(desk.run("promote hello").await.exit, Ok(Exit::Done));
        desk.until(|status| status.phase == Some(Phase::Healthy)).await;
        desk.rollouts().delete("hello", &kube::api::DeleteParams::default()).await.unwrap();
    };
    let (said, ()) = tokio::join!(desk.run("status hello --watch"), play);
    assert_eq!(said.exit, Ok(Exit::Done));
    let phases: Vec<&str> = said.text.lines().filter_map(|line| line.split("hello: ").nth(1)?.split([' ', ':']).next()).collect();
    let mut told = phases.clone();
    told.dedup();
    assert_eq!(told[..6], ["Healthy", "Preparing", "Progressing", "Baking", "Promoting", "Healthy"], "{}", said.text);
    assert!(said.text.ends_with("Rollout hello is gone\n"), "{}", said.text);
    let lines: Vec<&str> = said.text.lines().map(|line| line.split_once(' ').map_or(line, |(_, line)| line)).collect();
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "a line twice: {}", said.text);
}

/// A pipe whose reader hears so many writes and goes.
struct Heard {
    writes: usize,
    text: Vec<u8>,
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writes == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.writes -= 1;
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_nobody_reads_it_any_more() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let mut heard = Heard { writes: 1, text: Vec::new() };
    assert_eq!(desk.run_into("status hello -w", Reader::Program, &mut heard).await, Ok(Exit::Done));
    assert_eq!(String::from_utf8(heard.text).unwrap().lines().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_a_terminal_the_times_go_on_without_a_request() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    desk.until_holding(50).await;
    let mut heard = Heard { writes: 12, text: Vec::new() };
    let terminal = Reader::Terminal { columns: 80 };
    let (began, asked) = (desk.now(), desk.requests());
    assert_eq!(desk.run_into("status hello -w", terminal, &mut heard).await, Ok(Exit::Done));
    assert!((8..=12).contains(&desk.now().duration_since(began).as_secs()));
    // To see that it exists, the list, the watch.
    assert_eq!(desk.requests() - asked, 3);
    let text = String::from_utf8(heard.text).unwrap();
    assert!(!text.contains("no Rollouts"), "an empty screen came first");
    let lefts: Vec<&str> = text.split("(in ").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(lefts.len() > 8 && lefts.windows(2).filter(|pair| pair[0] != pair[1]).count() > 8, "{lefts:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rollouts_of_all_namespaces_are_shown_each_with_its_own() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    desk.until_holding(50).await;
    let shown = desk.run("status -A").await;
    assert!(shown.text.starts_with("default/hello  Progressing"), "{}", shown.text);
    assert!(shown.text.contains("stepgate promote hello -n default"), "{}", shown.text);
    let mut heard = Heard { writes: 1, text: Vec::new() };
    assert_eq!(desk.run_into("status -A -w", Reader::Program, &mut heard).await, Ok(Exit::Done));
    let text = String::from_utf8(heard.text).unwrap();
    assert!(text.contains("Z default/hello: Progressing 50 %"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn history_and_list_tell_of_the_last_release() {
    let desk = Desk::new(&halves()).await;
    assert_eq!(desk.run("history hello").await.text, "no release of Rollout hello has ended yet\n");
    desk.set_version("v2").await;
    desk.until_holding(50).await;
    assert!(desk.run("list -A").await.text.contains("default    hello  Progressing  1/2   50 %"), "{}", desk.run("list -A").await.text);
    desk.run("abort hello").await;
    desk.run("wait hello --for rolled-back").await;
    let history = desk.run("history hello").await.text;
    assert!(history.contains("RolledBack  50 %     hello:v2  aborted by request"), "{history}");
    let entries: Value = serde_json::from_str(&desk.run("history hello -o json").await.text).unwrap();
    assert_eq!(entries[0]["outcome"], "RolledBack");
}

#[tokio::test(start_paused = true)]
async fn explain_tells_every_fact_in_turn() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    let status = desk.until_holding(50).await;
    let said = desk.run("explain hello").await;
    assert_eq!(said.exit, Ok(Exit::Done));
    let (stable, canary) = (status.stable.unwrap(), status.canary.unwrap());
    let mut text = said.text;
    for (found, name) in [(&stable.revision, "<stable>"), (&canary.revision, "<canary>"), (&stable.hash, "<old>"), (&canary.hash, "<new>")]
    {
        text = text.replace(found.as_str(), name);
    }
    let short = &canary.revision[..6];
    insta::assert_snapshot!(text.replace(short, "<short>"), @r"
    default/hello
      accepted   + Deployment, Services and policy are such that a release can go
      guarded    + admission policies hold the Deployment and the Services during a release
      phase      . Progressing for 3s: holding 50 % until 00:01:03Z (in 58s)
      release    . of revision <canary> began 3s ago with 4 pods, at step 1 of 2 (50 %); the policy is
                   that of its start
      deployment . hello: template is revision <canary>, 4 pods, paused
      stable     + revision <stable>, ReplicaSet hello-<old>: 4 of 4 pods ready
      canary     + revision <canary>, ReplicaSet hello-<short>-<new>: 4 of 4 pods ready
      service    + hello (app=hello; as its owner wrote it) selects 8 ready pods: 4 stable, 4 canary;
                   endpoints agree
      gate       + readiness is passing for 3s: 4 of 4 ready, needs 4 ready
      event      . 3s ago: WeightConfirmed: 50 % of the clients are on revision <canary>
                 . 3s ago: ReleaseStarted: releasing revision <canary> (hello:v2)
                 . 3s ago: Accepted: revision <stable> of Deployment hello is the live version
    ");
}

#[tokio::test(start_paused = true)]
async fn explain_says_what_stands_in_the_way() {
    let desk = Desk::new(&halves()).await;
    let metrics = stepgate::sim::sample::service("default", "hello");
    desk.add_service(metrics, "metrics").await;
    let said = desk.run("explain hello").await.text;
    assert!(said.contains("! the pods of Deployment hello are also behind Service metrics"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn explain_says_why_a_revision_is_held() {
    let desk = Desk::new(&halves()).await;
    desk.set_version("v2").await;
    desk.until_holding(50).await;
    desk.run("abort hello --reason errors").await;
    desk.run("wait hello --for rolled-back").await;
    let said = desk.run("explain hello").await.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        " phase ! RolledBack for ",
        " deployment . hello: template is revision ",
        ", 4 pods, paused ",
        " selects 4 ready pods: 4 stable, 0 canary; ",
        " rejected ! revision ",
        " request . Abort by alice: done: the release is taken back ",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_kinds_is_told_from_one_without_the_rollout() {
    let desk = Desk::bare();
    for command in ["status hello", "list", "abort hello", "wait hello --for succeeded", "explain hello"] {
        let said = desk.run(command).await;
        let sentence = "this cluster does not know Rollouts; make them known with `stepgate install | kubectl apply -f -`";
        assert_eq!(said.exit, Err(sentence.to_owned()), "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named() {
    let desk = Desk::without_controller(&halves()).await;
    desk.delete_deployment().await;
    let said = desk.run("explain hello").await.text;
    assert!(said.contains("! Deployment hello (workload.deployment) does not exist in this namespace"), "{said}");
    assert!(said.contains("! none: no controller has looked at this Rollout yet"), "{said}");
    assert!(desk.run("status hello").await.text.contains("  why      no controller has looked at it yet\n"));
    let said = desk.run("wait hello --for succeeded").await;
    let sentence = "there is no Deployment hello, so there is no release to wait for; name one with --revision to wait all the same";
    assert_eq!(said.exit, Err(sentence.to_owned()));
}
