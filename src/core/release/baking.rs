//! All traffic on the new version, the previous one kept warm.

use std::ops::ControlFlow::Continue;

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
            wait::Flow,
        },
        gate::{self, ask_for_approval},
        release::hold::hold_clock,
        traffic::{establish::establish, fresh},
        view::{View, side::Sides},
        why::Why,
    },
};

/// All steps are over: the previous version is kept warm from now on, until a time.
pub fn begin_bake(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let until = after(view.now, release.policy.keep_previous);
    draft.enter(Phase::Baking);
    if let Some(step) = &mut draft.status.step {
        step.since = Some(view.now);
        step.until = Some(until);
        step.held = None;
    }
    Why::Baking { load: view.load(), until }.until(until)
}

/// 100 % on the canary, the live side warm, until `keepPrevious` is over; at once where the Rollout is being deleted. Without Services both
/// are at work in full size. Done means that the release may be made permanent.
pub fn bake(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    establish(view, draft, release, 100, sides)?;
    let mut at = draft.status.step.clone().unwrap_or_else(|| step(&release.policy.steps, 1));
    let since = bounded(&mut at.since, view.now);
    if !view.snapshot.rollout.deleting {
        let clock = hold_clock(view, draft, &mut at, since, release.policy.keep_previous);
        let waiting_since = draft.status.step.as_ref().and_then(|step| step.waiting_since);
        draft.status.step = Some(StepStatus { waiting_since, ..at });
        clock?;
    }
    let mut names = gate::pending(view, release, When::DuringSteps, sides.canary);
    names.extend(gate::pending(view, release, When::BeforePromotion, sides.canary));
    names.dedup();
    if !names.is_empty() {
        return Why::Gates { names, until: None }.within(release.policy.progress_deadline);
    }
    let moments = [When::DuringSteps, When::BeforePromotion];
    if !view.snapshot.rollout.deleting {
        ask_for_approval(view, release, &moments, 100)?;
    }
    fresh::read_pods_first(view, draft)?;
    draft.enter(Phase::Promoting);
    if let Some(step) = &mut draft.status.step {
        step.until = None;
        step.waiting_since = None;
    }
    Continue(())
}
