//! The policy of a file, held to the rules that the API server holds it to.

use std::io::Read as _;

use anyhow::{Context, bail};
use kube::core::cel::Validator;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    api::{ClusterRolloutPolicy, PolicySpec, Rollout, RolloutPolicy},
    cli::crds,
};

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    kind: String,
}

/// Reads a policy from a file, or from standard input if that is called `-`.
///
/// # Errors
/// When it cannot be read, is none of the kinds that have a policy, or breaks one of their rules.
pub fn read(file: &str) -> anyhow::Result<PolicySpec> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|found| text = found)
    };
    read.with_context(|| format!("cannot read {file}"))?;
    parse(&text).with_context(|| file.to_owned())
}

/// The policy in a YAML document.
///
/// # Errors
/// When it is none of the kinds that have a policy, or breaks one of their rules.
pub fn parse(text: &str) -> anyhow::Result<PolicySpec> {
    let Head { kind } = serde_saphyr::from_str(text).context("not one YAML document with an object in it")?;
    match kind.as_str() {
        "RolloutPolicy" => Ok(object::<RolloutPolicy>(text, &kind)?.spec.0),
        "ClusterRolloutPolicy" => Ok(object::<ClusterRolloutPolicy>(text, &kind)?.spec.0),
        "Rollout" => {
            let policy = object::<Rollout>(text, &kind)?.spec.policy;
            policy.context("this Rollout refers to its policy by spec.policyRef; name the file of that policy instead")
        }
        other => bail!("kind {other:?} has no policy; RolloutPolicy, ClusterRolloutPolicy and Rollout have"),
    }
}

fn object<K: DeserializeOwned + Serialize>(text: &str, kind: &str) -> anyhow::Result<K> {
    let object: K = serde_saphyr::from_str(text)?;
    let definitions = crds::definitions();
    let definition = definitions.iter().map(|(_, definition)| definition).find(|definition| definition.spec.names.kind == kind);
    let version = definition.and_then(|definition| definition.spec.versions.first()).context("no such kind")?;
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).context("a kind without a schema")?;
    match Validator::new().validate(&serde_json::to_value(schema)?, &serde_json::to_value(&object)?, None) {
        Ok(()) => Ok(object),
        Err(errors) => bail!("{}", errors.into_vec().into_iter().map(|error| error.message).collect::<Vec<_>>().join("; ")),
    }
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
        let field = steps.replace("steps:", "step:");
        let reference = "kind: Rollout\napiVersion: stepgate.dev/v1alpha1\nmetadata: {name: a}\n\
                         spec: {workload: {deployment: a}, services: [a], policyRef: {kind: RolloutPolicy, name: b}}";
        let told: Vec<String> = [steps, &field, reference, "kind: Service", "- 1"]
            .iter()
            .map(|text| format!("{:#}", parse(text).unwrap_err()).lines().next().unwrap_or_default().to_owned())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
        error: line 4 column 8: unknown field `step`, expected one of steps, gates, canaryReplicas, split, promotion, keepPrevious, settle, progressDeadline, onFailure
        this Rollout refers to its policy by spec.policyRef; name the file of that policy instead
        kind "Service" has no policy; RolloutPolicy, ClusterRolloutPolicy and Rollout have
        not one YAML document with an object in it: error: line 1 column 1: expected mapping start
        "#);
    }
}
