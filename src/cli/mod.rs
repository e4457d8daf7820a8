//! The command line: one file a command.

pub mod controller;
pub mod crds;
pub mod install;
pub mod presets;
pub mod uninstall;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Progressive delivery for plain Kubernetes Deployments and Services.
#[derive(Parser, Debug)]
#[command(name = "stepgate", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Controller(controller::ControllerArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
    /// Print everything a cluster needs, for `kubectl apply -f -`
    Install(install::InstallArgs),
    /// Print the policies that come with Stepgate
    Presets(presets::PresetsArgs),
    /// Print the script that takes everything out of a cluster again
    Uninstall(uninstall::UninstallArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// In words for the user, with their causes.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Controller(args) => controller::run(args).await,
            Command::Crds(args) => print(&crds::run(&args)?),
            Command::Install(args) => print(&install::render(&args)?),
            Command::Presets(args) => print(&presets::render(&args)?),
            Command::Uninstall(args) => print(&uninstall::render(&args)),
        }
    }
}

/// Prints; a reader that has heard enough and closed the pipe is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("the output could not be written"),
    }
}

/// A client for the cluster that the environment names: inside one its service account, outside the current kubeconfig context. It says
/// who it is, so that audit logs and field managers name Stepgate.
async fn client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer()
        .await
        .context("no cluster: neither a service account nor a kubeconfig (KUBECONFIG, ~/.kube/config) leads to one")?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    kube::Client::try_from(config).context("the cluster's address or credentials cannot be used")
}

/// The API server takes the part before the slash for the field manager of our writes.
const USER_AGENT: &str = concat!("stepgate/", env!("CARGO_PKG_VERSION"));
