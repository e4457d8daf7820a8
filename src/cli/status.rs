//! `stepgate status`: at one glance what is live, what is being released, what it waits for, and what to do next.

use std::{collections::BTreeMap, time::Duration};

use anstyle::Style;
use clap::Args;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};

use crate::{
    api::{
        Rollout, RolloutStatus,
        status::{GateState, GateStatus, Phase, Traffic, Version},
    },
    controller::run::WatchBackoff,
};

use super::{
    caller::Caller,
    cluster::{Cluster, ClusterArgs, answered, lasting},
    exit::Exit,
    next::next,
    output::{Data, Output, Reader, document},
    standing::{holds, last, shares, since, unanswered},
    text::{BAD, Cell, FAINT, GOOD, STRONG, WAITS, cell, from_now, length, paint, seen_from, table, wrap},
};

/// Columns where there is no terminal to ask.
const COLUMNS: usize = 100;
/// How often the times on a terminal are drawn again. Nothing is asked of the cluster for that.
const TICK: Duration = Duration::from_secs(1);
/// Where the values of the screen begin.
const MARGIN: &str = "           ";

/// What `stepgate status` takes.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Rollout [default: all of the namespace]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Show every change as it comes: drawn anew on a terminal, one line a change elsewhere
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,

    /// Print the Rollout itself
    #[arg(short, long, value_name = "FORM")]
    output: Option<Data>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Shows where Rollouts stand.
///
/// # Errors
/// When there is no such Rollout, or the cluster does not let it be read.
pub async fn run(args: &StatusArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let StatusArgs { name, watch, output, cluster: _ } = args;
    let rollouts = match name {
        Some(name) => vec![cluster.rollout(name).await?],
        None => answered(cluster.rollouts().list(&ListParams::default())).await?.items,
    };
    if *watch {
        return follow(name.as_deref(), cluster, out).await;
    }
    match (output, name, rollouts.as_slice()) {
        (Some(form), Some(_), [rollout]) => out.print(&document(*form, &without_bookkeeping(rollout)?)?)?,
        (Some(form), ..) => out.print(&document(*form, &list(&rollouts)?)?)?,
        (None, ..) => out.print(&screens(&rollouts, cluster, out.reader))?,
    }
    Ok(Exit::Done)
}

/// Rollouts as one `List`, as `kubectl get -o json` prints them.
///
/// # Errors
/// When they cannot be written so, which would be a bug of ours.
pub fn list(rollouts: &[Rollout]) -> anyhow::Result<Value> {
    let items = rollouts.iter().map(without_bookkeeping).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

/// A Rollout without the fields that say who wrote which field.
fn without_bookkeeping(rollout: &Rollout) -> anyhow::Result<Value> {
    let mut rollout = rollout.clone();
    rollout.metadata.managed_fields = None;
    Ok(serde_json::to_value(rollout)?)
}

fn screens(rollouts: &[Rollout], cluster: &Cluster, reader: Reader) -> String {
    let columns = match reader {
        Reader::Terminal { columns } => columns,
        Reader::Program => COLUMNS,
    };
    if rollouts.is_empty() {
        return format!("no Rollouts in namespace {}\n", cluster.namespace);
    }
    let now = cluster.clock.now();
    rollouts.iter().map(|rollout| screen(rollout, &cluster.caller, now, columns)).collect::<Vec<_>>().join("\n")
}

/// Shows changes until the reader goes away, or, where one Rollout was asked for, until that is gone.
async fn follow(name: Option<&str>, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let mut changes = changes(name, cluster).boxed();
    let mut shown = Shown::default();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            rollouts = changes.next() => {
                let Some(rollouts) = rollouts else { return Ok(Exit::Done) };
                shown.take(rollouts?, cluster, out)?;
                if let (Some(name), true) = (name, shown.rollouts.is_empty()) {
                    out.print(&format!("Rollout {name} is gone\n"))?;
                    return Ok(Exit::Done);
                }
            }
            _ = ticks.tick(), if matches!(out.reader, Reader::Terminal { .. }) => shown.draw(cluster, out)?,
        }
    }
}

/// All Rollouts that were asked for, after each change.
fn changes(name: Option<&str>, cluster: &Cluster) -> impl Stream<Item = anyhow::Result<BTreeMap<String, Rollout>>> + Send + use<> {
    let config = name.map_or_else(watcher::Config::default, |name| watcher::Config::default().fields(&format!("metadata.name={name}")));
    let events = lasting(watcher(cluster.rollouts(), config).backoff(WatchBackoff::default()));
    let (known, listing) = (BTreeMap::new(), BTreeMap::new());
    events
        .scan((known, listing), |(known, listing), event| {
            let complete = match event {
                Ok(Event::Init) => {
                    listing.clear();
                    None
                }
                Ok(Event::InitApply(rollout)) => {
                    listing.insert(rollout.name_any(), rollout);
                    None
                }
                Ok(Event::InitDone) => {
                    *known = std::mem::take(listing);
                    Some(Ok(known.clone()))
                }
                Ok(Event::Apply(rollout)) => {
                    known.insert(rollout.name_any(), rollout);
                    Some(Ok(known.clone()))
                }
                Ok(Event::Delete(rollout)) => {
                    known.remove(&rollout.name_any());
                    Some(Ok(known.clone()))
                }
                Err(error) => Some(Err(error)),
            };
            std::future::ready(Some(complete))
        })
        .filter_map(std::future::ready)
}

/// What a watching reader has been shown.
#[derive(Default)]
struct Shown {
    rollouts: BTreeMap<String, Rollout>,
    /// The last line for each Rollout.
    lines: BTreeMap<String, String>,
    /// Lines of the screen that is drawn over.
    height: usize,
}

impl Shown {
    fn take(&mut self, rollouts: BTreeMap<String, Rollout>, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<()> {
        self.rollouts = rollouts;
        if matches!(out.reader, Reader::Terminal { .. }) {
            return self.draw(cluster, out);
        }
        for (name, rollout) in &self.rollouts {
            let line = line(rollout);
            if self.lines.get(name) != Some(&line) {
                out.print(&format!("{} {line}\n", cluster.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")))?;
                self.lines.insert(name.clone(), line);
            }
        }
        Ok(())
    }

    fn draw(&mut self, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<()> {
        let rollouts: Vec<Rollout> = self.rollouts.values().cloned().collect();
        let screen = screens(&rollouts, cluster, out.reader);
        out.print(&over(self.height, &screen))?;
        self.height = screen.lines().count();
        Ok(())
    }
}

/// A screen in place of the one of `height` lines above the cursor. Lines are not wrapped by the terminal meanwhile, so that each takes
/// one row.
fn over(height: usize, screen: &str) -> String {
    let up = if height == 0 { String::new() } else { format!("\u{1b}[{height}A") };
    format!("{up}\u{1b}[J\u{1b}[?7l{screen}\u{1b}[?7h")
}

/// One line that says where a Rollout stands; equal lines mean that nothing worth telling has changed.
pub fn line(rollout: &Rollout) -> String {
    let name = rollout.name_any();
    let Some(status) = &rollout.status else { return format!("{name}: no controller has looked at it yet") };
    let weight = status.traffic.as_ref().map(|traffic| format!(" {}", weight(traffic))).unwrap_or_default();
    format!("{name}: {}{weight}: {}", phase(status), status.why)
}

fn phase(status: &RolloutStatus) -> &'static str {
    match status.phase {
        None | Some(Phase::Pending) => "Pending",
        Some(Phase::Healthy) => "Healthy",
        Some(Phase::Preparing) => "Preparing",
        Some(Phase::Progressing) => "Progressing",
        Some(Phase::Baking) => "Baking",
        Some(Phase::Promoting) => "Promoting",
        Some(Phase::RollingBack) => "RollingBack",
        Some(Phase::RolledBack) => "RolledBack",
    }
}

/// A phase in the colour of how things go.
pub fn phase_cell(status: Option<&RolloutStatus>) -> Cell {
    let Some(status) = status else { return cell(WAITS, "Unknown") };
    let style = match status.phase {
        _ if holds(status, "Stalled") => BAD,
        Some(Phase::Healthy) => GOOD,
        Some(Phase::RollingBack | Phase::RolledBack) => BAD,
        _ => WAITS,
    };
    cell(style, phase(status))
}

/// A weight as it was asked for, and what the data plane gives.
pub fn weight(traffic: &Traffic) -> String {
    match traffic.routed {
        Some(routed) if routed == traffic.desired => format!("{routed} %"),
        Some(routed) => format!("{} % ({routed} % routed)", traffic.desired),
        None => format!("{} % (on the move)", traffic.desired),
    }
}

/// The screen of one Rollout, in lines of about `columns`.
pub fn screen(rollout: &Rollout, caller: &Caller, now: Timestamp, columns: usize) -> String {
    let mut screen = heading(rollout, now);
    if let Some(status) = &rollout.status {
        screen.push_str(&versions(rollout, status));
        screen.push('\n');
    }
    let labelled = |label: &str, text: &str| format!("  {label:<9}{}\n", wrap(text, columns, MARGIN));
    for (label, text) in facts(rollout, now) {
        screen.push_str(&labelled(label, &text));
    }
    if let Some(status) = rollout.status.as_ref().filter(|status| !status.gates.is_empty()) {
        screen.push_str(&under("gates", &gates(&status.gates, now)));
    }
    let commands: Vec<Vec<Cell>> =
        next(rollout, caller).into_iter().map(|next| vec![cell(STRONG, next.command), next.does.into()]).collect();
    screen.push_str(&under("next", &table(MARGIN, &commands)));
    screen
}

/// A table under its label, which stands on its first line.
fn under(label: &str, table: &str) -> String {
    format!("  {label:<9}{}", table.trim_start())
}

fn heading(rollout: &Rollout, now: Timestamp) -> String {
    let name = format!("{}/{}", rollout.namespace().unwrap_or_default(), rollout.name_any());
    let status = rollout.status.as_ref();
    let phase = phase_cell(status);
    let mut heading = format!("{}  {}", paint(STRONG, &name), paint(phase.style, &phase.text));
    if let Some(since) = status.and_then(since) {
        heading.push_str(&format!(" for {}", length(since, now)));
    }
    if let Some(step) = status.and_then(|status| status.step.as_ref()) {
        heading.push_str(&format!(", step {} of {}", step.index, step.of));
    }
    heading + "\n"
}

/// The Deployment and its versions, as a tree.
fn versions(rollout: &Rollout, status: &RolloutStatus) -> String {
    let shares = shares(status);
    let share = |share: Option<u8>| share.map_or_else(|| "on the move".to_owned(), |share| format!("{share} % of the clients"));
    let mut rows = Vec::new();
    if let Some(stable) = &status.stable {
        rows.push(version("stable", stable, pods(stable), share(shares.map(|(stable, _)| stable))));
    }
    if let Some(canary) = &status.canary {
        // Its last counts are on record, but its pods are gone.
        let held = status.phase == Some(Phase::RolledBack);
        let (role, pods) = if held { ("held", cell(BAD, "no pods")) } else { ("canary", pods(canary)) };
        rows.push(version(role, canary, pods, share(shares.map(|(_, canary)| canary))));
    }
    let count = rows.len();
    for (i, row) in rows.iter_mut().enumerate() {
        row.insert(0, cell(FAINT, if i + 1 == count { "└─" } else { "├─" }));
    }
    format!("  Deployment {}\n{}", rollout.spec.workload.deployment, table("  ", &rows))
}

fn version(role: &str, version: &Version, pods: Cell, share: String) -> Vec<Cell> {
    vec![role.into(), cell(STRONG, &version.revision), pods, share.into(), cell(FAINT, version.images.join(", "))]
}

fn pods(version: &Version) -> Cell {
    let style = if version.ready >= version.replicas { GOOD } else { WAITS };
    cell(style, format!("{}/{} pods ready", version.ready, version.replicas))
}

/// What is to be said in sentences, with its label.
fn facts(rollout: &Rollout, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let Some(status) = &rollout.status else {
        return vec![("why", "no controller has looked at it yet".to_owned())];
    };
    if let Some(traffic) = &status.traffic {
        facts.push(("weight", weight(traffic)));
    }
    facts.push(("why", seen_from(&status.why, now)));
    if rollout.spec.paused && status.release.is_none() {
        facts.push(("paused", "spec.paused is true: the next release stays before its first client".to_owned()));
    }
    if let Some(last) = last(status, now) {
        facts.push(("last", format!("{}, {}", last.what, from_now(last.at, now))));
    }
    if let Some(request) = unanswered(rollout) {
        facts.push(("request", format!("{:?} of revision {} is not answered yet", request.action, request.revision)));
    } else if let Some(record) = status.requests.last().filter(|_| status.release.is_some()) {
        let by = if record.by.is_empty() { String::new() } else { format!(" by {}", record.by) };
        facts.push(("request", format!("{:?}{by}: {}", record.action, record.outcome)));
    }
    facts
}

/// The gates, each with its value, its threshold and since when it is as it is.
fn gates(gates: &[GateStatus], now: Timestamp) -> String {
    let rows: Vec<Vec<Cell>> = gates
        .iter()
        .map(|gate| {
            let (style, state) = state(gate.state);
            let held = format!("for {}", length(gate.since, now));
            vec![
                cell(style, state),
                gate.name.as_str().into(),
                gate.value.as_str().into(),
                format!("needs {}", gate.threshold).into(),
                held.into(),
                cell(FAINT, &gate.message),
            ]
        })
        .collect();
    table(MARGIN, &rows)
}

/// The state of a gate, in the colour of how things go.
pub fn state(state: GateState) -> (Style, &'static str) {
    match state {
        GateState::Passing => (GOOD, "passing"),
        GateState::Failing => (BAD, "failing"),
        GateState::Pending => (WAITS, "pending"),
        GateState::NoData => (WAITS, "no data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{PLACES, caller, now, rollout};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn shown(place: &str) -> String {
        plain(&screen(&rollout(place), &caller(), now(), COLUMNS))
    }

    #[test]
    fn a_screen_for_every_place() {
        let screens: Vec<String> = PLACES.iter().map(|place| format!("--- {place}\n{}", shown(place))).collect();
        insta::assert_snapshot!(screens.join("\n"), @"");
    }

    #[test]
    fn one_line_for_every_place() {
        let lines: Vec<String> = PLACES.iter().map(|place| line(&rollout(place))).collect();
        insta::assert_snapshot!(lines.join("\n"), @"");
    }

    #[test]
    fn a_narrow_terminal_gets_shorter_lines() {
        let screen = plain(&screen(&rollout("waiting"), &caller(), now(), 60));
        let why = screen.lines().skip_while(|line| !line.starts_with("  why")).take_while(|line| !line.starts_with("  last"));
        assert!(why.clone().count() > 2 && why.clone().all(|line| line.chars().count() <= 60), "{screen}");
    }

    #[test]
    fn a_screen_is_drawn_over_the_one_before_it() {
        assert_eq!(over(0, "a\n"), "\u{1b}[J\u{1b}[?7la\n\u{1b}[?7h");
        assert_eq!(over(3, "a\n"), "\u{1b}[3A\u{1b}[J\u{1b}[?7la\n\u{1b}[?7h");
    }

    #[test]
    fn what_goes_wrong_is_red() {
        assert!(screen(&rollout("rolled back"), &caller(), now(), COLUMNS).contains("\u{1b}[31mRolledBack\u{1b}[0m"));
    }
}
