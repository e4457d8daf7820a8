//! The table of manifests, row by row, on an API server: creations as dry runs, strict about unknown fields as kubectl is.
//!
//! `embedded.rs` holds the embedded one against the same table.

use kube::{Client, core::Status};
use serde_json::Value;
use stepgate::api::{Rollout, RolloutPolicy};

use crate::{
    controller::Cluster,
    manifests::{Line, Object, Refused, manifests},
    namespace::Namespace,
};

/// What kubectl asks for too.
const STRICT: &str = "fieldValidation=Strict&fieldManager=test";

/// The object as it would be stored, or what the API server says against it.
async fn send(client: &Client, method: &str, path: &str, object: &Value, author: Option<&str>) -> Result<Value, Box<Status>> {
    let mut request = http::Request::builder().method(method).uri(path).header("Content-Type", "application/json");
    if let Some(author) = author {
        request = request.header("Impersonate-User", author);
    }
    client.request(request.body(serde_json::to_vec(object).unwrap()).unwrap()).await.map_err(|error| match error {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    })
}

fn path(namespace: &str, object: &Value) -> String {
    let plural = if object["kind"] == "Rollout" { "rollouts" } else { "rolloutpolicies" };
    format!("/apis/stepgate.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

async fn dry_run(client: &Client, namespace: &str, object: &Value, author: Option<&str>) -> Result<Value, Box<Status>> {
    send(client, "POST", &format!("{}?dryRun=All&{STRICT}", path(namespace, object)), object, author).await
}

/// What a refusal says: one line a cause, as kubectl shows it, in the order of the alphabet (the API server has none).
fn lines(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // Said wherever a type is wrong: that what depends on it was not looked at.
    let causes = causes.filter(|cause| cause.field != "<nil>");
    let line = |field: &str, message: &str| if field.is_empty() { message.to_owned() } else { format!("{field}: {message}") };
    let mut lines: Vec<String> = causes.map(|cause| line(&cause.field, &cause.message)).collect();
    lines.sort();
    if lines.is_empty() { vec![status.message.clone()] } else { lines }
}

/// What is wrong with the answers to objects that are to be accepted.
pub async fn wrongly_accepted(client: &Client) -> Vec<String> {
    let mut wrong = Vec::new();
    for object in manifests().accepted {
        let manifest = object.manifest();
        match dry_run(client, "default", &manifest, None).await {
            Err(status) => wrong.push(format!("{manifest}: {}", status.message)),
            // With the defaults filled in, as the controller will read it.
            Ok(stored) => {
                let read = match object {
                    Object::Rollout(_) => serde_json::from_value::<Rollout>(stored).map(drop),
                    Object::Policy(_) => serde_json::from_value::<RolloutPolicy>(stored).map(drop),
                };
                wrong.extend(read.err().map(|error| format!("{manifest}: {error}")));
            }
        }
    }
    wrong
}

/// What is wrong with the answers to objects that are to be refused.
pub async fn wrongly_refused(client: &Client, namespace: &str, rows: impl Iterator<Item = Refused>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in rows.enumerate() {
        let mut object = row.manifest();
        let answer = match row.manifest_before() {
            None => dry_run(client, namespace, &object, row.author.as_deref()).await,
            Some(mut before) => {
                let name = format!("row-{number}");
                before["metadata"]["name"] = name.clone().into();
                let path = path(namespace, &before);
                let stored = send(client, "POST", &format!("{path}?{STRICT}"), &before, None).await.unwrap();
                object["metadata"] = stored["metadata"].clone();
                send(client, "PUT", &format!("{path}/{name}?dryRun=All&{STRICT}"), &object, row.author.as_deref()).await
            }
        };
        let mut expected: Vec<&str> = row.says.iter().map(Line::text).collect();
        expected.sort_unstable();
        match answer {
            Ok(_) => wrong.push(format!("taken: {object}")),
            Err(status) if lines(&status) == expected => {}
            Err(status) => wrong.push(format!("{object}\n  said:     {:#?}\n  expected: {expected:#?}", lines(&status))),
        }
    }
    wrong
}

#[tokio::test]
async fn what_is_to_be_accepted_is_accepted_and_can_be_read() {
    let Some(cluster) = Cluster::from_env() else { return };
    let wrong = wrongly_accepted(&cluster.client().await).await;
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_is_to_be_refused_is_refused_in_these_words() {
    let Some(cluster) = Cluster::from_env() else { return };
    let namespace = Namespace::create("inputs-manifests");
    namespace.let_the_author_write_rollouts();
    let wrong = wrongly_refused(&cluster.client().await, &namespace.name, manifests().refused.into_iter()).await;
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
