//! A release under way: what takes it back comes first, then what moves it on.

use crate::api::status::{Outcome, Phase, Release, Rollback, RollbackReason};

use super::{
    action::{Action, Reason},
    adoption, declared,
    draft::{Draft, Progress, after},
    end, gate, native,
    pair::Pair,
    refusal::Refusal,
    request,
    request::Command,
    roll, rollback, steps,
    traffic::{Sides, open_all},
    undo, validate,
    view::{Side, View},
    why::{Names, Why},
};

/// Decides for a release that is on record.
pub fn decide(view: &View<'_>, draft: &mut Draft) -> Progress {
    let command = request::take(view, draft);
    let Some(release) = draft.status.release.clone() else { return Progress::Done };
    let managed = matches!(view.pair, Pair::Managed { .. });
    if managed && view.hello.replicas == 0 && !adoption::is_past_return(view) {
        return scale_to_zero(view, draft, &release);
    }
    if view.live_is_gone() {
        return declared::without_live(view, draft, &release);
    }
    if adoption::is_past_return(view) && release.rollback.is_none() {
        return adoption::settle(view, draft, &release);
    }
    let phase = draft.status.phase.unwrap_or(Phase::Preparing);
    let (canary, live) = (view.canary(), view.live());
    if let Some(canary) = &canary {
        draft.status.canary = Some(canary.version());
        draft.probes = gate::probes(view, &release, phase, canary);
    }
    if release.rollback.is_some() {
        return take_back_further(view, draft, command);
    }
    if let Some(rollback) = trigger(view, &release, phase, canary.as_ref(), command) {
        return rollback::begin(view, draft, rollback);
    }
    if let Some(command) = command {
        request::promote(view, draft, command);
    }
    if !view.snapshot.recorded {
        return draft.wait(Why::Recording);
    }
    if matches!(phase, Phase::Progressing | Phase::Baking) && managed && !view.hello.paused {
        // Somebody unpaused it: it would replace the pods that clients may have to be taken back to.
        return native::stop(view, draft, live.as_ref());
    }
    draft.status.gates = gate::statuses(view, &release, phase, canary.as_ref());
    match (phase, &canary) {
        (Phase::Progressing, Some(canary)) => steps::progress(view, draft, &release, Sides { canary, live: live.as_ref() }),
        (Phase::Baking, Some(canary)) => steps::bake(view, draft, &release, Sides { canary, live: live.as_ref() }),
        (Phase::Promoting, Some(canary)) => promote(view, draft, &release, Sides { canary, live: live.as_ref() }),
        _ => {
            draft.enter(Phase::Preparing);
            steps::prepare(view, draft, &release)
        }
    }
}

/// Makes a release permanent, once the old version is not kept warm any longer.
pub fn promote(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Progress {
    match view.pair {
        Pair::Managed { .. } => adoption::promote(view, draft, release, sides),
        Pair::Declared(_) => declared::swap(view, draft, release, sides),
    }
}

fn take_back_further(view: &View<'_>, draft: &mut Draft, command: Option<Command>) -> Progress {
    if command == Some(Command::Retry)
        && let Some(release) = &draft.status.release
    {
        let revision = release.revision.clone();
        draft.status.rejected.retain(|rejected| rejected.revision != revision);
    }
    if command == Some(Command::Abort)
        && let (Some(release), Some(request)) = (&draft.status.release, &view.snapshot.rollout.spec.request)
    {
        // Whoever takes it back means the revision, also where something else had begun to, such as a Service that is gone.
        let revision = release.revision.clone();
        undo::give_up(draft, request, revision, view.now);
    }
    if command.is_some()
        && let Some(rollback) = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut())
    {
        rollback.released = true;
    }
    let Some(release) = draft.status.release.clone() else { return Progress::Done };
    rollback::proceed(view, draft, &release, command)
}

/// What takes the release back now, if anything does.
fn trigger(view: &View<'_>, release: &Release, phase: Phase, canary: Option<&Side<'_>>, command: Option<Command>) -> Option<Rollback> {
    let rollback =
        |reason, message: String, gate: String| Some(Rollback { reason, message, gate, at: view.now, confirmed_at: None, released: false });
    // Past that point nothing can be taken back: what comes meanwhile waits for the roll to end.
    if is_rolling(view, phase) {
        return None;
    }
    // First what clients suffer from.
    if let Some(failure) = canary.and_then(|canary| gate::failure(view, release, phase, canary)) {
        return rollback(failure.reason, failure.message, failure.gate);
    }
    if command == Some(Command::Abort) {
        let message = view.snapshot.rollout.spec.request.as_ref().map(request::reason).unwrap_or_default();
        return rollback(RollbackReason::Aborted, message, String::new());
    }
    let Some(template) = view.wanted() else {
        return rollback(RollbackReason::DependencyLost, "the Deployment that workload.live names is gone".into(), String::new());
    };
    if template.revision != release.revision {
        let reverted = view.live().is_some_and(|live| live.replica_set.revision == template.revision);
        return match view.pair {
            Pair::Declared(_) if template.uid == view.hello.uid => {
                rollback(RollbackReason::Reverted, format!("workload.live names {} again", template.name), String::new())
            }
            Pair::Managed { .. } if reverted => {
                rollback(RollbackReason::Reverted, "the template is the live version's again".into(), String::new())
            }
            _ => rollback(RollbackReason::Superseded, format!("revision {} came in its place", template.revision), String::new()),
        };
    }
    if view.snapshot.rollout.deleting && matches!(phase, Phase::Preparing | Phase::Progressing) {
        return rollback(RollbackReason::Deleted, "the Rollout is being deleted".into(), String::new());
    }
    if let Some(Refusal::ServiceNotFound { services, .. }) = validate::services_missing(view) {
        return rollback(RollbackReason::DependencyLost, format!("{} is gone", Names("Service", &services)), String::new());
    }
    if release.traffic_since.is_some() && canary.is_none() {
        return rollback(RollbackReason::DependencyLost, "the canary Deployment is gone".into(), String::new());
    }
    if found_under_way(view, phase) {
        let mark = if view.is_worker() { "the canary was found scaled to 0" } else { "the Services were found pinned to the old version" };
        return rollback(RollbackReason::Found, format!("{mark}, the mark of a rollback that had begun"), String::new());
    }
    let waiting_since = view.snapshot.status.step.as_ref().and_then(|step| step.waiting_since);
    if !matches!(phase, Phase::Promoting)
        && !view.snapshot.rollout.spec.paused
        && waiting_since.is_some_and(|since| after(since, release.policy.progress_deadline) <= view.now)
    {
        let waited = format!("no progress for {}: {}", release.policy.progress_deadline, view.snapshot.status.why);
        return rollback(RollbackReason::DeadlineExceeded, waited, String::new());
    }
    None
}

/// Whether the old pods may be going already, so that clients could not be taken back to them: the Deployment rolls itself, or the previous
/// version is scaled to 0. Where the new version itself is gone there is no other way than back.
pub fn is_rolling(view: &View<'_>, phase: Phase) -> bool {
    let has_begun = match view.pair {
        Pair::Managed { .. } => roll::has_begun(view),
        Pair::Declared(_) => view.canary().is_some(),
    };
    phase == Phase::Promoting && has_begun
}

/// A Service pinned to the live side after traffic had begun is the record of a rollback whose status was lost; without Services it is a
/// canary at 0.
fn found_under_way(view: &View<'_>, phase: Phase) -> bool {
    if view.is_worker() {
        let ended = view.canary_deployment().is_some_and(|canary| canary.replicas == 0);
        return ended && matches!(phase, Phase::Progressing | Phase::Baking | Phase::Promoting);
    }
    let status = &view.snapshot.status;
    let begun = status.step.as_ref().is_some_and(|step| step.index > 1 || step.since.is_some());
    let Some(live) = view.live_pin() else { return false };
    matches!(phase, Phase::Progressing | Phase::Baking | Phase::Promoting)
        && begun
        && view.services().iter().any(|service| view.pin(service) == live)
}

/// Its owner set the Deployment to 0: nobody is served, so nothing is released.
fn scale_to_zero(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let stage = "the Deployment was scaled to 0, which ends the release";
    if view.handover() {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: None });
        return draft.wait(rollback::taking_back(view, stage.into()));
    }
    let mut removing = false;
    for deployment in view.ours() {
        removing = true;
        if !deployment.deleting {
            draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
        }
    }
    if removing || rollback::lingering(view).is_some() || open_all(view, draft) == Progress::Waiting {
        return draft.wait(rollback::removing(view, stage.into()));
    }
    draft.status.canary = None;
    draft.wake(view.now);
    if let Some(rejected) = draft.status.rejected.iter().find(|rejected| rejected.revision == release.revision).cloned() {
        // It is held, also without pods: whenever there are pods again, they are the live version's.
        end::record(draft, release, Outcome::RolledBack, &rejected.reason, view);
        draft.enter(Phase::RolledBack);
        return draft.wait(Why::Held { revision: rejected.revision, reason: rejected.reason });
    }
    end::record(draft, release, Outcome::ScaledToZero, stage, view);
    draft.notice(Reason::ScaledToZero, stage);
    // Its next pods, whenever there are any, will be of the new template: what is live is to be found out again.
    draft.status.stable = None;
    draft.enter(Phase::Pending);
    draft.wait(Why::NativeRollout { deployment: view.hello.name.clone() })
}
