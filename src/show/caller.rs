//! How the user called: the program's name, and the flags that lead to the same cluster again. Commands that are suggested begin and
//! end with them, so that they can be run as they stand.

use std::{ffi::OsStr, path::Path};

/// The name under which `kubectl` finds its plugin `stepgate`.
const PLUGIN: &str = "kubectl-stepgate";

/// How the user calls this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Stepgate,
    Plugin,
}

impl Program {
    /// Read from the name that the program was started by.
    pub fn of(name: Option<&OsStr>) -> Self {
        let stem = name.and_then(|name| Path::new(name).file_stem());
        if stem == Some(OsStr::new(PLUGIN)) { Self::Plugin } else { Self::Stepgate }
    }

    /// As the user types it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stepgate => "stepgate",
            Self::Plugin => "kubectl stepgate",
        }
    }
}

/// How the user called, as far as it matters to the next command.
#[derive(Clone, Debug)]
pub struct Caller {
    program: Program,
    /// The flag for the namespace, if there is one, after a space.
    namespace: String,
    /// Those for the cluster.
    cluster: String,
}

impl Caller {
    /// A call of `program` with these flags.
    pub fn new(program: Program, namespace: Option<&str>, context: Option<&str>, kubeconfig: Option<&Path>) -> Self {
        let kubeconfig = kubeconfig.map(|path| path.display().to_string());
        let flag = |name: &str, value: Option<&str>| value.map(|value| format!(" {name} {}", quoted(value))).unwrap_or_default();
        let cluster = flag("--context", context) + &flag("--kubeconfig", kubeconfig.as_deref());
        Self { program, namespace: flag("-n", namespace), cluster }
    }

    /// The same call for another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: format!(" -n {}", quoted(namespace)), ..self.clone() }
    }

    /// A command of this program: `stepgate promote hello -n shop`.
    pub fn command(&self, words: &str) -> String {
        let Self { program, namespace, cluster } = self;
        format!("{} {words}{namespace}{cluster}", program.as_str())
    }

    /// A command of `kubectl`, for the same place.
    pub fn kubectl(&self, words: &str) -> String {
        let Self { program: _, namespace, cluster } = self;
        format!("kubectl {words}{namespace}{cluster}")
    }

    /// What makes the cluster know the kinds of Stepgate. The namespace is not the user's.
    pub fn install(&self) -> String {
        let Self { program, namespace: _, cluster } = self;
        format!("{} install | kubectl apply -f -{cluster}", program.as_str())
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,~".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_as_a_plugin_it_is_called_as_one() {
        for (name, program) in [
            ("stepgate", Program::Stepgate),
            ("/usr/local/bin/kubectl-stepgate", Program::Plugin),
            ("kubectl-stepgate.exe", Program::Plugin),
            ("./target/debug/stepgate", Program::Stepgate),
        ] {
            assert_eq!(Program::of(Some(OsStr::new(name))), program, "{name}");
        }
        assert_eq!(Program::of(None), Program::Stepgate);
    }

    #[test]
    fn a_suggested_command_leads_to_the_same_cluster() {
        let caller = Caller::new(Program::Plugin, Some("shop"), Some("it's prod"), Some(Path::new("/tmp/kube config")));
        assert_eq!(
            caller.command("abort hello"),
            r"kubectl stepgate abort hello -n shop --context 'it'\''s prod' --kubeconfig '/tmp/kube config'"
        );
        assert_eq!(
            caller.install(),
            r"kubectl stepgate install | kubectl apply -f - --context 'it'\''s prod' --kubeconfig '/tmp/kube config'"
        );
        assert_eq!(Caller::new(Program::Stepgate, None, None, None).kubectl("get pods"), "kubectl get pods");
    }
}
