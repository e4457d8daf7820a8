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
}

/// The script.
#[must_use]
pub fn render(args: &UninstallArgs) -> String {
    let UninstallArgs { namespace } = args;
    SCRIPT.replace("namespace=stepgate-system\n", &format!("namespace={namespace}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_speaks_of_the_namespace_asked_for() {
        let script = render(&UninstallArgs { namespace: "delivery".parse().unwrap() });
        assert!(script.contains("namespace=delivery\n") && !script.contains("stepgate-system"));
    }
}
