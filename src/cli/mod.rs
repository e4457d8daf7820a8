//! The command line: one file a command.

pub mod controller;
pub mod crds;
#[cfg(feature = "sim")]
pub mod demo;
pub mod install;
pub mod presets;
#[cfg(feature = "sim")]
pub mod simulate;
#[cfg(feature = "sim")]
pub mod stage;
#[cfg(feature = "sim")]
pub mod text;
pub mod uninstall;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

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
    /// Play releases on an embedded cluster, under load, and show them
    #[cfg(feature = "sim")]
    Demo(demo::DemoArgs),
    /// Print everything a cluster needs, for `kubectl apply -f -`
    Install(install::InstallArgs),
    /// Print the policies that come with Stepgate
    Presets(presets::PresetsArgs),
    /// Play a policy against a described application, in an instant
    #[cfg(feature = "sim")]
    Simulate(simulate::SimulateArgs),
    /// Print the script that takes everything out of a cluster again
    Uninstall(uninstall::UninstallArgs),
}

impl Cli {
    /// What is logged unless the environment says otherwise. Commands that print for people log nothing in between: what their embedded
    /// controller would say they show themselves.
    pub fn log_filter(&self) -> &'static str {
        match self.command {
            #[cfg(feature = "sim")]
            Command::Demo(_) | Command::Simulate(_) => "off",
            _ => "stepgate=info,warn",
        }
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// In words for the user, with their causes.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Controller(args) => controller::run(args).await,
            Command::Crds(args) => print(&crds::run(&args)?),
            #[cfg(feature = "sim")]
            Command::Demo(args) => demo::run(&args).await,
            Command::Install(args) => print(&install::render(&args)?),
            Command::Presets(args) => print(&presets::render(&args)?),
            #[cfg(feature = "sim")]
            Command::Simulate(args) => print(&simulate::run(args).await?),
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

/// Waits for SIGTERM or SIGINT, neither of which ends the process by itself from here on.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A client for the cluster that the environment names: inside one its service account, outside the current kubeconfig context.
async fn client() -> anyhow::Result<kube::Client> {
    kube::Client::try_default()
        .await
        .context("no cluster: neither a service account nor a kubeconfig (KUBECONFIG, ~/.kube/config) leads to one")
}
