//! `stepgate controller`: runs the controller until it is told to end.

use clap::Args;
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::controller::{
    clock::Clock,
    run::{self, Leadership, Options},
};

/// Run the controller.
#[derive(Args, Debug)]
pub struct ControllerArgs {
    /// Work on the Rollouts of this namespace only
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,

    /// Name of this copy, in Events and in the lease
    #[arg(long, env = "POD_NAME", default_value = "stepgate")]
    instance: String,
}

/// Runs the controller until SIGTERM or SIGINT.
///
/// # Errors
/// When the cluster cannot be found or its credentials cannot be read.
pub async fn run(args: ControllerArgs) -> anyhow::Result<()> {
    let client = super::client().await?;
    let ControllerArgs { watch_namespace, instance } = args;
    let (_leads, leadership) = watch::channel(Leadership::Alone);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let clock = Clock::starting_at(Timestamp::now());
    tokio::select! {
        ended = run::run(client, Options { namespace: watch_namespace, instance }, clock, leadership) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
