//! The Deployment's own roll-out, which must not run while Stepgate releases or holds a template: stopped, and its pods taken away again.
//!
//! **Guarantee:** Services are pinned to the live version only while that keeps its pods: the Deployment is paused, its controller has seen it,
//! and the pods have been read from the API server. A roll-out that has gone too far is left alone, and history says so.
//!
//! **Assumption:** a paused Deployment whose new ReplicaSet is scaled to 0 restores the other one by itself. One whose new ReplicaSet has all its
//! pods scales the others to 0, paused or not: from there on nothing is taken away.
//!
//! **Caveat:** with the admission policies this never happens, because the write that changes a template pauses the Deployment. Without them the
//! Deployment controller has a head start of one watch event, and somebody may unpause at any time.

use std::ops::ControlFlow::Continue;

use crate::core::{
    decision::{action::Action, draft::Draft, wait::Flow},
    traffic::{fresh, selectors::write},
    view::{View, side::Side},
    why::Why,
    workload::managed::canary,
};

/// How the attempt to catch a native roll-out went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// The live side has all its pods, the new template none, and the Services are pinned to the live side.
    InTime,
    /// The live side has lost so many pods that clients can no longer be taken to it alone.
    TooLate,
}

/// Where a release is being ended and the template is the old version's again: pauses the Deployment, whose controller would bring the old pods
/// back while they are let go. The release ends first.
pub fn keep_from_returning(view: &View<'_>, draft: &mut Draft, live: Option<&Side<'_>>) -> Flow {
    let is_back = live.is_some_and(|live| live.replica_set.revision == view.hello.revision);
    if is_back { pause(view, draft) } else { Continue(()) }
}

/// Pauses the Deployment, and waits until its controller has seen that: from then on no pod of the live side goes any more.
fn pause(view: &View<'_>, draft: &mut Draft) -> Flow {
    let hello = view.hello;
    if !hello.paused {
        draft.act(Action::SetPaused { deployment: hello.object(), paused: true });
    }
    if hello.paused && hello.observed() { Continue(()) } else { Why::Pausing { deployment: hello.name.clone() }.until_answered() }
}

/// Pins the Services to the live side and takes the new template's pods away again: with their ReplicaSet at 0 the Deployment controller
/// restores the live one by itself (mechanics §5).
///
/// Only once the Deployment is paused is it certain that the live side stays: a pin to pods that are on their way out is an outage. The pods
/// are read from the API server for that, and `enough` of the live side's must be ready.
pub fn catch(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, enough: i32) -> Flow<Caught> {
    pause(view, draft)?;
    let native = rolled(view);
    if let Some(native) = &native {
        fresh::read_pods_first(view, draft)?;
        if live.replica_set.replicas == 0 || live.ready_count() < enough || is_whole(view, native) {
            return Continue(Caught::TooLate);
        }
    }
    let target = live.pin();
    let away: Vec<_> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !away.is_empty() {
        let services = away.iter().map(|service| service.name.clone()).collect();
        write::move_services(view, draft, away, &target);
        return Why::Pinning { services }.until_answered();
    }
    if let Some(native) = native {
        if native.replica_set.replicas > 0 {
            draft.act(Action::ScaleReplicaSet { replica_set: native.replica_set.object(), replicas: 0 });
        }
        return Why::Restoring { deployment: view.hello.name.clone() }.until_answered();
    }
    if live.replica_set.replicas < view.hello.replicas {
        return Why::Restoring { deployment: view.hello.name.clone() }.until_answered();
    }
    Continue(Caught::InTime)
}

/// Whether the Deployment's own new ReplicaSet has all its pods available. Also of a paused Deployment the controller then scales the others to
/// 0 (`IsSaturated` in the `scale` of the Deployment controller): to take these pods away would leave none.
fn is_whole(view: &View<'_>, native: &Side<'_>) -> bool {
    let (size, hello) = (native.replica_set.replicas, view.hello);
    size > 0 && size >= hello.replicas && native.available_count(hello.min_ready_seconds, view.now) >= size
}

/// Ready pods of the live side without which it is too late: the Deployment's size less what its owner lets a roll-out take away
/// (`maxUnavailable`), or all that there are.
pub fn enough(view: &View<'_>, live: &Side<'_>) -> i32 {
    let native = rolled(view).map_or(0, |native| native.ready_count());
    let tolerated = view.hello.replicas - view.hello.max_unavailable();
    tolerated.min(live.ready_count() + native).max(1)
}

/// Too late: the roll-out is left to the Deployment, as it would be without Stepgate.
pub fn give_way(view: &View<'_>, draft: &mut Draft) -> Flow {
    if view.hello.paused && !view.is_paused_by_owner() {
        draft.act(Action::SetPaused { deployment: view.hello.object(), paused: false });
    }
    let _ = write::open_at_once(view, draft);
    Why::NativeRollout { deployment: view.hello.name.clone() }.at_rest()
}

/// In the middle of a release, where the Services are where the weight wants them: pauses the Deployment again and takes its new pods
/// away, as soon as the others are enough.
pub fn stop(view: &View<'_>, draft: &mut Draft, live: Option<&Side<'_>>) -> Flow {
    pause(view, draft)?;
    let live_size = live.map_or(0, |live| live.replica_set.replicas);
    let others = live.map_or(0, Side::ready_count) + view.canary().map_or(0, |canary| canary.ready_count());
    if let Some(native) = rolled(view) {
        // With the live side at 0 the Deployment controller would bring the new one back instead.
        if native.replica_set.replicas > 0 && live_size > 0 && others >= view.hello.replicas {
            draft.act(Action::ScaleReplicaSet { replica_set: native.replica_set.object(), replicas: 0 });
        }
        return Why::Restoring { deployment: view.hello.name.clone() }.until_answered();
    }
    if live.is_some() && live_size < view.hello.replicas {
        return Why::Restoring { deployment: view.hello.name.clone() }.until_answered();
    }
    Continue(())
}

/// While clients are being taken back, or are kept on the live side: makes sure that it stays. Too late means that it is gone, so that the
/// Services must not stay pinned to it.
pub fn keep_live(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Flow<Caught> {
    if view.hello.revision == live.replica_set.revision {
        return Continue(Caught::InTime);
    }
    let native = rolled(view);
    if native.is_some() && (live.replica_set.replicas == 0 || live.ready_count() == 0) {
        return Continue(Caught::TooLate);
    }
    pause(view, draft)?;
    let Some(native) = native else { return Continue(Caught::InTime) };
    if native.replica_set.replicas > 0 {
        draft.act(Action::ScaleReplicaSet { replica_set: native.replica_set.object(), replicas: 0 });
    }
    Why::Restoring { deployment: view.hello.name.clone() }.until_answered()
}

/// Keeps clients off the pods of a template that is held, while there are any.
pub fn hold_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>) -> Flow {
    if view.hello.paused && rolled(view).is_none() {
        let _ = write::open_all(view, draft);
        // With no pods of either, the Deployment controller would give the next ones to the new template's ReplicaSet.
        if view.hello.replicas == 0 {
            let _ = canary::remove_twins(view, draft, &view.hello.revision);
        }
        return Continue(());
    }
    // Nothing is left to go back to. To pause first, as below, would be to pause and to give way in turns.
    if rolled(view).is_some() && live.replica_set.replicas == 0 && live.ready_count() == 0 {
        return give_way(view, draft);
    }
    // One ready pod of the version that is good is better than any number of the one that was rejected.
    match catch(view, draft, live, 1)? {
        Caught::InTime => Continue(()),
        Caught::TooLate => give_way(view, draft),
    }
}

/// What the Deployment has made of its new template by itself, while that has pods; or of one in between, which came and went before there
/// was anybody to hold it.
fn rolled<'a>(view: &View<'a>) -> Option<Side<'a>> {
    let live = view.snapshot.status.stable.as_ref().map(|stable| stable.hash.as_str());
    let others = view.own_replica_sets().filter(|set| Some(set.hash.as_str()) != live && !set.deleting).map(|set| view.side(set));
    let (new, between): (Vec<_>, Vec<_>) = others.partition(|side| side.replica_set.revision == view.hello.revision);
    let between = between.into_iter().filter(|side| live.is_some() && side.replica_set.replicas > 0);
    new.into_iter().filter(|side| side.replica_set.replicas > 0 || !side.pods.is_empty()).chain(between).next()
}
