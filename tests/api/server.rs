//! The table, row by row, on the API server: creations as dry runs, strict about unknown fields as kubectl is.

use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use serde_json::Value;
use stepgate::api::{Rollout, RolloutPolicy};

use crate::{
    kubectl::{Kubectl, apply_kinds, cluster, unique},
    table,
};

async fn client(kubectl: &Kubectl) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubectl.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.proxy_url = None;
    Client::try_from(config).unwrap()
}

fn path(namespace: &str, object: &Value) -> String {
    let plural = if object["kind"] == "Rollout" { "rollouts" } else { "rolloutpolicies" };
    format!("/apis/stepgate.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

/// What kubectl asks for too.
const STRICT: &str = "fieldValidation=Strict&fieldManager=test";

/// The object as it would be stored, or what the API server says against it.
async fn send(client: &Client, method: &str, path: &str, object: &Value) -> Result<Value, String> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", "application/json")
        .body(serde_json::to_vec(object).unwrap())
        .unwrap();
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("{other}"),
    })
}

async fn dry_run(client: &Client, object: &Value) -> Result<Value, String> {
    send(client, "POST", &format!("{}?dryRun=All&{STRICT}", path("default", object)), object).await
}

#[tokio::test]
async fn what_is_to_be_accepted_is_accepted_and_can_be_read() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let client = client(&kubectl).await;
    for object in table::accepted() {
        let stored = dry_run(&client, &object).await.unwrap_or_else(|message| panic!("{object}: {message}"));
        // With the defaults filled in, as the controller will read it.
        let read = if object["kind"] == "Rollout" {
            serde_json::from_value::<Rollout>(stored).map(drop)
        } else {
            serde_json::from_value::<RolloutPolicy>(stored).map(drop)
        };
        read.unwrap_or_else(|error| panic!("{object}: {error}"));
    }
}

#[tokio::test]
async fn what_is_to_be_refused_is_refused_with_its_sentence() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let client = client(&kubectl).await;
    let mut wrong = Vec::new();
    for (object, sentence) in table::refused() {
        match dry_run(&client, &object).await {
            Ok(_) => wrong.push(format!("taken: {object}")),
            Err(message) if message.contains(sentence) => {}
            Err(message) => wrong.push(format!("{object}\n  said:     {message}\n  expected: {sentence}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn changes_are_judged_by_what_was_there_before() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let client = client(&kubectl).await;
    let namespace = unique("stepgate-api");
    kubectl.run(&["create", "namespace", &namespace]);
    for (row, (before, after, sentence)) in table::UPDATES.iter().enumerate() {
        let name = format!("row-{row}");
        let (mut before, mut after) = (table::object("Rollout", before), table::object("Rollout", after));
        before["metadata"]["name"] = name.clone().into();
        let path = path(&namespace, &before);
        let stored = send(&client, "POST", &format!("{path}?{STRICT}"), &before).await.unwrap();
        after["metadata"] = stored["metadata"].clone();
        match (send(&client, "PUT", &format!("{path}/{name}?{STRICT}"), &after).await, sentence) {
            (Ok(_), None) => {}
            (Err(message), Some(sentence)) => assert!(message.contains(sentence), "{after}: {message}"),
            (outcome, sentence) => panic!("{after}: {outcome:?}, but expected {sentence:?}"),
        }
    }
    kubectl.run(&["delete", "namespace", &namespace, "--wait=false"]);
}
