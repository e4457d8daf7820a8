//! Plays the table on an API server, and says where it answers otherwise.

use std::{collections::BTreeMap, time::Duration};

use futures::{AsyncBufReadExt, StreamExt, future::join_all};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::story::{Row, Story, Table, table};

/// How long a controller may take: the garbage collector looks for new kinds twice a minute.
const EVENTUALLY: Duration = Duration::from_secs(90);
/// How long a watch may take for what it is to show, and how long it has to be silent then.
const SHOWN: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(500);

/// A client that shows each answer as it is: the usual one asks again where it is told to come back later.
pub async fn client(kubeconfig: Kubeconfig) -> Client {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Plays all stories at once, in a namespace that is there. Gives back what differs.
pub async fn differences(client: &Client, namespace: &str) -> Vec<String> {
    let table = table();
    let played = table.stories.iter().enumerate().map(|(number, story)| play(client, &table, namespace, number, story));
    join_all(played).await.concat()
}

async fn play(client: &Client, table: &Table, namespace: &str, number: usize, story: &Story) -> Vec<String> {
    let mut kept = BTreeMap::from([("name".to_owned(), format!("s{number}")), ("namespace".to_owned(), namespace.to_owned())]);
    let mut differences = Vec::new();
    for row in &story.requests {
        let row = filled_in(row, &kept);
        let mut wrong = ask(client, table, namespace, &row, &mut kept).await;
        let since = tokio::time::Instant::now();
        while row.eventually && !wrong.is_empty() && since.elapsed() < EVENTUALLY {
            tokio::time::sleep(Duration::from_millis(200)).await;
            wrong = ask(client, table, namespace, &row, &mut kept).await;
        }
        let body = row.with.as_ref().map(|with| format!(" {with}")).unwrap_or_default();
        differences.extend(wrong.iter().map(|wrong| format!("{} (s{number}):\n  {}{body}\n  {wrong}", story.story, row.send)));
    }
    differences
}

/// The row with what is kept in the place of its names.
fn filled_in(row: &Row, kept: &BTreeMap<String, String>) -> Row {
    let text = |text: &String| kept.iter().fold(text.clone(), |text, (name, value)| text.replace(&format!("<{name}>"), value));
    let texts = |list: &Vec<String>| list.iter().map(text).collect();
    let values =
        |fields: &BTreeMap<String, Value>| fields.iter().map(|(path, value)| (path.clone(), value_filled_in(value, kept))).collect();
    Row {
        send: text(&row.send),
        with: row.with.as_ref().map(|with| value_filled_in(with, kept)),
        text: row.text.as_ref().map(text),
        causes: row.causes.as_ref().map(texts),
        has: values(&row.has),
        not: values(&row.not),
        items: row.items.as_ref().map(texts),
        events: row.events.as_ref().map(texts),
        ..row.clone()
    }
}

fn value_filled_in(value: &Value, kept: &BTreeMap<String, String>) -> Value {
    let text = kept.iter().fold(value.to_string(), |text, (name, value)| text.replace(&format!("<{name}>"), value));
    serde_json::from_str(&text).unwrap()
}

/// What is wrong with the answer to a request.
async fn ask(client: &Client, table: &Table, namespace: &str, row: &Row, kept: &mut BTreeMap<String, String>) -> Vec<String> {
    let (method, path) = row.send.split_once(' ').unwrap();
    let resource = path.split(['/', '?']).next().unwrap();
    let root = table.paths.get(resource).map(|root| format!("{root}/namespaces/{namespace}/")).unwrap_or_default();
    let request = http::Request::builder().method(method).uri(format!("{root}{path}").replace(' ', "%20"));
    if let Some(expected) = &row.events {
        let shown = events(client, request.body(Vec::new()).unwrap(), expected.len()).await;
        return differs("events", &shown, expected).into_iter().collect();
    }
    let media_type = match row.media_type.as_deref().unwrap_or("application/json") {
        "apply-patch" => "application/apply-patch+yaml".to_owned(),
        short if !short.contains('/') => format!("application/{short}+json"),
        whole => whole.to_owned(),
    };
    let body = row.text.clone().or_else(|| body(table, row, kept).map(|body| body.to_string())).unwrap_or_default();
    let answer = client.send(request.header("Content-Type", media_type).body(Body::from(body.into_bytes())).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let warnings: Vec<String> = answer.headers().get_all("warning").iter().map(|text| text.to_str().unwrap().to_owned()).collect();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    for (name, path) in &row.keep {
        kept.insert(name.clone(), answer.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    let mut wrong = against(row, code, &warnings, &answer);
    if let Some(message) = answer["message"].as_str().filter(|_| !wrong.is_empty()) {
        wrong.push(format!("it says: {message}"));
    }
    wrong
}

fn body(table: &Table, row: &Row, kept: &BTreeMap<String, String>) -> Option<Value> {
    let Some(object) = &row.object else { return row.with.clone() };
    let mut body = value_filled_in(&table.objects[object], kept);
    if let Some(with) = &row.with {
        json_patch::merge(&mut body, with);
    }
    Some(body)
}

/// What of an answer is not as it should be.
fn against(row: &Row, code: u16, warnings: &[String], answer: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |path: &str| answer.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    wrong.extend(differs("code", &code, &row.code.unwrap_or(200)));
    wrong.extend(row.reason.as_ref().and_then(|reason| differs("reason", &text(&answer["reason"]), reason)));
    wrong.extend(row.causes.as_ref().and_then(|expected| {
        let mut causes: Vec<String> =
            list("/details/causes").iter().map(|cause| format!("{} {}", text(&cause["reason"]), text(&cause["field"]))).collect();
        causes.sort();
        // A server may say one thing twice.
        causes.dedup();
        differs("causes", &causes, expected)
    }));
    for (path, expected) in &row.has {
        wrong.extend(differs(path, answer.pointer(path).unwrap_or(&Value::Null), expected));
    }
    for (path, excluded) in &row.not {
        if answer.pointer(path).unwrap_or(&Value::Null) == excluded {
            wrong.push(format!("{path}: is {excluded}"));
        }
    }
    wrong.extend(row.items.as_ref().and_then(|expected| {
        let names: Vec<String> = list("/items").iter().map(|item| text(&item["metadata"]["name"])).collect();
        differs("items", &names, expected)
    }));
    if let Some(expected) = &row.warns {
        let missing = expected.iter().any(|part| warnings.iter().all(|warning| !warning.contains(part)));
        if missing || expected.is_empty() && !warnings.is_empty() {
            wrong.extend(differs("warnings", &warnings, &expected.as_slice()));
        }
    }
    wrong
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Option<String> {
    (found != expected).then(|| format!("{what}: answered {found:?}, expected {expected:?}"))
}

/// What a watch shows until there are so many events, and until it is silent then; bookmarks come whenever a server likes.
async fn events(client: &Client, request: http::Request<Vec<u8>>, count: usize) -> Vec<String> {
    let mut lines = client.request_stream(request).await.unwrap().lines();
    let mut events = Vec::new();
    loop {
        let patience = if events.len() < count { SHOWN } else { SILENCE };
        let Ok(Some(line)) = tokio::time::timeout(patience, lines.next()).await else { return events };
        let event = event(&serde_json::from_str(&line.unwrap()).unwrap());
        if events.len() < count || event != "BOOKMARK" {
            events.push(event);
        }
    }
}

fn event(event: &Value) -> String {
    let object = &event["object"];
    let mut parts = vec![&event["type"]];
    match event["type"].as_str().unwrap_or_default() {
        "ERROR" => parts.extend([&object["code"], &object["reason"]]),
        "BOOKMARK" if object["metadata"]["annotations"]["k8s.io/initial-events-end"] == json!("true") => {
            return "BOOKMARK initial-events-end".to_owned();
        }
        "BOOKMARK" => {}
        _ => parts.push(&object["metadata"]["name"]),
    }
    parts.into_iter().map(|part| part.as_str().map_or_else(|| part.to_string(), Into::into)).collect::<Vec<_>>().join(" ")
}
