//! Before the first client: the canary is made, dark, and passes its gates.

use std::ops::ControlFlow::Continue;

use jiff::Timestamp;

use crate::{
    api::{
        policy::When,
        status::{Phase, Release},
    },
    core::{
        decision::{action::Action, draft::Draft, step::step, wait::Flow},
        gate::{self, ask_for_approval, connect, readiness},
        share::share,
        traffic::{establish, selectors::affinity},
        view::{View, declared::Pair},
        why::Why,
        workload::{
            declared,
            managed::{canary::make_way, first_size, hold_native_rollout, make_canary},
        },
    },
};

/// The canary is made, dark: Services pinned first, then empty twins out of the way, then the Deployment, then its pods and gates.
pub fn prepare(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let deadline = release.policy.progress_deadline;
    let Some(live) = view.live() else {
        let hash = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
        return Why::LiveVersionGone { deployment: view.hello.name.clone(), hash }.within(deadline);
    };
    let held = match view.pair {
        Pair::Managed { .. } => hold_native_rollout(view, draft, release, &live),
        Pair::Declared(_) => declared::hold_live(view, draft, release, &live),
    };
    held?;
    affinity::hold(view, draft, release).map_break(|wait| wait.within(deadline))?;
    let Some(deployment) = view.canary_deployment() else {
        if matches!(view.pair, Pair::Declared(_)) {
            return await_first_pods(view, release);
        }
        if view.is_worker() {
            // Its first pod works as soon as it runs, and so does that of a canary whose making was answered when its release was over.
            make_way(view, draft).map_break(|wait| wait.within(deadline))?;
            may_begin(view, release)?;
        }
        return make_canary(view, draft, release);
    };
    let Some(canary) = view.canary() else {
        return await_first_pods(view, release);
    };
    if deployment.deleting {
        return Why::CanaryBeingRemoved { name: deployment.name.clone() }.within(deadline);
    }
    if view.is_worker() {
        return begin_steps(view, draft, release, canary.replica_set.created_at);
    }
    let wanted = first_size(view, release);
    if deployment.replicas < wanted {
        draft.act(Action::ScaleCanary { deployment: deployment.object(), replicas: wanted });
    }
    let needed = share(readiness::min_ready(&release.policy), wanted.max(deployment.replicas));
    // A version of the user's may be in a roll-out of its own: what is not of its template now is not what is released.
    let mixed = matches!(view.pair, Pair::Declared(_)) && !deployment.is_uniform();
    if mixed || canary.available_count(deployment.min_ready_seconds, view.now) < needed {
        return establish::await_pods(view, draft, release, &canary, needed);
    }
    if let Some(why) = connect::closed(view, &canary) {
        return why.within(deadline);
    }
    let names = gate::pending(view, release, When::BeforeTraffic, &canary);
    if !names.is_empty() {
        return Why::Gates { names, until: None }.within(deadline);
    }
    may_begin(view, release)?;
    begin_steps(view, draft, release, view.now)
}

/// Whether the first client may come now, or, without Services, the first pod.
fn may_begin(view: &View<'_>, release: &Release) -> Flow {
    if view.snapshot.rollout.spec.paused {
        return Why::PausedBySpec { weight: 0 }.for_a_person();
    }
    ask_for_approval(view, release, &[When::BeforeTraffic], 0)?;
    // Once there is a pod that works it is too late to ask again: what was approved is on record before.
    let known = view.release().map_or(0, |known| known.approvals.len());
    if view.is_worker() && known < release.approvals.len() {
        return Why::Recording.until_answered();
    }
    Continue(())
}

/// Design §3: that traffic begins is on record before it does, so that a Service found pinned to the live side later is a rollback.
fn begin_steps(view: &View<'_>, draft: &mut Draft, release: &Release, since: Timestamp) -> Flow {
    if let Some(release) = &mut draft.status.release {
        release.traffic_since = Some(since);
    }
    draft.enter(Phase::Progressing);
    let first = step(&release.policy.steps, 1);
    let weight = view.share(first.weight);
    draft.status.step = Some(first);
    Why::ChangingWeight { weight }.within(release.policy.progress_deadline)
}

fn await_first_pods(view: &View<'_>, release: &Release) -> Flow {
    Why::CanaryPods { needed: first_size(view, release), trouble: None, until: None }.within(release.policy.progress_deadline)
}
