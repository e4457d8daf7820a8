//! The policy that is played, held to everything that the API server holds it to.

use std::path::PathBuf;

use anyhow::{bail, ensure};

use crate::{
    api::PolicySpec,
    cli::{
        command::lint::Schemas,
        files::{
            manifest::{self, Manifest},
            policy,
        },
    },
};

/// Kinds of policies.
const POLICIES: [&str; 2] = ["RolloutPolicy", "ClusterRolloutPolicy"];

/// Reads a policy from files, of which `-` is the standard input.
///
/// # Errors
/// When they cannot be read, tell of no release or of more than one, or have an object of ours that the API server would refuse, with the
/// place.
pub fn read(files: &[PathBuf]) -> anyhow::Result<PolicySpec> {
    policy(&manifest::read_all(files)?)
}

/// The policy of the Rollout among these objects, or, where there is none, the only policy. Objects of other kinds are passed over.
fn policy(manifests: &[Manifest]) -> anyhow::Result<PolicySpec> {
    let problems = problems(manifests)?;
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let of_kinds = |kinds: &'static [&str]| manifests.iter().filter(|manifest| kinds.contains(&manifest.kind())).collect::<Vec<_>>();
    let governing = match (of_kinds(&["Rollout"]).as_slice(), of_kinds(&POLICIES).as_slice()) {
        ([rollout], _) => policy::of_rollout(rollout, manifests)?,
        ([], [policy]) => policy::of_policy(policy)?,
        ([], []) => bail!("a RolloutPolicy, a ClusterRolloutPolicy or a Rollout is needed; found: {}", names(manifests)),
        ([], policies) => bail!(
            "which policy is meant? found: {}; name one of them, or add the Rollout that refers to it",
            names(policies.iter().copied())
        ),
        (rollouts, _) => bail!("which Rollout is meant? found: {}; name one of them", names(rollouts.iter().copied())),
    };
    Ok(governing.policy)
}

/// What the API server would say to each of the objects.
fn problems(manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
    let schemas = Schemas::new()?;
    let of = |manifest: &Manifest| {
        let problems = schemas.check(&manifest.object).into_iter();
        let lines = problems.map(|problem| {
            let place = manifest.place(&problem.path);
            format!("{}:{}:{}: {}", manifest.file, place.line, place.column, problem.message)
        });
        lines.collect::<Vec<_>>()
    };
    Ok(manifests.iter().flat_map(of).collect())
}

fn names<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> String {
    let objects = manifests.into_iter().filter(|manifest| !manifest.kind().is_empty());
    let names: Vec<String> = objects.map(|manifest| format!("{} {}", manifest.kind(), manifest.name()).trim_end().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
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
    use crate::cli::command::presets::PRESETS;

    #[test]
    fn every_preset_is_read() {
        for (name, text) in PRESETS {
            assert_eq!(parse(text).unwrap().steps.last().unwrap().weight, 100, "{name}");
        }
    }

    const REFERRING: &str = "\
kind: Rollout
apiVersion: stepgate.dev/v1alpha1
metadata: {name: a}
spec: {workload: {deployment: a}, services: [a], policyRef: {kind: RolloutPolicy, name: b}}
";

    fn policy_named(name: &str, weight: u8) -> String {
        format!(
            "---\nkind: RolloutPolicy\napiVersion: stepgate.dev/v1alpha1\nmetadata: {{name: {name}}}\n\
             spec: {{steps: [{{weight: {weight}}}, {{weight: 100}}]}}\n"
        )
    }

    #[test]
    fn a_rollout_is_played_with_the_policy_that_it_refers_to() {
        let first = |text: &str| parse(text).unwrap().steps[0].weight;
        assert_eq!(first(&[REFERRING, &policy_named("c", 10), &policy_named("b", 40)].concat()), 40);
        let preset = REFERRING.replace("RolloutPolicy, name: b", "ClusterRolloutPolicy, name: canary-cautious");
        assert_eq!(first(&preset), 1);
    }

    #[test]
    fn a_policy_of_its_own_counts_more_than_those_beside_it() {
        let own = REFERRING.replace("policyRef: {kind: RolloutPolicy, name: b}", "policy: {steps: [{weight: 30}, {weight: 100}]}");
        assert_eq!(parse(&(own + &policy_named("b", 40))).unwrap().steps[0].weight, 30);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let steps = "kind: RolloutPolicy\napiVersion: stepgate.dev/v1alpha1\nmetadata: {name: a}\nspec: {steps: [{weight: 25}]}";
        let (field, range) = (steps.replace("steps:", "step:"), steps.replace("25", "0"));
        let two_policies = [policy_named("b", 40), policy_named("c", 40)].concat();
        let two_rollouts = [REFERRING, "---\n", &REFERRING.replace("name: a}", "name: z}")].concat();
        let told: Vec<String> = [steps, &field, &range, REFERRING, &two_policies, &two_rollouts, "kind: Service", "- 1"]
            .iter()
            .map(|text| format!("{:#}", parse(text).unwrap_err()).lines().next().unwrap_or_default().to_owned())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        policy.yaml:4:1: spec: Invalid value: steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
        policy.yaml:4:8: unknown field "spec.step"
        policy.yaml:4:17: spec.steps[0].weight: Invalid value: 0: spec.steps[0].weight in body should be greater than or equal to 1
        RolloutPolicy b (policyRef of Rollout a) is in none of the files; add its file with -f
        which policy is meant? found: RolloutPolicy b, RolloutPolicy c; name one of them, or add the Rollout that refers to it
        which Rollout is meant? found: Rollout a, Rollout z; name one of them
        a RolloutPolicy, a ClusterRolloutPolicy or a Rollout is needed; found: Service
        a RolloutPolicy, a ClusterRolloutPolicy or a Rollout is needed; found: none
        "#);
    }
}
