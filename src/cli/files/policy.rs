//! The policy that governs a Rollout of the files: its own, or the one that it refers to, in the files or among the presets.

use anyhow::bail;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{
        PolicySpec, RolloutSpec,
        rollout::{PolicyKind, PolicyRef},
    },
    cli::command::presets::PRESETS,
};

use super::manifest::Manifest;

/// A policy, and whose it is.
#[derive(Clone, Debug)]
pub struct Governing {
    /// For a heading: `policy of Rollout hello`, `RolloutPolicy careful`.
    pub whose: String,
    pub policy: PolicySpec,
}

/// The policy of this Rollout.
///
/// # Errors
/// When it refers to one that is neither in the files nor a preset.
pub fn of_rollout(rollout: &Manifest, manifests: &[Manifest]) -> anyhow::Result<Governing> {
    let RolloutSpec { policy, policy_ref, .. } = spec(&rollout.object)?;
    let name = rollout.name();
    match (policy, policy_ref) {
        (Some(policy), _) => Ok(Governing { whose: format!("policy of Rollout {name}"), policy }),
        (None, Some(reference)) => {
            let kind = reference.kind.as_str();
            let Some(policy) = find(&reference, rollout, manifests)? else {
                bail!("{kind} {} (policyRef of Rollout {name}) is in none of the files; add its file with -f", reference.name);
            };
            Ok(Governing { whose: format!("{kind} {}", reference.name), policy })
        }
        (None, None) => bail!("Rollout {name} has no policy"),
    }
}

/// A policy object itself.
///
/// # Errors
/// When it is none, which the schema tells in better words.
pub fn of_policy(policy: &Manifest) -> anyhow::Result<Governing> {
    Ok(Governing { whose: format!("{} {}", policy.kind(), policy.name()), policy: spec(&policy.object)? })
}

fn find(reference: &PolicyRef, rollout: &Manifest, manifests: &[Manifest]) -> anyhow::Result<Option<PolicySpec>> {
    let PolicyRef { kind, name } = reference;
    if let Some(found) = named(*kind, name, rollout, manifests) {
        return spec(&found.object).map(Some);
    }
    let preset = PRESETS.iter().find(|(preset, _)| *kind == PolicyKind::ClusterRolloutPolicy && preset == name);
    preset.map(|(_, text)| spec(&serde_saphyr::from_str::<Value>(text)?)).transpose()
}

/// The policy of that kind and name in the files, where the Rollout can refer to it.
pub fn named<'a>(kind: PolicyKind, name: &str, rollout: &Manifest, manifests: &'a [Manifest]) -> Option<&'a Manifest> {
    let is_in_reach = |policy: &Manifest| kind == PolicyKind::ClusterRolloutPolicy || rollout.may_share_namespace(policy);
    manifests.iter().find(|manifest| manifest.kind() == kind.as_str() && manifest.name() == name && is_in_reach(manifest))
}

/// The spec of an object, which holds to its schema.
///
/// # Errors
/// When it does not.
pub fn spec<T: DeserializeOwned>(object: &Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(object["spec"].clone())?)
}
