//! The user's Deployment, with a canary that Stepgate makes beside it.

pub mod adoption;
pub mod canary;
pub mod native;
pub mod roll;

use std::ops::ControlFlow::{Break, Continue};

use crate::{
    api::status::{Phase, Release},
    core::{
        accept,
        decision::{
            action::Action,
            draft::Draft,
            wait::{Flow, Part},
        },
        traffic::selectors::split,
        view::{View, lingering, names, side::Side},
        why::Why,
        workload::managed::{
            canary::{make_way, remove_twins},
            native::Caught,
        },
    },
};

/// Removes what runs the new version: our Deployment, or, where an adoption had gone too far, the adopted ReplicaSet's pods.
pub fn remove_canary(view: &View<'_>, draft: &mut Draft) -> Part {
    let adopted = view.successor();
    if let Some(adopted) = &adopted
        && adopted.replica_set.replicas > 0
        && view.hello.paused
    {
        draft.act(Action::ScaleReplicaSet { replica_set: adopted.replica_set.object(), replicas: 0 });
    }
    for deployment in view.ours().filter(|deployment| !deployment.deleting) {
        draft.act(Action::DeleteCanary { deployment: deployment.object(), must_own_nothing: adopted.is_some() && view.canary().is_none() });
    }
    // A Deployment that was never held rolls by itself, and what it runs is not ours to wait for.
    let native = !view.hello.paused && view.release().is_some_and(|release| release.traffic_since.is_none());
    let gone =
        view.ours().next().is_none() && lingering(view).is_none() && (native || adopted.is_none_or(|adopted| adopted.pods.is_empty()));
    if gone { Continue(()) } else { Break(()) }
}

/// Makes sure that the Deployment does not roll by itself, and pins the Services to the live side. Where its roll-out has gone too far,
/// there is no release: it is left to the Deployment, and history will say so.
pub fn hold_native_rollout(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Flow {
    let deadline = release.policy.progress_deadline;
    match native::catch(view, draft, live, native::enough(view, live)).map_break(|wait| wait.within(deadline))? {
        Caught::InTime => Continue(()),
        Caught::TooLate if view.canary_deployment().is_none() => {
            let status = &mut draft.status;
            status.release = None;
            status.step = None;
            status.canary = None;
            status.gates.clear();
            draft.enter(Phase::Pending);
            native::give_way(view, draft)
        }
        Caught::TooLate => Why::Restoring { deployment: view.hello.name.clone() }.within(deadline),
    }
}

/// Canary pods that the first step needs.
pub fn first_size(view: &View<'_>, release: &Release) -> i32 {
    let weight = release.policy.steps.first().map_or(100, |step| step.weight);
    split::size(&release.policy, weight, view.split(&release.policy, weight), view.full_size())
}

/// Makes the canary Deployment, once the Services show their pins, all is as it should be for a release, and nothing is in its way.
pub fn make_canary(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let (name, deadline) = (names::canary(&view.hello.name, &release.revision), release.policy.progress_deadline);
    let unconfirmed = view.unconfirmed();
    if !unconfirmed.is_empty() {
        return Why::Pinning { services: unconfirmed }.within(deadline);
    }
    // Looked at again: what was right when the release began may have changed before there is a canary to do harm.
    if let Some(refusal) = accept::refusal(view, Some(&release.policy)) {
        draft.refusal = Some(refusal.clone());
        return Why::Refused(refusal).within(deadline);
    }
    make_way(view, draft).map_break(|wait| wait.within(deadline))?;
    remove_twins(view, draft, &release.revision).map_break(|wait| wait.within(deadline))?;
    draft.act(Action::CreateCanary { name: name.clone(), body: canary::body(view, &name, first_size(view, release)) });
    Why::CreatingCanary { name }.within(deadline)
}
