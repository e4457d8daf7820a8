//! The record that a release begins.

use crate::{
    api::{
        PolicySpec,
        status::{Phase, Release, Version},
    },
    core::{
        decision::{draft::Draft, notice::Reason, step::step},
        facts::deployment::DeploymentFacts,
        history,
        traffic::selectors::affinity,
        view::View,
    },
};

/// Records that a release of this Deployment's template begins. Nothing is done before that record is written, except to pause a managed
/// Deployment that is not: every moment counts there, and the release follows from the template alone.
pub fn begin(view: &View<'_>, draft: &mut Draft, policy: &PolicySpec, wanted: &DeploymentFacts) {
    let is_fast = history::is_fast(policy, &draft.status, &wanted.revision);
    draft.status.release = Some(Release {
        revision: wanted.revision.clone(),
        digest: wanted.digest.clone(),
        started_at: view.now,
        size: view.hello.replicas,
        policy: if is_fast { history::without_holds(policy) } else { policy.clone() },
        traffic_since: None,
        max_weight: 0,
        approvals: Vec::new(),
        rollback: None,
    });
    draft.status.affinity = affinity::records(view, &draft.status.affinity, policy);
    draft.status.canary = Some(pending_version(wanted));
    draft.status.step = Some(step(&policy.steps, 1));
    draft.enter(Phase::Preparing);
    let how = if is_fast { ", which was live before, without holds (undo: Fast)" } else { "" };
    draft.notice(Reason::ReleaseStarted, format!("releasing revision {} ({}){how}", wanted.revision, wanted.images().join(", ")));
}

/// What is known of a version that has no pods yet.
pub fn pending_version(hello: &DeploymentFacts) -> Version {
    Version { revision: hello.revision.clone(), digest: hello.digest.clone(), images: hello.images(), ..Default::default() }
}
