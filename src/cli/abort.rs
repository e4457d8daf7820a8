//! `stepgate abort`: takes a release back.

use clap::Args;

use super::{
    cluster::Cluster,
    exit::Exit,
    output::Output,
    request::{self, RequestArgs, Steer},
};

/// What `stepgate abort` takes.
#[derive(Args, Clone, Debug)]
pub struct AbortArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Takes the release back.
///
/// # Errors
/// See [`request::run`].
pub async fn run(args: &AbortArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Abort, cluster, out).await
}
