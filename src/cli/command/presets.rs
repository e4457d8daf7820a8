//! `stepgate presets`: the policies that come with Stepgate, as YAML.
//!
//! Not a part of `install`, because one `kubectl apply` cannot make a kind and an object of that kind: kubectl looks all kinds up
//! before it sends the first object.

use anyhow::bail;

/// The presets: name and YAML, with the comments that explain them.
pub const PRESETS: [(&str, &str); 4] = [
    ("canary-quarters", include_str!("../../../policies/canary-quarters.yaml")),
    ("canary-cautious", include_str!("../../../policies/canary-cautious.yaml")),
    ("blue-green", include_str!("../../../policies/blue-green.yaml")),
    ("worker", include_str!("../../../policies/worker.yaml")),
];

/// What `stepgate presets` takes.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PresetsArgs {
    /// Presets to print [default: all of them]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// The presets asked for as one YAML stream, for `kubectl apply -f -`, or to write one's own from.
///
/// # Errors
/// When there is no preset of a name that was asked for.
pub fn render(args: &PresetsArgs) -> anyhow::Result<String> {
    let PresetsArgs { names } = args;
    if let Some(unknown) = names.iter().find(|name| !PRESETS.iter().any(|(known, _)| known == name)) {
        bail!("there is no preset {unknown:?}; there are {}", PRESETS.map(|(name, _)| name).join(", "));
    }
    let chosen = PRESETS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|asked| asked == name));
    Ok(chosen.map(|(_, text)| *text).collect::<Vec<_>>().join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterRolloutPolicy;

    #[test]
    fn every_preset_is_a_policy_of_its_name() {
        for (name, text) in PRESETS {
            let policy: ClusterRolloutPolicy = serde_saphyr::from_str(text).unwrap();
            assert_eq!(policy.metadata.name.as_deref(), Some(name));
            assert_eq!(policy.spec.0.steps.last().map(|step| step.weight), Some(100));
        }
    }

    #[test]
    fn a_preset_that_does_not_exist_is_answered_with_those_that_do() {
        let error = render(&PresetsArgs { names: vec!["canary".into()] }).unwrap_err().to_string();
        assert_eq!(error, r#"there is no preset "canary"; there are canary-quarters, canary-cautious, blue-green, worker"#);
    }
}
