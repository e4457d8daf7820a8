//! `stepgate pause` and `stepgate resume`: keep a release where it is, and let it go on.

use clap::Args;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    api::{Rollout, RolloutStatus, Span, status::Phase},
    cli::{
        cluster::{
            Cluster,
            args::ClusterArgs,
            request::{silence, until, write},
        },
        paper::{exit::Exit, output::Output},
    },
    show::text::seen_from,
};

/// What `stepgate pause` and `stepgate resume` take.
#[derive(Args, Clone, Debug)]
pub struct PauseArgs {
    /// Rollout
    #[arg(value_name = "NAME")]
    name: String,

    /// How long to wait until the controller has seen it
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `spec.paused` is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Paused,
    GoingOn,
}

/// Sets `spec.paused` and waits until the controller has seen it.
///
/// # Errors
/// When there is no such Rollout, or the write is refused.
pub async fn run(args: &PauseArgs, wanted: Wanted, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let PauseArgs { name, timeout, cluster: _ } = args;
    let paused = wanted == Wanted::Paused;
    let (already, written) = write(cluster, name, "paused", |rollout| {
        let already = rollout.spec.paused == paused;
        Ok((already, (!already).then(|| json!(paused))))
    })
    .await?;
    let generation = written.metadata.generation;
    let seen = |rollout: &Rollout| {
        let status = rollout.status.as_ref()?;
        (status.observed_generation >= generation).then(|| status.clone())
    };
    let Some(status) = until(cluster, name, timeout.0, seen).await? else {
        out.print(&format!("{}: spec.paused is {paused}, but {}\n", written.name_any(), silence(*timeout)))?;
        return Ok(Exit::TimedOut);
    };
    out.print(&format!("{name} {}: {}\n", verdict(wanted, already), seen_from(&effect(wanted, &status), cluster.clock.now())))?;
    Ok(Exit::Done)
}

fn verdict(wanted: Wanted, already: bool) -> &'static str {
    match (wanted, already) {
        (Wanted::Paused, false) => "is paused",
        (Wanted::Paused, true) => "was paused already",
        (Wanted::GoingOn, false) => "goes on",
        (Wanted::GoingOn, true) => "was not paused",
    }
}

/// What that means for the release under way, if there is one.
fn effect(wanted: Wanted, status: &RolloutStatus) -> String {
    match (wanted, status.phase, &status.release) {
        (Wanted::Paused, _, None) => "no release is under way; the next one stays before its first client, or pod".to_owned(),
        (Wanted::Paused, Some(Phase::RollingBack), _) => format!("a rollback is not held up by it; {}", status.why),
        (Wanted::Paused, Some(Phase::Promoting), _) => format!("a promotion is not held up by it; {}", status.why),
        _ => status.why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::rollout;

    #[test]
    fn what_a_pause_does_not_hold_up_is_said() {
        for (place, begins) in [
            ("healthy", "no release is under way; the next one stays before its first client, or pod"),
            ("paused", "paused at 25 %"),
            ("promoting", "a promotion is not held up by it; waiting for all pods"),
            ("rolling back", "a rollback is not held up by it; clients are back"),
        ] {
            let effect = effect(Wanted::Paused, &rollout(place).status.unwrap());
            assert!(effect.starts_with(begins), "{place}: {effect}");
        }
    }
}
