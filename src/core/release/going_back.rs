//! The way back: clients first, waiting for nothing; then the canary; then the pins.

use std::ops::ControlFlow::Continue;

use crate::{
    api::{
        policy::OnFailure,
        status::{Outcome, Phase, Rejected, Release, RequestRecord, Rollback, RollbackReason, Traffic},
    },
    core::{
        decision::{
            action::Action,
            draft::Draft,
            notice::{Notice, Reason},
            wait::Flow,
        },
        history::reject,
        release::close,
        request::command::Command,
        traffic::{
            back::{self, raise_live, settle_down, take_clients_back},
            pods,
            selectors::write::open_all,
        },
        view::{View, declared::Pair, handover},
        why::{Why, words},
        workload::managed::{
            native::{self, Caught},
            remove_canary,
        },
    },
};

/// Begins to take a release back, and does the first thing at once: the Services.
pub fn begin(view: &View<'_>, draft: &mut Draft, rollback: Rollback) -> Flow {
    let Some(release) = &mut draft.status.release else { return Why::Recording.until_answered() };
    if rollback.reason == RollbackReason::GateFailed || rollback.reason == RollbackReason::ReadinessLost {
        draft.notices.push(Notice { reason: Reason::GateFailed, note: rollback.message.clone() });
    }
    draft
        .notices
        .push(Notice { reason: Reason::RollbackStarted, note: format!("taking revision {} back: {}", release.revision, rollback.message) });
    // Also where a failure is seen in the same moment, and is told as the reason.
    let is_asked = |record: &&RequestRecord| record.at == Some(view.now) && record.revision == release.revision && words::is_done(record);
    let asked = draft.status.requests.last().filter(is_asked);
    let rejected = rollback.reason.rejects().then(|| Rejected {
        revision: release.revision.clone(),
        reason: rollback.message.clone(),
        gate: rollback.gate.clone(),
        instead: asked.map(|record| record.to.clone()).unwrap_or_default(),
        at: rollback.at,
    });
    release.rollback = Some(rollback);
    let release = release.clone();
    if let Some(rejected) = rejected {
        reject(&mut draft.status, rejected);
    }
    draft.enter(Phase::RollingBack);
    proceed(view, draft, &release, None)
}

/// Takes a release back, as far as it can go now.
pub fn proceed(view: &View<'_>, draft: &mut Draft, release: &Release, command: Option<Command>) -> Flow {
    let Some(rollback) = &release.rollback else { return Why::Recording.until_answered() };
    let reason = rollback.message.clone();
    draft.enter(Phase::RollingBack);
    draft.status.traffic = Some(Traffic::default());
    let Some(live) = view.live() else {
        let hash = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
        return Why::LiveVersionGone { deployment: view.hello.name.clone(), hash }.at_rest();
    };
    let taken_back =
        if view.is_worker() { pods::take_back(view, draft, &live, &reason) } else { take_clients_back(view, draft, &live, &reason) };
    raise_live(view, draft, release, &live);
    taken_back?;
    // An adoption that went wrong has left its pods with the Deployment: they are taken away below.
    let went_wrong = view.canary_deployment().is_some() && view.canary().is_none() && !handover::is_too_late(view, &live);
    if matches!(view.pair, Pair::Managed { .. }) && !went_wrong && native::keep_live(view, draft, &live)? == Caught::TooLate {
        close::record(draft, release, Outcome::RolledBack, &reason, view);
        draft.enter(Phase::Pending);
        return native::give_way(view, draft);
    }
    if view.handover() {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: None });
        draft.notice(Reason::AdoptionCalledOff, format!("the adoption of revision {} was called off", release.revision));
        return Why::TakingBack { load: view.load(), reason }.until_answered();
    }
    if release.traffic_since.is_some() {
        settle_down(view, draft, release, &live)?;
    }
    if keeps_canary(view, release, command) {
        return Why::KeptForDebugging { reason }.for_a_person();
    }
    let removed = match view.pair {
        Pair::Managed { .. } => remove_canary(view, draft),
        Pair::Declared(_) => Continue(()),
    };
    if removed.is_break() || open_all(view, draft).is_break() {
        return leaving(view, reason).until_answered();
    }
    finish(view, draft, release)
}

/// `onFailure: Pause`: the canary stays, without clients, until somebody asks, the template changes or the Rollout goes.
fn keeps_canary(view: &View<'_>, release: &Release, command: Option<Command>) -> bool {
    release.policy.on_failure == OnFailure::Pause
        && release
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.reason.rejects() && rollback.reason != RollbackReason::Aborted && !rollback.released)
        && matches!(view.pair, Pair::Managed { .. })
        && view.is_wanted(&release.revision)
        && !view.snapshot.rollout.deleting
        && command.is_none()
        && view.canary_deployment().is_some()
}

fn finish(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let Some(rollback) = &release.rollback else { return Why::Recording.until_answered() };
    let outcome = match rollback.reason {
        RollbackReason::Superseded | RollbackReason::Reverted => Outcome::Superseded,
        _ => Outcome::RolledBack,
    };
    close::record(draft, release, outcome, &rollback.message, view);
    let left = match view.pair {
        Pair::Managed { .. } => {
            if let Some(canary) = &mut draft.status.canary {
                (canary.ready, canary.replicas) = (0, 0);
            }
            "is gone"
        }
        Pair::Declared(_) => "has no clients",
    };
    let all = if view.is_worker() { "pods are of" } else { "clients are on" };
    draft.notice(Reason::RolledBack, format!("revision {} {left}, all {all} the old version: {}", release.revision, rollback.message));
    draft.wake(view.now);
    if rollback.reason.rejects() && view.is_wanted(&release.revision) {
        draft.enter(Phase::RolledBack);
        return Why::Held { revision: release.revision.clone(), reason: rollback.message.clone() }.for_a_person();
    }
    leaving(view, rollback.message.clone()).until_answered()
}

/// What is done once clients are back. Nobody removes a version of the user's own.
fn leaving(view: &View<'_>, reason: String) -> Why {
    match view.pair {
        Pair::Managed { .. } => back::removing(view, reason),
        Pair::Declared(_) => Why::TakingBack { load: view.load(), reason },
    }
}
