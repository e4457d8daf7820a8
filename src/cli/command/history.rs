//! `stepgate history`: how the last releases ended.

use clap::Args;
use jiff::Timestamp;

use crate::{
    api::{
        RolloutStatus,
        status::{Asked, HistoryEntry, Outcome},
    },
    cli::{
        cluster::{Cluster, args::ClusterArgs},
        paper::{
            exit::Exit,
            ink::{BAD, Cell, FAINT, GOOD, STRONG, WAITS, cell, table},
            output::{Data, Output, document},
        },
    },
    core::why::words::who,
    show::text::length,
};

/// What `stepgate history` takes.
#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    /// Rollout
    #[arg(value_name = "NAME")]
    name: String,

    /// Print the entries of status.history, oldest first
    #[arg(short, long, value_name = "FORM")]
    output: Option<Data>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Prints the last releases of a Rollout; at most ten are kept.
///
/// # Errors
/// When there is no such Rollout, or the cluster does not let it be read.
pub async fn run(args: &HistoryArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let HistoryArgs { name, output, cluster: _ } = args;
    let status = cluster.rollout(name).await?.status.unwrap_or_default();
    let text = match output {
        Some(form) => document(*form, &status.history)?,
        None if status.history.is_empty() => format!("no release of Rollout {name} has ended yet\n"),
        None => lines(&status, cluster.clock.now()),
    };
    out.print(&text)?;
    Ok(Exit::Done)
}

/// One line a release, the newest first; the live version is marked.
pub fn lines(status: &RolloutStatus, now: Timestamp) -> String {
    let heading = ["ENDED", "TOOK", "REVISION", "OUTCOME", "REACHED", "IMAGES", "REASON"];
    let mut rows = vec![heading.map(Cell::from).to_vec()];
    rows.extend(status.history.iter().rev().map(|entry| row(entry, now)));
    let live = status.stable.as_ref().map(|stable| format!("revision {} is live\n", stable.revision));
    table("", &rows) + &live.unwrap_or_default()
}

fn row(entry: &HistoryEntry, now: Timestamp) -> Vec<Cell> {
    let style = match entry.outcome {
        Outcome::Promoted => GOOD,
        Outcome::RolledBack => BAD,
        Outcome::Superseded | Outcome::Unguarded | Outcome::ScaledToZero => WAITS,
    };
    vec![
        format!("{} ago", length(entry.ended_at, now)).into(),
        length(entry.started_at, entry.ended_at).into(),
        cell(STRONG, &entry.revision),
        cell(style, format!("{:?}", entry.outcome)),
        format!("{} %", entry.max_weight).into(),
        cell(FAINT, entry.images.join(",")),
        reason(entry).into(),
    ]
}

/// Why it ended so, and who had a part in it.
fn reason(entry: &HistoryEntry) -> String {
    let asked = entry.asked.iter().map(|Asked { action, by, verified }| format!("{action:?} by {}", who(by, *verified)));
    let said: Vec<String> = (!entry.reason.is_empty()).then(|| entry.reason.clone()).into_iter().chain(asked).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{now, rollout};

    #[test]
    fn the_newest_comes_first_and_the_live_version_is_named() {
        let status = rollout("healthy").status.unwrap();
        insta::assert_snapshot!(anstream::adapter::strip_str(&lines(&status, now())), @r"
        ENDED       TOOK   REVISION    OUTCOME     REACHED  IMAGES    REASON
        4m17s ago   9m8s   3f9c1ab27d  Promoted    100 %    hello:v1  Promote by alice; PromoteFull by bob (unverified)
        27m15s ago  1m10s  0d3c79e08d  RolledBack  50 %     hello:v2  gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500
        revision 3f9c1ab27d is live
        ");
    }
}
