//! The decision: what to do, report and wait for, from everything that was observed and the time.

use jiff::Timestamp;

use crate::core::{
    decision::{Decision, draft::Draft},
    deletion::{self, without_deployment, workload_goes},
    facts::Snapshot,
    preview, release,
    report::transitions::report,
    request,
    rest::{declared, managed},
    view::{View, declared::Pair},
};

/// Decides. Pure: the same snapshot at the same time gives the same decision.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Decision {
    let mut draft = Draft::new(snapshot);
    let rollout = &snapshot.rollout;
    let view = View::of(snapshot, now);
    let mut wait = match view {
        None => without_deployment(snapshot, &mut draft),
        Some(view) if view.hello.deleting => workload_goes(snapshot, &mut draft),
        Some(view) if rollout.deleting => deletion::decide(&view, &mut draft),
        Some(view) if draft.status.release.is_some() => release::decide(&view, &mut draft),
        Some(view) => match view.pair {
            Pair::Managed { .. } => managed::decide(&view, &mut draft),
            Pair::Declared(declared) => declared::decide(&view, &mut draft, declared),
        },
    };
    // At the end of a Rollout it is given back before the finalizer goes.
    let ends = |view: &View<'_>| view.hello.deleting || (rollout.deleting && draft.status.release.is_none());
    if let Some(view) = view.filter(|view| !ends(view)) {
        preview::follow(&view, &mut draft, &wait);
    }
    request::verify(snapshot, &mut draft);
    draft.set_clocks(&mut wait, now);
    report(snapshot, &mut draft, &wait, now);
    let wake_at = draft.wake_at();
    let Draft { actions, status, notices, probes, .. } = draft;
    Decision { actions, status, notices, probes, wake_at, wait }
}
