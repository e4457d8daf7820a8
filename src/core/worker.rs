//! A Rollout without Services, that of a queue worker: its pods take work as soon as they run.
//!
//! So a share is a share of pods, there is no moment before the first client, and the way back is to end the canary's pods. The stable side
//! keeps all of its own until the promotion: no weight is more than 50 % before it, and whatever becomes of the canary, as many pods work as
//! their owner asks for.

use std::fmt;

use crate::api::{
    POD_TEMPLATE_HASH,
    policy::{CanaryReplicas, Gate, OnFailure, PolicySpec, SplitMode, When},
    status::{Release, Traffic},
};

use super::{
    action::Action,
    draft::{Draft, Progress},
    rollback,
    service_split::percent,
    snapshot::PodFacts,
    view::{Side, View},
    why::Why,
};

/// The largest share of the pods that a canary can have while the stable side has all of its own.
pub const LARGEST: u8 = 50;

/// What is asked for that only a Service could give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedsService {
    Step {
        weight: u8,
    },
    Affinity,
    ExactSplit,
    FullCanary,
    KeptCanary,
    DarkGate {
        gate: String,
    },
    /// `spec.preview`, not the policy's.
    Preview,
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
            Self::Preview => f.write_str(
                "spec.preview is set, but without Services (services: []) a pod of the new version works as soon as it runs, so there is no time to look at it before; leave preview out",
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

/// Ready pods of the old version, and of the new one: the canary's, which are the Deployment's own after the hand-over, and in a roll both.
pub fn at_work(view: &View<'_>) -> (i32, i32) {
    let ready = |side: Option<Side<'_>>| side.map_or(0, |side| side.ready_count());
    (ready(view.live()), ready(view.canary()) + ready(view.successor()))
}

/// Past its steps, where pods of the Deployment's own work too: puts the share of the new ones on record.
pub fn report(view: &View<'_>, draft: &mut Draft, new: &[&Side<'_>], live: Option<&Side<'_>>) {
    if view.is_worker() {
        draft.status.traffic = Some(Traffic { desired: 100, routed: Some(share_of_pods(new, live)), clients: None });
    }
}

/// Ends the canary's pods, all of them by one write. Not where they are the only ones that work.
pub fn take_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, reason: &str) -> Progress {
    let deployment = view.canary_deployment().filter(|deployment| !deployment.deleting && deployment.replicas > 0);
    // Where the old ReplicaSet is empty the Deployment controller would only give its pods to the adopted one again.
    let adopted = adopted(view).filter(|side| live.replica_set.replicas > 0 && side.replica_set.replicas > 0);
    let action = match (&adopted, deployment) {
        (Some(side), _) => Action::ScaleReplicaSet { replica_set: side.replica_set.object(), replicas: 0 },
        (None, Some(deployment)) => Action::ScaleCanary { deployment: deployment.object(), replicas: 0 },
        (None, None) => return Progress::Done,
    };
    if live.ready_count() == 0 && adopted.or_else(|| view.canary()).is_some_and(|side| side.ready_count() > 0) {
        draft.status.traffic = Some(Traffic { desired: 0, routed: Some(100), clients: None });
        return draft.wait(Why::BothSidesBad { reason: reason.to_owned() });
    }
    draft.act(action);
    draft.wait(Why::EndingWork { reason: reason.to_owned() })
}

/// The canary's pods, where the Deployment has them already: the hand-over was on its way when the way back began.
fn adopted<'a>(view: &View<'a>) -> Option<Side<'a>> {
    view.successor().filter(|_| view.hello.paused && view.canary().is_none() && view.canary_deployment().is_some())
}

/// Whether the Deployment has the canary's pods already and has let all of the old ones go, so that there is nothing left to go back to.
pub fn is_too_late(view: &View<'_>, live: &Side<'_>) -> bool {
    view.is_worker() && live.replica_set.replicas == 0 && adopted(view).is_some()
}

/// Whether pods of any version but the live one are there: those of a canary that is about to be removed work until they end.
pub fn is_at_work(view: &View<'_>) -> bool {
    let live = view.snapshot.status.stable.as_ref().map(|stable| &stable.hash);
    let is_other = |pod: &PodFacts| view.is_of_pair(pod) && pod.labels.get(POD_TEMPLATE_HASH).is_some_and(|hash| Some(hash) != live);
    !view.pods_where(is_other).is_empty()
}

/// Waits until the canary's pods have been told to end, and puts that on record.
pub fn settle_down(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let Some(rollback) = &release.rollback else { return Progress::Done };
    // The removal of a Deployment, by whomever, reaches its pods last.
    let has_pods = view.canary().or_else(|| adopted(view)).is_some_and(|side| !side.pods.is_empty());
    let at_work = has_pods || rollback::lingering(view).is_some();
    if rollback.confirmed_at.is_none() && at_work {
        return draft.wait(Why::EndingWork { reason: rollback.message.clone() });
    }
    draft.status.traffic = Some(Traffic { desired: 0, routed: Some(0), clients: None });
    if let Some(rollback) = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut()) {
        rollback.confirmed_at.get_or_insert(view.now);
    }
    Progress::Done
}
