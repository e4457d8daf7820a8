//! The clock of a hold.

use std::ops::ControlFlow::Continue;

use jiff::Timestamp;

use crate::{
    api::{
        Span,
        status::{Phase, StepStatus},
    },
    core::{
        decision::{
            draft::Draft,
            time::{after, bounded, elapsed},
            wait::Flow,
        },
        view::View,
        why::Why,
    },
};

/// Runs the clock of a hold that began at `since`, and waits while it is not over. While the Rollout is paused the clock stands still.
pub fn hold_clock(view: &View<'_>, draft: &Draft, at: &mut StepStatus, since: Timestamp, hold: Span) -> Flow {
    let weight = view.share(at.weight);
    if view.snapshot.rollout.spec.paused {
        at.held.get_or_insert_with(|| elapsed(since, view.now).min(hold));
        at.until = None;
        return Why::PausedBySpec { weight }.for_a_person();
    }
    if let Some(held) = at.held.take() {
        at.until = Some(after(view.now, Span(hold.0.saturating_sub(held.0))));
    }
    let until = bounded(&mut at.until, after(since.max(view.now), hold));
    if view.now < since {
        return Why::Settling { weight, until: since }.until(since);
    }
    if view.now < until {
        let is_baking = draft.status.phase == Some(Phase::Baking);
        let why = if is_baking { Why::Baking { load: view.load(), until } } else { Why::Holding { weight, until } };
        return why.until(until);
    }
    Continue(())
}
