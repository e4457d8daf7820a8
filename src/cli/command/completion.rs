//! `stepgate completion`: a completion script for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::{cli::command, show::caller::Program};

/// What `stepgate completion` takes.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "bash: source <(stepgate completion bash)\nzsh:  stepgate completion zsh > \"${fpath[1]}/_stepgate\"\nfish: stepgate completion fish | source"
)]
pub struct CompletionArgs {
    /// Shell
    shell: Shell,
}

/// The script.
#[must_use]
pub fn render(args: &CompletionArgs) -> String {
    let CompletionArgs { shell } = args;
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut command(Program::Stepgate), Program::Stepgate.as_str(), &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = render(&CompletionArgs { shell });
            for command in command(Program::Stepgate).get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
