//! The policy of a file, held to everything that the API server holds it to.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::{
    api::{ClusterRolloutPolicy, PolicySpec, Rollout, RolloutPolicy},
    cli::{
        lint::Schemas,
        manifest::{self, Manifest, Place},
    },
};

/// Reads a policy from a file, or from standard input if that is called `-`.
///
/// # Errors
/// When it cannot be read, has no object or more than one with a policy, or the API server would refuse that, with the place.
pub fn read(file: &str) -> anyhow::Result<PolicySpec> {
    policy(&manifest::read_all(&[PathBuf::from(file)])?)
}

/// The policy among these objects; those of other kinds are passed over.
fn policy(manifests: &[Manifest]) -> anyhow::Result<PolicySpec> {
    let kinds = ["RolloutPolicy", "ClusterRolloutPolicy", "Rollout"];
    let with_policy: Vec<&Manifest> = manifests.iter().filter(|manifest| kinds.contains(&manifest.kind())).collect();
    let [manifest] = with_policy.as_slice() else {
        let kinds: Vec<&str> = manifests.iter().map(Manifest::kind).filter(|kind| !kind.is_empty()).collect();
        let found = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        bail!("one object with a policy is needed (RolloutPolicy, ClusterRolloutPolicy or Rollout); found: {found}");
    };
    let problems = Schemas::new()?.check(&manifest.object);
    if !problems.is_empty() {
        let line = |(place, message): (Place, String)| format!("{}:{}:{}: {message}", manifest.file, place.line, place.column);
        let lines: Vec<String> = problems.into_iter().map(|problem| line((manifest.place(&problem.path), problem.message))).collect();
        bail!("{}", lines.join("\n"));
    }
    match manifest.kind() {
        "RolloutPolicy" => Ok(object::<RolloutPolicy>(manifest)?.spec.0),
        "ClusterRolloutPolicy" => Ok(object::<ClusterRolloutPolicy>(manifest)?.spec.0),
        _ => {
            let policy = object::<Rollout>(manifest)?.spec.policy;
            policy.context("this Rollout refers to its policy by spec.policyRef; name the file of that policy instead")
        }
    }
}

fn object<K: DeserializeOwned>(manifest: &Manifest) -> anyhow::Result<K> {
    serde_json::from_value(manifest.object.clone()).with_context(|| manifest.file.clone())
}

/// The policy in a text, for tests.
///
/// # Errors
/// See [`read`].
#[cfg(test)]
pub fn parse(text: &str) -> anyhow::Result<PolicySpec> {
    policy(&manifest::parse("policy.yaml", text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::presets::PRESETS;

    #[test]
    fn every_preset_is_read() {
        for (name, text) in PRESETS {
            assert_eq!(parse(text).unwrap().steps.last().unwrap().weight, 100, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let steps = "kind: RolloutPolicy\napiVersion: stepgate.dev/v1alpha1\nmetadata: {name: a}\nspec: {steps: [{weight: 25}]}";
        let (field, range) = (steps.replace("steps:", "step:"), steps.replace("25", "0"));
        let reference = "kind: Rollout\napiVersion: stepgate.dev/v1alpha1\nmetadata: {name: a}\n\
                         spec: {workload: {deployment: a}, services: [a], policyRef: {kind: RolloutPolicy, name: b}}";
        let told: Vec<String> = [steps, &field, &range, reference, "kind: Service", "- 1"]
            .iter()
            .map(|text| format!("{:#}", parse(text).unwrap_err()).lines().next().unwrap_or_default().to_owned())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        policy.yaml:4:1: spec: Invalid value: steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
        policy.yaml:4:8: unknown field "spec.step"
        policy.yaml:4:17: spec.steps[0].weight: Invalid value: 0: spec.steps[0].weight in body should be greater than or equal to 1
        this Rollout refers to its policy by spec.policyRef; name the file of that policy instead
        one object with a policy is needed (RolloutPolicy, ClusterRolloutPolicy or Rollout); found: Service
        one object with a policy is needed (RolloutPolicy, ClusterRolloutPolicy or Rollout); found: none
        "#);
    }
}
