//! What is remembered: releases that have ended, revisions that are held, and what was live.

use crate::{
    api::{
        PolicySpec, Span,
        policy::{Step, Undo},
        rollout::RequestAction,
        status::{Asked, HistoryEntry, Outcome, Rejected, Release, RequestRecord, RollbackReason, RolloutStatus},
    },
    core::why::words::is_done,
};

/// How many ended releases, and how many rejected revisions, are remembered.
pub const REMEMBERED: usize = 10;

/// Adds to the history, which forgets its oldest entry once it is full.
pub fn remember(history: &mut Vec<HistoryEntry>, entry: HistoryEntry) {
    history.push(entry);
    let surplus = history.len().saturating_sub(REMEMBERED);
    history.drain(..surplus);
}

/// Design §3: a rejected revision stays held until another one has been promoted. One that an undo has led to is no such other one: nothing
/// but the way back has happened, and whatever was given up on it, or before it, is as bad as it was.
pub fn set_free(status: &mut RolloutStatus, promoted: &str) {
    let is_undo = status.rejected.iter().any(|rejected| rejected.instead == promoted);
    status.rejected.retain(|rejected| is_undo && rejected.revision != promoted);
}

/// Whether a revision is not to become the live one but by a release: it was taken back, or its release was ended by a Deployment at 0.
pub fn is_held(status: &RolloutStatus, revision: &str) -> bool {
    status.stable.is_some() && (status.rejected.iter().any(|rejected| rejected.revision == revision) || is_interrupted(status, revision))
}

/// Whether the last release was of this revision, and ended with the Deployment at 0.
pub fn is_interrupted(status: &RolloutStatus, revision: &str) -> bool {
    status.history.last().is_some_and(|ended| ended.outcome == Outcome::ScaledToZero && ended.revision == revision)
}

/// What people have asked for in this release, and had; first the `Undo` that it came of, where it did.
pub fn asked(status: &RolloutStatus, release: &Release) -> Vec<Asked> {
    let abandoned = status.rejected.iter().find(|rejected| {
        rejected.instead == release.revision && status.stable.as_ref().is_some_and(|stable| stable.revision == rejected.revision)
    });
    let of_release = |record: &&RequestRecord| {
        let in_it = record.revision == release.revision && record.at.is_some_and(|at| at >= release.started_at);
        in_it || abandoned.is_some_and(|old| record.revision == old.revision && record.to == old.instead && record.at == Some(old.at))
    };
    let done = status.requests.iter().filter(of_release).filter(|record| is_done(record));
    done.map(|RequestRecord { action, by, verified, .. }| Asked { action: *action, by: by.clone(), verified: *verified }).collect()
}

impl RollbackReason {
    /// Whether the new version is to blame, so that its revision is held from now on.
    pub fn rejects(self) -> bool {
        match self {
            Self::GateFailed
            | Self::ReadinessLost
            | Self::DeadlineExceeded
            | Self::Aborted
            | Self::AdoptionFailed
            | Self::CanaryChanged
            | Self::Found => true,
            Self::Superseded | Self::Reverted | Self::Deleted | Self::DependencyLost => false,
        }
    }

    /// Whether clients on kept-alive connections are worth waiting for: the version they are on is not bad.
    pub fn drains(self) -> bool {
        match self {
            Self::Superseded | Self::Reverted | Self::Deleted | Self::DependencyLost => true,
            Self::GateFailed
            | Self::ReadinessLost
            | Self::DeadlineExceeded
            | Self::Aborted
            | Self::AdoptionFailed
            | Self::CanaryChanged
            | Self::Found => false,
        }
    }
}

/// Holds a revision from now on.
pub fn reject(status: &mut RolloutStatus, rejected: Rejected) {
    let all = &mut status.rejected;
    all.retain(|old| old.revision != rejected.revision);
    all.push(rejected);
    let surplus = all.len().saturating_sub(REMEMBERED);
    all.drain(..surplus);
}

/// Whether the policy lets a release of this revision go without holds.
pub fn is_fast(policy: &PolicySpec, status: &RolloutStatus, revision: &str) -> bool {
    policy.undo == Undo::Fast && was_live(&status.history, revision)
}

/// The same policy without holds. Weights are confirmed, settled and checked by all gates all the same.
pub fn without_holds(policy: &PolicySpec) -> PolicySpec {
    let steps = policy.steps.iter().map(|step| Step { hold: Span::default(), ..step.clone() }).collect();
    PolicySpec { steps, ..policy.clone() }
}

/// Whether a revision has had all clients, by a release that went well or before one that did, and was neither taken back nor abandoned since.
pub fn was_live(history: &[HistoryEntry], revision: &str) -> bool {
    let verdict = |ended: &HistoryEntry| match ended.outcome {
        Outcome::Promoted if ended.revision == revision => Some(true),
        Outcome::Promoted if ended.replaced == revision => Some(!ended.asked.iter().any(|asked| asked.action == RequestAction::Undo)),
        Outcome::RolledBack | Outcome::Unguarded if ended.revision == revision => Some(false),
        _ => None,
    };
    history.iter().rev().find_map(verdict) == Some(true)
}

/// Whether the last that became of a revision is that somebody went back from it. That outlasts its being held: a third one that is promoted
/// sets it free to be written again, and does not make it one to go back to.
pub fn was_abandoned(history: &[HistoryEntry], revision: &str) -> bool {
    let undone = |ended: &HistoryEntry| ended.asked.iter().any(|asked| asked.action == RequestAction::Undo);
    let verdict = |ended: &HistoryEntry| match ended.outcome {
        Outcome::Promoted | Outcome::Unguarded if ended.revision == revision => Some(false),
        Outcome::Promoted | Outcome::Unguarded if ended.replaced == revision => Some(undone(ended)),
        Outcome::RolledBack if ended.revision == revision && undone(ended) => Some(true),
        _ => None,
    };
    history.iter().rev().find_map(verdict) == Some(true)
}
