//! Every version of every object, in the order of the API server's writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Instant,
};

use serde_json::Value;
use stepgate::api::POD_TEMPLATE_HASH;

use super::objects::{Kind, World, is_ready, labels, text};

/// One write as a watch reported it.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it was seen here.
    pub at: Instant,
    /// Resource version: orders the writes to all kinds of a cluster with one etcd.
    pub version: u64,
    pub kind: Kind,
    pub name: String,
    /// The object as written; none once it is gone.
    pub object: Option<Arc<Value>>,
}

/// What was seen so far.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub started_at: Instant,
    changes: Vec<Change>,
    /// All objects as last seen.
    pub now: World,
}

impl Timeline {
    pub fn new() -> Self {
        Self { started_at: Instant::now(), changes: Vec::new(), now: World::default() }
    }

    pub fn add(&mut self, change: Change) {
        // A watch that had to start again lists what is already known.
        let version = |object: &Value| text(object, "/metadata/resourceVersion").parse().ok();
        if change.object.is_some() && self.now.get(change.kind, &change.name).and_then(version) == Some(change.version) {
            return;
        }
        self.now.put(change.kind, &change.name, change.object.clone());
        self.changes.push(change);
    }

    /// A watch had to start again: what it does not list any more has gone meanwhile.
    pub fn keep(&mut self, kind: Kind, listed: &BTreeSet<String>) {
        let known: Vec<(String, u64)> = (self.now.all(kind))
            .filter_map(|object| Some((text(object, "/metadata/name").to_owned(), text(object, "/metadata/resourceVersion").parse().ok()?)))
            .collect();
        for (name, version) in known.into_iter().filter(|(name, _)| !listed.contains(name)) {
            self.add(Change { at: Instant::now(), version, kind, name, object: None });
        }
    }

    /// The writes in the order in which the API server made them: six watches run side by side and report out of step.
    pub fn in_order(&self) -> Vec<Change> {
        let mut changes = self.changes.clone();
        changes.sort_by_key(|change| change.version);
        // A write was made no later than the next one, whatever the watches say.
        for i in (1..changes.len()).rev() {
            changes[i - 1].at = changes[i - 1].at.min(changes[i].at);
        }
        changes
    }

    /// The object as it was first seen.
    pub fn first(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.changes.iter().find(|change| change.kind == kind && change.name == name)?.object.as_deref()
    }

    /// Number of writes by object.
    pub fn counts(&self) -> BTreeMap<(Kind, &str), usize> {
        let mut counts = BTreeMap::new();
        for change in &self.changes {
            *counts.entry((change.kind, change.name.as_str())).or_default() += 1;
        }
        counts
    }

    /// The last `most` writes in words, one a line; writes that change nothing of interest to a release are left out.
    pub fn describe(&self, most: usize) -> String {
        let mut said: BTreeMap<(Kind, String), String> = BTreeMap::new();
        let mut lines = Vec::new();
        for change in self.in_order() {
            let words = change.object.as_deref().map_or_else(|| "gone".to_owned(), |object| in_words(change.kind, object));
            let key = (change.kind, change.name.clone());
            if said.get(&key) != Some(&words) {
                let at = change.at.duration_since(self.started_at).as_secs_f64();
                lines.push(format!("{at:8.3}s {:?} {}: {words}", change.kind, change.name));
                said.insert(key, words);
            }
        }
        lines.split_off(lines.len().saturating_sub(most)).join("\n")
    }
}

fn in_words(kind: Kind, object: &Value) -> String {
    let mut words = String::new();
    let mut say = |name: &str, value: Option<&Value>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(words, "{name}={value} ");
        }
    };
    let at = |pointer| object.pointer(pointer);
    match kind {
        Kind::Rollout => {
            let fields = [
                ("phase", "phase"),
                ("step", "step/display"),
                ("since", "step/since"),
                ("desired", "traffic/desired"),
                ("routed", "traffic/routed"),
            ];
            for (name, pointer) in fields {
                say(name, object.pointer(&format!("/status/{pointer}")));
            }
            say("why", at("/status/why"));
            say("request", at("/spec/request/id"));
        }
        Kind::Deployment => {
            say("replicas", at("/spec/replicas"));
            say("paused", at("/spec/paused"));
            say("maxSurge", at("/spec/strategy/rollingUpdate/maxSurge"));
            say("image", at("/spec/template/spec/containers/0/image"));
            say("labels", at("/metadata/labels"));
            say("ready", at("/status/readyReplicas"));
        }
        Kind::ReplicaSet => {
            say("replicas", at("/spec/replicas"));
            say("ready", at("/status/readyReplicas"));
            say("of", at("/metadata/ownerReferences/0/name"));
        }
        Kind::Pod => {
            let labels = labels(object);
            let _ = write!(words, "ready={} hash={} ", is_ready(object), labels.get(POD_TEMPLATE_HASH).map_or("-", String::as_str));
            labels.iter().filter(|(key, _)| key.starts_with("stepgate.dev/")).for_each(|(key, value)| {
                let _ = write!(words, "{key}={value} ");
            });
            words.push_str(if at("/metadata/deletionTimestamp").is_some() { "ending" } else { text(object, "/status/phase") });
        }
        Kind::Service => say("selector", at("/spec/selector")),
        Kind::EndpointSlice => {
            let mut world = World::default();
            world.put(Kind::EndpointSlice, "", Some(Arc::new(object.clone())));
            let service = labels(object).remove("kubernetes.io/service-name").unwrap_or_default();
            let _ = write!(words, "{:?}", world.endpoints(&service));
        }
    }
    if kind != Kind::Pod && object.pointer("/metadata/deletionTimestamp").is_some() {
        words.push_str("ending");
    }
    words
}
