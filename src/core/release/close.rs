//! The end of a release: its entry in the history, and the version that is live from then on.

use crate::{
    api::status::{HistoryEntry, Outcome, Phase, Release},
    core::{
        decision::{action::Action, draft::Draft, notice::Reason, wait::Flow},
        history::{self, remember, set_free},
        traffic::{back, selectors::write::open_all},
        view::{self, View, side::Side},
        why::Why,
    },
};

/// The live version's Deployment is gone in the middle of a release, and nothing is left to go back to: the release ends, and what is to be
/// live is found out again.
pub fn without_live(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let gone = draft.status.stable.take().unwrap_or_default().name;
    record(draft, release, Outcome::Unguarded, &format!("Deployment {gone}, the live version, is gone"), view);
    draft.status.canary = None;
    draft.enter(Phase::Pending);
    draft.wake(view.now);
    Why::NativeRollout { deployment: view.hello.name.clone() }.at_rest()
}

/// The version under release, which this side has, is the live one from now on.
pub fn promoted(view: &View<'_>, draft: &mut Draft, release: &Release, side: &Side<'_>) -> Flow {
    let version = side.version();
    // The images of what is live now: of the canary only what it had when it was last looked at is known.
    draft.status.canary = Some(version.clone());
    record(draft, release, Outcome::Promoted, "", view);
    draft.notice(Reason::Promoted, format!("revision {} is the live version", version.revision));
    draft.status.stable = Some(version);
    draft.status.canary = None;
    set_free(&mut draft.status, &release.revision);
    draft.enter(Phase::Healthy);
    draft.wake(view.now);
    Why::Serving { load: view.load(), revision: release.revision.clone() }.at_rest()
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
        asked: history::asked(status, release),
    };
    remember(&mut status.history, entry);
    status.release = None;
    status.step = None;
    status.traffic = None;
    status.gates.clear();
}

/// Its owner set the Deployment to 0: nobody is served, so nothing is released.
pub fn scale_to_zero(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let stage = "the Deployment was scaled to 0, which ends the release";
    if view.handover() {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: None });
        return Why::TakingBack { load: view.load(), reason: stage.into() }.until_answered();
    }
    let mut removing = false;
    for deployment in view.ours() {
        removing = true;
        if !deployment.deleting {
            draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
        }
    }
    if removing || view::lingering(view).is_some() || open_all(view, draft).is_break() {
        return back::removing(view, stage.into()).until_answered();
    }
    draft.status.canary = None;
    draft.wake(view.now);
    if let Some(rejected) = draft.status.rejected.iter().find(|rejected| rejected.revision == release.revision).cloned() {
        // It is held, also without pods: whenever there are pods again, they are the live version's.
        record(draft, release, Outcome::RolledBack, &rejected.reason, view);
        draft.enter(Phase::RolledBack);
        return Why::Held { revision: rejected.revision, reason: rejected.reason }.for_a_person();
    }
    record(draft, release, Outcome::ScaledToZero, stage, view);
    draft.notice(Reason::ScaledToZero, stage);
    // Its next pods, whenever there are any, are the live version's: only a release brings the new one.
    draft.enter(Phase::RolledBack);
    Why::AtZero { deployment: view.hello.name.clone(), revision: release.revision.clone() }.at_rest()
}
