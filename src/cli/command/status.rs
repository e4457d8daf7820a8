//! `stepgate status`: at one glance what is live, what is being released, what it waits for, and what to do next.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use futures::{Stream, StreamExt};
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
    api::Rollout,
    cli::{
        cluster::{Cluster, Scope, answered, args::ClusterArgs, lasting},
        paper::{
            exit::Exit,
            output::{Data, Output, Reader, document},
            screen::{line, screen},
        },
    },
    observe::watch::WatchBackoff,
};

/// How often the times on a terminal are drawn again. Nothing is asked of the cluster for that.
const TICK: Duration = Duration::from_secs(1);

/// What `stepgate status` takes.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Rollout [default: all of the namespace]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// The Rollouts of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,

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
    let StatusArgs { name, all_namespaces, watch, output, cluster: _ } = args;
    let scope = if *all_namespaces { Scope::Everywhere } else { Scope::Namespace };
    let rollouts = match name {
        Some(name) => vec![cluster.rollout(name).await?],
        None => answered(scope.rollouts(cluster).list(&ListParams::default())).await?.items,
    };
    if *watch {
        let known = rollouts.into_iter().map(|rollout| (key(&rollout), rollout)).collect();
        return follow(name.as_deref(), scope, known, cluster, out).await;
    }
    match (output, name, rollouts.as_slice()) {
        (Some(form), Some(_), [rollout]) => out.print(&document(*form, &without_bookkeeping(rollout)?)?)?,
        (Some(form), ..) => out.print(&document(*form, &list(&rollouts)?)?)?,
        (None, ..) => out.print(&screens(rollouts.iter(), scope, cluster, out.reader))?,
    }
    Ok(Exit::Done)
}

/// Namespace and name.
type Key = (String, String);

fn key(rollout: &Rollout) -> Key {
    (rollout.namespace().unwrap_or_default(), rollout.name_any())
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

fn screens<'a>(rollouts: impl Iterator<Item = &'a Rollout>, scope: Scope, cluster: &Cluster, reader: Reader) -> String {
    let now = cluster.clock.now();
    let caller = |rollout: &Rollout| match scope {
        Scope::Namespace => cluster.caller.clone(),
        Scope::Everywhere => cluster.caller.within(&rollout.namespace().unwrap_or_default()),
    };
    let screens: Vec<_> = rollouts.map(|rollout| screen(rollout, &caller(rollout), now, reader.columns())).collect();
    if screens.is_empty() { scope.no_rollouts(cluster) } else { screens.join("\n") }
}

/// Shows changes until the reader goes away, or, where one Rollout was asked for, until that is gone.
async fn follow(
    name: Option<&str>,
    scope: Scope,
    known: BTreeMap<Key, Rollout>,
    cluster: &Cluster,
    out: &mut Output<'_>,
) -> anyhow::Result<Exit> {
    let mut changes = changes(name, scope, cluster).boxed();
    let mut shown = Shown { scope, rollouts: BTreeMap::new(), lines: BTreeMap::new(), height: 0 };
    shown.take(known, cluster, out)?;
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
fn changes(
    name: Option<&str>,
    scope: Scope,
    cluster: &Cluster,
) -> impl Stream<Item = anyhow::Result<BTreeMap<Key, Rollout>>> + Send + use<> {
    let config = name.map_or_else(watcher::Config::default, |name| watcher::Config::default().fields(&format!("metadata.name={name}")));
    let events = lasting(watcher(scope.rollouts(cluster), config).backoff(WatchBackoff::default()));
    let (known, listing) = (BTreeMap::new(), BTreeMap::new());
    events
        .scan((known, listing), |(known, listing), event| {
            let complete = match event {
                Ok(Event::Init) => {
                    listing.clear();
                    None
                }
                Ok(Event::InitApply(rollout)) => {
                    listing.insert(key(&rollout), rollout);
                    None
                }
                Ok(Event::InitDone) => {
                    *known = std::mem::take(listing);
                    Some(Ok(known.clone()))
                }
                Ok(Event::Apply(rollout)) => {
                    known.insert(key(&rollout), rollout);
                    Some(Ok(known.clone()))
                }
                Ok(Event::Delete(rollout)) => {
                    known.remove(&key(&rollout));
                    Some(Ok(known.clone()))
                }
                Err(error) => Some(Err(error)),
            };
            std::future::ready(Some(complete))
        })
        .filter_map(std::future::ready)
}

/// What a watching reader has been shown.
struct Shown {
    scope: Scope,
    rollouts: BTreeMap<Key, Rollout>,
    /// The last line for each Rollout.
    lines: BTreeMap<Key, String>,
    /// Lines of the screen that is drawn over.
    height: usize,
}

impl Shown {
    fn take(&mut self, rollouts: BTreeMap<Key, Rollout>, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<()> {
        self.rollouts = rollouts;
        if matches!(out.reader, Reader::Terminal { .. }) {
            return self.draw(cluster, out);
        }
        for (key, rollout) in &self.rollouts {
            let namespace = if self.scope == Scope::Everywhere { format!("{}/", key.0) } else { String::new() };
            let line = format!("{namespace}{}", line(rollout));
            if self.lines.get(key) != Some(&line) {
                out.print(&format!("{} {line}\n", cluster.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")))?;
                self.lines.insert(key.clone(), line);
            }
        }
        Ok(())
    }

    fn draw(&mut self, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<()> {
        let screen = screens(self.rollouts.values(), self.scope, cluster, out.reader);
        out.print_over(self.height, &screen)?;
        self.height = screen.lines().count();
        Ok(())
    }
}
