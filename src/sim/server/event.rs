//! Events have two faces, `v1` and `events.k8s.io/v1`, and one store, which keeps the newer form.

use serde_json::Value;

use crate::sim::json;

/// Fields of the newer form with their older names.
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
];

/// The older form of a stored Event.
pub fn to_core(stored: &Value) -> Value {
    let mut event = renamed(stored, |(new, old)| (new, old));
    event["apiVersion"] = "v1".into();
    event
}

/// The stored form of an older Event.
pub fn from_core(event: &Value) -> Value {
    let mut stored = renamed(event, |(new, old)| (old, new));
    stored["apiVersion"] = "events.k8s.io/v1".into();
    stored
}

fn renamed(event: &Value, direction: fn((&'static str, &'static str)) -> (&'static str, &'static str)) -> Value {
    let mut event = event.clone();
    for pair in RENAMED {
        let (from, to) = direction(*pair);
        if let Some(value) = json::unset(&mut event, &format!("/{from}")) {
            event[to] = value;
        }
    }
    event
}
