//! All traffic on the new version, the previous one kept warm.

use crate::{
    api::{
        policy::When,
        status::{Phase, Release, StepStatus},
    },
    core::{
        decision::{
            draft::Draft,
            step::step,
            time::{after, bounded},
            wait::Progress,
        },
        gate::{self, ask_for_approval},
        release::hold::hold_clock,
        traffic::{establish::establish, fresh},
        view::{View, side::Sides},
        why::Why,
    },
};

/// All steps are over: the previous version is kept warm from now on, until a time.
pub fn begin_bake(view: &View<'_>, draft: &mut Draft, release: &Release) {
    let until = after(view.now, release.policy.keep_previous);
    draft.enter(Phase::Baking);
    if let Some(step) = &mut draft.status.step {
        step.since = Some(view.now);
        step.until = Some(until);
        step.held = None;
    }
    draft.wake(until);
    draft.wait(Why::Baking { load: view.load(), until });
}

/// 100 % on the canary, the live side warm, until `keepPrevious` is over; at once where the Rollout is being deleted. Without Services both
/// are at work in full size. Done means that the release may be made permanent.
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
    if fresh::read_pods_first(view, draft) == Progress::Waiting {
        return Progress::Waiting;
    }
    draft.enter(Phase::Promoting);
    if let Some(step) = &mut draft.status.step {
        step.until = None;
        step.waiting_since = None;
    }
    Progress::Done
}
