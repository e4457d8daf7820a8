//! Another Rollout for the same objects.

use crate::core::{
    view::View,
    why::refusal::{Contested, Refusal, service::Named},
};

/// Another Rollout that was first, for the Deployment or for one of the Services.
pub fn rival(view: &View<'_>) -> Option<Refusal> {
    let (me, spec) = (&view.snapshot.rollout, &view.snapshot.rollout.spec);
    let older = view.snapshot.rivals.iter().filter(|other| (other.created_at, &other.uid) < (me.created_at, &me.uid));
    older.into_iter().find_map(|other| {
        let contested = spec.workload.deployments().find(|name| other.deployments.iter().any(|theirs| theirs == name));
        let object = if let Some(deployment) = contested {
            Contested::Deployment(deployment.to_owned())
        } else {
            let service = spec.held_services().find(|service| other.services.contains(service))?;
            let named = if spec.preview.as_ref() == Some(service) { Named::Preview } else { Named::Services };
            Contested::Service { service: service.clone(), named }
        };
        Some(Refusal::RivalRollout { rollout: other.name.clone(), object })
    })
}
