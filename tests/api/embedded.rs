//! The table on the embedded API server, over HTTP as `examples/embedded.rs` serves it.

use jiff::Timestamp;
use kube::config::Kubeconfig;
use serde_json::json;
use stepgate::sim::{
    Http, Setup, Sim,
    server::{Ownership, request::Request},
};

use crate::player;

#[tokio::test]
async fn every_request_is_answered_as_the_table_says() {
    let sim = Sim::new(&Setup { start: Timestamp::now(), ownership: Ownership::SinceCreation, ..Setup::default() });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stories"}});
    let create = Request::new("POST", "/api/v1/namespaces", "admin").with_body("application/json", &namespace);
    sim.with(|world, now| world.handle(now, &create));
    // What was before the definitions is not kept, as on a real server.
    sim.with(|world, _| world.api.compact());
    sim.spawn();
    let http = Http::bind(0).await.unwrap();
    let client = player::client(Kubeconfig::from_yaml(&http.kubeconfig()).unwrap()).await;
    tokio::spawn(http.run(sim));
    let differences = player::differences(&client, "stories").await;
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
