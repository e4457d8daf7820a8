//! `stepgate list`: one line a Rollout.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};

use crate::{
    api::Rollout,
    cli::{
        cluster::{Cluster, Scope, answered, args::ClusterArgs},
        paper::{
            exit::Exit,
            ink::{BAD, Cell, STRONG, cell, table},
            output::{Data, Output, document},
            screen::{phase_cell, weight},
        },
    },
    show::{
        standing::{Wait, wait},
        text::{length, seen_from},
    },
};

use super::status;

/// What `stepgate list` takes.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// The Rollouts of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Print more, or the Rollouts themselves
    #[arg(short, long, value_name = "FORM")]
    output: Option<Form>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Forms beside the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// With images, and why each stands where it stands
    Wide,
    Json,
    Yaml,
}

/// Which columns a table of Rollouts has beside the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    pub namespace: bool,
    pub why: bool,
}

/// Lists Rollouts.
///
/// # Errors
/// When the cluster does not let them be read.
pub async fn run(args: &ListArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let ListArgs { all_namespaces, output, cluster: _ } = args;
    let scope = if *all_namespaces { Scope::Everywhere } else { Scope::Namespace };
    let rollouts = answered(scope.rollouts(cluster).list(&ListParams::default())).await?.items;
    let columns = Columns { namespace: *all_namespaces, why: *output == Some(Form::Wide) };
    let text = match output {
        Some(Form::Json) => document(Data::Json, &status::list(&rollouts)?)?,
        Some(Form::Yaml) => document(Data::Yaml, &status::list(&rollouts)?)?,
        None | Some(Form::Wide) if !rollouts.is_empty() => lines(&rollouts, columns, cluster.clock.now()),
        None | Some(Form::Wide) => scope.no_rollouts(cluster),
    };
    out.print(&text)?;
    Ok(Exit::Done)
}

/// One line a Rollout, under a heading.
pub fn lines(rollouts: &[Rollout], columns: Columns, now: Timestamp) -> String {
    let heading = ["NAMESPACE", "NAME", "PHASE", "STEP", "WEIGHT", "STABLE", "CANARY", "WAITS", "AGE", "IMAGES", "WHY"];
    let mut rows = vec![heading.map(Cell::from).to_vec()];
    rows.extend(rollouts.iter().map(|rollout| row(rollout, now)));
    for row in &mut rows {
        if !columns.why {
            row.truncate(9);
        }
        if !columns.namespace {
            row.remove(0);
        }
    }
    table("", &rows)
}

fn row(rollout: &Rollout, now: Timestamp) -> Vec<Cell> {
    let status = rollout.status.clone().unwrap_or_default();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned()).into();
    let created = rollout.metadata.creation_timestamp.as_ref().map(|created| length(created.0, now));
    let images = status.canary.as_ref().or(status.stable.as_ref()).map(|version| version.images.join(","));
    vec![
        rollout.namespace().unwrap_or_default().into(),
        cell(STRONG, rollout.name_any()),
        phase_cell(rollout.status.as_ref()),
        or_none(status.step.as_ref().map(|step| step.display.clone())),
        or_none(status.traffic.as_ref().map(|traffic| weight(rollout, traffic))),
        or_none(status.stable.as_ref().map(|stable| stable.revision.clone())),
        or_none(status.canary.as_ref().map(|canary| canary.revision.clone())),
        rollout.status.as_ref().map_or_else(|| "-".into(), |status| waits(wait(status), now)),
        or_none(created),
        or_none(images.filter(|images| !images.is_empty())),
        seen_from(&status.why, now).into(),
    ]
}

/// What is waited for, as far as time goes.
fn waits(wait: Wait, now: Timestamp) -> Cell {
    match wait {
        Wait::Rests => "-".into(),
        Wait::Until(until) => length(now, until).into(),
        Wait::AtMost(until) => format!("at most {}", length(now, until)).into(),
        Wait::Person => cell(BAD, "for you"),
        Wait::Open => "under way".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{PLACES, now, rollout};

    fn listed(columns: Columns) -> String {
        let rollouts: Vec<Rollout> = PLACES.iter().map(|place| rollout(place)).collect();
        anstream::adapter::strip_str(&lines(&rollouts, columns, now())).to_string()
    }

    #[test]
    fn a_line_for_every_place() {
        insta::assert_snapshot!(listed(Columns::default()), @r"
        NAME   PHASE        STEP  WEIGHT              STABLE      CANARY      WAITS          AGE
        hello  Unknown      -     -                   -           -           -              1d5h
        hello  Pending      -     -                   -           -           under way      1d5h
        hello  Healthy      -     -                   3f9c1ab27d  -           -              1d5h
        hello  Healthy      -     -                   3f9c1ab27d  -           for you        1d5h
        hello  Preparing    1/4   -                   3f9c1ab27d  0d3c79e08d  under way      1d5h
        hello  Progressing  1/4   25 % (20 % routed)  3f9c1ab27d  0d3c79e08d  41s            1d5h
        hello  Progressing  2/4   50 % (20 % routed)  3f9c1ab27d  0d3c79e08d  at most 9m55s  1d5h
        hello  Progressing  1/4   25 % (20 % routed)  3f9c1ab27d  0d3c79e08d  for you        1d5h
        hello  Preparing    1/4   -                   3f9c1ab27d  0d3c79e08d  for you        1d5h
        hello  Baking       4/4   100 %               3f9c1ab27d  0d3c79e08d  4m45s          1d5h
        hello  Promoting    4/4   100 %               3f9c1ab27d  0d3c79e08d  under way      1d5h
        hello  RollingBack  1/4   0 %                 3f9c1ab27d  0d3c79e08d  under way      1d5h
        hello  RollingBack  1/4   0 %                 3f9c1ab27d  0d3c79e08d  for you        1d5h
        hello  RolledBack   -     -                   3f9c1ab27d  0d3c79e08d  for you        1d5h
        hello  Progressing  1/4   25 % (20 % routed)  3f9c1ab27d  0d3c79e08d  41s            1d5h
        ");
    }

    #[test]
    fn more_columns_are_for_all_namespaces_and_wide_terminals() {
        insta::assert_snapshot!(listed(Columns { namespace: true, why: true }).lines().take(4).collect::<Vec<_>>().join("\n"), @r"
        NAMESPACE  NAME   PHASE        STEP  WEIGHT              STABLE      CANARY      WAITS          AGE   IMAGES    WHY
        shop       hello  Unknown      -     -                   -           -           -              1d5h  -
        shop       hello  Pending      -     -                   -           -           under way      1d5h  -         waiting for Deployment hello to finish the roll-out it is in; its result becomes the live version
        shop       hello  Healthy      -     -                   3f9c1ab27d  -           -              1d5h  hello:v1  revision 3f9c1ab27d serves all clients
        ");
    }
}
