//! `stepgate wait`: until the release of one revision has come to what was asked for, or to something else.

use anyhow::bail;
use clap::{Args, ValueEnum};
use futures::StreamExt;
use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};

use crate::{
    api::{
        Rollout, RolloutStatus, Span,
        rollout::RequestAction,
        status::{HistoryEntry, Outcome, Phase},
    },
    cli::{
        cluster::{Cluster, answered, args::ClusterArgs, follow},
        paper::{exit::Exit, output::Output},
    },
    observe,
    show::standing::{holds, keeps_canary, unanswered},
};

/// What `stepgate wait` takes.
#[derive(Args, Clone, Debug)]
#[command(
    after_long_help = "The release waited for is that of one revision: the template that the Deployment has when the wait begins, or \
    --revision. Its name is the fingerprint that the controller gives it, so a template that was written a moment ago is waited for even \
    while the status still tells of the release before it: `succeeded` needs this revision to be the live one.\n\n\
    Exit codes: 0 as asked, 1 another end of that release (or an error), 2 usage, 3 not in time."
)]
pub struct WaitArgs {
    /// Rollout
    #[arg(value_name = "NAME")]
    name: String,

    /// What to wait for
    #[arg(long = "for", value_name = "WHAT")]
    goal: Goal,

    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Span,

    /// Revision to wait for [default: that of the Deployment's template]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The revision is the live version
    Succeeded,
    /// The release is paused or waits for an approval, or its canary is kept for debugging
    Paused,
    /// Clients are back on the version before it
    RolledBack,
}

/// What has become of the release of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not begun, or goes on; why it stands where it stands.
    Open(String),
    /// It is paused by `spec.paused`, or waits for somebody's approval.
    Paused(String),
    /// It failed, clients are back, and the canary is kept until a person decides.
    Kept(String),
    /// It was taken back.
    TakenBack(String),
    /// The revision is the live version.
    Live,
    /// Its end was neither: another template took its place, or there were no replicas.
    Displaced(String),
}

/// What the release is read off.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    pub rollout: &'a Rollout,
    /// The revision of the Deployment's template; none where there is no Deployment.
    pub template: Option<&'a str>,
    /// Starts of the releases that had ended when the wait began: they are not the one waited for.
    pub before: &'a [Timestamp],
}

/// What has become of the release of `revision`.
///
/// The status may be older than the template. It is believed where it speaks of `revision` by name; what it says of another one is not
/// taken for an answer.
pub fn fate(revision: &str, seen: &Seen<'_>) -> Fate {
    let Some(status) = &seen.rollout.status else { return Fate::Open("no controller has looked at it yet".to_owned()) };
    if let Some(entry) = ended(revision, status, seen.before) {
        return end(entry);
    }
    if unanswered(seen.rollout).is_some_and(|request| request.action == RequestAction::Retry && request.revision == revision) {
        return Fate::Open("the Retry request has no answer yet".to_owned());
    }
    match &status.release {
        Some(release) if release.revision == revision => under_way(seen.rollout, status),
        // Another revision's, which is taken back first.
        Some(_) if seen.template == Some(revision) => Fate::Open(status.why.clone()),
        _ => at_rest(revision, status, seen.template),
    }
}

/// The end of a release of `revision` since the wait began.
fn ended<'a>(revision: &str, status: &'a RolloutStatus, before: &[Timestamp]) -> Option<&'a HistoryEntry> {
    status.history.iter().rev().find(|entry| entry.revision == revision && !before.contains(&entry.started_at))
}

fn end(entry: &HistoryEntry) -> Fate {
    match entry.outcome {
        Outcome::Promoted | Outcome::Unguarded => Fate::Live,
        Outcome::RolledBack => Fate::TakenBack(entry.reason.clone()),
        Outcome::Superseded | Outcome::ScaledToZero => Fate::Displaced(entry.reason.clone()),
    }
}

fn under_way(rollout: &Rollout, status: &RolloutStatus) -> Fate {
    // A pause that was lifted a moment ago is still in a status that has not seen that.
    let is_current = status.observed_generation >= rollout.metadata.generation;
    if !holds(status, "Paused") || !is_current {
        return Fate::Open(status.why.clone());
    }
    if keeps_canary(status) { Fate::Kept(status.why.clone()) } else { Fate::Paused(status.why.clone()) }
}

fn at_rest(revision: &str, status: &RolloutStatus, template: Option<&str>) -> Fate {
    let is_template = template.is_none_or(|template| template == revision);
    let is_live = status.stable.as_ref().is_some_and(|stable| stable.revision == revision);
    let rejected = status.rejected.iter().find(|rejected| rejected.revision == revision);
    match (is_live, rejected) {
        // Wanted again, it is live only once nothing of the other one is left.
        (true, _) if !is_template || status.phase == Some(Phase::Healthy) => Fate::Live,
        (false, Some(rejected)) => Fate::TakenBack(rejected.reason.clone()),
        (false, None) if !is_template => {
            Fate::Displaced(format!("the Deployment's template is revision {} now", template.unwrap_or_default()))
        }
        _ => Fate::Open(status.why.clone()),
    }
}

/// What a fate means for who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    AsAsked(String),
    Otherwise(String),
    NotYet(String),
}

/// Whether a fate is the one that was asked for.
pub fn verdict(goal: Goal, revision: &str, fate: Fate) -> Verdict {
    let sentence = match &fate {
        Fate::Open(why) => return Verdict::NotYet(why.clone()),
        Fate::Paused(why) | Fate::Kept(why) => format!("the release of revision {revision} is paused: {why}"),
        Fate::TakenBack(why) => format!("revision {revision} was rolled back: {why}"),
        Fate::Live => format!("revision {revision} is the live version"),
        Fate::Displaced(why) => format!("the release of revision {revision} was given up: {why}"),
    };
    match (goal, fate) {
        (Goal::Succeeded | Goal::RolledBack, Fate::Paused(why)) => Verdict::NotYet(why),
        (Goal::Succeeded, Fate::Live)
        | (Goal::Paused, Fate::Paused(_) | Fate::Kept(_))
        | (Goal::RolledBack, Fate::TakenBack(_) | Fate::Kept(_)) => Verdict::AsAsked(sentence),
        _ => Verdict::Otherwise(sentence),
    }
}

/// What the two watches tell.
enum Change {
    Rollout(Option<Box<Rollout>>),
    Deployment(Option<Box<DynamicObject>>),
}

/// Waits. What keeps the release meanwhile is printed, a line whenever it changes.
///
/// # Errors
/// When there is no such Rollout or no Deployment of it, or the Rollout is deleted meanwhile.
pub async fn run(args: &WaitArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let WaitArgs { name, goal, timeout, revision, cluster: _ } = args;
    let rollout = cluster.rollout(name).await?;
    let deployment = rollout.spec.workload.name().to_owned();
    let template = answered(cluster.deployments().get_opt(&deployment)).await?.map(|object| observe::deployment(&object).revision);
    let Some(revision) = revision.clone().or_else(|| template.clone()) else {
        bail!("there is no Deployment {deployment}, so there is no release to wait for; name one with --revision to wait all the same");
    };
    let mut waiting = Waiting { goal: *goal, revision, before: releases(&rollout), rollout, template, told: String::new() };
    let waited = tokio::time::timeout(timeout.0, waiting.wait(cluster, &deployment, out)).await;
    let (exit, sentence) = match waited {
        Ok(ended) => ended?,
        Err(_) => (Exit::TimedOut, format!("not within {timeout}: {}", waiting.told)),
    };
    out.print(&format!("{name}: {sentence}\n"))?;
    Ok(exit)
}

/// Starts of the releases that have ended.
fn releases(rollout: &Rollout) -> Vec<Timestamp> {
    rollout.status.iter().flat_map(|status| &status.history).map(|entry| entry.started_at).collect()
}

/// A wait under way.
struct Waiting {
    goal: Goal,
    revision: String,
    before: Vec<Timestamp>,
    rollout: Rollout,
    template: Option<String>,
    /// What was said last.
    told: String,
}

impl Waiting {
    async fn wait(&mut self, cluster: &Cluster, deployment: &str, out: &mut Output<'_>) -> anyhow::Result<(Exit, String)> {
        let name = self.rollout.name_any();
        let rollouts = follow(cluster.rollouts(), &name).map(|change| change.map(|object| Change::Rollout(object.map(Box::new))));
        let deployments =
            follow(cluster.deployments(), deployment).map(|change| change.map(|object| Change::Deployment(object.map(Box::new))));
        let mut changes = futures::stream::select(rollouts.boxed(), deployments.boxed());
        loop {
            match self.look() {
                Verdict::AsAsked(sentence) => return Ok((Exit::Done, sentence)),
                Verdict::Otherwise(sentence) => return Ok((Exit::Otherwise, sentence)),
                Verdict::NotYet(why) => self.tell(why, out)?,
            }
            let Some(change) = changes.next().await else { bail!("the watch of Rollout {name} has ended") };
            match change? {
                Change::Rollout(Some(rollout)) => self.rollout = *rollout,
                Change::Rollout(None) => bail!("Rollout {name} was deleted meanwhile"),
                Change::Deployment(object) => self.template = object.map(|object| observe::deployment(&object).revision),
            }
        }
    }

    fn look(&self) -> Verdict {
        let seen = Seen { rollout: &self.rollout, template: self.template.as_deref(), before: &self.before };
        verdict(self.goal, &self.revision, fate(&self.revision, &seen))
    }

    fn tell(&mut self, why: String, out: &mut Output<'_>) -> anyhow::Result<()> {
        if self.told != why {
            out.print(&format!("{}: {why}\n", self.rollout.name_any()))?;
            self.told = why;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{NEW, OLD, rollout};

    /// The third version.
    const OTHER: &str = "1302d02921";

    fn fate_at(place: &str, revision: &str, template: &str) -> Fate {
        fate_of(&rollout(place), revision, template)
    }

    /// Its fate for a wait that begins now.
    fn fate_of(rollout: &Rollout, revision: &str, template: &str) -> Fate {
        fate(revision, &Seen { rollout, template: Some(template), before: &releases(rollout) })
    }

    fn is_open(fate: &Fate) -> bool {
        matches!(fate, Fate::Open(_))
    }

    #[test]
    fn a_template_that_no_status_speaks_of_yet_is_waited_for() {
        for place in ["unseen", "pending", "healthy", "rolled back", "holding", "kept"] {
            assert!(is_open(&fate_at(place, OTHER, OTHER)), "{place}");
        }
    }

    #[test]
    fn the_former_release_of_a_revision_is_no_answer_for_the_next_one() {
        let mut rollout = rollout("healthy");
        let seen = |rollout: &Rollout, before: &[Timestamp]| fate(NEW, &Seen { rollout, template: Some(NEW), before });
        let before = releases(&rollout);
        assert!(is_open(&seen(&rollout, &before)), "its rollback of half an hour ago");
        let again =
            HistoryEntry { started_at: "2026-11-21T14:17:00Z".parse().unwrap(), ..rollout.status.clone().unwrap().history[0].clone() };
        rollout.status.as_mut().unwrap().history.push(again);
        assert!(matches!(seen(&rollout, &before), Fate::TakenBack(_)), "and the one that ended just now");
    }

    #[test]
    fn what_has_become_of_a_release() {
        assert_eq!(fate_at("healthy", OLD, OLD), Fate::Live);
        assert!(matches!(fate_at("paused", NEW, NEW), Fate::Paused(_)));
        assert!(matches!(fate_at("kept", NEW, NEW), Fate::Kept(_)));
        assert!(matches!(fate_at("rolled back", NEW, NEW), Fate::TakenBack(_)));
        for place in ["preparing", "holding", "waiting", "baking", "promoting", "rolling back"] {
            assert!(is_open(&fate_at(place, NEW, NEW)), "{place}");
        }
    }

    #[test]
    fn a_revision_whose_template_is_gone_is_not_waited_for() {
        assert_eq!(fate_at("healthy", NEW, OLD), Fate::Displaced("the Deployment's template is revision 3f9c1ab27d now".into()));
        assert!(matches!(fate_at("rolled back", NEW, OTHER), Fate::TakenBack(_)));
        assert_eq!(fate_at("holding", OLD, NEW), Fate::Live, "released before, and still live");
    }

    #[test]
    fn the_live_template_written_again_is_waited_for_until_the_other_one_is_gone() {
        for place in ["holding", "rolling back", "rolled back"] {
            assert!(is_open(&fate_at(place, OLD, OLD)), "{place}");
        }
    }

    #[test]
    fn a_pause_that_was_lifted_a_moment_ago_is_none() {
        let mut rollout = rollout("paused");
        rollout.metadata.generation = Some(4);
        assert!(is_open(&fate_of(&rollout, NEW, NEW)));
    }

    #[test]
    fn a_retry_without_an_answer_yet_is_waited_for() {
        let mut rollout = rollout("rolled back");
        let request = serde_json::json!({"id": "one", "action": "Retry", "revision": NEW});
        rollout.spec.request = serde_json::from_value(request).unwrap();
        assert!(is_open(&fate_of(&rollout, NEW, NEW)));
    }

    #[test]
    fn what_a_fate_means_depends_on_what_was_asked_for() {
        let why = || "why".to_owned();
        let codes = |fate: &Fate| {
            [Goal::Succeeded, Goal::Paused, Goal::RolledBack].map(|goal| match verdict(goal, NEW, fate.clone()) {
                Verdict::AsAsked(_) => "0",
                Verdict::Otherwise(_) => "1",
                Verdict::NotYet(_) => ".",
            })
        };
        for (fate, expected) in [
            (Fate::Open(why()), [".", ".", "."]),
            (Fate::Paused(why()), [".", "0", "."]),
            (Fate::Kept(why()), ["1", "0", "0"]),
            (Fate::TakenBack(why()), ["1", "1", "0"]),
            (Fate::Live, ["0", "1", "1"]),
            (Fate::Displaced(why()), ["1", "1", "1"]),
        ] {
            assert_eq!(codes(&fate), expected, "{fate:?}");
        }
    }
}
