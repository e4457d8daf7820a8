//! The forward movement of a release: canary, steps, bake.

use jiff::Timestamp;

use crate::api::{
    Span,
    policy::When,
    status::{Phase, Release, StepStatus},
};

use super::{
    action::{Action, Reason},
    affinity, approval, canary, declared,
    draft::{Draft, Progress, after, bounded, elapsed, step},
    gate,
    native::{self, Catch},
    pair::Pair,
    release,
    replicas::share,
    service_split::Pin,
    traffic::{self, Sides, establish},
    validate,
    view::{Side, View},
    why::Why,
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
    let needed = share(gate::min_ready(&release.policy), wanted.max(deployment.replicas));
    // A version of the user's may be in a roll-out of its own: what is not of its template now is not what is released.
    let mixed = matches!(view.pair, Pair::Declared(_)) && !deployment.is_uniform();
    if mixed || canary.available_count(deployment.min_ready_seconds, view.now) < needed {
        return traffic::await_pods(view, draft, release, &canary, needed);
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

/// Stops where gates ask for an approval that nobody has given. It takes as long as it takes: no deadline runs.
fn ask_for_approval(view: &View<'_>, draft: &mut Draft, release: &Release, moments: &[When], weight: u8) -> Progress {
    let gates = approval::missing(release, moments, weight);
    if gates.is_empty() {
        return Progress::Done;
    }
    draft.wait(Why::ApprovalAwaited { gates, revision: release.revision.clone(), weight: view.share(weight) })
}

/// Makes sure that the Deployment does not roll by itself, and pins the Services to the live side. Where its roll-out has gone too far,
/// there is no release: it is left to the Deployment, and history will say so.
fn hold_native_rollout(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Progress {
    match native::catch(view, draft, live, native::enough(view, live)) {
        Catch::Caught => Progress::Done,
        Catch::Waiting => {
            draft.deadline(release.policy.progress_deadline, view.now);
            Progress::Waiting
        }
        Catch::TooLate if view.canary_deployment().is_none() => {
            let status = &mut draft.status;
            status.release = None;
            status.step = None;
            status.canary = None;
            status.gates.clear();
            draft.enter(Phase::Pending);
            native::give_way(view, draft)
        }
        Catch::TooLate => draft.wait(Why::Restoring { deployment: view.hello.name.clone() }),
    }
}

fn first_size(view: &View<'_>, release: &Release) -> i32 {
    let weight = release.policy.steps.first().map_or(100, |step| step.weight);
    canary::size(&release.policy, weight, view.split(&release.policy, weight), view.full_size())
}

fn make_canary(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let name = canary::name(&view.hello.name, &release.revision);
    let unconfirmed = view.unconfirmed();
    if !unconfirmed.is_empty() {
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Pinning { services: unconfirmed });
    }
    // Looked at again: what was right when the release began may have changed before there is a canary to do harm.
    if let Some(refusal) = validate::refusal(view, Some(&release.policy)) {
        draft.refusal = Some(refusal.clone());
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Refused(refusal));
    }
    if make_way(view, draft) == Progress::Waiting {
        return Progress::Waiting;
    }
    if remove_twins(view, draft, &release.revision) == Progress::Waiting {
        draft.deadline(release.policy.progress_deadline, view.now);
        return Progress::Waiting;
    }
    draft.act(Action::CreateCanary { name: name.clone(), body: canary::body(view, &name, first_size(view, release)) });
    draft.deadline(release.policy.progress_deadline, view.now);
    draft.wait(Why::CreatingCanary { name })
}

/// Removes the canary of another release, before there is one of this.
fn make_way(view: &View<'_>, draft: &mut Draft) -> Progress {
    let Some(other) = view.ours().next() else { return Progress::Done };
    if !other.deleting {
        draft.act(Action::DeleteCanary { deployment: other.object(), must_own_nothing: false });
    }
    draft.wait(Why::CanaryBeingRemoved { name: other.name.clone() })
}

/// Removes the ReplicaSets that the Deployment has for the new template already, empty ones by now: after an adoption the Deployment
/// controller would take such an older twin for the new ReplicaSet and restart everything (mechanics §11).
pub fn remove_twins(view: &View<'_>, draft: &mut Draft, revision: &str) -> Progress {
    let live = draft.status.stable.as_ref().map(|stable| stable.hash.clone()).unwrap_or_default();
    let twins: Vec<_> = view.own_replica_sets().filter(|set| set.revision == revision && set.hash != live).collect();
    if twins.is_empty() {
        return Progress::Done;
    }
    for twin in twins.iter().filter(|set| !set.deleting && set.replicas == 0 && set.current == 0) {
        draft.act(Action::DeleteReplicaSet { replica_set: twin.object() });
    }
    draft.wait(Why::Restoring { deployment: view.hello.name.clone() })
}

fn await_first_pods(view: &View<'_>, draft: &mut Draft, release: &Release) -> Progress {
    let until = draft.deadline(release.policy.progress_deadline, view.now);
    draft.wait(Why::CanaryPods { needed: first_size(view, release), trouble: None, until })
}

/// At step i: weight asked, confirmed, settled, held; then the next step.
pub fn progress(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Progress {
    let steps = &release.policy.steps;
    let mut at = draft.status.step.clone().unwrap_or_else(|| step(steps, 1));
    if moved_on(view, release, &at, sides.canary) {
        at = step(steps, at.index + 1);
        draft.status.step = Some(at.clone());
    }
    loop {
        if establish(view, draft, release, at.weight, sides) == Progress::Waiting {
            return Progress::Waiting;
        }
        let waiting_since = draft.status.step.as_ref().and_then(|step| step.waiting_since);
        let hold = steps.iter().find(|step| step.weight == at.weight).map(|step| step.hold).unwrap_or_default();
        let settled_at = after(view.now, traffic::settle(view, release));
        if at.since.is_none() {
            let keeps = affinity::seconds(&release.policy).is_some() && at.weight < 100;
            let subject = match (view.is_worker(), keeps) {
                (true, _) => "the pods are of",
                (false, true) => "new clients go to",
                (false, false) => "the clients are on",
            };
            draft.notice(Reason::WeightConfirmed, format!("{} % of {subject} revision {}", view.share(at.weight), release.revision));
        }
        let since = bounded(&mut at.since, settled_at);
        at.waiting_since = waiting_since;
        if let Some(release) = &mut draft.status.release {
            release.max_weight = release.max_weight.max(view.share(at.weight));
        }
        let over = hold_clock(view, draft, &mut at, since, hold);
        draft.status.step = Some(at.clone());
        if !over {
            return Progress::Waiting;
        }
        let names = gate::pending(view, release, When::DuringSteps, sides.canary);
        if !names.is_empty() {
            let until = draft.deadline(release.policy.progress_deadline, view.now);
            return draft.wait(Why::Gates { names, until });
        }
        if ask_for_approval(view, draft, release, &[When::DuringSteps], at.weight) == Progress::Waiting {
            return Progress::Waiting;
        }
        if at.index >= at.of {
            begin_bake(view, draft, release);
            return Progress::Waiting;
        }
        at = step(steps, at.index + 1);
        draft.status.step = Some(at.clone());
    }
}

/// Whether the cluster is further than the status: the next step's writes were begun and their record lost.
fn moved_on(view: &View<'_>, release: &Release, at: &StepStatus, canary: &Side<'_>) -> bool {
    let over = at.since.is_some() && at.until.is_some_and(|until| until <= view.now) && at.index < at.of;
    if !over || !approval::missing(release, &[When::DuringSteps], at.weight).is_empty() {
        return false;
    }
    let pin_at = |index| {
        let weight = step(&release.policy.steps, index).weight;
        view.split(&release.policy, weight).pin(canary.value)
    };
    let next = pin_at(at.index + 1);
    let labelled = next == Pin::Rotation && view.in_rotation().next().is_some();
    pin_at(at.index) != next && (labelled || view.services().iter().any(|service| view.pin(service) == next))
}

/// Runs the clock of a hold that began at `since`; false while it is not over, with the wait written down. While the
/// Rollout is paused the clock stands still.
fn hold_clock(view: &View<'_>, draft: &mut Draft, at: &mut StepStatus, since: Timestamp, hold: Span) -> bool {
    let weight = view.share(at.weight);
    if view.snapshot.rollout.spec.paused {
        at.held.get_or_insert_with(|| elapsed(since, view.now).min(hold));
        at.until = None;
        draft.wait(Why::PausedBySpec { weight });
        return false;
    }
    if let Some(held) = at.held.take() {
        at.until = Some(after(view.now, Span(hold.0.saturating_sub(held.0))));
    }
    let until = bounded(&mut at.until, after(since.max(view.now), hold));
    if view.now < since {
        draft.wake(since);
        draft.wait(Why::Settling { weight, until: since });
        return false;
    }
    if view.now < until {
        draft.wake(until);
        let baking = draft.status.phase == Some(Phase::Baking);
        draft.wait(if baking { baked(view, until) } else { Why::Holding { weight, until } });
        return false;
    }
    true
}

fn begin_bake(view: &View<'_>, draft: &mut Draft, release: &Release) {
    let until = after(view.now, release.policy.keep_previous);
    draft.enter(Phase::Baking);
    if let Some(step) = &mut draft.status.step {
        step.since = Some(view.now);
        step.until = Some(until);
        step.held = None;
    }
    draft.wake(until);
    draft.wait(baked(view, until));
}

fn baked(view: &View<'_>, until: Timestamp) -> Why {
    if view.is_worker() { Why::WorkingTogether { until } } else { Why::Baking { until } }
}

/// 100 % on the canary, the live side warm, until `keepPrevious` is over; at once where the Rollout is being deleted. Without Services both
/// are at work in full size.
pub fn bake(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Progress {
    if establish(view, draft, release, 100, sides) == Progress::Waiting {
        return Progress::Waiting;
    }
    let mut at = draft.status.step.clone().unwrap_or_else(|| step(&release.policy.steps, 1));
    let since = bounded(&mut at.since, view.now);
    if !view.snapshot.rollout.deleting {
        let over = hold_clock(view, draft, &mut at, since, release.policy.keep_previous);
        let waiting_since = draft.status.step.as_ref().and_then(|step| step.waiting_since);
        draft.status.step = Some(StepStatus { waiting_since, ..at });
        if !over {
            return Progress::Waiting;
        }
    }
    let mut names = gate::pending(view, release, When::DuringSteps, sides.canary);
    names.extend(gate::pending(view, release, When::BeforePromotion, sides.canary));
    names.dedup();
    if !names.is_empty() {
        let until = draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Gates { names, until });
    }
    let moments = [When::DuringSteps, When::BeforePromotion];
    if !view.snapshot.rollout.deleting && ask_for_approval(view, draft, release, &moments, 100) == Progress::Waiting {
        return Progress::Waiting;
    }
    if traffic::read_pods_first(view, draft) == Progress::Waiting {
        return Progress::Waiting;
    }
    draft.enter(Phase::Promoting);
    if let Some(step) = &mut draft.status.step {
        step.until = None;
        step.waiting_since = None;
    }
    release::promote(view, draft, release, sides)
}
