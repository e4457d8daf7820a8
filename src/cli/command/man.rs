//! `stepgate man`: the manual, one page a command.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use crate::{cli::command, show::caller::Program};

/// What `stepgate man` takes.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Directory for the pages; made where it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes `stepgate.1`, `stepgate-status.1` and so on, and says where they are.
///
/// # Errors
/// When the directory cannot be written to.
pub fn run(args: &ManArgs) -> anyhow::Result<String> {
    let ManArgs { dir } = args;
    fs::create_dir_all(dir).with_context(|| format!("cannot make directory {}", dir.display()))?;
    clap_mangen::generate_to(command(Program::Stepgate), dir).with_context(|| format!("cannot write into directory {}", dir.display()))?;
    Ok(format!("the manual is in {}; read it with man {}/stepgate.1\n", dir.display(), dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let dir = tempfile::tempdir().unwrap();
        run(&ManArgs { dir: dir.path().to_owned() }).unwrap();
        let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(page("stepgate.1").contains("promote"));
        assert!(page("stepgate-wait.1").contains("timeout"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + command(Program::Stepgate).get_subcommands().count());
    }
}
