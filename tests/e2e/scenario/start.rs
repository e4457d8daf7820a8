//! How a scenario begins.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use serde_json::{Value, json};
use stepgate::{
    api::status::Phase,
    sim::load::{self, KeepAlive, Load},
};
use tokio::time;

use super::{Guard, Manifests, Scenario, merge};
use crate::{
    controller::{self, Cluster, Controller},
    world::{Allowance, HELLO, Kind, record, text},
};

/// Requests a second on new connections.
const RATE: f64 = 100.0;

/// What a scenario starts with.
pub struct Plan {
    name: String,
    cluster: Cluster,
    pub guard: Guard,
    pub manifests: Manifests,
    pub allowance: Allowance,
    longest: Duration,
    /// Clients with an address of their own; none: all have this machine's.
    clients: u8,
    /// Nobody is started: the cluster's own controller acts.
    installed: bool,
}

impl Plan {
    pub(super) fn new(name: &str, guard: Guard, cluster: Cluster) -> Self {
        let allowance = Allowance { unguarded: guard == Guard::Off, ..Allowance::default() };
        let longest = Duration::from_secs(180);
        let (name, manifests) = (name.replace('_', "-"), Manifests::quick());
        Self { name, cluster, guard, manifests, allowance, longest, clients: 0, installed: false }
    }

    pub fn replicas(mut self, replicas: usize) -> Self {
        self.manifests.deployment["spec"]["replicas"] = json!(replicas);
        self
    }

    /// For each of these versions, by name and image, a Deployment of the user's own, like the one that the plan has by now. The first one
    /// is live, and the Service says so.
    pub fn versions(mut self, versions: &[(&str, &str)]) -> Self {
        self.manifests.declare(versions);
        self
    }

    /// A queue worker: there is no Service, and nobody asks the application anything.
    pub fn worker(mut self) -> Self {
        self.manifests.work();
        self
    }

    /// A merge patch on the policy.
    pub fn policy(mut self, patch: &Value) -> Self {
        merge(&mut self.manifests.rollout["spec"]["policy"], patch);
        self
    }

    /// The same hold at every step.
    pub fn hold(mut self, hold: &str) -> Self {
        let steps = self.manifests.rollout["spec"]["policy"]["steps"].as_array_mut().expect("a policy has steps");
        for step in steps {
            step["hold"] = json!(hold);
        }
        self
    }

    /// A merge patch on the Deployment.
    pub fn deployment(mut self, patch: &Value) -> Self {
        merge(&mut self.manifests.deployment, patch);
        self
    }

    /// A merge patch on the Rollout.
    pub fn rollout(mut self, patch: &Value) -> Self {
        merge(&mut self.manifests.rollout, patch);
        self
    }

    /// A merge patch on the Service.
    pub fn service(mut self, patch: &Value) -> Self {
        merge(&mut self.manifests.service, patch);
        self
    }

    /// The scenario takes longer than three minutes.
    pub fn lasting(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// So many clients, each with an address of its own, which come in turn.
    pub fn clients(mut self, number: u8) -> Self {
        self.clients = number;
        self
    }

    /// The controller is the one that runs in the cluster, installed.
    pub fn installed(mut self) -> Self {
        self.installed = true;
        self
    }

    /// The scenario makes pods fail, end or change in number.
    pub fn pods_change(mut self) -> Self {
        self.allowance.pods_change = true;
        self
    }

    /// The scenario asks for steps to be skipped.
    pub fn steps_skipped(mut self) -> Self {
        self.allowance.steps_skipped = true;
        self
    }

    /// The scenario removes or breaks the Service.
    pub fn service_breaks(mut self) -> Self {
        self.allowance.service_breaks = true;
        self
    }

    /// The scenario has no controller running when the template changes.
    pub fn unwatched(mut self) -> Self {
        self.allowance.unwatched = true;
        self
    }

    /// The scenario takes the API server away at times.
    pub fn gaps(mut self) -> Self {
        self.allowance.gaps = true;
        self
    }

    /// Namespace, application, Rollout and controller; returns when the first version is `Healthy` and clients are being served.
    pub async fn start(self) -> Scenario {
        let mut scenario = self.start_without_clients().await;
        scenario.wait_for("the first version to be recorded", |status| status.phase == Some(Phase::Healthy)).await;
        if scenario.guard == Guard::On {
            let guarded = |status: &stepgate::api::RolloutStatus| {
                status.conditions.iter().any(|condition| condition.type_ == "Guarded" && condition.status == "True")
            };
            scenario.wait_for("condition Guarded", guarded).await;
        }
        if !scenario.manifests.service.is_null() {
            scenario.start_clients(RATE).await;
        }
        scenario
    }

    /// The same without waiting for the Rollout, and without clients.
    pub async fn start_without_clients(self) -> Scenario {
        let installed = self.installed;
        let mut scenario = self.start_without_controller().await;
        if !installed {
            scenario.controller.start();
        }
        scenario
    }

    /// Namespace, application and Rollout, and nobody who acts on them.
    pub async fn start_without_controller(self) -> Scenario {
        let random = RandomState::new().hash_one(std::process::id());
        let namespace = format!("e2e-{}-{:06x}", &self.name[..self.name.len().min(40)], random & 0xff_ffff);
        let folder = controller::folder().join(&namespace);
        fs::create_dir_all(&folder).expect("a folder for the log");
        let client = self.cluster.client().await;
        let timeline = record(&client, &namespace);
        let controller = Controller::new(&self.cluster.controller, &namespace, &folder);
        let scenario = Scenario {
            namespace,
            client,
            guard: self.guard,
            allowance: self.allowance,
            manifests: self.manifests,
            timeline,
            cluster: self.cluster,
            controller,
            load: None,
            longest: self.longest,
            clients: self.clients,
            report: None,
            bad: Vec::new(),
            folder,
            env: BTreeMap::new(),
        };
        let mut labels = json!({"stepgate-e2e": "true"});
        if scenario.guard == Guard::Off {
            labels["stepgate.dev/admission"] = json!("disabled");
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scenario.namespace, "labels": labels}});
        scenario.kubectl(&["create", "-f", "-"], &namespace).await;
        let all = scenario.manifests.all();
        scenario.kubectl(&["apply", "-f", "-"], &all).await;
        scenario
    }
}

impl Scenario {
    /// Sends requests to the Service, at this rate on new connections and on 4 kept ones, once it has answered one: a proxy may take a
    /// second to hear of the first pods, and one that takes connections before that closes them.
    pub async fn start_clients(&mut self, rate: f64) {
        let address = self.address();
        let client = reqwest::Client::new();
        let answers = async {
            while client.get(format!("http://{address}/")).send().await.is_err() {
                time::sleep(Duration::from_millis(50)).await;
            }
        };
        time::timeout(Duration::from_secs(10), answers).await.expect("an answer of the Service within 10 s");
        let keep_alive = KeepAlive { connections: 4, rate: 5.0 };
        let sources = addresses(address.ip(), 1..=self.clients);
        let plan =
            load::Plan { rate: rate.min(200.0), keep_alive, sources, longest: self.longest, most: 1_000_000, ..load::Plan::new(address) };
        self.load = Some(Load::start(plan));
    }

    /// One request each from clients of these numbers, which have never come before; the versions that answered them.
    pub async fn newcomers(&self, numbers: RangeInclusive<u8>) -> Vec<String> {
        let address = self.address();
        let sources = addresses(address.ip(), numbers);
        let count = sources.len();
        let mut load = Load::start(load::Plan { rate: 100.0, sources, most: count, ..load::Plan::new(address) });
        while load.report().total() < count {
            time::sleep(Duration::from_millis(20)).await;
        }
        let report = load.stop().await;
        assert!(report.failed().is_empty(), "{report}");
        report.requests.iter().filter_map(|request| request.version.clone()).collect()
    }

    fn address(&self) -> SocketAddr {
        let timeline = self.timeline.borrow();
        let address = timeline.now.get(Kind::Service, HELLO).map(|service| text(service, "/spec/clusterIP").to_owned());
        SocketAddr::new(address.and_then(|address| address.parse().ok()).expect("the Service's address"), 80)
    }
}

/// Addresses of this machine for clients of these numbers: of the loopback network where the Service is there too (an embedded cluster),
/// else those that the test cluster gives to its host.
fn addresses(service: IpAddr, numbers: RangeInclusive<u8>) -> Vec<IpAddr> {
    let network = if service.is_loopback() { 127 } else { 198 };
    numbers.map(|number| IpAddr::from([network, 18, 0, number])).collect()
}
