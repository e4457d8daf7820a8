//! The way back: clients first, waiting for nothing; then the canary; then the pins.

use crate::api::{
    POD_TEMPLATE_HASH, Span,
    policy::OnFailure,
    status::{Outcome, Phase, Rejected, Release, RequestRecord, Rollback, RollbackReason, RolloutStatus, Traffic},
};

use super::{
    action::{Action, Reason},
    affinity,
    draft::{Draft, Progress, after, bounded},
    end,
    native::{self, Catch},
    pair::Pair,
    request::{self, Command},
    service_split::Pin,
    snapshot::ServiceFacts,
    traffic::{move_services, open_all, settle},
    view::{Side, View},
    why::Why,
    worker,
};

/// How long kept-alive connections are given after a movement that was not caused by a failure.
const DRAIN: Span = Span::seconds(5);

impl RollbackReason {
    /// Whether the new version is to blame, so that its revision is held from now on.
    pub fn rejects(self) -> bool {
        match self {
            Self::GateFailed | Self::ReadinessLost | Self::DeadlineExceeded | Self::Aborted | Self::AdoptionFailed | Self::Found => true,
            Self::Superseded | Self::Reverted | Self::Deleted | Self::DependencyLost => false,
        }
    }

    /// Whether clients on kept-alive connections are worth waiting for: the version they are on is not bad.
    fn drains(self) -> bool {
        match self {
            Self::Superseded | Self::Reverted | Self::Deleted | Self::DependencyLost => true,
            Self::GateFailed | Self::ReadinessLost | Self::DeadlineExceeded | Self::Aborted | Self::AdoptionFailed | Self::Found => false,
        }
    }
}

/// Begins to take a release back, and does the first thing at once: the Services.
pub fn begin(view: &View<'_>, draft: &mut Draft, rollback: Rollback) -> Progress {
    let Some(release) = &mut draft.status.release else { return Progress::Done };
    if rollback.reason == RollbackReason::GateFailed || rollback.reason == RollbackReason::ReadinessLost {
        draft.notices.push(super::action::Notice { reason: Reason::GateFailed, note: rollback.message.clone() });
    }
    draft.notices.push(super::action::Notice {
        reason: Reason::RollbackStarted,
        note: format!("taking revision {} back: {}", release.revision, rollback.message),
    });
    // Also where a failure is seen in the same moment, and is told as the reason.
    let is_asked = |record: &&RequestRecord| record.at == Some(view.now) && record.revision == release.revision && request::is_done(record);
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

/// Holds a revision from now on.
pub fn reject(status: &mut RolloutStatus, rejected: Rejected) {
    let all = &mut status.rejected;
    all.retain(|old| old.revision != rejected.revision);
    all.push(rejected);
    let surplus = all.len().saturating_sub(end::REMEMBERED);
    all.drain(..surplus);
}

/// Takes a release back, as far as it can go now.
pub fn proceed(view: &View<'_>, draft: &mut Draft, release: &Release, command: Option<Command>) -> Progress {
    let Some(rollback) = &release.rollback else { return Progress::Done };
    let reason = rollback.message.clone();
    draft.enter(Phase::RollingBack);
    draft.status.traffic = Some(Traffic::default());
    let Some(live) = view.live() else {
        let hash = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
        return draft.wait(Why::LiveVersionGone { deployment: view.hello.name.clone(), hash });
    };
    let taken_back =
        if view.is_worker() { worker::take_back(view, draft, &live, &reason) } else { take_clients_back(view, draft, &live, &reason) };
    raise_live(view, draft, release, &live);
    if taken_back == Progress::Waiting {
        return Progress::Waiting;
    }
    // An adoption that went wrong has left its pods with the Deployment: they are taken away below.
    let went_wrong = view.canary_deployment().is_some() && view.canary().is_none() && !worker::is_too_late(view, &live);
    if matches!(view.pair, Pair::Managed { .. }) && !went_wrong {
        match native::keep_live(view, draft, &live) {
            Catch::Caught => {}
            Catch::Waiting => return Progress::Waiting,
            Catch::TooLate => {
                end::record(draft, release, Outcome::RolledBack, &reason, view);
                draft.enter(Phase::Pending);
                return native::give_way(view, draft);
            }
        }
    }
    if view.handover() {
        draft.act(Action::EndHandover { deployment: view.hello.object(), max_surge: view.kept_max_surge(), paused: None });
        draft.notice(Reason::AdoptionCalledOff, format!("the adoption of revision {} was called off", release.revision));
        return draft.wait(taking_back(view, reason));
    }
    if release.traffic_since.is_some() && settle_down(view, draft, release, &live) == Progress::Waiting {
        return Progress::Waiting;
    }
    if keeps_canary(view, release, command) {
        return draft.wait(Why::KeptForDebugging { reason });
    }
    let removed = match view.pair {
        Pair::Managed { .. } => remove_canary(view, draft),
        Pair::Declared(_) => Progress::Done,
    };
    if removed == Progress::Waiting || open_all(view, draft) == Progress::Waiting {
        return draft.wait(leaving(view, reason));
    }
    finish(view, draft, release)
}

/// Pins every Service to the live side: one write each, in this very decision. Not where the live side has no ready pod and the canary
/// has: clients are never moved to the worse side.
fn take_clients_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, reason: &str) -> Progress {
    let target = live.pin();
    // Once the canary is on its way out the pins may come off again, and stay off.
    let managed = matches!(view.pair, Pair::Managed { .. });
    let canary_is_gone = managed && view.ours().next().is_none() && lingering(view).is_none();
    let is_back = |pin: Pin| pin == target || canary_is_gone && pin == view.rest_pin();
    let away: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| !is_back(view.pin(service))).collect();
    if away.is_empty() {
        return Progress::Done;
    }
    let others = away.iter().any(|service| !view.selected(service, &Pin::Open).is_empty());
    if live.ready_count() == 0 && others {
        return draft.wait(Why::BothSidesBad { reason: reason.to_owned() });
    }
    move_services(view, draft, away, &target);
    draft.wait(Why::TakingBack { reason: reason.to_owned() })
}

/// A live version of the user's own that was set to 0 after traffic had begun, by its owner or by an `idle: ScaleToZero` whose answer was
/// lost, gets its pods again: clients are on their way back to it. The pin goes out first all the same.
fn raise_live(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) {
    let declared = matches!(view.pair, Pair::Declared(_));
    if declared && release.traffic_since.is_some() && live.replicas == 0 && release.size > 0 {
        draft.act(Action::ScaleCanary { deployment: view.hello.object(), replicas: release.size });
    }
}

/// Waits until the endpoints show the live side only, and then for the time that nodes and, after a movement that no failure
/// caused, kept-alive connections are given.
fn settle_down(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Progress {
    if view.is_worker() {
        return worker::settle_down(view, draft, release);
    }
    let confirmed_at = release.rollback.as_ref().and_then(|rollback| rollback.confirmed_at);
    let elsewhere =
        |service: &&ServiceFacts| service.endpoints.iter().any(|uid| live.pods.iter().all(|pod| pod.uid != *uid) && is_served(view, uid));
    let services: Vec<String> = view.services().iter().filter(|service| elsewhere(service)).map(|service| service.name.clone()).collect();
    if confirmed_at.is_none() && !services.is_empty() {
        return draft.wait(Why::Confirming { weight: 0, services });
    }
    // Without the Service that there was there is nothing to be seen.
    let routed = (!view.services().is_empty()).then_some(0);
    draft.status.traffic = Some(Traffic { desired: 0, routed, clients: routed.filter(|_| affinity::seconds(&release.policy).is_some()) });
    let rollback = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut());
    let confirmed_at = rollback.map_or(view.now, |rollback| bounded(&mut rollback.confirmed_at, view.now));
    let drains = release.rollback.as_ref().is_some_and(|rollback| rollback.reason.drains());
    let until = after(confirmed_at, settle(view, release).max(if drains { DRAIN } else { Span::default() }));
    if view.now < until {
        draft.wake(until);
        return draft.wait(Why::Settling { weight: 0, until });
    }
    Progress::Done
}

/// Whether a pod of that uid is still there and could answer.
fn is_served(view: &View<'_>, uid: &str) -> bool {
    view.snapshot.pods.iter().any(|pod| pod.uid == uid && pod.serves())
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

/// Removes what runs the new version: our Deployment, or, where an adoption had gone too far, the adopted ReplicaSet's pods.
fn remove_canary(view: &View<'_>, draft: &mut Draft) -> Progress {
    let adopted = view.successor();
    if let Some(adopted) = &adopted
        && adopted.replica_set.replicas > 0
        && view.hello.paused
    {
        draft.act(Action::ScaleReplicaSet { replica_set: adopted.replica_set.object(), replicas: 0 });
    }
    for deployment in view.ours().filter(|deployment| !deployment.deleting) {
        draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: adopted.is_some() && view.canary().is_none() });
    }
    // A Deployment that was never held rolls by itself, and what it runs is not ours to wait for.
    let native = !view.hello.paused && view.release().is_some_and(|release| release.traffic_since.is_none());
    let gone =
        view.ours().next().is_none() && lingering(view).is_none() && (native || adopted.is_none_or(|adopted| adopted.pods.is_empty()));
    if gone { Progress::Done } else { Progress::Waiting }
}

/// A pod that a Deployment of ours has left behind and that could still take clients: the removal of a Deployment reaches its pods last.
pub fn lingering(view: &View<'_>) -> Option<String> {
    let exists = |uid: &str| view.snapshot.deployments.iter().any(|deployment| deployment.uid == uid);
    let set = |uid: &str| view.snapshot.replica_sets.iter().find(|set| set.uid == uid);
    let left_behind = |owner: &str| set(owner).is_none_or(|set| set.owner.as_deref().is_some_and(|deployment| !exists(deployment)));
    view.snapshot
        .pods
        .iter()
        .filter(|pod| {
            !pod.deleting() && !pod.finished && pod.labels.contains_key(POD_TEMPLATE_HASH) && view.hello.selector.matches(&pod.labels)
        })
        .find(|pod| pod.owner.as_deref().is_some_and(left_behind))
        .map(|pod| pod.name.clone())
}

fn finish(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let Some(rollback) = &release.rollback else { return Progress::Done };
    let outcome = match rollback.reason {
        RollbackReason::Superseded | RollbackReason::Reverted => Outcome::Superseded,
        _ => Outcome::RolledBack,
    };
    end::record(draft, release, outcome, &rollback.message, view);
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
        return draft.wait(Why::Held { revision: release.revision.clone(), reason: rollback.message.clone() });
    }
    draft.wait(leaving(view, rollback.message.clone()))
}

/// What is done once clients are back. Nobody removes a version of the user's own.
fn leaving(view: &View<'_>, reason: String) -> Why {
    match view.pair {
        Pair::Managed { .. } => removing(view, reason),
        Pair::Declared(_) => Why::TakingBack { reason },
    }
}

/// That a canary which nobody needs any more is being removed.
pub fn removing(view: &View<'_>, reason: String) -> Why {
    if !view.is_worker() {
        Why::RemovingCanary { reason }
    } else if worker::is_at_work(view) {
        Why::EndingWork { reason }
    } else {
        Why::WorkEnded { reason }
    }
}

/// That clients, or work, are being taken back.
pub fn taking_back(view: &View<'_>, reason: String) -> Why {
    if view.is_worker() { Why::EndingWork { reason } } else { Why::TakingBack { reason } }
}
