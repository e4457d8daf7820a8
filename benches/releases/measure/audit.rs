//! What the controller asked of the API server, by the server's own account: its audit log, which sees what no watch shows, such as reads,
//! deletions, and writes that were refused or changed nothing. Events and leases are not in it, as `tests/cluster/cluster` sets it up.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde::Deserialize;

use crate::scenario::Scenario;

/// The controller's identity in every scenario.
const CONTROLLER: &str = "system:serviceaccount:stepgate-system:stepgate";

/// The audit log of the cluster that `tests/cluster/cluster` runs, if it writes one.
fn log() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CLUSTER_DIR")?).join("log/audit.log");
    path.exists().then_some(path)
}

/// Whether requests can be counted at all.
pub fn is_there() -> bool {
    log().is_some()
}

/// The time from a moment on, in the audit log.
pub struct Window {
    since: Timestamp,
    /// What was in the log before; it grows by megabytes a minute.
    skip: u64,
}

/// Requests by verb.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<String, u32>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    request_received_timestamp: Timestamp,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    namespace: Option<String>,
}

impl Window {
    /// From now on.
    pub fn open() -> Self {
        let skip = log().and_then(|log| fs::metadata(log).ok()).map_or(0, |log| log.len());
        Self { since: Timestamp::now(), skip }
    }

    /// What the scenario's controller has asked since, of the scenario's namespace and those that are named after it; none where the API
    /// server keeps no audit log.
    pub async fn asked(&self, s: &Scenario) -> Option<Asked> {
        let path = log()?;
        // One request of our own: a log without it belongs to a server that has stopped writing it.
        Api::<Namespace>::all(s.client.clone()).get(&s.namespace).await.expect("the scenario's namespace");
        let mut log = File::open(path).expect("the audit log");
        let length = log.metadata().expect("the length of the audit log").len();
        if length == self.skip {
            return None;
        }
        // A log that has become shorter was begun anew.
        let skip = if length < self.skip { 0 } else { self.skip };
        log.seek(SeekFrom::Start(skip)).expect("a place in the audit log");
        let mut asked = Asked::default();
        for line in BufReader::new(log).lines() {
            // The line that is being written is not for us.
            let Ok(line) = serde_json::from_str::<Line>(&line.expect("text")) else { continue };
            if line.request_received_timestamp >= self.since && line.counts(&s.namespace) {
                *asked.0.entry(line.kind()).or_default() += 1;
            }
        }
        Some(asked)
    }
}

impl Line {
    fn counts(&self, namespace: &str) -> bool {
        // A watch is complete when it ends, which may be minutes later.
        let stage = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let object = self.object_ref.as_ref();
        let in_namespace = object.and_then(|object| object.namespace.as_deref()).is_some_and(|own| own.starts_with(namespace));
        self.user.username == CONTROLLER && self.stage == stage && in_namespace
    }

    /// A dry run asks whether the admission policies act; nothing is written.
    fn kind(&self) -> String {
        if self.request_uri.contains("dryRun=") { "dry run".to_owned() } else { self.verb.clone() }
    }
}

impl Asked {
    fn count(&self, kinds: &[&str]) -> u32 {
        kinds.iter().filter_map(|kind| self.0.get(*kind)).sum()
    }

    pub fn writes(&self) -> u32 {
        self.count(&["create", "update", "patch", "delete", "deletecollection"])
    }

    /// All that writes nothing, but for the watches.
    pub fn reads(&self) -> u32 {
        self.count(&["get", "list", "dry run"])
    }

    /// Watches that began, or began again as they do every few minutes.
    pub fn watches(&self) -> u32 {
        self.count(&["watch"])
    }
}
