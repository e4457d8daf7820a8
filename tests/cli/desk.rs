//! Where the user sits: a cluster with `hello`, a controller, and a command line.

use std::{io, sync::Arc, time::Duration};

use clap::Parser;
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use stepgate::{
    api::{Rollout, RolloutStatus, rollout::Request},
    cli::{
        Cli,
        cluster::Cluster,
        paper::{
            exit::Exit,
            output::{Colours, Output, Reader},
        },
    },
    clock::Clock,
    controller::run::{Options, run_asking},
    lease::leadership::Leadership,
    show::caller::{Caller, Program},
    sim::{Line, Setup, Sim, fault::Fault, sample, server::admission::STEPGATE},
    vitals::Vitals,
};
use tokio::{sync::watch, time::sleep};

/// A moment of cluster time.
const MOMENT: Duration = Duration::from_millis(100);
/// What happens at all happens within this time.
const PATIENCE: u32 = 6_000;

/// The user's desk.
pub struct Desk {
    pub sim: Sim,
    /// From the user's commands to the cluster.
    line: Line,
    controller: watch::Sender<Leadership>,
}

/// What a command said, and how it ended.
#[derive(Debug, PartialEq)]
pub struct Said {
    pub exit: Result<Exit, String>,
    pub text: String,
}

impl Desk {
    /// `hello:v1` with four pods and a Rollout of this policy, at rest, with a controller.
    pub async fn new(policy: &Value) -> Self {
        let desk = Self::without_controller(policy).await;
        desk.start_controller();
        desk.until(|status| status.stable.is_some()).await;
        desk
    }

    /// The same with nobody to control it.
    pub async fn without_controller(policy: &Value) -> Self {
        let desk = Self::empty();
        desk.create::<Service>(sample::service("default", "hello")).await;
        desk.create_hello(&["hello"], policy).await;
        desk
    }

    /// The same without a Service, with a controller.
    pub async fn worker(policy: &Value) -> Self {
        let desk = Self::empty();
        desk.create_hello(&[], policy).await;
        desk.start_controller();
        desk.until(|status| status.stable.is_some()).await;
        desk
    }

    /// A cluster with the kinds of Stepgate, and nothing in it.
    pub fn empty() -> Self {
        let sim = Sim::new(&Setup::default());
        sim.spawn();
        let (controller, _) = watch::channel(Leadership::Alone);
        Self { sim, line: Line::new(2), controller }
    }

    async fn create_hello(&self, services: &[&str], policy: &Value) {
        self.create::<Deployment>(sample::deployment("default", "hello", "v1", 4)).await;
        self.create::<Rollout>(json!({
            "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"workload": {"deployment": "hello"}, "services": services, "policy": policy},
        }))
        .await;
    }

    /// A cluster that has never heard of Stepgate.
    pub fn bare() -> Self {
        let sim = Sim::new(&Setup { definitions: false, ..Setup::default() });
        sim.spawn();
        let (controller, _) = watch::channel(Leadership::Standby);
        Self { sim, line: Line::new(2), controller }
    }

    /// Starts the controller.
    pub fn start_controller(&self) {
        let (client, clock) = (self.sim.client_over(STEPGATE, &Line::new(1)), Clock::starting_at(self.sim.now()));
        let options = Options { namespace: None, instance: "stepgate-0".to_owned() };
        tokio::spawn(run_asking(client, Arc::new(self.sim.clone()), options, clock, self.controller.subscribe(), Vitals::default()));
    }

    /// The controller does nothing any more: another one might lead.
    pub fn stop_controller(&self) {
        self.controller.send_replace(Leadership::Standby);
    }

    /// The controller leads again.
    pub fn resume_controller(&self) {
        self.controller.send_replace(Leadership::Alone);
    }

    /// The Deployment goes.
    pub async fn delete_deployment(&self) {
        let api: Api<Deployment> = Api::namespaced(self.sim.client("alice"), "default");
        api.delete("hello", &DeleteParams::default()).await.unwrap();
        sleep(10 * MOMENT).await;
    }

    /// Another Service for the same pods.
    pub async fn add_service(&self, mut service: Value, name: &str) {
        service["metadata"]["name"] = name.into();
        self.create::<Service>(service).await;
    }

    /// A Rollout as a newer Stepgate might have it, with a field that this one does not know.
    pub async fn add_unreadable_rollout(&self) {
        let newer = json!({
            "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "newer", "namespace": "default"},
            "spec": {"workload": {"deployment": "newer"}, "services": ["newer"], "policy": {"steps": [{"weight": 100}]}, "future": 1},
        });
        let api: Api<DynamicObject> = Api::namespaced_with(self.sim.client("alice"), "default", &ApiResource::erase::<Rollout>(&()));
        api.create(&PostParams::default(), &serde_json::from_value(newer).unwrap()).await.unwrap();
    }

    /// Somebody makes an object.
    pub async fn create<K>(&self, object: Value)
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.sim.client("alice"), "default");
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// `kubectl set image`, as far as the embedded application goes by it.
    pub async fn set_version(&self, version: &str) {
        let container = json!({"name": "app", "image": format!("hello:{version}"), "env": [{"name": "VERSION", "value": version}]});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let api: Api<Deployment> = Api::namespaced(self.sim.client("alice"), "default");
        api.patch("hello", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    }

    pub fn rollouts(&self) -> Api<Rollout> {
        Api::namespaced(self.sim.client("alice"), "default")
    }

    /// Waits until the status is so.
    pub async fn until(&self, is_so: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        let mut status = RolloutStatus::default();
        for _ in 0..PATIENCE {
            status = self.rollouts().get("hello").await.unwrap().status.unwrap_or_default();
            if is_so(&status) {
                return status;
            }
            sleep(MOMENT).await;
        }
        panic!("it never came to that: {:?} {}", status.phase, status.why);
    }

    /// Waits until somebody asks for something.
    pub async fn until_asked(&self) -> Request {
        for _ in 0..PATIENCE {
            if let Some(request) = self.rollouts().get("hello").await.unwrap().spec.request {
                return request;
            }
            sleep(MOMENT).await;
        }
        panic!("nobody asks for anything");
    }

    /// Waits until the hold of a step runs.
    pub async fn until_holding(&self, weight: u8) -> RolloutStatus {
        self.until(|status| status.why.starts_with(&format!("holding {weight} %"))).await
    }

    fn cluster(&self) -> Cluster {
        Cluster {
            client: self.sim.client_over("alice", &self.line),
            namespace: "default".to_owned(),
            clock: Clock::starting_at(self.sim.now()),
            caller: Caller::new(Program::Stepgate, None, None, None),
        }
    }

    /// Runs a command; what it prints is read by a program.
    pub async fn run(&self, command: &str) -> Said {
        let mut printed = Vec::new();
        let exit = self.run_into(command, Reader::Program, &mut printed).await;
        Said { exit, text: anstream::adapter::strip_str(&String::from_utf8(printed).unwrap()).to_string() }
    }

    /// Runs a command whose output goes there.
    pub async fn run_into(&self, command: &str, reader: Reader, to: &mut dyn io::Write) -> Result<Exit, String> {
        let cli = Cli::try_parse_from(std::iter::once("stepgate").chain(command.split(' '))).map_err(|error| error.to_string())?;
        let cluster = self.cluster();
        let ended = cli.run_in(async |_| Ok(cluster.clone()), &mut Output::new(to, reader, Colours::Kept)).await;
        ended.map_err(|error| format!("{error:#}"))
    }

    /// Somebody else changes the Rollout between the next command's reading and its writing, so many times.
    pub fn contend(&self, times: u64) {
        let writes = self.line.writes();
        (1..=times).for_each(|next| self.line.plan(writes + next, Fault::Conflict));
    }

    /// Requests that the commands have made so far.
    pub fn requests(&self) -> usize {
        self.line.records().len()
    }

    /// The time in the cluster.
    pub fn now(&self) -> Timestamp {
        self.sim.now()
    }
}

/// Halves, held for a minute each.
pub fn halves() -> Value {
    json!({"steps": [{"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "1m"}], "settle": "1s", "keepPrevious": "1m", "progressDeadline": "2m"})
}
