//! Rollouts and policies, reduced to facts.

use std::{collections::BTreeMap, sync::Arc};

use kube::ResourceExt;

use crate::{
    api::{FINALIZER, PolicySpec, Rollout, RolloutSpec, RolloutStatus},
    core::facts::{Rival, RolloutFacts},
};

use super::{
    object::{created, version},
    store::fact,
};

/// The policies of the cluster, by name.
pub type Policies = BTreeMap<String, Arc<PolicySpec>>;

/// A Rollout, with the version and the status that the API server has.
#[derive(Clone, Debug)]
pub struct RolloutSeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub facts: RolloutFacts,
    pub finalizers: Vec<String>,
    pub status: Option<RolloutStatus>,
}

/// A policy of the namespace or of the cluster.
#[derive(Clone, Debug)]
pub struct PolicySeen {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub spec: Arc<PolicySpec>,
}

fact!(RolloutSeen, PolicySeen);

impl RolloutSeen {
    /// What the other Rollouts of its namespace have to know of it.
    pub fn rival(&self) -> Rival {
        let RolloutFacts { name, uid, created_at, spec, .. } = self.facts.clone();
        let deployments = spec.workload.deployments().map(str::to_owned).collect();
        Rival { name, uid, created_at, deployments, services: spec.held_services().cloned().collect() }
    }
}

/// A Rollout.
pub fn rollout(object: &Rollout) -> RolloutSeen {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let spec: RolloutSpec = object.spec.clone();
    RolloutSeen {
        resource_version: version(object),
        facts: RolloutFacts {
            name: name.clone(),
            namespace: object.namespace().unwrap_or_default(),
            uid: uid.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            created_at: created(object),
            deleting: object.metadata.deletion_timestamp.is_some(),
            has_finalizer: object.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
            spec: Arc::new(spec),
        },
        finalizers: object.finalizers().to_vec(),
        status: object.status.clone(),
        name,
        uid,
    }
}

/// A policy of either kind.
pub fn policy<K: kube::Resource>(object: &K, spec: &PolicySpec) -> PolicySeen {
    PolicySeen {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: version(object),
        spec: Arc::new(spec.clone()),
    }
}
