//! Before the first client: the canary is made, dark, and passes its gates.

use jiff::Timestamp;

use crate::{
    api::{
        policy::When,
        status::{Phase, Release},
    },
    core::{
        decision::{action::Action, draft::Draft, step::step, wait::Progress},
        gate::{self, ask_for_approval, readiness},
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
pub fn prepare(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let Some(live) = view.live() else {
        let hash = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
        return draft.wait(Why::LiveVersionGone { deployment: view.hello.name.clone(), hash });
    };
    let held = match view.pair {
        Pair::Managed { .. } => hold_native_rollout(view, draft, release, &live),
        Pair::Declared(_) => declared::hold_live(view, draft, release, &live),
    };
    if held == Progress::Waiting {
        return Progress::Waiting;
    }
    if affinity::hold(view, draft, release) == Progress::Waiting {
        draft.deadline(release.policy.progress_deadline, view.now);
        return Progress::Waiting;
    }
    let Some(deployment) = view.canary_deployment() else {
        return match view.pair {
            // Its first pod works as soon as it runs, and so does that of a canary whose making was answered when its release was over.
            Pair::Managed { .. }
                if view.is_worker()
                    && (make_way(view, draft) == Progress::Waiting || may_begin(view, draft, release) == Progress::Waiting) =>
            {
                Progress::Waiting
            }
            Pair::Managed { .. } => make_canary(view, draft, release),
            Pair::Declared(_) => await_first_pods(view, draft, release),
        };
    };
    let Some(canary) = view.canary() else {
        return await_first_pods(view, draft, release);
    };
    if deployment.deleting {
        return draft.wait(Why::CanaryBeingRemoved { name: deployment.name.clone() });
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
    let names = gate::pending(view, release, When::BeforeTraffic, &canary);
    if !names.is_empty() {
        let until = draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Gates { names, until });
    }
    if may_begin(view, draft, release) == Progress::Waiting {
        return Progress::Waiting;
    }
    begin_steps(view, draft, release, view.now)
}

/// Whether the first client may come now, or, without Services, the first pod.
fn may_begin(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    if view.snapshot.rollout.spec.paused {
        return draft.wait(Why::PausedBySpec { weight: 0 });
    }
    if ask_for_approval(view, draft, release, &[When::BeforeTraffic], 0) == Progress::Waiting {
        return Progress::Waiting;
    }
    // Once there is a pod that works it is too late to ask again: what was approved is on record before.
    let known = view.release().map_or(0, |known| known.approvals.len());
    if view.is_worker() && known < release.approvals.len() {
        return draft.wait(Why::Recording);
    }
    Progress::Done
}

/// Design §3: that traffic begins is on record before it does, so that a Service found pinned to the live side later is a rollback.
fn begin_steps(view: &View<'_>, draft: &mut Draft, release: &Release, since: Timestamp) -> Progress {
    if let Some(release) = &mut draft.status.release {
        release.traffic_since = Some(since);
    }
    draft.enter(Phase::Progressing);
    let first = step(&release.policy.steps, 1);
    let weight = view.share(first.weight);
    draft.status.step = Some(first);
    draft.wait(Why::ChangingWeight { weight })
}

fn await_first_pods(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let until = draft.deadline(release.policy.progress_deadline, view.now);
    draft.wait(Why::CanaryPods { needed: first_size(view, release), trouble: None, until })
}
