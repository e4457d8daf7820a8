//! The end of a Rollout: everything of ours is taken away, then the finalizer. And the end of its workload.

use crate::{
    api::status::Phase,
    core::{
        accept,
        decision::{
            action::Action,
            draft::Draft,
            notice::Reason,
            wait::{Flow, Until, Wait},
        },
        facts::{Snapshot, pin::Pin, service::ServiceFacts},
        preview, release,
        traffic::selectors::{
            affinity,
            write::{self, open_all},
        },
        view::{
            self, View,
            declared::{Declared, Pair},
        },
        why::{Why, refusal::Refusal},
        workload::declared::take_labels_off,
    },
};

/// The Deployment is going away, alone or with its namespace: nothing is made any more, and nothing of ours keeps it.
pub fn workload_goes(snapshot: &Snapshot, draft: &mut Draft) -> Wait {
    if snapshot.rollout.has_finalizer {
        draft.act(Action::RemoveFinalizer);
    }
    let deployment = Pair::of(&snapshot.rollout.spec.workload).live_name(snapshot).to_owned();
    Wait { why: Why::WorkloadGoing { deployment }, until: Until::Rest }
}

/// There is no Deployment of that name: a mistake, or it was deleted, and the canary with it.
pub fn without_deployment(snapshot: &Snapshot, draft: &mut Draft) -> Wait {
    let pair = Pair::of(&snapshot.rollout.spec.workload);
    if snapshot.rollout.deleting {
        return workload_goes(snapshot, draft);
    }
    draft.status.release = None;
    draft.status.step = None;
    draft.status.traffic = None;
    draft.status.stable = None;
    draft.status.canary = None;
    draft.status.gates.clear();
    preview::is_gone(draft);
    draft.enter(Phase::Pending);
    let refusal = pair.not_found(pair.live_name(snapshot));
    draft.refusal = Some(refusal.clone());
    Wait { why: Why::Refused(refusal), until: Until::Person }
}

/// The Rollout is being deleted and no release is under way: the version key stays where it is in the selectors, because without it clients
/// would meet both versions; the rotation label goes.
pub fn let_go_of_versions(view: &View<'_>, draft: &mut Draft, declared: Declared<'_>) -> Flow {
    // What another Rollout has is that one's to write.
    if matches!(draft.refusal, Some(Refusal::RivalRollout { .. })) {
        draft.act(Action::RemoveFinalizer);
        return Why::Deleting.until_answered();
    }
    let in_rotation: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) == Pin::Rotation).collect();
    if !in_rotation.is_empty() {
        // Nobody will put that label on pods any more. Where the live version is gone it is the one that is to be.
        let side = view.live().or_else(|| declared.side(view.snapshot, view.hello));
        write::move_services(view, draft, in_rotation, &side.map_or(Pin::Open, |side| side.pin()));
        return Why::Deleting.until_answered();
    }
    if affinity::give_back(view, draft).is_break() || preview::give_back(view, draft).is_break() {
        return Why::Deleting.until_answered();
    }
    take_labels_off(view, draft);
    draft.act(Action::RemoveFinalizer);
    Why::Deleting.until_answered()
}

/// Decides for a Rollout that is being deleted: a release under way is rolled back (from `Baking` on: adopted), then nothing of ours is
/// left, then the finalizer goes. A managed Deployment is unpaused only if what it would run is what already serves.
pub fn decide(view: &View<'_>, draft: &mut Draft) -> Wait {
    if view.snapshot.rollout.has_finalizer && draft.status.release.is_some() {
        return release::decide(view, draft);
    }
    Wait::of(give_back(view, draft))
}

/// No release is under way any more: everything of ours goes, the finalizer last.
fn give_back(view: &View<'_>, draft: &mut Draft) -> Flow {
    if !view.snapshot.rollout.has_finalizer {
        return Why::Deleting.until_answered();
    }
    draft.refusal = accept::refusal(view, view.snapshot.policy.as_deref());
    if let Pair::Declared(declared) = view.pair {
        return let_go_of_versions(view, draft, declared);
    }
    let mut removing = false;
    for deployment in view.ours() {
        removing = true;
        if !deployment.deleting {
            draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
        }
    }
    if removing || view::lingering(view).is_some() {
        return Why::Deleting.until_answered();
    }
    // Clients first.
    if open_all(view, draft).is_break() || preview::give_back(view, draft).is_break() {
        return Why::Deleting.until_answered();
    }
    let live = view.live();
    let serves = live.as_ref().is_some_and(|live| live.replica_set.revision == view.hello.revision);
    let owners = view.is_paused_by_owner();
    let unpause = view.hello.paused && serves && !owners;
    if view.handover() || unpause {
        draft.act(Action::EndHandover {
            deployment: view.hello.object(),
            max_surge: view.kept_max_surge(),
            paused: unpause.then_some(false),
        });
        return Why::Deleting.until_answered();
    }
    if view.hello.paused && !owners && draft.status.phase != Some(Phase::Pending) {
        draft.notice(
            Reason::LeftPaused,
            format!(
                "Deployment {} is left paused: its template is not the version that serves. To release it natively: kubectl -n {} rollout resume deployment/{}",
                view.hello.name, view.snapshot.rollout.namespace, view.hello.name
            ),
        );
    }
    draft.act(Action::RemoveFinalizer);
    Why::Deleting.until_answered()
}
