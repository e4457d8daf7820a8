//! The table on a real API server.

use kube::config::Kubeconfig;

use crate::{controller::Cluster, kubectl::eventually, namespace::Namespace, player};

#[tokio::test]
async fn every_request_is_answered_as_the_table_says() {
    let Some(cluster) = Cluster::from_env() else { return };
    let namespace = Namespace::create("api-requests");
    eventually("pods may be created", || namespace.kubectl.try_run(&["get", "serviceaccount", "default"]).ok);
    let client = player::client(Kubeconfig::read_from(&cluster.kubeconfig).unwrap()).await;
    let differences = player::differences(&client, &namespace.name).await;
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
