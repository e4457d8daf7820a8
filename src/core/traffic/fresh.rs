//! Pods read a moment ago: a watch that has gone silent must not move a release forward.

use std::ops::ControlFlow::Continue;

use crate::{
    api::Span,
    core::{
        decision::{action::Action, draft::Draft, time::elapsed, wait::Flow},
        view::View,
        why::Why,
    },
};

/// How old a direct read of the pods may be for clients to be sent to the canary on the strength of it.
const FRESH: Span = Span::seconds(2);

/// Makes sure that the pods were read from the API server itself a moment ago: a watch that has gone silent must not move a
/// release forward (design §8.6).
pub fn read_pods_first(view: &View<'_>, draft: &mut Draft) -> Flow {
    if view.snapshot.pods_read_at.is_some_and(|at| elapsed(at, view.now) <= FRESH) {
        return Continue(());
    }
    draft.act(Action::ReadPods);
    Why::Verifying.until_answered()
}
