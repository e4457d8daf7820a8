//! `stepgate uninstall`: a shell script that takes Stepgate out of a cluster, in the order that leaves nothing behind. To be read
//! first, then piped into `sh`; nothing is sent from here.

use super::install::NamespaceName;

const SCRIPT: &str = include_str!("install/uninstall.sh");

/// What `stepgate uninstall` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Namespace of the controller
    #[arg(long, value_name = "NAME", default_value = "stepgate-system")]
    pub namespace: NamespaceName,

    /// Context of the kubeconfig whose cluster it leaves; by default the current one
    #[arg(long, value_name = "NAME", value_parser = context)]
    pub context: Option<String>,
}

/// The name of a context goes into a script, where quotes keep all of these from meaning anything.
fn context(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| !c.is_control() && !matches!(c, '\'' | '"' | '\\' | '$' | '`');
    if text.chars().all(plain) && !text.is_empty() { Ok(text.to_owned()) } else { Err("a context whose name has no quotes, $ or \\") }
}

/// The script.
#[must_use]
pub fn render(args: &UninstallArgs) -> String {
    let UninstallArgs { namespace, context } = args;
    let script = SCRIPT.replace("namespace=stepgate-system\n", &format!("namespace={namespace}\n"));
    match context {
        Some(context) => script.replace("\ncontext=\n", &format!("\ncontext='{context}'\n")),
        None => script,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_speaks_of_the_namespace_asked_for() {
        let script = render(&UninstallArgs { namespace: "delivery".parse().unwrap(), context: None });
        assert!(script.contains("namespace=delivery\n") && !script.contains("stepgate-system"));
    }

    #[test]
    fn the_script_speaks_to_the_cluster_asked_for_and_to_none_by_half() {
        let script = render(&UninstallArgs { namespace: "delivery".parse().unwrap(), context: Some("arn:aws:eks:eu/prod one".to_owned()) });
        assert!(script.contains("\ncontext='arn:aws:eks:eu/prod one'\n") && script.contains("kubectl --context \"$context\""), "{script}");
        // What is not a comment, a setting or the function runs after everything has arrived.
        let (before, _) = script.split_once("\nuninstall() {\n").unwrap();
        let runs = |line: &&str| !line.starts_with('#') && !line.is_empty() && !line.contains('=') && *line != "set -eu";
        assert_eq!(before.lines().filter(runs).collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(script.ends_with("\n}\n\nuninstall\n"), "{script}");
        for hostile in ["", "a'b", "$(id)", "`id`", "a\nb"] {
            assert!(super::context(hostile).is_err(), "{hostile:?}");
        }
    }
}
