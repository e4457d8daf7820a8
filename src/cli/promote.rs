//! `stepgate promote`: ends the hold of a release, or skips its remaining steps.

use clap::Args;

use super::{
    cluster::Cluster,
    exit::Exit,
    output::Output,
    request::{self, RequestArgs, Steer},
};

/// What `stepgate promote` takes.
#[derive(Args, Clone, Debug)]
pub struct PromoteArgs {
    /// Skip the remaining steps: go to 100 % at once
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    pub request: RequestArgs,
}

/// Ends the hold, or all remaining ones. No failing gate is passed.
///
/// # Errors
/// See [`request::run`].
pub async fn run(args: &PromoteArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let PromoteArgs { full, request } = args;
    let action = if *full { Steer::PromoteFull } else { Steer::Promote };
    request::run(request, action, cluster, out).await
}
