//! Objects as the rows that `kubectl get` prints, with the columns of a real server for the kinds that a release touches.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{kinds::Kind, selector::Labels};
use crate::sim::json;

/// Of an `EndpointSlice`.
const SHOWN_ENDPOINTS: usize = 3;

/// Objects as a Table.
pub fn of_list<'a>(kind: &Kind, objects: impl IntoIterator<Item = &'a Value>, metadata: &Value, now: Timestamp) -> Value {
    let columns = columns(kind);
    let row = |object: &'a Value| {
        let partial = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] });
        let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object, now)).collect();
        json!({ "cells": cells, "object": partial })
    };
    let definition = |column: &Column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({ "name": column.name, "type": column.type_, "format": format, "description": "", "priority": column.priority })
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": objects.into_iter().map(row).collect::<Vec<_>>(),
    })
}

/// What an object shows in a column.
type Cell<'a> = Box<dyn Fn(&Value, Timestamp) -> Value + 'a>;

struct Column<'a> {
    name: &'a str,
    type_: &'a str,
    /// Above 0: only with `-o wide`.
    priority: i64,
    cell: Cell<'a>,
}

/// A column; `*` after its name puts it off until `-o wide`.
fn column<'a>(name: &'a str, type_: &'a str, cell: impl Fn(&Value) -> Value + 'a) -> Column<'a> {
    let (name, priority) = name.strip_suffix('*').map_or((name, 0), |name| (name, 1));
    Column { name, type_, priority, cell: Box::new(move |object, _| cell(object)) }
}

fn text<'a>(name: &'a str, path: &'static str) -> Column<'a> {
    column(name, "string", move |object| object.pointer(path).cloned().unwrap_or_else(|| "<none>".into()))
}

fn number<'a>(name: &'a str, path: &'static str) -> Column<'a> {
    column(name, "integer", move |object| json::int(object, path).into())
}

fn since<'a>(name: &'a str, path: &'static str) -> Column<'a> {
    Column { name, type_: "string", priority: 0, cell: Box::new(move |object, now| age(json::text(object, path), now).into()) }
}

/// The columns that a definition names.
fn of_definition(kind: &Kind) -> impl Iterator<Item = Column<'_>> {
    kind.columns.iter().map(|column| {
        let path = pointer(&column.path);
        let is_date = column.type_ == "date";
        let cell = move |object: &Value, now| match object.pointer(&path) {
            Some(found) if is_date => age(found.as_str().unwrap_or_default(), now).into(),
            found => found.cloned().unwrap_or_default(),
        };
        let type_ = if is_date { "string" } else { &column.type_ };
        Column { name: &column.name, type_, priority: column.priority, cell: Box::new(cell) }
    })
}

fn columns(kind: &Kind) -> Vec<Column<'_>> {
    let name = || text("Name", "/metadata/name");
    if kind.is_custom() {
        return std::iter::once(name()).chain(of_definition(kind)).collect();
    }
    let created = || since("Age", "/metadata/creationTimestamp");
    let listed = |name, list: &'static str, field: &'static str| column(name, "string", move |object| every(object, list, field));
    let containers = || listed("Containers*", "/spec/template/spec/containers", "/name");
    let images = || listed("Images*", "/spec/template/spec/containers", "/image");
    match kind.plural.as_str() {
        "deployments" => vec![
            name(),
            column("Ready", "string", |object| {
                format!("{}/{}", json::int(object, "/status/readyReplicas"), json::int(object, "/spec/replicas")).into()
            }),
            number("Up-to-date", "/status/updatedReplicas"),
            number("Available", "/status/availableReplicas"),
            created(),
            containers(),
            images(),
            column("Selector*", "string", selector),
        ],
        "replicasets" => vec![
            name(),
            number("Desired", "/spec/replicas"),
            number("Current", "/status/replicas"),
            number("Ready", "/status/readyReplicas"),
            created(),
            containers(),
            images(),
            column("Selector*", "string", selector),
        ],
        "pods" => vec![
            name(),
            column("Ready", "string", |pod| {
                let ready = json::items(pod, "/status/containerStatuses").iter().filter(|status| json::flag(status, "/ready")).count();
                format!("{ready}/{}", json::items(pod, "/spec/containers").len()).into()
            }),
            column("Status", "string", pod_state),
            column("Restarts", "string", |pod| {
                let restarts = json::items(pod, "/status/containerStatuses").iter().map(|status| json::int(status, "/restartCount"));
                restarts.sum::<i64>().to_string().into()
            }),
            created(),
            text("IP*", "/status/podIP"),
            text("Node*", "/spec/nodeName"),
        ],
        "services" => vec![
            name(),
            text("Type", "/spec/type"),
            text("Cluster-IP", "/spec/clusterIP"),
            text("External-IP", "/spec/externalName"),
            column("Port(s)", "string", |service| {
                let port = |port: &Value| format!("{}/{}", json::int(port, "/port"), json::text(port, "/protocol"));
                json::items(service, "/spec/ports").iter().map(port).collect::<Vec<_>>().join(",").into()
            }),
            created(),
            column("Selector*", "string", |service| {
                json::fields(service, "/spec/selector").map_or_else(|| "<none>".into(), |map| Labels::of_map(map).to_string().into())
            }),
        ],
        "endpointslices" => vec![
            name(),
            text("AddressType", "/addressType"),
            listed("Ports", "/ports", "/port"),
            column("Endpoints", "string", endpoints),
            created(),
        ],
        "events" => vec![
            Column { cell: Box::new(last_seen), ..text("Last Seen", "") },
            text("Type", "/type"),
            text("Reason", "/reason"),
            column("Object", "string", |event| {
                let about = if event.get("involvedObject").is_some() { &event["involvedObject"] } else { &event["regarding"] };
                format!("{}/{}", json::text(about, "/kind").to_lowercase(), json::text(about, "/name")).into()
            }),
            column("Message", "string", |event| event.get("message").or(event.get("note")).cloned().unwrap_or_default()),
        ],
        "namespaces" => vec![name(), text("Status", "/status/phase"), created()],
        "leases" => vec![name(), text("Holder", "/spec/holderIdentity"), created()],
        "customresourcedefinitions" => vec![name(), text("Created At", "/metadata/creationTimestamp")],
        _ => vec![name(), created()],
    }
}

fn last_seen(event: &Value, now: Timestamp) -> Value {
    let times = ["/lastTimestamp", "/deprecatedLastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"];
    age(times.iter().map(|path| json::text(event, path)).find(|text| !text.is_empty()).unwrap_or_default(), now).into()
}

fn selector(object: &Value) -> Value {
    object.pointer("/spec/selector").map(Labels::of_selector).unwrap_or_default().to_string().into()
}

/// A field of every item of a list.
fn every(object: &Value, list: &str, field: &str) -> Value {
    let found = json::items(object, list).iter().filter_map(|item| item.pointer(field));
    let found: Vec<String> = found.map(|found| found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned)).collect();
    if found.is_empty() { "<unset>".into() } else { found.join(",").into() }
}

/// The first addresses, and how many more there are.
fn endpoints(slice: &Value) -> Value {
    let found: Vec<&str> = json::items(slice, "/endpoints").iter().map(|endpoint| json::text(endpoint, "/addresses/0")).collect();
    match found.split_at_checked(SHOWN_ENDPOINTS) {
        None if found.is_empty() => "<unset>".into(),
        Some((shown, more)) if !more.is_empty() => format!("{} + {} more...", shown.join(","), more.len()).into(),
        _ => found.join(",").into(),
    }
}

fn pod_state(pod: &Value) -> Value {
    if json::deleting(pod) {
        return "Terminating".into();
    }
    let reason =
        |status: &Value| ["/state/waiting/reason", "/state/terminated/reason"].iter().find_map(|path| status.pointer(path).cloned());
    json::items(pod, "/status/containerStatuses").iter().find_map(reason).unwrap_or_else(|| pod["status"]["phase"].clone())
}

/// `.spec.steps[0].weight` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.replace('[', ".").replace(']', "").replace('.', "/")
}

/// How long ago that was, as kubectl says it.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".into() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let both = |large: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{part}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => both(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => both(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => both(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::DAWN;

    #[test]
    fn of_many_endpoints_the_first_three_are_shown() {
        let slice =
            |count: u8| json!({"endpoints": (1..=count).map(|last| json!({"addresses": [format!("10.0.0.{last}")]})).collect::<Vec<_>>()});
        assert_eq!(endpoints(&slice(0)), "<unset>");
        assert_eq!(endpoints(&slice(3)), "10.0.0.1,10.0.0.2,10.0.0.3");
        assert_eq!(endpoints(&slice(5)), "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...");
    }

    #[test]
    fn an_age_is_as_exact_as_it_is_young() {
        let said = |seconds: i64| age(&DAWN.to_string(), DAWN + jiff::SignedDuration::from_secs(seconds));
        let ages = [0, 119, 120, 125, 600, 10_799, 10_800, 10_860, 28_800, 172_800, 180_000, 691_200];
        assert_eq!(ages.map(said), ["0s", "119s", "2m", "2m5s", "10m", "179m", "3h", "3h1m", "8h", "2d", "2d2h", "8d"].map(str::to_owned));
        assert_eq!(age("", DAWN), "<unknown>");
    }
}
