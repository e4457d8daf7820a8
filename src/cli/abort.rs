//! `stepgate abort`: takes a release back.

use clap::Args;

use crate::api::rollout::RequestAction;

use super::{
    cluster::Cluster,
    exit::Exit,
    output::Output,
    request::{self, RequestArgs},
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
    request::run(&args.request, RequestAction::Abort, cluster, out).await
}
