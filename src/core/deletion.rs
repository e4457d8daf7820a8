//! The end of a Rollout: everything of ours is taken away, then the finalizer.

use crate::api::status::Phase;

use super::{
    action::{Action, Reason},
    declared,
    draft::{Draft, Progress},
    pair::Pair,
    preview, release, rollback,
    traffic::open_all,
    validate,
    view::View,
    why::Why,
};

/// Decides for a Rollout that is being deleted: a release under way is rolled back (from `Baking` on: adopted), then nothing of ours is
/// left, then the finalizer goes. A managed Deployment is unpaused only if what it would run is what already serves.
pub fn decide(view: &View<'_>, draft: &mut Draft) -> Progress {
    if !view.snapshot.rollout.has_finalizer {
        return draft.wait(Why::Deleting);
    }
    if draft.status.release.is_some() {
        return release::decide(view, draft);
    }
    draft.refusal = validate::refusal(view, view.snapshot.policy.as_deref());
    if let Pair::Declared(declared) = view.pair {
        return declared::let_go(view, draft, declared);
    }
    let mut removing = false;
    for deployment in view.ours() {
        removing = true;
        if !deployment.deleting {
            draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: false });
        }
    }
    if removing || rollback::lingering(view).is_some() {
        return draft.wait(Why::Deleting);
    }
    // Clients first.
    if open_all(view, draft) == Progress::Waiting || preview::give_back(view, draft) == Progress::Waiting {
        return draft.wait(Why::Deleting);
    }
    let live = view.live();
    let serves = live.as_ref().is_some_and(|live| live.replica_set.revision == view.hello.revision);
    let unpause = view.hello.paused && serves;
    if view.handover() || unpause {
        draft.act(Action::EndHandover {
            deployment: view.hello.object(),
            max_surge: view.kept_max_surge(),
            paused: unpause.then_some(false),
        });
        return draft.wait(Why::Deleting);
    }
    if view.hello.paused && draft.status.phase != Some(Phase::Pending) {
        draft.notice(
            Reason::LeftPaused,
            format!(
                "Deployment {} is left paused: its template is not the version that serves. To release it natively: kubectl -n {} rollout resume deployment/{}",
                view.hello.name, view.snapshot.rollout.namespace, view.hello.name
            ),
        );
    }
    draft.act(Action::RemoveFinalizer);
    draft.wait(Why::Deleting)
}
