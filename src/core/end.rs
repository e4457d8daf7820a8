//! The end of a release: its entry in the history, and the version that is live from then on.

use crate::api::status::{HistoryEntry, Outcome, Phase, Release, RolloutStatus};

use super::{
    action::Reason,
    draft::{Draft, Progress},
    request, rest,
    view::{Side, View},
};

/// How many ended releases, and how many rejected revisions, are remembered.
pub const REMEMBERED: usize = 10;

/// The version under release, which this side has, is the live one from now on.
pub fn promoted(view: &View<'_>, draft: &mut Draft, release: &Release, side: &Side<'_>) -> Progress {
    record(draft, release, Outcome::Promoted, "", view);
    let version = side.version();
    draft.notice(Reason::Promoted, format!("revision {} is the live version", version.revision));
    draft.status.stable = Some(version);
    draft.status.canary = None;
    set_free(&mut draft.status, &release.revision);
    draft.enter(Phase::Healthy);
    draft.wake(view.now);
    draft.wait(rest::serving(view, &release.revision))
}

/// Writes the end of a release into the history and clears what belonged to it.
pub fn record(draft: &mut Draft, release: &Release, outcome: Outcome, reason: &str, view: &View<'_>) {
    let status = &mut draft.status;
    let live = status.stable.as_ref().map(|stable| stable.revision.clone());
    let entry = HistoryEntry {
        revision: release.revision.clone(),
        images: status.canary.as_ref().map(|canary| canary.images.clone()).unwrap_or_default(),
        outcome,
        started_at: release.started_at,
        ended_at: view.now,
        max_weight: status.release.as_ref().map_or(release.max_weight, |release| release.max_weight),
        reason: reason.to_owned(),
        replaced: live.filter(|_| outcome == Outcome::Promoted).unwrap_or_default(),
        asked: request::asked(status, release),
    };
    remember(&mut status.history, entry);
    status.release = None;
    status.step = None;
    status.traffic = None;
    status.gates.clear();
}

/// Adds to the history, which forgets its oldest entry once it is full.
pub fn remember(history: &mut Vec<HistoryEntry>, entry: HistoryEntry) {
    history.push(entry);
    let surplus = history.len().saturating_sub(REMEMBERED);
    history.drain(..surplus);
}

/// Design §3: a rejected revision stays held until another one has been promoted. One that an undo has led to is no such other one: nothing
/// but the way back has happened, and whatever was given up on it, or before it, is as bad as it was.
fn set_free(status: &mut RolloutStatus, promoted: &str) {
    let is_undo = status.rejected.iter().any(|rejected| rejected.instead == promoted);
    status.rejected.retain(|rejected| is_undo && rejected.revision != promoted);
}
