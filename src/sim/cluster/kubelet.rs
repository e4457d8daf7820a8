//! The node: gives pods an address, runs their processes, probes them, restarts what crashed, stops what is deleted.
//!
//! Pods are state only: no socket, no thread; `sim::sockets` lends them sockets where they are to have real ones. An image whose name is `missing` is never pulled.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::{
    clock::{after, seconds},
    json,
    seed::Seed,
    server::{DeleteOptions, call::Part, problem::Problem, store::Key},
};

use super::{
    Context, Id, Task, Timing,
    process::{Answer, Process, Settings},
    proxy::Endpoint,
};

const ME: &str = "kubelet";
const NODE: &str = "node-1";
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// All pods of the node.
#[derive(Debug)]
pub struct Kubelet {
    pods: BTreeMap<Id, Runtime>,
    by_address: BTreeMap<String, Id>,
    network: [u8; 2],
    addresses: u32,
    /// Settings that the processes of a version start with, beyond those of their pod.
    versions: BTreeMap<String, Vec<(String, String)>>,
}

/// One pod as the kubelet knows it.
#[derive(Debug)]
struct Runtime {
    uid: String,
    address: String,
    /// When it gets its node, then when its containers start; past once they have.
    next_start: Timestamp,
    bound: bool,
    process: Option<Process>,
    restarts: u32,
    /// When it crashed last.
    crashed: Option<Timestamp>,
    ready: bool,
    probe: Probe,
    /// When SIGTERM is due, and when patience ends.
    stop: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Default)]
struct Probe {
    due: Option<Timestamp>,
    successes: i64,
    failures: i64,
}

impl Kubelet {
    /// A node without pods, whose addresses will begin with `network`.
    pub(in crate::sim) fn new(network: [u8; 2]) -> Self {
        Self { pods: BTreeMap::new(), by_address: BTreeMap::new(), network, addresses: 0, versions: BTreeMap::new() }
    }

    /// Looks at a pod.
    pub(in crate::sim) fn sync(&mut self, context: &mut Context<'_>, id: &Id) -> Result<(), Problem> {
        let Some(pod) = context.api.get("pods", &id.namespace, &id.name).map(|pod| (**pod).clone()) else {
            self.forget(id);
            return Ok(());
        };
        if self.pods.get(id).is_some_and(|known| known.uid != json::uid(&pod)) {
            self.forget(id);
        }
        if !self.pods.contains_key(id) {
            self.admit(context, id, &pod);
        }
        let Some(runtime) = self.pods.get_mut(id) else { return Ok(()) };
        if runtime.advance(context, &pod, &self.versions)? == Fate::Gone {
            self.forget(id);
            let mut call = context.call(ME);
            let options = DeleteOptions { uid: json::uid(&pod).into(), grace: Some(0), ..DeleteOptions::default() };
            context.api.delete(&mut call, &Key::new("pods", &id.namespace, &id.name), &options)?;
            return Ok(());
        }
        if let Some(next) = runtime.next(context.now, context.timing) {
            context.agenda.plan(next, Task::Pod(id.clone()));
        }
        Ok(())
    }

    fn forget(&mut self, id: &Id) {
        if let Some(runtime) = self.pods.remove(id) {
            self.by_address.remove(&runtime.address);
        }
    }

    fn admit(&mut self, context: &mut Context<'_>, id: &Id, pod: &Value) {
        self.addresses += 1;
        let [first, second] = self.network;
        let address = format!("{first}.{second}.{}.{}", self.addresses / 250, self.addresses % 250 + 2);
        self.by_address.insert(address.clone(), id.clone());
        let next_start = after(context.now, context.seed.between(context.timing.schedule));
        let runtime = Runtime {
            uid: json::uid(pod).into(),
            address,
            next_start,
            bound: false,
            process: None,
            restarts: 0,
            crashed: None,
            ready: false,
            probe: Probe::default(),
            stop: None,
        };
        self.pods.insert(id.clone(), runtime);
    }

    /// Sends a request to an address.
    pub fn request(&mut self, address: &str, port: u16, path: &str, now: Timestamp, seed: &mut Seed) -> Answer {
        let process = self.by_address.get(address).and_then(|id| self.pods.get_mut(id)).and_then(|runtime| runtime.process.as_mut());
        process.map_or(Answer::Refused, |process| process.answer(port, path, now, seed))
    }

    /// The pod that has an address.
    pub fn pod_at(&self, address: &str) -> Option<&Id> {
        self.by_address.get(address)
    }

    /// Where connections are taken now.
    pub fn listening(&self, now: Timestamp) -> impl Iterator<Item = Endpoint> {
        let listens = move |runtime: &Runtime| {
            let process = runtime.process.as_ref().filter(|process| process.listens(now))?;
            Some(Endpoint { address: runtime.address.clone(), port: process.settings.port })
        };
        self.pods.values().filter_map(listens)
    }

    /// Where the application can be told to behave otherwise for as long as its process runs, and in which pod.
    pub fn controls(&self) -> impl Iterator<Item = (Endpoint, &Id)> {
        self.pods.iter().filter_map(|(id, runtime)| {
            let port = runtime.process.as_ref()?.settings.control_port?;
            Some((Endpoint { address: runtime.address.clone(), port }, id))
        })
    }

    /// The running process of a pod.
    pub fn process(&self, id: &Id) -> Option<&Process> {
        self.pods.get(id)?.process.as_ref()
    }

    /// The running process of a pod, to change. Plan [`Task::Pod`] afterwards.
    pub(in crate::sim) fn process_mut(&mut self, id: &Id) -> Option<&mut Process> {
        self.pods.get_mut(id)?.process.as_mut()
    }

    /// Changes a setting of a version, and says which pods run it. Plan [`Task::Pod`] for them afterwards.
    pub(in crate::sim) fn change(&mut self, version: &str, key: &str, value: &str, now: Timestamp) -> Vec<Id> {
        self.versions.entry(version.to_owned()).or_default().push((key.to_owned(), value.to_owned()));
        let mut changed = Vec::new();
        for (id, runtime) in &mut self.pods {
            if let Some(process) = runtime.process.as_mut().filter(|process| process.settings.version == version) {
                process.set(key, value, now);
                changed.push(id.clone());
            }
        }
        changed
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Here,
    Gone,
}

impl Runtime {
    fn advance(
        &mut self,
        context: &mut Context<'_>,
        pod: &Value,
        versions: &BTreeMap<String, Vec<(String, String)>>,
    ) -> Result<Fate, Problem> {
        let now = context.now;
        if json::deleting(pod) && self.stop(context, pod) == Fate::Gone {
            return Ok(Fate::Gone);
        }
        if !self.bound && now >= self.next_start && !json::deleting(pod) {
            self.bind(context, pod)?;
            return Ok(Fate::Here);
        }
        if let Some(end) = self.process.as_ref().and_then(Process::ends).filter(|end| *end <= now) {
            let crashed = self.process.as_ref().is_some_and(|process| process.is_crash(end));
            self.process = None;
            self.ready = false;
            if json::deleting(pod) {
                return Ok(Fate::Gone);
            }
            if crashed {
                self.restarts += 1;
                self.crashed = Some(end);
                let factor = 2u32.saturating_pow(self.restarts - 1);
                self.next_start = after(now, context.timing.back_off.saturating_mul(factor).min(LONGEST_BACK_OFF));
            }
        }
        if self.bound && self.process.is_none() && now >= self.next_start && !json::deleting(pod) && !is_missing(pod) {
            let mut settings = Settings::of_pod(pod);
            for (key, value) in versions.get(&settings.version).into_iter().flatten() {
                settings.set(key, value);
            }
            self.process = Some(Process::start(settings, now));
            self.probe = Probe { due: Some(after(now, duration(pod, "initialDelaySeconds"))), ..Probe::default() };
        }
        self.probe(context, pod);
        let status = self.status(pod, now);
        if status != pod["status"] {
            let mut next = pod.clone();
            next["status"] = status;
            context.put(ME, next, Part::Status)?;
        }
        // A process may end in the instant it starts.
        if let Some(end) = self.process.as_ref().and_then(Process::ends).filter(|end| *end <= now) {
            context.agenda.plan(end, Task::Pod(Id::of(pod)));
        }
        Ok(Fate::Here)
    }

    /// The scheduler's part: a node, and the time at which the containers will have started.
    fn bind(&mut self, context: &mut Context<'_>, pod: &Value) -> Result<(), Problem> {
        let mut next = pod.clone();
        json::set(&mut next, "/spec/nodeName", NODE);
        self.next_start = after(context.now, context.seed.between(context.timing.start));
        context.put("kube-scheduler", next, Part::Whole)?;
        self.bound = true;
        Ok(())
    }

    /// SIGTERM a moment after the deletion, the end when the process has ended or patience has.
    fn stop(&mut self, context: &mut Context<'_>, pod: &Value) -> Fate {
        let now = context.now;
        let grace = Duration::from_secs(u64::try_from(json::int(pod, "/metadata/deletionGracePeriodSeconds")).unwrap_or(0));
        let pre_stop =
            Duration::from_secs(u64::try_from(json::int(pod, "/spec/containers/0/lifecycle/preStop/sleep/seconds")).unwrap_or(0));
        let (term, kill) = *self.stop.get_or_insert_with(|| {
            let noticed = after(now, context.seed.between(context.timing.kubelet));
            (after(noticed, pre_stop), after(noticed, grace))
        });
        let Some(process) = &mut self.process else { return Fate::Gone };
        if now >= term && process.terminated.is_none() {
            process.terminated = Some(now);
        }
        if now >= kill { Fate::Gone } else { Fate::Here }
    }

    /// One readiness probe, if one is due. Without a probe a running container is ready.
    fn probe(&mut self, context: &mut Context<'_>, pod: &Value) {
        let now = context.now;
        let Some(process) = &mut self.process else {
            self.ready = false;
            return;
        };
        let Some(probe) = pod.pointer("/spec/containers/0/readinessProbe") else {
            self.ready = true;
            return;
        };
        if self.probe.due.is_none_or(|due| due > now) {
            return;
        }
        self.probe.due = Some(after(now, duration(pod, "periodSeconds").max(Duration::from_millis(1))));
        let passed = match probe.get("httpGet") {
            Some(get) => {
                let port = get["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(process.settings.port);
                let patience = duration(pod, "timeoutSeconds");
                // Probes must not use up the chance of client requests: a path with chance in it gets its own.
                let mut own = context.seed.fork(&self.address);
                match process.answer(port, json::text(get, "/path"), now, &mut own) {
                    Answer::Status { code, after, .. } => (200..400).contains(&code) && after <= patience,
                    Answer::Refused | Answer::Hang => false,
                }
            }
            None => process.listens(now),
        };
        let threshold = |field: &str| json::int(probe, field).max(1);
        if passed {
            (self.probe.successes, self.probe.failures) = (self.probe.successes + 1, 0);
            self.ready |= self.probe.successes >= threshold("/successThreshold");
        } else {
            (self.probe.successes, self.probe.failures) = (0, self.probe.failures + 1);
            self.ready &= self.probe.failures < threshold("/failureThreshold");
        }
    }

    /// When to look again.
    fn next(&self, now: Timestamp, _timing: &Timing) -> Option<Timestamp> {
        let start = (!self.bound || self.process.is_none()).then_some(self.next_start);
        let end = self.process.as_ref().and_then(Process::ends);
        let listens = self.process.as_ref().map(|process| after(process.started, process.settings.start_delay));
        let probe = self.process.as_ref().and(self.probe.due);
        let stop = self
            .stop
            .map(|(term, kill)| if self.process.as_ref().is_some_and(|process| process.terminated.is_some()) { kill } else { term });
        start.into_iter().chain(end).chain(listens).chain(probe).chain(stop).filter(|at| *at > now).min()
    }

    fn status(&self, pod: &Value, now: Timestamp) -> Value {
        let mut status = pod["status"].clone();
        let running = self.process.is_some();
        if self.bound {
            json::default(&mut status, "/startTime", seconds(now));
            json::default(&mut status, "/hostIP", "192.168.1.1");
        }
        if running {
            status["phase"] = "Running".into();
            status["podIP"] = self.address.clone().into();
            status["podIPs"] = json!([{ "ip": self.address }]);
        }
        let flags = [
            ("PodReadyToStartContainers", running || self.restarts > 0),
            ("Initialized", self.bound),
            ("Ready", self.ready),
            ("ContainersReady", self.ready),
            ("PodScheduled", self.bound),
        ];
        let before = json::items(&status, "/conditions").to_vec();
        status["conditions"] = flags
            .iter()
            .map(|(kind, holds)| {
                let known = before.iter().find(|condition| condition["type"] == *kind);
                let state = if *holds { "True" } else { "False" };
                match known.filter(|condition| condition["status"] == state) {
                    Some(condition) => condition.clone(),
                    None => json!({ "type": kind, "status": state, "lastTransitionTime": seconds(now) }),
                }
            })
            .collect();
        if self.bound {
            status["containerStatuses"] =
                json::items(pod, "/spec/containers").iter().map(|container| self.container(container, pod)).collect();
        }
        status
    }

    fn container(&self, container: &Value, pod: &Value) -> Value {
        let state = match &self.process {
            Some(process) => json!({ "running": { "startedAt": seconds(process.started) } }),
            None if is_missing(pod) => json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } }),
            None if self.restarts > 0 => {
                json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting failed container" } })
            }
            None => json!({ "waiting": { "reason": "ContainerCreating" } }),
        };
        let last = self
            .crashed
            .map_or_else(|| json!({}), |at| json!({ "terminated": { "exitCode": 1, "reason": "Error", "finishedAt": seconds(at) } }));
        json!({
            "name": container["name"], "image": container["image"], "imageID": "", "ready": self.ready, "restartCount": self.restarts_seen(),
            "started": self.process.is_some(), "state": state, "lastState": last,
        })
    }

    /// Restarts that have happened: one that is being waited for does not count yet.
    fn restarts_seen(&self) -> u32 {
        if self.process.is_none() { self.restarts.saturating_sub(1) } else { self.restarts }
    }
}

fn is_missing(pod: &Value) -> bool {
    let image = json::text(pod, "/spec/containers/0/image");
    image.rsplit('/').next().unwrap_or_default().split(':').next() == Some("missing")
}

fn duration(pod: &Value, field: &str) -> Duration {
    let seconds = json::int(pod, &format!("/spec/containers/0/readinessProbe/{field}"));
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
