//! A Rollout without Services, that of a queue worker: its pods take work as soon as they run.
//!
//! So a share is a share of pods, there is no moment before the first client, and the way back is to end the canary's pods. The stable side
//! keeps all of its own until the promotion: no weight is more than 50 % before it, and whatever becomes of the canary, as many pods work as
//! their owner asks for.

use std::fmt;

use crate::api::{
    policy::{CanaryReplicas, Gate, OnFailure, PolicySpec, SplitMode, When},
    status::{Release, Traffic},
};

use super::{
    action::Action,
    draft::{Draft, Progress},
    service_split::percent,
    view::{Side, View},
    why::Why,
};

/// The largest share of the pods that a canary can have while the stable side has all of its own.
pub const LARGEST: u8 = 50;

/// What a policy asks for that only a Service could give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedsService {
    Step { weight: u8 },
    Affinity,
    ExactSplit,
    FullCanary,
    KeptCanary,
    DarkGate { gate: String },
}

/// The first thing in a policy that cannot be without a Service.
pub fn needs_service(policy: &PolicySpec) -> Option<NeedsService> {
    let PolicySpec {
        steps,
        gates,
        affinity,
        canary_replicas,
        split,
        on_failure,
        promotion: _,
        keep_previous: _,
        idle: _,
        settle: _,
        progress_deadline: _,
        undo: _,
    } = policy;
    let step = steps.iter().map(|step| step.weight).find(|weight| (LARGEST + 1..100).contains(weight));
    let dark = |gate: &&Gate| gate.http.is_some() && gate.when.contains(&When::BeforeTraffic) && !gate.when.contains(&When::DuringSteps);
    step.map(|weight| NeedsService::Step { weight })
        .or_else(|| affinity.is_some().then_some(NeedsService::Affinity))
        .or_else(|| (*split == SplitMode::Exact).then_some(NeedsService::ExactSplit))
        .or_else(|| (*canary_replicas == CanaryReplicas::Full).then_some(NeedsService::FullCanary))
        .or_else(|| (*on_failure == OnFailure::Pause).then_some(NeedsService::KeptCanary))
        .or_else(|| gates.iter().find(dark).map(|gate| NeedsService::DarkGate { gate: gate.name.clone() }))
}

impl fmt::Display for NeedsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { weight } => write!(
                f,
                "steps has weight {weight}, but without Services (services: []) a share is one of pods, at most {LARGEST} % while the old version keeps all of its own; let the steps rise to {LARGEST} and end with 100, which is the promotion"
            ),
            Self::Affinity => f.write_str(
                "affinity is set, but without Services (services: []) there are no clients that could keep their version; leave affinity out",
            ),
            Self::ExactSplit => f.write_str(
                "split is Exact, but without Services (services: []) every pod that runs works, and none can be left out; set split: Resilient",
            ),
            Self::FullCanary => f.write_str(
                "canaryReplicas is Full, but without Services (services: []) every pod that runs works, so that each step would be 50 %; set canaryReplicas: ByWeight",
            ),
            Self::KeptCanary => f.write_str(
                "onFailure is Pause, but without Services (services: []) a canary that is kept would go on working; set onFailure: Rollback",
            ),
            Self::DarkGate { gate } => write!(
                f,
                "gate {gate} has BeforeTraffic without DuringSteps in when, but without Services (services: []) a pod works as soon as it runs; add DuringSteps"
            ),
        }
    }
}

impl View<'_> {
    /// Whether no clients are moved, only work: there are no Services.
    pub fn is_worker(&self) -> bool {
        self.snapshot.rollout.spec.is_worker()
    }

    /// What a step's weight is a share of the connections, or, without Services, of the pods: before the promotion at most 50 %.
    pub fn share(&self, weight: u8) -> u8 {
        if self.is_worker() { weight.min(LARGEST) } else { weight }
    }
}

/// The share of the ready pods that are of the new version.
pub fn share_of_pods(new: &[&Side<'_>], live: Option<&Side<'_>>) -> u8 {
    let new: i32 = new.iter().map(|side| side.ready_count()).sum();
    percent(new, i64::from(new) + i64::from(live.map_or(0, Side::ready_count)))
}

/// Past its steps, where pods of the Deployment's own work too: puts the share of the new ones on record.
pub fn report(view: &View<'_>, draft: &mut Draft, new: &[&Side<'_>], live: Option<&Side<'_>>) {
    if view.is_worker() {
/// Ready pods of the old version, and of the new one: the canary's, which are the Deployment's own after the hand-over, and in a roll both.
pub fn at_work(view: &View<'_>) -> (i32, i32) {
    let ready = |side: Option<Side<'_>>| side.map_or(0, |side| side.ready_count());
    (ready(view.live()), ready(view.canary()) + ready(view.successor()))
}

        draft.status.traffic = Some(Traffic { desired: 100, routed: Some(share_of_pods(new, live)), clients: None });
    }
}

/// Ends the canary's pods, all of them by one write. Not where they are the only ones that work.
pub fn take_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, reason: &str) -> Progress {
    let Some(deployment) = view.canary_deployment().filter(|deployment| !deployment.deleting && deployment.replicas > 0) else {
        return Progress::Done;
    };
    if live.ready_count() == 0 && view.canary().is_some_and(|canary| canary.ready_count() > 0) {
        draft.status.traffic = Some(Traffic { desired: 0, routed: Some(100), clients: None });
        return draft.wait(Why::BothSidesBad { reason: reason.to_owned() });
    }
    draft.act(Action::ScaleCanary { deployment: deployment.object(), replicas: 0 });
    draft.wait(Why::EndingWork { reason: reason.to_owned() })
}

/// Waits until the canary's pods have been told to end, and puts that on record.
pub fn settle_down(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let Some(rollback) = &release.rollback else { return Progress::Done };
    let at_work = view.canary().is_some_and(|canary| !canary.pods.is_empty());
    if rollback.confirmed_at.is_none() && at_work {
        return draft.wait(Why::EndingWork { reason: rollback.message.clone() });
    }
    draft.status.traffic = Some(Traffic { desired: 0, routed: Some(0), clients: None });
    if let Some(rollback) = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut()) {
        rollback.confirmed_at.get_or_insert(view.now);
    }
    Progress::Done
}
