//! `stepgate retry`: releases a rejected revision again, from the first step.

use clap::Args;

use super::{
    cluster::Cluster,
    exit::Exit,
    output::Output,
    request::{self, RequestArgs, Steer},
};

/// What `stepgate retry` takes.
#[derive(Args, Clone, Debug)]
pub struct RetryArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Releases the rejected revision again.
///
/// # Errors
/// See [`request::run`].
pub async fn run(args: &RetryArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Retry, cluster, out).await
}
