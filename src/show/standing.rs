//! What a status says about where a Rollout stands: since when, until when, what happened last, and who gets how much. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    api::{
        Rollout, RolloutStatus,
        rollout::Request,
        status::{HistoryEntry, Outcome, Phase, Rejected, Release},
    },
    core::{decision::time::after, history::was_abandoned},
};

/// What a Rollout waits for, as far as time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: it rests.
    Rests,
    /// A time that was set: a hold, the time that the previous version is kept.
    Until(Timestamp),
    /// Pods or data, at most until then.
    AtMost(Timestamp),
    /// A person.
    Person,
    /// Something that has no time limit of its own.
    Open,
}

/// What a Rollout waits for.
pub fn wait(status: &RolloutStatus) -> Wait {
    if holds(status, "Stalled") || holds(status, "Paused") {
        return Wait::Person;
    }
    let (Some(release), Some(step)) = (&status.release, &status.step) else {
        let rests = matches!(status.phase, Some(Phase::Healthy | Phase::RolledBack));
        return if rests { Wait::Rests } else { Wait::Open };
    };
    if release.rollback.is_some() {
        return Wait::Open;
    }
    match (step.waiting_since, step.until) {
        (Some(since), _) => Wait::AtMost(after(since, release.policy.progress_deadline)),
        (None, Some(until)) => Wait::Until(until),
        (None, None) => Wait::Open,
    }
}

/// Whether a condition is True.
pub fn holds(status: &RolloutStatus, type_: &str) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether its Deployment is paused by its owner.
pub fn waits_for_owner(status: &RolloutStatus) -> bool {
    is_paused_by(status, "PausedByOwner")
}

/// Whether it is paused, for this reason.
fn is_paused_by(status: &RolloutStatus, reason: &str) -> bool {
    let holds = |condition: &Condition| condition.type_ == "Paused" && condition.status == "True" && condition.reason == reason;
    status.conditions.iter().any(holds)
}

/// Whether the canary of a failed release is kept, without clients, until a person decides.
pub fn keeps_canary(status: &RolloutStatus) -> bool {
    is_paused_by(status, "KeptForDebugging")
}

/// Whether a gate waits for somebody's approval.
pub fn awaits_approval(status: &RolloutStatus) -> bool {
    is_paused_by(status, "ApprovalAwaited")
}

/// Since when a Rollout is in its phase, where the status tells.
pub fn since(status: &RolloutStatus) -> Option<Timestamp> {
    let release = status.release.as_ref();
    match status.phase? {
        Phase::Preparing => release.map(|release| release.started_at),
        Phase::Progressing => release.and_then(|release| release.traffic_since),
        Phase::Baking => status.step.as_ref().and_then(|step| step.since),
        Phase::RollingBack => release.and_then(|release| release.rollback.as_ref()).map(|rollback| rollback.at),
        Phase::RolledBack | Phase::Healthy => status.history.last().map(|entry| entry.ended_at),
        Phase::Pending | Phase::Promoting => None,
    }
}

/// Shares of the clients, in percent: stable, canary. None while they are on the move.
pub fn shares(status: &RolloutStatus) -> Option<(u8, u8)> {
    let routed = match (&status.traffic, &status.release) {
        (Some(traffic), _) => traffic.routed?,
        (None, Some(Release { traffic_since: Some(_), .. })) => return None,
        (None, _) => 0,
    };
    Some((100_u8.saturating_sub(routed), routed))
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    pub what: String,
}

/// What happened last, before `now`.
pub fn last(rollout: &Rollout, now: Timestamp) -> Option<Moment> {
    let status = rollout.status.as_ref()?;
    let mut moments: Vec<Moment> = status.history.last().map(ended).into_iter().collect();
    moments.extend(status.release.iter().flat_map(|release| moments_of(release, status, rollout)));
    moments.into_iter().filter(|moment| moment.at <= now).max_by_key(|moment| moment.at)
}

fn ended(entry: &HistoryEntry) -> Moment {
    let revision = &entry.revision;
    let what = match entry.outcome {
        Outcome::Promoted => format!("revision {revision} was promoted"),
        Outcome::RolledBack => format!("revision {revision} was rolled back at {} %: {}", entry.max_weight, entry.reason),
        Outcome::Superseded => format!("revision {revision} was given up at {} %: {}", entry.max_weight, entry.reason),
        // Of a Deployment that rolled by itself, or of a declared pair whose live version went away.
        Outcome::Unguarded => format!("revision {revision} came to serve without all of its gates: {}", entry.reason),
        Outcome::ScaledToZero => format!("the release of revision {revision} ended with the Deployment at 0 replicas"),
    };
    Moment { at: entry.ended_at, what }
}

fn moments_of(release: &Release, status: &RolloutStatus, rollout: &Rollout) -> Vec<Moment> {
    let (first, back) = if rollout.spec.is_worker() {
        ("the first new pods were made", "all new pods were told to end")
    } else {
        ("the first clients were moved", "all clients were back on the old version")
    };
    let moment = |at, what: &str| Moment { at, what: what.to_owned() };
    let mut moments = vec![moment(release.started_at, "the release began")];
    moments.extend(release.traffic_since.map(|at| moment(at, first)));
    match &release.rollback {
        Some(rollback) => {
            moments.push(Moment { at: rollback.at, what: format!("a rollback began: {}", rollback.message) });
            moments.extend(rollback.confirmed_at.map(|at| moment(at, back)));
        }
        None => moments.extend(status.step.as_ref().and_then(|step| {
            let what = if status.phase == Some(Phase::Baking) {
                "the last step was over".to_owned()
            } else {
                format!("{} % was in effect", step.weight)
            };
            Some(Moment { at: step.since?, what })
        })),
    }
    moments
}

/// The request that no controller has answered yet.
pub fn unanswered(rollout: &Rollout) -> Option<&Request> {
    let request = rollout.spec.request.as_ref()?;
    let answered = rollout.status.iter().flat_map(|status| &status.requests).any(|record| record.id == request.id);
    (!answered).then_some(request)
}

/// The revision that was live last, but for the one that is live now, those that are held, and those that were abandoned since.
pub fn before<'a>(status: &'a RolloutStatus, live: &str) -> Option<&'a str> {
    let ended = status.history.iter().rev().filter(|ended| matches!(ended.outcome, Outcome::Promoted | Outcome::Unguarded));
    let mut were_live = ended.flat_map(|ended| [ended.revision.as_str(), ended.replaced.as_str()]);
    let is_good = |revision: &str| rejected(status, revision).is_none() && !was_abandoned(&status.history, revision);
    were_live.find(|revision| !revision.is_empty() && *revision != live && is_good(revision))
}

/// The entry of a revision that is held as rejected.
pub fn rejected<'a>(status: &'a RolloutStatus, revision: &str) -> Option<&'a Rejected> {
    status.rejected.iter().find(|rejected| rejected.revision == revision)
}
