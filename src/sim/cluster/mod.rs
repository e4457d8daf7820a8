//! What makes objects come true: the controllers of a small cluster. Each is a function of the stored objects and the time; each wakes by
//! the log and by its own timers, kept in one [`Agenda`].
//!
//! Faithful to Kubernetes 1.36 where Stepgate touches it, and held to that: the scenarios of `tests/e2e` are played on it and on a real
//! cluster. Simpler: one node, no quotas, no autoscaler.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

pub mod deployment;
pub mod garbage;
pub mod kubelet;
pub mod process;
pub mod proxy;
pub mod replica_set;
pub mod slice;
pub mod wake;

use super::{
    clock::{after, micros},
    json,
    seed::Seed,
    server::{ApiServer, Call, problem::Problem},
};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub namespace: String,
    pub name: String,
}

impl Id {
    /// The id of these two.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The id of an object.
    pub fn of(object: &Value) -> Self {
        Self::new(json::namespace(object), json::name(object))
    }
}

/// Something to look at again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    Deployment(Id),
    ReplicaSet(Id),
    /// The `EndpointSlice` of a Service.
    Slice(Id),
    /// The kubelet's view of a pod.
    Pod(Id),
    /// The proxy's table of a Service.
    Proxy(Id),
    /// Owner references and finalizers of the garbage collector.
    Collect,
    /// The contents of a namespace that is being deleted.
    Namespace(String),
}

impl Task {
    /// The component that does it.
    pub fn component(&self) -> Component {
        match self {
            Self::Deployment(_) => Component::Deployments,
            Self::ReplicaSet(_) => Component::ReplicaSets,
            Self::Slice(_) => Component::Slices,
            Self::Pod(_) => Component::Kubelet,
            Self::Proxy(_) => Component::Proxy,
            Self::Collect | Self::Namespace(_) => Component::Collector,
        }
    }
}

/// A part of the cluster that can be stopped and started, as a process can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Deployments,
    ReplicaSets,
    Slices,
    Kubelet,
    Proxy,
    Collector,
}

/// What is due when. A task stands in it once, at its earliest time.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    due: BTreeSet<(Timestamp, Task)>,
    when: BTreeMap<Task, Timestamp>,
    stopped: BTreeSet<Component>,
}

impl Agenda {
    /// Looks at it at `at`, or earlier if that is planned already.
    pub fn plan(&mut self, at: Timestamp, task: Task) {
        match self.when.get(&task) {
            Some(planned) if *planned <= at => return,
            Some(planned) => drop(self.due.remove(&(*planned, task.clone()))),
            None => {}
        }
        self.when.insert(task.clone(), at);
        self.due.insert((at, task));
    }

    /// Takes the first task that is due at `now`.
    pub fn take(&mut self, now: Timestamp) -> Option<Task> {
        let first = self.due.iter().take_while(|(at, _)| *at <= now).find(|(_, task)| !self.stopped.contains(&task.component()))?.clone();
        self.due.remove(&first);
        self.when.remove(&first.1);
        Some(first.1)
    }

    /// When the next task is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.iter().find(|(_, task)| !self.stopped.contains(&task.component())).map(|(at, _)| *at)
    }

    /// Stops a component: its tasks wait.
    pub fn stop(&mut self, component: Component) {
        self.stopped.insert(component);
    }

    /// Starts it again.
    pub fn start(&mut self, component: Component) {
        self.stopped.remove(&component);
    }
}

/// How long things take: each is drawn between two bounds, from the seed.
#[derive(Clone, Debug)]
pub struct Timing {
    /// From a change to the controller that acts on it.
    pub controller: (Duration, Duration),
    /// From a change to the `EndpointSlice`.
    pub slice: (Duration, Duration),
    /// From an `EndpointSlice` or Service to where new connections go. 1 s at most with kube-proxy's default settings.
    pub proxy: (Duration, Duration),
    /// From a deletion to the garbage collector.
    pub collector: (Duration, Duration),
    /// From a pod's creation to its node.
    pub schedule: (Duration, Duration),
    /// From there to running containers.
    pub start: (Duration, Duration),
    /// From a change in a pod to its status, and from a deletion to SIGTERM.
    pub kubelet: (Duration, Duration),
    /// The first restart of a crashed container; each one doubles it, up to five minutes.
    pub back_off: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = |from, to| (Duration::from_millis(from), Duration::from_millis(to));
        Self {
            controller: ms(5, 20),
            slice: ms(5, 20),
            proxy: ms(10, 60),
            collector: ms(50, 150),
            schedule: ms(20, 80),
            start: ms(300, 700),
            kubelet: ms(5, 30),
            back_off: Duration::from_secs(10),
        }
    }
}

/// What a controller works with while it handles one task.
pub(super) struct Context<'a> {
    pub api: &'a mut ApiServer,
    pub now: Timestamp,
    pub agenda: &'a mut Agenda,
    pub timing: &'a Timing,
    pub seed: &'a mut Seed,
}

impl Context<'_> {
    /// A write by a controller of the controller manager.
    pub fn call(&self, controller: &str) -> Call {
        Call::new(self.now, &format!("system:serviceaccount:kube-system:{controller}"))
    }

    /// Looks at it again after a while.
    pub fn later(&mut self, delay: Duration, task: Task) {
        self.agenda.plan(after(self.now, delay), task);
    }

    /// Tells people, as the controllers of a real cluster do.
    pub fn event(&mut self, about: &Value, controller: &str, reason: &str, note: &str) {
        let regarding = json!({
            "apiVersion": about["apiVersion"], "kind": about["kind"], "namespace": json::namespace(about), "name": json::name(about),
            "uid": json::uid(about), "resourceVersion": json::text(about, "/metadata/resourceVersion"),
        });
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": { "generateName": format!("{}.", json::name(about)), "namespace": json::namespace(about) },
            "eventTime": micros(self.now), "reportingController": controller, "reportingInstance": controller, "action": reason,
            "reason": reason, "note": note, "type": "Normal", "regarding": regarding,
        });
        let mut call = self.call(controller);
        // An Event that cannot be stored is lost, as on a real cluster.
        drop(self.api.create(&mut call, event));
    }

    /// Replaces an object as it was read: 409 if it is no longer that.
    pub fn put(&mut self, controller: &str, object: Value, part: crate::sim::server::call::Part) -> Result<Value, Problem> {
        let kind = self
            .api
            .kinds()
            .named(json::text(&object, "/apiVersion"), json::text(&object, "/kind"))
            .cloned()
            .ok_or_else(Problem::no_such_path)?;
        let key = super::server::store::Key::new(&kind.stored_as(), json::namespace(&object), json::name(&object));
        let mut call = self.call(controller);
        self.api.update(&mut call, &kind, &key, part, |_| Ok(object)).map(|stored| (*stored).clone())
    }
}

/// An owner reference of a controller.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": json::name(owner), "uid": json::uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}
