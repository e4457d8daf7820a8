//! The embedded cluster, driven as Stepgate drives a cluster: through a `kube::Client`, under paused time.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::WatchStreamExt,
};
use serde_json::{Value, json};

use super::{
    Line, Setup, Sim,
    cluster::Id,
    fault::{Fault, Rates},
    sample,
    server::admission::STEPGATE,
    world::Visit,
};
use crate::api::Rollout;

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
    Patch::Strategic(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "VERSION", "value": version}]}]}}}}),
    )
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
    let stale = patch(
        json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "3"}, {"op": "replace", "path": "/spec/replicas", "value": 2}]),
    );
    let kube::Error::Api(error) = deployments.patch("hello", &PatchParams::default(), &stale).await.unwrap_err() else { panic!() };
    assert_eq!((error.code, error.reason.as_str()), (409, "Conflict"));
    let test = patch(json!([{"op": "test", "path": "/spec/paused", "value": true}]));
    let kube::Error::Api(error) = deployments.patch("hello", &PatchParams::default(), &test).await.unwrap_err() else { panic!() };
    assert_eq!((error.code, error.reason.as_str()), (422, "Invalid"));
    let absent = patch(json!([{"op": "test", "path": "/metadata/finalizers", "value": null}]));
    let before = deployments.get("hello").await.unwrap().resource_version();
    assert_eq!(
        deployments.patch("hello", &PatchParams::default(), &absent).await.unwrap().resource_version(),
        before,
        "a write that changes nothing takes no version"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_larger_than_a_server_reads_is_refused() {
    let (_sim, client) = cluster();
    let request = http::Request::post("/api/v1/namespaces/default/configmaps").body(vec![b' '; (3 << 20) + 1]).unwrap();
    let kube::Error::Api(error) = client.request_text(request).await.unwrap_err() else { panic!() };
    assert_eq!((error.code, error.reason.as_str()), (413, "RequestEntityTooLarge"));
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

#[tokio::test(start_paused = true)]
async fn a_store_fed_by_a_bad_line_ends_in_the_state_of_the_cluster() {
    let (sim, client) = cluster();
    let line = Line::new(3).with_rates(Rates::all(20.0));
    let pods: Api<Pod> = Api::all(sim.client_over("reader", &line));
    let (store, writer) = kube::runtime::reflector::store();
    let stream =
        kube::runtime::reflector(writer, kube::runtime::watcher(pods, kube::runtime::watcher::Config::default()).default_backoff());
    let reader = tokio::spawn(stream.for_each(|_| std::future::ready(())));
    let deployments = hello(&client, 3).await;
    for version in ["v2", "v3", "v4"] {
        deployments.patch("hello", &PatchParams::default(), &set_version(version)).await.unwrap();
        settle(20).await;
        sim.with(|world, _| world.api.compact());
    }
    line.set_rates(Rates::NONE);
    settle(400).await;
    let mut seen: Vec<_> = store.state().iter().map(|pod| (pod.name_any(), pod.resource_version())).collect();
    let mut there: Vec<_> = Api::<Pod>::all(client)
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|pod| (pod.name_any(), pod.resource_version()))
        .collect();
    seen.sort();
    there.sort();
    assert_eq!(seen, there);
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn a_frozen_line_shows_nothing_new_until_it_thaws() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 1).await;
    let line = Line::new(3);
    let watched: Api<Deployment> = Api::namespaced(sim.client_over("reader", &line), "default");
    let version = deployments.get("hello").await.unwrap().resource_version().unwrap();
    let mut watch = watched.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    line.freeze(sim.now());
    deployments.patch("hello", &PatchParams::default(), &Patch::Merge(json!({"spec": {"paused": true}}))).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(120), watch.next()).await.is_err());
    line.thaw();
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Modified(_)))));
}

/// A Rollout that has a live version recorded, so that the policies act for it.
async fn managed(sim: &Sim, client: &Client) -> Api<Rollout> {
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), "default");
    let rollout = json!({
        "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello"},
        "spec": {"workload": {"deployment": "hello"}, "services": ["hello"], "policy": {"steps": [{"weight": 100}]}},
    });
    rollouts.create(&PostParams::default(), &serde_json::from_value(rollout).unwrap()).await.unwrap();
    let stepgate: Api<Rollout> = Api::namespaced(sim.client(STEPGATE), "default");
    let status = json!({"status": {"stable": {"revision": "0123456789"}}});
    stepgate.patch_status("hello", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    rollouts
}

#[tokio::test(start_paused = true)]
async fn a_managed_deployment_is_paused_by_the_write_that_changes_its_template_and_stays_so() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 2).await;
    let rollouts = managed(&sim, &client).await;
    let paused = |deployment: Deployment| deployment.spec.unwrap().paused.unwrap_or_default();
    let scaled = deployments.patch("hello", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await.unwrap();
    assert!(!paused(scaled));
    assert!(paused(deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap()));
    let resume = Patch::Merge(json!({"spec": {"paused": false}}));
    assert!(paused(deployments.patch("hello", &PatchParams::default(), &resume).await.unwrap()));
    rollouts
        .patch("hello", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": ["stepgate.dev/rollout"]}})))
        .await
        .unwrap();
    rollouts.delete("hello", &DeleteParams::default()).await.unwrap();
    assert!(
        !paused(deployments.patch("hello", &PatchParams::default(), &resume).await.unwrap()),
        "a Rollout that is being deleted holds nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pin_of_stepgate_survives_a_replace_by_others() {
    let (sim, client) = cluster();
    hello(&client, 1).await;
    managed(&sim, &client).await;
    let pin = Patch::Merge(json!({"spec": {"selector": {"pod-template-hash": "abc"}}}));
    Api::<Service>::namespaced(sim.client(STEPGATE), "default").patch("hello", &PatchParams::default(), &pin).await.unwrap();
    let services: Api<Service> = Api::namespaced(client, "default");
    let manifest = serde_json::from_value(sample::service("default", "hello")).unwrap();
    let replaced = services.replace("hello", &PostParams::default(), &manifest).await.unwrap();
    assert_eq!(replaced.spec.unwrap().selector.unwrap()["pod-template-hash"], "abc");
}

#[tokio::test(start_paused = true)]
async fn edits_of_others_are_refused_during_a_hand_over() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 1).await;
    managed(&sim, &client).await;
    let label = |value: Value| Patch::Merge(json!({"metadata": {"labels": {"stepgate.dev/handover": value}}}));
    Api::<Deployment>::namespaced(sim.client(STEPGATE), "default")
        .patch("hello", &PatchParams::default(), &label("now".into()))
        .await
        .unwrap();
    let kube::Error::Api(error) = deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap_err() else {
        panic!()
    };
    assert_eq!((error.code, error.reason.as_str()), (403, "Forbidden"));
    assert!(error.message.contains("kubectl -n default label deployment hello stepgate.dev/handover-"), "{}", error.message);
    deployments.patch("hello", &PatchParams::default(), &label(Value::Null)).await.unwrap();
    deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stepgate_sees_by_a_dry_run_whether_a_new_template_would_be_held() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 1).await;
    managed(&sim, &client).await;
    let template = Patch::Merge(json!({"spec": {"paused": false, "template": {"metadata": {"annotations": {"a": "b"}}}}}));
    let stepgate = Api::<Deployment>::namespaced(sim.client(STEPGATE), "default");
    let dry_run = async || stepgate.patch("hello", &PatchParams::default().dry_run(), &template).await.unwrap().spec.unwrap().paused;
    assert_eq!(dry_run().await, Some(true));
    let out = Patch::Merge(json!({"metadata": {"labels": {"stepgate.dev/admission": "disabled"}}}));
    Api::<Namespace>::all(client).patch("default", &PatchParams::default(), &out).await.unwrap();
    assert_eq!(dry_run().await, None, "the namespace has opted out");
    assert_eq!(deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap().spec.unwrap().paused, None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_loses_its_readiness_leaves_the_service_and_comes_back() {
    let (sim, client) = cluster();
    hello(&client, 2).await;
    let service = Id::new("default", "hello");
    let pod = sim.with(|world, _| Id::of(world.api.list("pods", "default").next().unwrap()));
    assert!(sim.with(|world, now| world.tell(now, &pod, "ready", "false")));
    settle(2).await;
    assert_eq!(sim.with(|world, _| world.endpoints(&service, 80).len()), 1);
    sim.with(|world, now| world.tell(now, &pod, "ready", "true"));
    settle(2).await;
    assert_eq!(sim.with(|world, _| world.endpoints(&service, 80).len()), 2);
    sim.with(|world, now| world.tell(now, &pod, "crash", "true"));
    settle(2).await;
    let status = Api::<Pod>::namespaced(client, "default").get(&pod.name).await.unwrap().status.unwrap();
    assert_eq!(
        status.container_statuses.unwrap()[0].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    assert_eq!(sim.with(|world, _| world.endpoints(&service, 80).len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_setting_of_a_version_holds_for_its_pods_those_that_start_later_included() {
    let (sim, client) = cluster();
    let deployments = hello(&client, 2).await;
    sim.with(|world, now| world.tell_version(now, "v1", "fail", "100"));
    let codes = || {
        let visit = |client: u32| sim.look(|world, now| world.visit(now, &Id::new("default", "hello"), 80, &client.to_string(), "/"));
        let code = |client| match visit(client) {
            Visit::Answered { code, .. } => code,
            other => panic!("{other:?}"),
        };
        (0..20).map(code).collect::<std::collections::BTreeSet<u16>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(codes(), [500]);
    deployments.patch("hello", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}}))).await.unwrap();
    settle(5).await;
    assert_eq!(codes(), [500]);
    deployments.patch("hello", &PatchParams::default(), &set_version("v2")).await.unwrap();
    settle(20).await;
    assert_eq!(codes(), [200]);
}
