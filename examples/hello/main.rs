//! The walk-through of the README: a release that goes well and one that does not, on a real cluster, under load, told as it happens.
//!
//! Expects Stepgate to be installed on the cluster of the current kubeconfig, and the images of the test cluster; `examples/hello/run`
//! sees to both.

#![allow(clippy::disallowed_methods, reason = "a walk-through has a clock")]

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use stepgate::{
    api::{Rollout, RolloutStatus, status::Phase},
    sim::load::{self, KeepAlive, Load, Report},
};

const NAMESPACE: &str = "stepgate-hello";
const HELLO: &str = "hello";
/// Holds of the walk-through: a minute each would be dull to watch.
const HOLD: &str = "3s";
/// The longest that a release of the walk-through may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    match play().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play() -> anyhow::Result<()> {
    let client = Client::try_default().await.context("no cluster: run examples/hello/run, which brings one up")?;
    let outcome = walk_through(&client).await;
    println!("\nremoving namespace {NAMESPACE}");
    remove_namespace(&client).await?;
    outcome
}

async fn walk_through(client: &Client) -> anyhow::Result<()> {
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), NAMESPACE);
    println!("applying examples/hello: a Deployment of four pods, a Service, a Rollout (holds cut to {HOLD})\n");
    let target = apply(client).await?;
    let mut story = Story::new(Instant::now());
    follow(&rollouts, &mut story, None, |status| status.phase == Some(Phase::Healthy)).await?;
    let plan = load::Plan { rate: 200.0, keep_alive: KeepAlive { connections: 4, rate: 5.0 }, ..load::Plan::new(target) };
    answers(target).await?;
    println!("\n200 requests a second from now on, each on a connection of its own\n");
    let mut load = Load::start(plan);

    println!("$ kubectl set image deployment/hello hello=stepgate.test/hello:v2        # a good version\n");
    set_image(client, "stepgate.test/hello:v2").await?;
    let promoted = |status: &RolloutStatus| status.phase == Some(Phase::Healthy) && runs(status, "v2");
    follow(&rollouts, &mut story, Some(&mut load), promoted).await?;
    let kept = pods(client).await?;
    println!("\nthe pods that were tested are the pods that serve now: {}\n", kept.join(" "));

    println!("$ kubectl set image deployment/hello hello=stepgate.test/hello:v3        # fails from 50 % on\n");
    set_image(client, "stepgate.test/hello:v3").await?;
    let half = |status: &RolloutStatus| status.step.as_ref().is_some_and(|step| step.weight == 50 && step.since.is_some());
    follow(&rollouts, &mut story, Some(&mut load), half).await?;
    println!("\n    ... and now every v3 pod answers /healthz with 500\n");
    break_pods(client).await?;
    let taken_back = |status: &RolloutStatus| status.phase == Some(Phase::RolledBack);
    follow(&rollouts, &mut story, Some(&mut load), taken_back).await?;

    let report = load.stop().await;
    summary(&report);
    ensure!(report.failed().is_empty(), "requests failed:\n{}", report.describe(&report.failed(), 10));
    Ok(())
}

/// Waits until somebody listens at the Service's address: kube-proxy may take a second to hear of the first pods.
async fn answers(target: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    while tokio::net::TcpStream::connect(target).await.is_err() {
        ensure!(started.elapsed() < PATIENCE, "nobody listens at {target}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Applies the manifests of this folder and waits for the Service's address.
async fn apply(client: &Client) -> anyhow::Result<SocketAddr> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    remove_namespace(client).await?;
    let metadata = ObjectMeta { name: Some(NAMESPACE.into()), ..ObjectMeta::default() };
    namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
    let mut rollout: Rollout = parse(include_str!("rollout.yaml"))?;
    if let Some(policy) = &mut rollout.spec.policy {
        let hold = HOLD.parse()?;
        policy.steps.iter_mut().for_each(|step| step.hold = hold);
        policy.keep_previous = "5s".parse()?;
    }
    let service: Service = create(client, parse(include_str!("service.yaml"))?).await?;
    create::<Deployment>(client, parse(include_str!("deployment.yaml"))?).await?;
    create(client, rollout).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
    Ok(SocketAddr::new(address.parse()?, 80))
}

fn parse<K: DeserializeOwned>(manifest: &str) -> anyhow::Result<K> {
    Ok(serde_saphyr::from_str(manifest)?)
}

async fn create<K>(client: &Client, object: K) -> anyhow::Result<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + serde::Serialize,
{
    Ok(Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &object).await?)
}

async fn set_image(client: &Client, image: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": HELLO, "image": image}]}}}});
    deployments.patch(HELLO, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    Ok(())
}

fn runs(status: &RolloutStatus, tag: &str) -> bool {
    status.stable.as_ref().is_some_and(|stable| stable.images.iter().any(|image| image.ends_with(tag)))
}

async fn pods(client: &Client) -> anyhow::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let list = pods.list(&ListParams::default()).await?;
    let alive = list.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(alive.map(ResourceExt::name_any).collect())
}

/// Tells the pods of v3 to fail, by the control port of the test application.
async fn break_pods(client: &Client) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    for pod in pods.list(&ListParams::default()).await? {
        let is_v3 = pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .any(|container| container.image.as_deref().is_some_and(|image| image.ends_with(":v3")));
        if let Some(address) = pod.status.and_then(|status| status.pod_ip).filter(|_| is_v3) {
            http.post(format!("http://{address}:8081/set?health=500")).send().await?.error_for_status()?;
        }
    }
    Ok(())
}

/// Tells what the Rollout says, a line for each change, until `end`.
async fn follow(
    rollouts: &Api<Rollout>,
    story: &mut Story,
    mut load: Option<&mut Load>,
    end: impl Fn(&RolloutStatus) -> bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let status = rollouts.get(HELLO).await?.status.unwrap_or_default();
        let report = load.as_deref_mut().map(Load::report);
        story.tell(&status, report);
        if end(&status) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no end within {PATIENCE:?}; see `kubectl -n {NAMESPACE} describe rollout hello`")
}

/// What has been told, so that only changes are.
struct Story {
    started: Instant,
    told: String,
}

impl Story {
    fn new(started: Instant) -> Self {
        Self { started, told: String::new() }
    }

    fn tell(&mut self, status: &RolloutStatus, report: Option<&Report>) {
        let Some(phase) = status.phase.map(|phase| format!("{phase:?}")) else { return };
        let weight = status.traffic.as_ref().map_or_else(|| "-".into(), |traffic| format!("{} %", traffic.desired));
        let text = format!("{phase} {weight} {}", status.why);
        if text == self.told {
            return;
        }
        let seen = report.map_or_else(String::new, |report| format!("{}; {} failed", measured(report), report.failed().len()));
        println!("{:6.1}s  {phase:<12} {weight:>5}  {seen:<27} {}", self.started.elapsed().as_secs_f64(), status.why);
        // Nobody to see it is no reason to end.
        let _ = std::io::stdout().flush();
        self.told = text;
    }
}

/// The share of each version in the last second.
fn measured(report: &Report) -> String {
    let now = Instant::now();
    let shares = report.shares(now.checked_sub(Duration::from_secs(1)).unwrap_or(now), now);
    shares.iter().map(|(version, share)| format!("{version} {:.0} %", share * 100.0)).collect::<Vec<_>>().join(", ")
}

fn summary(report: &Report) {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &report.requests {
        *versions.entry(request.version.as_deref().unwrap_or("none")).or_default() += 1;
    }
    println!("\n{} requests:", report.total());
    for (version, count) in versions {
        println!("  {count:>7} answered by {version}");
    }
    println!("  {:>7} failed on new connections, {} on kept-alive ones", report.failed().len(), report.failed_kept().len());
}

async fn remove_namespace(client: &Client) -> anyhow::Result<()> {
    // The Rollout first, while the controller can still give everything back.
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), NAMESPACE);
    if rollouts.get_opt(HELLO).await?.is_some() {
        rollouts.delete(HELLO, &DeleteParams::default()).await?;
        gone(|| async { Ok(rollouts.get_opt(HELLO).await?.is_none()) }).await?;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(NAMESPACE).await?.is_some() {
        namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
        gone(|| async { Ok(namespaces.get_opt(NAMESPACE).await?.is_none()) }).await?;
    }
    Ok(())
}

async fn gone<F: Future<Output = anyhow::Result<bool>>>(is_gone: impl Fn() -> F) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_gone().await? {
        ensure!(started.elapsed() < PATIENCE, "it does not go away");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
