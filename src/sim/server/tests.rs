//! Input that no client should send, and that the server outlives.

use serde_json::{Value, json};

use super::{Reply, request::Request};
use crate::sim::{Setup, World, clock::DAWN, sample};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const EVENTS: &str = "/api/v1/namespaces/default/events";

fn answer(world: &mut World, method: &str, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
    match world.handle(DAWN, &Request::new(method, path, "alice").with_body(content_type, body)) {
        Reply::Answer { code, body, .. } => (code, body),
        Reply::Watch(_) => unreachable!("{method} is no watch"),
    }
}

fn code(world: &mut World, method: &str, path: &str, content_type: &str, body: &Value) -> u16 {
    answer(world, method, path, content_type, body).0
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    let mut world = World::new(&Setup::default());
    let event = json!({"metadata": {"name": "told"}, "involvedObject": {"kind": "Pod"}, "message": "hello"});
    assert_eq!(code(&mut world, "POST", EVENTS, "application/json", &event), 201);
    let told = &format!("{EVENTS}/told");
    for body in [json!([1]), json!("text"), Value::Null] {
        assert_eq!(code(&mut world, "POST", EVENTS, "application/json", &body), 400, "{body}");
        assert_eq!(code(&mut world, "PUT", told, "application/json", &body), 400, "{body}");
        assert_eq!(code(&mut world, "PATCH", told, "application/merge-patch+json", &body), 400, "{body}");
        let whole = json!([{"op": "replace", "path": "", "value": body}]);
        assert_eq!(code(&mut world, "PATCH", told, "application/json-patch+json", &whole), 422, "{body}");
        assert_eq!(code(&mut world, "PATCH", &format!("{told}?fieldManager=me"), "application/apply-patch+yaml", &body), 400, "{body}");
    }
}

#[test]
fn an_object_is_not_written_to_an_address_that_is_not_its_own() {
    let mut world = World::new(&Setup::default());
    let object = sample::deployment("default", "hello", "v1", 1);
    let apply = "application/apply-patch+yaml";
    assert_eq!(code(&mut world, "PATCH", &format!("{DEPLOYMENTS}/other?fieldManager=me"), apply, &object), 400);
    assert_eq!(code(&mut world, "POST", DEPLOYMENTS, "application/json", &object), 201);
    let elsewhere = sample::deployment("kube-system", "hello", "v1", 2);
    assert_eq!(code(&mut world, "PUT", &format!("{DEPLOYMENTS}/hello"), "application/json", &elsewhere), 400);
    assert_eq!(code(&mut world, "DELETE", &format!("{DEPLOYMENTS}/hello/status"), "application/json", &json!({})), 405);
}

#[test]
fn a_kind_whose_schema_names_no_field_keeps_what_every_object_has() {
    let mut world = World::new(&Setup::default());
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "notes.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "notes", "singular": "note", "kind": "Note", "listKind": "NoteList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(code(&mut world, "POST", definitions, "application/json", &definition), 201);
    let note = json!({"apiVersion": "example.com/v1", "kind": "Note", "metadata": {"name": "one"}, "text": "dropped"});
    let (code, stored) = answer(&mut world, "POST", "/apis/example.com/v1/namespaces/default/notes", "application/json", &note);
    assert_eq!((code, &stored["kind"], &stored["metadata"]["name"], &stored["text"]), (201, &"Note".into(), &"one".into(), &Value::Null));
}

#[test]
fn a_service_account_gets_a_token_and_a_pod_is_evicted() {
    let mut world = World::new(&Setup::default());
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ci"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(code(&mut world, "POST", &format!("{accounts}/ci/token"), "application/json", &json!({})), 404);
    assert_eq!(code(&mut world, "POST", accounts, "application/json", &account), 201);
    // As kubectl sends it.
    let (created, token) = answer(&mut world, "POST", &format!("{accounts}/ci/token"), "application/vnd.kubernetes.protobuf", &json!({}));
    assert_eq!((created, &token["status"]["token"]), (201, &"system:serviceaccount:default:ci".into()));
    let spec = json!({"containers": [{"name": "app", "image": "a"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(code(&mut world, "POST", pods, "application/json", &pod), 201);
    assert_eq!(code(&mut world, "PUT", &format!("{pods}/one/eviction"), "application/json", &json!({})), 405);
    assert_eq!(code(&mut world, "POST", &format!("{pods}/one/eviction"), "application/json", &json!({})), 201);
    assert!(world.get("pods", "default", "one").is_none());
}
