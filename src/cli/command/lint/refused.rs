//! What the controller would refuse, by the very rules that it decides with, as far as the manifests tell.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::{RolloutSpec, rollout::PolicyKind},
    cli::files::{manifest::Manifest, policy, world},
    core::{
        accept,
        view::View,
        why::refusal::{Refusal, pair::BadPair, pods::NeedsService},
    },
};

use super::Problem;

/// What is found out about a Rollout without a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the controller would refuse.
    pub problems: Vec<Problem>,
    /// What the Rollout names and no manifest has, such as `Service hello`: what depends on it cannot be told.
    pub without: Vec<String>,
}

/// Asks the core about a Rollout. What no manifest has may be in the cluster, and is not held against it. One that does not hold to its
/// schema never comes before the controller, and nothing is told of it.
pub fn told(rollout: &Manifest, manifests: &[Manifest]) -> Told {
    let Ok(mut snapshot) = world::snapshot(rollout, manifests) else { return Told::default() };
    let without = world::absent(&snapshot);
    let files = Files { rollout, manifests, deployments: snapshot.deployments.iter().map(|deployment| deployment.name.clone()).collect() };
    if world::find(snapshot.rollout.spec.workload.name(), &snapshot).is_none() {
        snapshot.deployments.push(Arc::new(world::unknown_deployment(&snapshot)));
    }
    // No rule asks for the time.
    let Some(view) = View::of(&snapshot, Timestamp::UNIX_EPOCH) else { return Told { problems: Vec::new(), without } };
    let spec = &snapshot.rollout.spec;
    let refusals = accept::refusals(&view, snapshot.policy.as_deref()).filter(|refusal| files.tell(refusal, spec));
    let problems = refusals.map(|refusal| Problem { path: refusal.field(spec), message: refusal.to_string() }).collect();
    Told { problems, without }
}

/// What the answer rests on.
struct Files<'a> {
    rollout: &'a Manifest,
    manifests: &'a [Manifest],
    /// The Deployments that manifests have.
    deployments: Vec<String>,
}

impl Files<'_> {
    /// Whether the manifests alone show that a Rollout of this spec is refused.
    fn tell(&self, refusal: &Refusal, spec: &RolloutSpec) -> bool {
        match refusal {
            Refusal::DeploymentNotFound { .. } | Refusal::VersionNotFound { .. } | Refusal::ServiceNotFound { .. } => false,
            Refusal::PolicyNotFound { kind, name } => self.have_policy(other(*kind), name) && !self.have_policy(*kind, name),
            Refusal::BadPair(bad) => self.tell_of_pair(bad, spec),
            Refusal::ReservedLabel { deployment, .. }
            | Refusal::UnlistedService { deployment, .. }
            | Refusal::ServiceNotSelecting { deployment, .. }
            | Refusal::PortMissing { deployment, .. }
            | Refusal::SelectsStrangers { deployment, .. }
            | Refusal::OverlapNotAllowed { deployment, .. }
            | Refusal::UnknownPort { deployment, .. }
            | Refusal::HostNetwork { deployment, .. }
            | Refusal::ReadinessGates { deployment, .. } => self.have(deployment),
            Refusal::NameTaken { .. } => self.have(spec.workload.name()),
            Refusal::RivalRollout { .. } | Refusal::ServiceUnsuitable { .. } | Refusal::DeadlineTooShort { .. } => true,
            // Of a preview, and of a policy in the Rollout itself, the rules of the kind have said it.
            Refusal::NeedsService(what) => *what != NeedsService::Preview && spec.policy.is_none(),
            Refusal::CookieAffinity { .. } => spec.policy.is_none(),
        }
    }

    fn tell_of_pair(&self, bad: &BadPair, spec: &RolloutSpec) -> bool {
        match bad {
            BadPair::NoVersionLabel { deployment, .. } => self.have(deployment),
            BadPair::SameVersion { deployments, .. } | BadPair::SameSelector { deployments } | BadPair::PortsDiffer { deployments, .. } => {
                deployments.iter().all(|deployment| self.have(deployment))
            }
            BadPair::ServicesDisagree { .. } => true,
            // It says which versions there are.
            BadPair::UnknownVersion { .. } => spec.workload.deployments().all(|deployment| self.have(deployment)),
            BadPair::IdleUnguarded { .. } => false,
        }
    }

    fn have(&self, deployment: &str) -> bool {
        self.deployments.iter().any(|known| known == deployment)
    }

    fn have_policy(&self, kind: PolicyKind, name: &str) -> bool {
        policy::named(kind, name, self.rollout, self.manifests).is_some()
    }
}

fn other(kind: PolicyKind) -> PolicyKind {
    match kind {
        PolicyKind::RolloutPolicy => PolicyKind::ClusterRolloutPolicy,
        PolicyKind::ClusterRolloutPolicy => PolicyKind::RolloutPolicy,
    }
}
