//! `stepgate promote`, `abort`, `approve` and `retry`: a request to a release, and its answer.

use clap::Args;

use crate::cli::{
    cluster::{
        Cluster,
        request::{self, RequestArgs, Steer},
    },
    paper::{exit::Exit, output::Output},
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
pub async fn promote(args: &PromoteArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let PromoteArgs { full, request } = args;
    let action = if *full { Steer::PromoteFull } else { Steer::Promote };
    request::run(request, action, cluster, out).await
}

/// What `stepgate abort`, `approve` and `retry` take.
#[derive(Args, Clone, Debug)]
pub struct SteerArgs {
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Takes the release back.
///
/// # Errors
/// See [`request::run`].
pub async fn abort(args: &SteerArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Abort, cluster, out).await
}

/// Approves the release where it stands.
///
/// # Errors
/// See [`request::run`].
pub async fn approve(args: &SteerArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Approve, cluster, out).await
}

/// Releases the rejected revision again, from the first step.
///
/// # Errors
/// See [`request::run`].
pub async fn retry(args: &SteerArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    request::run(&args.request, Steer::Retry, cluster, out).await
}
