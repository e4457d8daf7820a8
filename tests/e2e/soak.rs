//! What takes too long for every run, or disturbs everybody else on the cluster: `tests/run all` plays it.

use std::{collections::BTreeSet, fmt, path::Path, time::Duration};

use serde_json::{Value, json};
use stepgate::{
    api::status::{Outcome, Phase},
    sim::seed::Seed,
};
use tokio::{process::Command, time};

use crate::{
    scenario::{Plan, Pods, Scenario, has_image},
    world::{HELLO, Kind, World, text},
};

/// How many releases in a row.
const RELEASES: usize = 50;

/// How long a release or a rollback may take in which a component of the cluster is restarted.
const RESTARTED: Duration = Duration::from_secs(180);

/// What comes between in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    Scaled,
    ControllerKilled,
    PodDeleted,
    /// Back to the version that serves, then forward again.
    Reverted,
    /// Another template in mid-release, then the first again.
    Overtaken,
    Restarted,
}

impl Disturbance {
    fn draw(seed: &mut Seed) -> Self {
        // Half of the releases are left alone.
        match seed.below(12) {
            0 => Self::Scaled,
            1 => Self::ControllerKilled,
            2 => Self::PodDeleted,
            3 => Self::Reverted,
            4 => Self::Overtaken,
            5 => Self::Restarted,
            _ => Self::Nothing,
        }
    }

    /// Whether the pods that were tested must be the pods that stay.
    fn keeps_pods(self) -> bool {
        !matches!(self, Self::Scaled | Self::PodDeleted)
    }
}

fn uids(s: &Scenario, pods: Pods) -> BTreeSet<String> {
    s.pods(pods).iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
}

async fn disturb(s: &mut Scenario, disturbance: Disturbance, image: &str, before: &str, seed: &mut Seed) {
    let moment = seed.between((Duration::ZERO, Duration::from_secs(5)));
    match disturbance {
        Disturbance::Nothing => {}
        Disturbance::Scaled => {
            time::sleep(moment).await;
            let size = 2 + seed.below(4);
            s.scale(usize::try_from(size).expect("a small number")).await;
        }
        Disturbance::ControllerKilled => {
            time::sleep(moment).await;
            s.kill9();
            s.start_controller();
        }
        Disturbance::PodDeleted => {
            s.wait_for_weight(50).await;
            s.delete_pods(if seed.chance(50.0) { Pods::OneCanary } else { Pods::OneStable }).await;
        }
        Disturbance::Reverted => {
            s.wait_for_weight(25).await;
            s.set_image(before).await;
            time::sleep(moment).await;
            s.set_image(image).await;
        }
        Disturbance::Overtaken => {
            s.wait_for_weight(50).await;
            s.set_image("v5").await;
            time::sleep(moment).await;
            s.set_image(image).await;
        }
        Disturbance::Restarted => {
            s.wait_for_phase(Phase::Progressing).await;
            let ended = s.sigterm().await;
            assert!(ended.success(), "{ended}");
            s.start_controller();
        }
    }
}

async fn fifty_releases(plan: Plan) {
    let number = std::env::var("STEPGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("STEPGATE_SEED={number}");
    let mut seed = Seed::new(number);
    let plan = plan.replicas(3).hold("200ms").policy(&json!({"keepPrevious": "500ms"})).unwatched().lasting(Duration::from_secs(1800));
    let mut s = plan.start().await;
    let (mut before, mut kept) = ("v1", 0);
    for number in 1..=RELEASES {
        let image = if before == "v2" { "v3" } else { "v2" };
        let disturbance = Disturbance::draw(&mut seed);
        s.set_image(image).await;
        disturb(&mut s, disturbance, image, before, &mut seed).await;
        s.wait_for("the version to bake or to be live", |status| {
            let is_new = |version: &Option<stepgate::api::status::Version>| {
                version.as_ref().is_some_and(|version| has_image(&version.images, image))
            };
            status.phase == Some(Phase::Baking) && is_new(&status.canary) || status.phase == Some(Phase::Healthy) && is_new(&status.stable)
        })
        .await;
        let tested = if s.status().phase == Some(Phase::Baking) { uids(&s, Pods::Canary) } else { BTreeSet::new() };
        let status = s.wait_for_healthy(image).await;
        assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::Promoted), "release {number}, {disturbance:?}");
        if disturbance.keeps_pods() && !tested.is_empty() {
            assert_eq!(
                uids(&s, Pods::Stable),
                tested,
                "release {number}, {disturbance:?}: the pods that were tested are the pods that stay"
            );
            kept += 1;
        }
        eprintln!("release {number} of {RELEASES}: {image}, {disturbance:?}");
        before = image;
    }
    eprintln!("{RELEASES} releases, in {kept} of them pods compared by uid");
    assert!(kept * 2 > RELEASES, "too few releases whose pods were compared: {kept}");
    s.finish().await;
}

/// Ends and starts a component of the test cluster.
async fn restart(component: &str) {
    let cluster = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster");
    let status = Command::new(cluster).args(["restart", component]).stdout(std::process::Stdio::null()).status().await;
    assert!(status.expect("the test cluster's script").success(), "cluster restart {component}");
}

/// When a component is restarted.
#[derive(Clone, Copy)]
enum Moment {
    In(Phase),
    At(u8),
    /// A write of the adoption, and how it is seen.
    After(&'static str, fn(&World) -> bool),
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(phase) => write!(f, "{phase:?}"),
            Self::At(weight) => write!(f, "{weight} %"),
            Self::After(write, _) => f.write_str(write),
        }
    }
}

/// From the first phase of a release to the last write of its adoption before the clients are let go: the old pods asked to end.
const MOMENTS: [Moment; 10] = [
    Moment::In(Phase::Preparing),
    Moment::At(25),
    Moment::At(75),
    Moment::At(100),
    Moment::In(Phase::Baking),
    Moment::After("label on the Deployment", is_handing_over),
    Moment::After("canary paused", |world| {
        let mut others = world.all(Kind::Deployment).filter(|deployment| text(deployment, "/metadata/name") != HELLO);
        others.any(|canary| canary.pointer("/spec/paused") == Some(&json!(true)))
    }),
    Moment::After("maxSurge opened", |world| text(hello(world), "/spec/strategy/rollingUpdate/maxSurge") == "100%"),
    Moment::After("ReplicaSet handed over", |world| is_handing_over(world) && owners(world).into_iter().all(|owner| owner == HELLO)),
    Moment::After("old ReplicaSet at 0", |world| is_handing_over(world) && owners(world) == [HELLO]),
];

fn hello(world: &World) -> &Value {
    world.get(Kind::Deployment, HELLO).expect("hello")
}

fn is_handing_over(world: &World) -> bool {
    hello(world).pointer("/metadata/labels/stepgate.dev~1handover").is_some()
}

/// Of the ReplicaSets that ask for pods.
fn owners(world: &World) -> Vec<&str> {
    let asked = world.all(Kind::ReplicaSet).filter(|set| set.pointer("/spec/replicas") != Some(&json!(0)));
    asked.map(|set| text(set, "/metadata/ownerReferences/0/name")).collect()
}

/// A release for each moment at which the component is restarted, and a rollback.
async fn with_restarts_of(plan: Plan, component: &str) {
    if std::env::var_os("CLUSTER_DIR").is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "only the test cluster's components can be restarted");
        eprintln!("SKIPPED: only the test cluster's components can be restarted");
        return;
    }
    // The cluster's own controllers need up to half a minute to find a new API server: that is not for a release to fail of.
    let plan = plan.replicas(3).hold("500ms").policy(&json!({"progressDeadline": "3m"})).pods_change().unwatched();
    let plan = if component == "apiserver" { plan.gaps() } else { plan };
    let mut s = plan.lasting(Duration::from_secs(1500)).start().await;
    for (number, moment) in MOMENTS.iter().enumerate() {
        let image = if number % 2 == 0 { "v2" } else { "v3" };
        s.set_image(image).await;
        match *moment {
            Moment::In(phase) => drop(s.wait_for_phase(phase).await),
            Moment::At(weight) => drop(s.wait_for_weight(weight).await),
            Moment::After(write, is_done) => s.wait_until(write, is_done).await,
        }
        restart(component).await;
        s.wait_patiently(RESTARTED, &format!("{image} to be live"), |status| {
            status.phase == Some(Phase::Healthy) && status.stable.as_ref().is_some_and(|stable| has_image(&stable.images, image))
        })
        .await;
        eprintln!("{component} restarted at {moment:?}");
    }
    s.set_image("v4").await;
    s.wait_for_weight(50).await;
    s.behave(Pods::Canary, "health=500").await;
    s.wait_for_phase(Phase::RollingBack).await;
    restart(component).await;
    s.wait_patiently(RESTARTED, "the end of the rollback", |status| status.phase == Some(Phase::RolledBack)).await;
    s.finish().await;
}

crate::scenarios_at_night! {
    async fn fifty_releases_in_a_row(plan: Plan) {
        fifty_releases(plan).await;
    }

    async fn the_api_server_restarted_at_every_moment(plan: Plan) {
        with_restarts_of(plan, "apiserver").await;
    }

    async fn the_controller_manager_restarted_at_every_moment(plan: Plan) {
        with_restarts_of(plan, "controller-manager").await;
    }

    async fn kube_proxy_restarted_at_every_moment(plan: Plan) {
        with_restarts_of(plan, "proxy").await;
    }

    async fn a_headless_service_waits_for_dns(plan: Plan) {
        let mut s = plan.replicas(2).hold("300ms").service(&json!({"spec": {"clusterIP": "None"}})).start_without_clients().await;
        s.wait_for_phase(Phase::Healthy).await;
        s.set_image("v2").await;
        s.wait_patiently(Duration::from_secs(240), "v2 to be live", |status| {
            status.phase == Some(Phase::Healthy) && status.stable.as_ref().is_some_and(|stable| has_image(&stable.images, "v2"))
        })
        .await;
        s.finish().await;
    }
}
