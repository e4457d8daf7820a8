//! The command line: one file a command, in [`mod@command`]. What is shown is made by pure functions of what was read and the time.

pub mod cluster;
pub mod command;
#[cfg(feature = "sim")]
pub mod demo;
pub mod files;
pub mod paper;
#[cfg(test)]
mod sample;
mod signal;
#[cfg(feature = "sim")]
pub mod simulate;

use std::{ffi::OsString, sync::OnceLock};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::show::caller::Program;

use self::{
    cluster::{Cluster, UnknownKind, args::ClusterArgs},
    command::{
        completion, controller, crds, explain, history, install, lint, list, man, pause, plan, presets, status, steer, undo, uninstall,
        wait,
    },
    paper::{
        exit::Exit,
        output::{Closed, Output},
    },
};

/// Progressive delivery for plain Kubernetes Deployments and Services.
#[derive(Parser, Debug)]
#[command(name = "stepgate", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what is live, what is being released, what it waits for, and what to do next
    Status(status::StatusArgs),
    /// List Rollouts, one line each
    List(list::ListArgs),
    /// End the hold of a release, or skip its remaining steps
    Promote(steer::PromoteArgs),
    /// Take a release back
    Abort(steer::SteerArgs),
    /// Answer the approval gate that a release waits for
    Approve(steer::SteerArgs),
    /// Release a rejected revision again, from the first step
    Retry(steer::SteerArgs),
    /// Go back to the version that was live before, or to an older one
    Undo(undo::UndoArgs),
    /// Keep a release where it is; failures still take it back
    Pause(pause::PauseArgs),
    /// Let a paused release go on
    Resume(pause::PauseArgs),
    /// Show how the last releases ended
    History(history::HistoryArgs),
    /// Wait for the end of a release
    Wait(wait::WaitArgs),
    /// Explain why a Rollout is where it is, fact by fact
    Explain(explain::ExplainArgs),
    /// Show what a release would do, before anything runs
    Plan(plan::PlanArgs),
    /// Find what the API server or the controller would refuse in manifests, without either
    Lint(lint::LintArgs),
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
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Write the manual, one page a command
    Man(man::ManArgs),
}

impl Cli {
    /// Reads a command line; its first word is the name that the program was started by. Help, and what is wrong with it, are printed
    /// for that name, and end the program.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> (Self, Program) {
        let args: Vec<OsString> = args.into_iter().collect();
        let program = Program::of(args.first().map(OsString::as_os_str));
        let matches = command(program).get_matches_from(args);
        match Self::from_arg_matches(&matches) {
            Ok(cli) => (cli, program),
            Err(error) => error.exit(),
        }
    }

    /// Does what was asked for, in the cluster that the flags and the environment name. A reader that has heard enough and closed the
    /// pipe is no error.
    ///
    /// # Errors
    /// In words for the user, with their causes.
    pub async fn run(self, program: Program, out: &mut Output<'_>) -> anyhow::Result<Exit> {
        self.run_in(async |args| Cluster::connect(args, program).await, out).await
    }

    /// What is logged unless the environment says otherwise. Commands that print for people log nothing in between: what their embedded
    /// controller would say they show themselves.
    pub fn log_filter(&self) -> &'static str {
        match self.command {
            #[cfg(feature = "sim")]
            Command::Demo(_) | Command::Simulate(_) => "off",
            _ => "stepgate=info,warn",
        }
    }

    /// The same, in the cluster that `connect` gives.
    ///
    /// # Errors
    /// See [`Cli::run`].
    pub async fn run_in(
        self,
        connect: impl AsyncFn(&ClusterArgs) -> anyhow::Result<Cluster>,
        out: &mut Output<'_>,
    ) -> anyhow::Result<Exit> {
        let caller = OnceLock::new();
        let connect = async |args: &ClusterArgs| {
            let cluster = connect(args).await?;
            caller.get_or_init(|| cluster.caller.clone());
            Ok(cluster)
        };
        match Box::pin(self.command.run(connect, out)).await {
            Err(error) if error.is::<Closed>() => Ok(Exit::Done),
            Err(error) => Err(match (error.downcast_ref::<UnknownKind>(), caller.get()) {
                (Some(unknown), Some(caller)) => unknown.told(caller),
                _ => error,
            }),
            done => done,
        }
    }
}

/// The command line as it is called under this name.
pub fn command(program: Program) -> clap::Command {
    Cli::command().bin_name(program.as_str())
}

impl Command {
    async fn run(self, connect: impl AsyncFn(&ClusterArgs) -> anyhow::Result<Cluster>, out: &mut Output<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Status(args) => status::run(&args, &connect(&args.cluster).await?, out).await,
            Self::List(args) => list::run(&args, &connect(&args.cluster).await?, out).await,
            Self::Promote(args) => steer::promote(&args, &connect(&args.request.cluster).await?, out).await,
            Self::Abort(args) => steer::abort(&args, &connect(&args.request.cluster).await?, out).await,
            Self::Approve(args) => steer::approve(&args, &connect(&args.request.cluster).await?, out).await,
            Self::Retry(args) => steer::retry(&args, &connect(&args.request.cluster).await?, out).await,
            Self::Undo(args) => Box::pin(undo::run(&args, &connect(&args.request.cluster).await?, out)).await,
            Self::Pause(args) => pause::run(&args, pause::Wanted::Paused, &connect(&args.cluster).await?, out).await,
            Self::Resume(args) => pause::run(&args, pause::Wanted::GoingOn, &connect(&args.cluster).await?, out).await,
            Self::History(args) => history::run(&args, &connect(&args.cluster).await?, out).await,
            Self::Wait(args) => wait::run(&args, &connect(&args.cluster).await?, out).await,
            Self::Explain(args) => explain::run(&args, &connect(&args.cluster).await?, out).await,
            Self::Plan(args) => plan::run(&args, out),
            Self::Lint(args) => lint::run(&args, out),
            Self::Controller(args) => done(controller::run(args).await),
            Self::Crds(args) => done(out.print(&crds::run(&args)?)),
            #[cfg(feature = "sim")]
            Self::Demo(args) => done(demo::run(&args, out).await),
            Self::Install(args) => done(out.print(&install::render(&args)?)),
            Self::Presets(args) => done(out.print(&presets::render(&args)?)),
            #[cfg(feature = "sim")]
            Self::Simulate(args) => done(out.print(&simulate::run(args).await?)),
            Self::Uninstall(args) => done(out.print(&uninstall::render(&args))),
            Self::Completion(args) => done(out.print(&completion::render(&args))),
            Self::Man(args) => done(out.print(&man::run(&args)?)),
        }
    }
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<Exit> {
    result.map(|()| Exit::Done)
}
