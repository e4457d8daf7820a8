//! Watches: readers of the log that see what their selectors let through.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::{clock::after, json};

use super::{ApiServer, kinds::Kind, problem::Problem, store::Entry, view::View};

/// Time between two bookmarks of a quiet watch.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a watch gets the last one.
const BOOKMARK_LAST: Duration = Duration::from_secs(2);

/// An open watch. It holds no lock and no data but its place in the log: whoever owns it asks [`Watch::next`].
#[derive(Debug)]
pub struct Watch {
    pub(super) kind: Arc<Kind>,
    pub(super) view: View,
    pub(super) cursor: u64,
    pub(super) ends: Timestamp,
    /// When the next bookmark is due, if the client wants any.
    pub(super) bookmark: Option<Timestamp>,
    /// What is sent before the log: the state at the start, or an error.
    pub(super) first: VecDeque<Value>,
    pub(super) failed: bool,
    /// How long after its commit an event is let through. For faults: a stale watch.
    pub lag: Duration,
    /// Whether bookmarks are held back too, as by a server whose cache stands still.
    pub frozen_bookmarks: bool,
}

/// What a watch has to say.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// One event, as a watch line: `{"type": ..., "object": ...}`.
    Event(Value),
    /// Nothing before the log grows, or before this time.
    Wait(Timestamp),
    /// The watch is over.
    End,
}

impl Watch {
    /// The resource that is watched.
    pub fn resource(&self) -> String {
        self.kind.stored_as()
    }

    /// The next event, or until when there is none.
    pub fn next(&mut self, server: &ApiServer, now: Timestamp) -> Next {
        if let Some(event) = self.first.pop_front() {
            return Next::Event(event);
        }
        if self.failed || now >= self.ends {
            return Next::End;
        }
        loop {
            let entry = match server.store.after(self.cursor) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(expired) => {
                    self.failed = true;
                    return Next::Event(error(&expired));
                }
            };
            let visible = after(entry.at, self.lag);
            if visible > now {
                return Next::Wait(visible.min(self.ends));
            }
            self.cursor = entry.version;
            if let Some((kind, object)) = self.translate(entry) {
                return Next::Event(json!({ "type": kind, "object": self.view.render(&self.kind, &object, now) }));
            }
        }
        match self.bookmark {
            Some(due) if due <= now && !self.frozen_bookmarks => {
                self.plan_bookmark(now);
                Next::Event(json!({ "type": "BOOKMARK", "object": self.bookmark_object(false) }))
            }
            Some(due) if due > now => Next::Wait(due.min(self.ends)),
            _ => Next::Wait(self.ends),
        }
    }

    /// What a change of the store means to this watch: an object that begins to match is ADDED, one that ceases to match is DELETED.
    fn translate(&self, entry: &Entry) -> Option<(&'static str, Arc<Value>)> {
        if *entry.key.resource != *self.kind.stored_as() || !self.view.covers(&entry.key) {
            return None;
        }
        let selected = |object: &Option<Arc<Value>>| object.as_ref().filter(|object| self.view.selects(&self.kind, object)).cloned();
        match (selected(&entry.before), selected(&entry.after)) {
            (None, Some(now)) => Some(("ADDED", now)),
            (Some(_), Some(now)) => Some(("MODIFIED", now)),
            (Some(then), None) => {
                let mut last = (*then).clone();
                json::set(&mut last, "/metadata/resourceVersion", entry.version.to_string());
                Some(("DELETED", Arc::new(last)))
            }
            (None, None) => None,
        }
    }

    pub(super) fn bookmark_object(&self, initial_end: bool) -> Value {
        let mut object = json!({
            "apiVersion": self.kind.api_version(), "kind": self.kind.kind,
            "metadata": { "resourceVersion": self.cursor.to_string(), "creationTimestamp": null },
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        object
    }

    /// Says when the next bookmark is due.
    pub(super) fn plan_bookmark(&mut self, now: Timestamp) {
        let due = after(now, BOOKMARK_PERIOD).min(self.ends - BOOKMARK_LAST);
        self.bookmark = Some(due).filter(|due| *due > now);
    }
}

/// An ERROR event.
pub(super) fn error(problem: &Problem) -> Value {
    json!({ "type": "ERROR", "object": problem.status() })
}
