//! A release under way: what takes it back comes first, then what moves it on.

pub mod baking;
pub mod begin;
pub mod close;
pub mod going_back;
pub mod hold;
pub mod preparing;
pub mod progressing;
pub mod trigger;

use std::ops::ControlFlow::Continue;

use crate::{
    api::status::{Phase, Release},
    core::{
        decision::{
            draft::Draft,
            wait::{Flow, Wait},
        },
        gate::{self, connect},
        release::{close::scale_to_zero, trigger::trigger},
        request::{self, command::Command, undo},
        traffic::selectors::write::free_abandoned,
        view::{View, declared::Pair, handover, side::Sides},
        why::Why,
        workload::{
            End, declared,
            managed::{adoption, native},
        },
    },
};

/// Decides for a release that is on record.
pub fn decide(view: &View<'_>, draft: &mut Draft) -> Wait {
    Wait::of(run(view, draft))
}

fn run(view: &View<'_>, draft: &mut Draft) -> Flow {
    let command = request::take(view, draft);
    let Some(release) = draft.status.release.clone() else { return Continue(()) };
    let managed = matches!(view.pair, Pair::Managed { .. });
    if managed && view.hello.replicas == 0 && !handover::is_past_return(view) {
        return scale_to_zero(view, draft, &release);
    }
    if view.live_is_gone() {
        return close::without_live(view, draft, &release);
    }
    if handover::is_past_return(view) && release.rollback.is_none() {
        let end = adoption::settle(view, draft, &release)?;
        return conclude(view, draft, &release, end);
    }
    let phase = draft.status.phase.unwrap_or(Phase::Preparing);
    let (canary, live) = (view.canary(), view.live());
    if let Some(canary) = &canary {
        draft.status.canary = Some(canary.version());
        draft.probes = gate::probes(view, &release, phase, canary);
        draft.probes.extend(connect::probes(view, phase, canary));
    }
    if release.rollback.is_some() {
        return take_back_further(view, draft, command);
    }
    if let Some(rollback) = trigger(view, &release, phase, canary.as_ref(), command) {
        return going_back::begin(view, draft, rollback);
    }
    if let Some(command) = command {
        request::promote(view, draft, command);
    }
    if !view.is_recorded() {
        return Why::Recording.until_answered();
    }
    free_abandoned(view, draft);
    if matches!(phase, Phase::Progressing | Phase::Baking) && managed && !view.hello.paused {
        // Somebody unpaused it: it would replace the pods that clients may have to be taken back to.
        return native::stop(view, draft, live.as_ref());
    }
    draft.status.gates = gate::statuses(view, &release, phase, canary.as_ref());
    match (phase, &canary) {
        (Phase::Progressing, Some(canary)) => progressing::progress(view, draft, &release, Sides { canary, live: live.as_ref() }),
        (Phase::Baking, Some(canary)) => {
            let sides = Sides { canary, live: live.as_ref() };
            baking::bake(view, draft, &release, sides)?;
            promote(view, draft, &release, sides)
        }
        (Phase::Promoting, Some(canary)) => promote(view, draft, &release, Sides { canary, live: live.as_ref() }),
        _ => {
            draft.enter(Phase::Preparing);
            preparing::prepare(view, draft, &release)
        }
    }
}

/// Makes a release permanent, once the old version is not kept warm any longer.
fn promote(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    match view.pair {
        Pair::Managed { .. } => adoption::promote(view, draft, release, sides),
        Pair::Declared(_) => {
            let end = declared::swap(view, draft, release, sides)?;
            conclude(view, draft, release, end)
        }
    }
}

/// What the end that a workload reports means for the release.
fn conclude(view: &View<'_>, draft: &mut Draft, release: &Release, end: End<'_>) -> Flow {
    match end {
        End::Promoted(side) => close::promoted(view, draft, release, &side),
        End::Failed(rollback) => going_back::begin(view, draft, rollback),
    }
}

fn take_back_further(view: &View<'_>, draft: &mut Draft, command: Option<Command>) -> Flow {
    if command == Some(Command::Retry)
        && let Some(release) = &draft.status.release
    {
        let revision = release.revision.clone();
        draft.status.rejected.retain(|rejected| rejected.revision != revision);
    }
    if command == Some(Command::Abort)
        && let (Some(release), Some(request)) = (&draft.status.release, &view.snapshot.rollout.spec.request)
    {
        // Whoever takes it back means the revision, also where something else had begun to, such as a Service that is gone.
        let revision = release.revision.clone();
        undo::give_up(draft, request, revision, view.now);
    }
    if command.is_some()
        && let Some(rollback) = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut())
    {
        rollback.released = true;
    }
    let Some(release) = draft.status.release.clone() else { return Continue(()) };
    going_back::proceed(view, draft, &release, command)
}
