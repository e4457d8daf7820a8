//! What takes a release back.

use crate::{
    api::status::{Phase, Release, Rollback, RollbackReason},
    core::{
        accept::service,
        decision::time::after,
        gate,
        request::command::Command,
        view::{View, declared::Pair, handover::is_rolling, side::Side},
        why::{
            refusal::Refusal,
            words::{self, Names},
        },
    },
};

/// What takes the release back now, if anything does.
pub fn trigger(view: &View<'_>, release: &Release, phase: Phase, canary: Option<&Side<'_>>, command: Option<Command>) -> Option<Rollback> {
    let rollback =
        |reason, message: String, gate: String| Some(Rollback { reason, message, gate, at: view.now, confirmed_at: None, released: false });
    // Past that point nothing can be taken back: what comes meanwhile waits for the roll to end.
    if is_rolling(view, phase) {
        return None;
    }
    // Clients may be on it, and people may have approved what it is not.
    if let Some(canary) = view.changed_canary() {
        let message = format!(
            "Deployment {} has revision {} in place of {}: its template was changed after it was made, and what was tested is not what would \
             go live",
            canary.name, canary.revision, release.revision
        );
        return rollback(RollbackReason::CanaryChanged, message, String::new());
    }
    // First what clients suffer from.
    if let Some(failure) = canary.and_then(|canary| gate::failure(view, release, phase, canary)) {
        return rollback(failure.reason, failure.message, failure.gate);
    }
    if command == Some(Command::Abort) {
        let message = view.snapshot.rollout.spec.request.as_ref().map(words::reason).unwrap_or_default();
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
    if let Some(Refusal::ServiceNotFound { services, .. }) = service::services_missing(view) {
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
