//! Server and cluster under one roof: the whole embedded cluster as one value, moved by `step(now)`.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{
    clock::{DAWN, after},
    cluster::{
        Agenda, Component, Context, Id, Task, Timing, deployment, garbage,
        kubelet::Kubelet,
        process::Answer,
        proxy::{Endpoint, Proxy},
        replica_set, slice, wake,
    },
    seed::Seed,
    server::{ApiServer, Call, KEPT_CHANGES, Ownership, Reply, SERVICE_NETWORK, admission::Admission, problem::Problem, request::Request},
};
use crate::api::{ClusterRolloutPolicy, Rollout, RolloutPolicy};

/// Of our kinds: made once, because tests make clusters by the hundred.
static DEFINITIONS: LazyLock<[Value; 3]> = LazyLock::new(|| {
    [Rollout::crd(), RolloutPolicy::crd(), ClusterRolloutPolicy::crd()]
        .map(|definition| serde_json::to_value(definition).unwrap_or_default())
});

/// How long a controller waits after an error.
const RETRY: Duration = Duration::from_millis(50);

/// What kind of cluster to build.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    pub start: Timestamp,
    pub timing: Timing,
    pub admission: Admission,
    /// Whether Stepgate's kinds are defined from the start.
    pub definitions: bool,
    /// The first two numbers of the pods' addresses.
    pub pod_network: [u8; 2],
    /// The first two numbers of the addresses that Services are given.
    pub service_network: [u8; 2],
    pub ownership: Ownership,
    /// How many changes a watch may lag behind.
    pub kept_changes: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            start: DAWN,
            timing: Timing::default(),
            admission: Admission::default(),
            definitions: true,
            pod_network: [10, 244],
            service_network: SERVICE_NETWORK,
            ownership: Ownership::default(),
            kept_changes: KEPT_CHANGES,
        }
    }
}

/// The embedded cluster.
///
/// Nothing in it moves but by [`World::handle`] and [`World::step`], and both are functions of what came before: the same calls give the
/// same answers, names and versions included.
#[derive(Debug)]
pub struct World {
    pub api: ApiServer,
    agenda: Agenda,
    kubelet: Kubelet,
    proxy: Proxy,
    timing: Timing,
    cursor: u64,
    /// Chance of the cluster: delays, names.
    seed: Seed,
    /// Chance of clients: which endpoint, which answer. Apart, so that more requests do not change what the cluster does.
    dice: Seed,
}

impl World {
    /// A cluster without workloads.
    pub fn new(setup: &Setup) -> Self {
        let seed = Seed::new(setup.seed);
        let mut api = ApiServer::new(seed.fork("server"), setup.start);
        api.admission = setup.admission.clone();
        api.service_network = setup.service_network;
        api.ownership = setup.ownership;
        api.keep(setup.kept_changes);
        if setup.definitions {
            for definition in &*DEFINITIONS {
                // Cannot fail: the definitions are ours, and a test stores them.
                drop(api.create(&mut Call::new(setup.start, "system:admin"), definition.clone()));
            }
        }
        let cursor = api.store().oldest();
        Self {
            api,
            agenda: Agenda::default(),
            kubelet: Kubelet::new(setup.pod_network),
            proxy: Proxy::default(),
            timing: setup.timing.clone(),
            cursor,
            seed: seed.fork("cluster"),
            dice: seed.fork("clients"),
        }
    }

    /// Answers a request to the API server.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reply {
        self.api.handle(now, request)
    }

    /// Lets everything happen that is due at `now`, and says when there will be more to do.
    pub fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.listen();
        while let Some(task) = self.agenda.take(now) {
            if let Err(problem) = self.perform(now, &task) {
                tracing::debug!(?task, %problem, "a controller of the embedded cluster tries again");
                self.agenda.plan(after(now, RETRY), task);
            }
            self.listen();
        }
        self.agenda.next()
    }

    /// Reads the log up to its end and plans what follows from it.
    fn listen(&mut self) {
        loop {
            match self.api.store().after(self.cursor) {
                Ok(Some(entry)) => {
                    self.cursor = entry.version;
                    wake::wake(&self.api, entry, &mut self.agenda, &self.timing, &mut self.seed);
                }
                Ok(None) => return,
                // Compacted under our eyes: the cluster's own parts hear everything first, so nothing of theirs was lost.
                Err(_) => self.cursor = self.api.version(),
            }
        }
    }

    fn perform(&mut self, now: Timestamp, task: &Task) -> Result<(), Problem> {
        let Self { api, agenda, kubelet, proxy, timing, seed, .. } = self;
        let mut context = Context { api, now, agenda, timing, seed };
        match task {
            Task::Deployment(id) => deployment::sync(&mut context, id),
            Task::ReplicaSet(id) => replica_set::sync(&mut context, id),
            Task::Slice(id) => slice::sync(&mut context, id),
            Task::Pod(id) => kubelet.sync(&mut context, id),
            Task::Collect => garbage::collect(&mut context),
            Task::Namespace(name) => garbage::empty(&mut context, name),
            Task::Proxy(id) => {
                proxy.sync(&context, id);
                Ok(())
            }
        }
    }

    /// Opens a new connection to a Service and sends one request. `client` is its address, for session affinity.
    pub fn visit(&mut self, now: Timestamp, service: &Id, port: u16, client: &str, path: &str) -> Visit {
        let Some(endpoint) = self.proxy.connect(service, port, client, now, &mut self.dice) else { return Visit::NoEndpoint };
        self.knock(now, &endpoint, path)
    }

    /// Sends one request to an endpoint, as over a connection that is kept alive.
    pub fn knock(&mut self, now: Timestamp, endpoint: &Endpoint, path: &str) -> Visit {
        let pod = self.kubelet.pod_at(&endpoint.address).cloned();
        match self.kubelet.request(&endpoint.address, endpoint.port, path, now, &mut self.dice) {
            Answer::Status { code, version, after } => Visit::Answered { endpoint: endpoint.clone(), pod, code, version, after },
            Answer::Refused => Visit::Refused { endpoint: endpoint.clone() },
            Answer::Hang => Visit::Hangs { endpoint: endpoint.clone() },
        }
    }

    /// Whether anything listens there.
    pub fn takes_connections(&self, now: Timestamp, endpoint: &Endpoint) -> bool {
        let mut listening = self.kubelet.listening(now).chain(self.kubelet.controls().map(|(endpoint, _)| endpoint));
        listening.any(|known| known == *endpoint) || self.speaks_tls(now, endpoint)
    }

    /// Whether what listens there expects TLS.
    pub fn speaks_tls(&self, now: Timestamp, endpoint: &Endpoint) -> bool {
        let process = self.kubelet.pod_at(&endpoint.address).and_then(|pod| self.kubelet.process(pod));
        process.is_some_and(|process| process.settings.tls_port == Some(endpoint.port) && process.listens(now))
    }

    /// The endpoint that a new connection would get.
    pub fn connect(&mut self, now: Timestamp, service: &Id, port: u16, client: &str) -> Option<Endpoint> {
        self.proxy.connect(service, port, client, now, &mut self.dice)
    }

    /// The endpoints that new connections may get now.
    pub fn endpoints(&self, service: &Id, port: u16) -> &[Endpoint] {
        self.proxy.endpoints(service, port)
    }

    /// Changes a setting of the application in one pod (see [`super::cluster::process::Settings`]); false where there is none, or no such
    /// setting.
    pub fn tell(&mut self, now: Timestamp, pod: &Id, key: &str, value: &str) -> bool {
        let told = self.kubelet.process_mut(pod).is_some_and(|process| process.set(key, value, now));
        if told {
            self.agenda.plan(now, Task::Pod(pod.clone()));
        }
        told
    }

    /// Changes settings of the application in one pod, all of them or none; false where none was changed.
    pub fn tell_all(&mut self, now: Timestamp, pod: &Id, settings: &BTreeMap<String, String>) -> bool {
        let told = self.kubelet.process_mut(pod).is_some_and(|process| process.set_all(settings, now));
        if told {
            self.agenda.plan(now, Task::Pod(pod.clone()));
        }
        told
    }

    /// Changes a setting of the application in every pod of a version: those that run now, and those that start later.
    pub fn tell_version(&mut self, now: Timestamp, version: &str, key: &str, value: &str) {
        for pod in self.kubelet.change(version, key, value, now) {
            self.agenda.plan(now, Task::Pod(pod));
        }
    }

    /// The pods of the node.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// Stops a part of the cluster, as if its process had been killed.
    pub fn stop(&mut self, component: Component) {
        self.agenda.stop(component);
    }

    /// Starts it again: it finds everything that has happened meanwhile.
    pub fn start(&mut self, component: Component) {
        self.agenda.start(component);
    }

    /// An object as it is stored.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.api.get(resource, namespace, name).map(|object| &**object)
    }
}

/// What a client's request met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// An HTTP answer, after a while.
    Answered { endpoint: Endpoint, pod: Option<Id>, code: u16, version: String, after: Duration },
    /// The Service has no endpoint: the connection is refused.
    NoEndpoint,
    /// The pod takes no connections (any more).
    Refused { endpoint: Endpoint },
    /// The pod takes the connection and does not answer.
    Hangs { endpoint: Endpoint },
}
