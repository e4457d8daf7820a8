//! The clock of a hold.

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
        },
        view::View,
        why::Why,
    },
};

/// Runs the clock of a hold that began at `since`; false while it is not over, with the wait written down. While the
/// Rollout is paused the clock stands still.
pub fn hold_clock(view: &View<'_>, draft: &mut Draft, at: &mut StepStatus, since: Timestamp, hold: Span) -> bool {
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
        draft.wait(if baking { Why::Baking { load: view.load(), until } } else { Why::Holding { weight, until } });
        return false;
    }
    true
}
