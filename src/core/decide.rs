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
    match view {
        Some(view) if view.hello.deleting => workload_goes(snapshot, &mut draft),
        Some(view) if rollout.deleting => drop(deletion::decide(&view, &mut draft)),
        Some(view) if draft.status.release.is_some() => drop(release::decide(&view, &mut draft)),
        Some(view) => match view.pair {
            Pair::Managed { .. } => drop(managed::decide(&view, &mut draft)),
            Pair::Declared(declared) => drop(declared::rest(&view, &mut draft, declared)),
        },
        None => without_deployment(snapshot, &mut draft),
    }
    // At the end of a Rollout it is given back before the finalizer goes.
    let ends = |view: &View<'_>| view.hello.deleting || (rollout.deleting && draft.status.release.is_none());
    if let Some(view) = view.filter(|view| !ends(view)) {
        preview::follow(&view, &mut draft);
    }
    request::verify(snapshot, &mut draft);
    draft.stop_idle_deadline();
    report(snapshot, &mut draft, now);
    let wake_at = draft.wake_at();
    let Draft { actions, status, notices, probes, why, .. } = draft;
    Decision { actions, status, notices, probes, wake_at, why }
}
