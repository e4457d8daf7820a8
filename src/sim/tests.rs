//! The embedded cluster, driven as Stepgate drives a cluster: through a `kube::Client`, under paused time.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use super::{Line, Setup, Sim, cluster::Id, fault::Fault, sample, world::Visit};

async fn settle(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn cluster() -> (Sim, Client) {
    let sim = Sim::new(&Setup::default());
    sim.spawn();
    let client = sim.client("alice");
    (sim, client)
}

async fn hello(client: &Client, replicas: u32) -> Api<Deployment> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let deployment = serde_json::from_value(sample::deployment("default", "hello", "v1", replicas)).unwrap();
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    services.create(&PostParams::default(), &serde_json::from_value(sample::service("default", "hello")).unwrap()).await.unwrap();
    settle(5).await;
    deployments
}

fn set_version(version: &str) -> Patch<Value> {
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "VERSION", "value": version}]}]}}}}))
}

#[tokio::test(start_paused = true)]
async fn a_deployment_comes_up_and_its_service_answers() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 3).await;
    let status = deployments.get("hello").await.unwrap().status.unwrap();
    assert_eq!((status.available_replicas, status.observed_generation), (Some(3), Some(1)));
    let visit = sim.with(|world, now| world.visit(now, &Id::new("default", "hello"), 80, "c1", "/"));
    let Visit::Answered { code, version, .. } = visit else { panic!("{visit:?}") };
    assert_eq!((code, version.as_str()), (200, "v1"));
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_loses_no_request_and_ends_on_the_new_version() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 4).await;
    deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap();
    let mut versions = std::collections::BTreeMap::new();
    for _ in 0..2000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        match sim.with(|world, now| world.visit(now, &Id::new("default", "hello"), 80, "c1", "/")) {
            Visit::Answered { code: 200, version, .. } => *versions.entry(version).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(versions["v1"] > 10 && versions["v2"] > 1000, "{versions:?}");
    let deployment = deployments.get("hello").await.unwrap();
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "2");
    let sets = Api::<ReplicaSet>::namespaced(client, "default").list(&ListParams::default()).await.unwrap();
    let mut sizes: Vec<_> = sets.iter().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 4]);
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_histories() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let (sim, client) = cluster();
        let deployments = hello(&client, 3).await;
        deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap();
        settle(30).await;
        let history = sim.with(|world, _| {
            let mut version = world.api.store().oldest();
            let mut history = Vec::new();
            while let Some(entry) = world.api.store().after(version).unwrap() {
                history.push((entry.at, entry.key.clone(), entry.after.clone()));
                version = entry.version;
            }
            history
        });
        histories.push(history);
    }
    assert!(histories[0].len() > 100);
    assert_eq!(histories[0], histories[1]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_list_shows_every_change_once_and_in_order() {
    let (sim, client) = cluster();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    hello(&client, 2).await;
    let mut watch = pods.watch(&WatchParams::default().labels("app=hello"), &version).await.unwrap().boxed();
    let mut last = 0;
    let mut added = 0;
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(5), watch.try_next()).await {
        match event.unwrap().expect("the watch goes on") {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod) => {
                let version: u64 = pod.resource_version().unwrap().parse().unwrap();
                assert!(version > last);
                added += u64::from(version != last && pod.status.unwrap().phase.as_deref() == Some("Pending"));
                last = version;
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(error) => panic!("{error:?}"),
        }
    }
    assert!(added >= 2);
    assert!(last <= sim.with(|world, _| world.api.version()));
}

#[tokio::test(start_paused = true)]
async fn a_compacted_watch_ends_with_410() {
    let (sim, client) = cluster();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    hello(&client, 1).await;
    sim.with(|world, _| world.api.compact());
    let mut watch = pods.watch(&WatchParams::default(), "5").await.unwrap().boxed();
    let Some(Ok(WatchEvent::Error(error))) = watch.next().await else { panic!("no error") };
    assert_eq!(error.code, 410);
}

#[tokio::test(start_paused = true)]
async fn a_stale_json_patch_is_a_conflict_and_a_failed_test_is_invalid() {
    let (_sim, client) = cluster();
    let deployments = hello(&client, 1).await;
    let patch = |body: Value| Patch::Json::<()>(serde_json::from_value(body).unwrap());
    let stale = patch(json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "3"}, {"op": "replace", "path": "/spec/replicas", "value": 2}]));
    let kube::Error::Api(error) = deployments.patch("hello", &PatchParams::default(), &stale).await.unwrap_err() else { panic!() };
    assert_eq!((error.code, error.reason.as_str()), (409, "Conflict"));
    let test = patch(json!([{"op": "test", "path": "/spec/paused", "value": true}]));
    let kube::Error::Api(error) = deployments.patch("hello", &PatchParams::default(), &test).await.unwrap_err() else { panic!() };
    assert_eq!((error.code, error.reason.as_str()), (422, "Invalid"));
    let absent = patch(json!([{"op": "test", "path": "/metadata/finalizers", "value": null}]));
    let before = deployments.get("hello").await.unwrap().resource_version();
    assert_eq!(deployments.patch("hello", &PatchParams::default(), &absent).await.unwrap().resource_version(), before, "a write that changes nothing takes no version");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_deployment_takes_its_replica_sets_and_pods_with_it() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 2).await;
    deployments.delete("hello", &DeleteParams::background()).await.unwrap();
    settle(30).await;
    sim.with(|world, _| {
        assert_eq!(world.api.list("replicasets.apps", "").count(), 0);
        assert_eq!(world.api.list("pods", "").count(), 0);
        assert!(world.endpoints(&Id::new("default", "hello"), 80).is_empty());
    });
}

#[tokio::test(start_paused = true)]
async fn a_client_that_crashes_after_a_write_has_written_and_never_hears_of_it() {
    let (sim, client) = cluster();
    hello(&client, 1).await;
    let line = Line::new(1);
    line.plan(1, Fault::CrashAfter);
    let deployments: Api<Deployment> = Api::namespaced(sim.client_over("bob", &line), "default");
    let scale = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let params = PatchParams::default();
    tokio::select! {
        _ = deployments.patch("hello", &params, &scale) => panic!("an answer came"),
        () = line.crashed() => {}
    }
    sim.with(|world, _| assert_eq!(world.get("deployments.apps", "default", "hello").unwrap()["spec"]["replicas"], 3));
}
