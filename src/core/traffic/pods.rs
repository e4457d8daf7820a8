//! Without Services the pods themselves are what is shared out: they take work as soon as they run.
//!
//! So a share is a share of pods, there is no moment before the first client, and the way back is to end the canary's pods. The stable side
//! keeps all of its own until the promotion: no weight is more than 50 % before it, and whatever becomes of the canary, as many pods work as
//! their owner asks for.

use std::ops::ControlFlow::Continue;

use crate::{
    api::{
        policy::{CanaryReplicas, Gate, OnFailure, PolicySpec, SplitMode, When},
        status::{Release, Traffic},
    },
    core::{
        decision::{action::Action, draft::Draft, wait::Flow},
        share::percent,
        view::{self, View, handover::adopted, side::Side},
        why::{
            Why,
            refusal::pods::{LARGEST, NeedsService},
            words::Load,
        },
    },
};

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
    let dark = |gate: &&Gate| gate.pace().is_some() && gate.when.contains(&When::BeforeTraffic) && !gate.when.contains(&When::DuringSteps);
    step.map(|weight| NeedsService::Step { weight })
        .or_else(|| affinity.is_some().then_some(NeedsService::Affinity))
        .or_else(|| (*split == SplitMode::Exact).then_some(NeedsService::ExactSplit))
        .or_else(|| (*canary_replicas == CanaryReplicas::Full).then_some(NeedsService::FullCanary))
        .or_else(|| (*on_failure == OnFailure::Pause).then_some(NeedsService::KeptCanary))
        .or_else(|| gates.iter().find(dark).map(|gate| NeedsService::DarkGate { gate: gate.name.clone() }))
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
pub fn take_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, reason: &str) -> Flow {
    let deployment = view.canary_deployment().filter(|deployment| !deployment.deleting && deployment.replicas > 0);
    // Where the old ReplicaSet is empty the Deployment controller would only give its pods to the adopted one again.
    let adopted = adopted(view).filter(|side| live.replica_set.replicas > 0 && side.replica_set.replicas > 0);
    let action = match (&adopted, deployment) {
        (Some(side), _) => Action::ScaleReplicaSet { replica_set: side.replica_set.object(), replicas: 0 },
        (None, Some(deployment)) => Action::ScaleCanary { deployment: deployment.object(), replicas: 0 },
        (None, None) => return Continue(()),
    };
    if live.ready_count() == 0 && adopted.or_else(|| view.canary()).is_some_and(|side| side.ready_count() > 0) {
        draft.status.traffic = Some(Traffic { desired: 0, routed: Some(100), clients: None });
        return Why::BothSidesBad { reason: reason.to_owned() }.for_a_person();
    }
    draft.act(action);
    Why::TakingBack { load: Load::Work, reason: reason.to_owned() }.until_answered()
}

/// Waits until the canary's pods have been told to end, and puts that on record.
pub fn settle_down(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let Some(rollback) = &release.rollback else { return Continue(()) };
    // The removal of a Deployment, by whomever, reaches its pods last.
    let has_pods = view.canary().or_else(|| adopted(view)).is_some_and(|side| !side.pods.is_empty());
    let at_work = has_pods || view::lingering(view).is_some();
    if rollback.confirmed_at.is_none() && at_work {
        return Why::TakingBack { load: Load::Work, reason: rollback.message.clone() }.until_answered();
    }
    draft.status.traffic = Some(Traffic { desired: 0, routed: Some(0), clients: None });
    if let Some(rollback) = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut()) {
        rollback.confirmed_at.get_or_insert(view.now);
    }
    Continue(())
}
