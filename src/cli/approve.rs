//! `stepgate approve`: answers the approval gate that a release waits for.

use clap::Args;

use super::{
    cluster::Cluster,
    exit::Exit,
    output::Output,
    request::{self, RequestArgs, Steer},
};

/// What `stepgate approve` takes.
#[derive(Args, Clone, Debug)]
pub struct ApproveArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Approves the release where it stands.
///
/// # Errors
/// See [`request::run`].
pub async fn run(args: &ApproveArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Approve, cluster, out).await
}
