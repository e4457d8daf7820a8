//! The two kinds of pair, and where reading them differs: how the sides are told apart, and where the version to be released is found.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    api::rollout::{DEFAULT_VERSION_LABEL, Workload},
    core::{
        facts::{Snapshot, deployment::DeploymentFacts, pod::PodFacts},
        view::side::{Side, pods_where, replica_sets_of},
        why::refusal::Refusal,
    },
};

/// Whose the two sides are.
#[derive(Clone, Copy, Debug)]
pub enum Pair<'a> {
    /// The user's Deployment, and the canary that Stepgate makes beside it.
    Managed { deployment: &'a str },
    /// Deployments of the user's own.
    Declared(Declared<'a>),
}

/// Deployments of the user's own, told apart by a label of their pods.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    pub versions: &'a [String],
    /// The one that is to be live.
    pub wanted: &'a str,
    /// The pod label that tells them apart.
    pub label: &'a str,
}

impl<'a> Pair<'a> {
    /// The pair that a Rollout speaks of.
    pub fn of(workload: &'a Workload) -> Self {
        let Workload { deployment, versions, live, version_label, allow_overlap: _ } = workload;
        match live {
            Some(wanted) => Self::Declared(Declared { versions, wanted, label: version_label.as_deref().unwrap_or(DEFAULT_VERSION_LABEL) }),
            None => Self::Managed { deployment: deployment.as_deref().unwrap_or_default() },
        }
    }

    /// Name of the Deployment of the live side. For a declared pair: the one on record while it exists, else the one that the Services
    /// name, else the one that is to be live.
    pub fn live_name(self, snapshot: &'a Snapshot) -> &'a str {
        match self {
            Self::Managed { deployment } => deployment,
            Self::Declared(declared) => {
                let on_record = snapshot.status.stable.as_ref().map(|stable| stable.name.as_str());
                let exists = |name: &&str| declared.deployments(snapshot).any(|deployment| deployment.name == **name);
                on_record.filter(exists).or_else(|| declared.named(snapshot).next()).unwrap_or(declared.wanted)
            }
        }
    }

    /// That the Deployment of that name does not exist.
    pub fn not_found(self, deployment: &str) -> Refusal {
        let deployment = deployment.to_owned();
        match self {
            Self::Managed { .. } => Refusal::DeploymentNotFound { deployment },
            Self::Declared(_) => Refusal::VersionNotFound { deployment },
        }
    }
}

impl<'a> Declared<'a> {
    /// Those of the versions that exist, in the order of the Rollout. One that is being deleted is as good as gone: its pods may end at any
    /// moment.
    pub fn deployments(self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a DeploymentFacts> + use<'a> {
        self.existing(snapshot).filter(|deployment| !deployment.deleting)
    }

    /// The same with those that are being deleted: their pods are of this pair for as long as they run.
    pub fn existing(self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a DeploymentFacts> + use<'a> {
        self.versions.iter().filter_map(|name| snapshot.deployments.iter().find(|deployment| deployment.name == *name)).map(AsRef::as_ref)
    }

    /// The value of the version label on a version's pods, from its template.
    pub fn value(self, deployment: &'a DeploymentFacts) -> Option<&'a str> {
        deployment.template.pointer("/metadata/labels")?.get(self.label).and_then(Value::as_str)
    }

    /// The versions that the selectors of the Services name, each once.
    pub fn named(self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a str> + use<'a> {
        let names = &snapshot.rollout.spec.services;
        let services = snapshot.services.iter().filter(|service| names.contains(&service.name) && !service.deleting);
        let values: Vec<&str> = services.filter_map(|service| service.selector.get(self.label).map(String::as_str)).collect();
        self.deployments(snapshot)
            .filter(move |deployment| self.value(deployment).is_some_and(|value| values.contains(&value)))
            .map(|deployment| deployment.name.as_str())
    }

    /// A version as a side: all pods of the Deployment, also those of a roll-out of its own that is not complete.
    pub fn side(self, snapshot: &'a Snapshot, deployment: &'a DeploymentFacts) -> Option<Side<'a>> {
        let own = || replica_sets_of(snapshot, deployment);
        let replica_set = own().filter(|set| !set.deleting).max_by_key(|set| (set.revision == deployment.revision, set.created_at))?;
        let pods = pods_where(snapshot, |pod| own().any(|set| pod.owner.as_deref() == Some(&set.uid)));
        let value = self.value_of_pods(deployment, &pods)?;
        Some(Side { deployment: Some(&deployment.name), replica_set, replicas: deployment.replicas, value, pods })
    }

    /// The value of the version label by which a Service reaches a version: its template's. While a roll-out of its own changes it, the one
    /// that most of its ready pods have: a pin to a value that no pod has yet would be an outage.
    fn value_of_pods(self, deployment: &'a DeploymentFacts, pods: &[&'a PodFacts]) -> Option<&'a str> {
        let template = self.value(deployment);
        let mut counts: BTreeMap<&'a str, usize> = template.map(|value| (value, 0)).into_iter().collect();
        for value in pods.iter().copied().filter(|pod| pod.serves()).filter_map(|pod| pod.labels.get(self.label)) {
            *counts.entry(value).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(value, count)| (*count, Some(*value) == template)).map(|(value, _)| value)
    }
}
