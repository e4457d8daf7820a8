//! One run: the embedded cluster, the real controller, clients, a story, and what goes wrong in it.

#[path = "stage/script.rs"]
mod script;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use stepgate::{
    api::{HANDOVER, ROLLOUT_UID, ROTATION},
    controller::{
        clock::Clock,
        run::{Leadership, Options, run_asking},
    },
    serve::Vitals,
    sim::{
        Line, Setup, Sim, Visit,
        cluster::{Component, Id},
        fault::{Fault, Rates},
        json as at, sample,
        server::admission::{Admission, STEPGATE},
    },
};

use crate::{
    law::{self, Law},
    scenario::{SIZE, Scenario},
    trouble::{Edit, Mishap, Trouble, weather},
};

const TICK: Duration = Duration::from_millis(20);
/// From the death of a controller to the next one.
const RESTART: Duration = Duration::from_millis(700);
/// Nothing of ours may be written for so long before a run counts as over.
const REST: Duration = Duration::from_secs(3);
/// A run that lasts longer than this does not end.
const PATIENCE: Duration = Duration::from_secs(420);
/// How long bad weather lasts.
const WEATHER: Duration = Duration::from_secs(60);
const MISHAP: Duration = Duration::from_secs(3);

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub phase: String,
    /// The version that serves.
    pub serves: String,
    pub paused: bool,
    pub outcomes: Vec<String>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, serves, paused, outcomes } = self;
        write!(f, "{phase}, {serves} serves, {}, {outcomes:?}", if *paused { "paused" } else { "not paused" })
    }
}

/// What is known of a run when it is over.
#[derive(Debug)]
pub struct Report {
    pub end: End,
    /// What must not have happened, and did.
    pub broken: Vec<String>,
    /// Writes of the first controller, Events included: the numbers that faults can be planned for.
    pub writes: u64,
    /// Writes of ours from the first act on, Events apart, and those after the last act.
    pub spent: usize,
    pub spent_after_last: usize,
    /// Pods started, by version.
    pub started: Vec<(String, usize)>,
    /// Writes that were taken and changed nothing.
    pub idle: usize,
    pub visits: u64,
    /// The least number of pods that were ready at a time, from the first act on.
    pub least_at_work: usize,
    /// Whether the moment of an act never came, so that the story has become another one.
    pub missed: bool,
    pub trace: Vec<String>,
}

/// Plays a story with its troubles.
pub fn play(scenario: &Scenario, troubles: &[Trouble], seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { Stage::new(scenario, troubles, seed).run().await })
}

struct Stage<'a> {
    scenario: &'a Scenario,
    seed: u64,
    sim: Sim,
    law: Law,
    controllers: Vec<Controller>,
    /// Mishaps to come, with the write of the first controller that they wait for.
    mishaps: Vec<(u64, Mishap)>,
    /// What ends or begins at a time.
    later: Vec<(Instant, Later)>,
    /// Acts done.
    done: usize,
    done_at: Instant,
    writes_before: [usize; 2],
    /// Settings that all pods of a version are to have.
    settings: Vec<(&'static str, &'static str, &'static str)>,
    told: BTreeSet<String>,
    visits: u64,
    /// Whether a client was ever answered: a proxy that is stopped before it has heard of the first pods is nobody's harm.
    answered: bool,
    least_at_work: usize,
    broken: Vec<String>,
    trace: Vec<String>,
    /// Whether the moment of an act never came.
    missed: bool,
    weather: Option<Instant>,
    short_watches: bool,
    rates: Rates,
}

struct Controller {
    line: Line,
    task: JoinHandle<()>,
    _leads: watch::Sender<Leadership>,
}

#[derive(Clone, Debug)]
enum Later {
    Thaw(Line),
    Start(Component),
    Controller { skew: i64 },
    Crash(Line),
    Resume,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, troubles: &[Trouble], seed: u64) -> Self {
        let admission = if scenario.guarded { Admission::default() } else { Admission::none() };
        let sim = Sim::new(&Setup { seed, admission, ..Setup::default() });
        sim.spawn();
        let law = sim.look(|world, _| Law::new(world.api.store(), scenario.guarded));
        let mut this = Self {
            scenario,
            seed,
            sim,
            law,
            controllers: Vec::new(),
            mishaps: Vec::new(),
            later: Vec::new(),
            done: 0,
            done_at: Instant::now(),
            writes_before: [0; 2],
            settings: Vec::new(),
            told: BTreeSet::new(),
            visits: 0,
            answered: false,
            least_at_work: usize::MAX,
            broken: Vec::new(),
            trace: Vec::new(),
            missed: false,
            weather: None,
            short_watches: false,
            rates: Rates::NONE,
        };
        this.prepare();
        this.plan(troubles);
        this
    }

    fn prepare(&mut self) {
        let rollout = json!({
            "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"workload": {"deployment": "hello"}, "services": self.scenario.services, "policy": self.scenario.policy},
        });
        self.ask(
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            "application/json",
            &sample::deployment("default", "hello", "v1", SIZE),
        );
        for service in self.scenario.services {
            self.ask("POST", "/api/v1/namespaces/default/services", "application/json", &sample::service("default", service));
        }
        self.ask("POST", "/apis/stepgate.dev/v1alpha1/namespaces/default/rollouts", "application/json", &rollout);
    }

    fn plan(&mut self, troubles: &[Trouble]) {
        let line = Line::new(self.seed);
        let mut second = false;
        for trouble in troubles {
            match trouble {
                Trouble::Write(number, fault) => line.plan(*number, fault.clone()),
                Trouble::Around(number, mishap) => {
                    line.plan(*number, Fault::Delay(Duration::from_millis(200)));
                    self.mishaps.push((*number, *mishap));
                }
                Trouble::Weather(percent) => {
                    self.rates = weather(*percent);
                    self.weather = Some(Instant::now() + WEATHER);
                }
                Trouble::ShortWatches => self.short_watches = true,
                Trouble::Two => second = true,
            }
        }
        if self.short_watches {
            self.rates = Rates { dropped_watch: 100.0, longest_watch: Duration::from_secs(2), ..self.rates.clone() };
        }
        line.set_rates(self.rates.clone());
        self.controller(line, 0);
        if second {
            let line = Line::new(self.seed ^ 1).with_rates(self.rates.clone());
            self.controller(line, 0);
        }
    }

    fn controller(&mut self, line: Line, skew: i64) {
        let client = self.sim.client_over(STEPGATE, &line);
        let (leads, leadership) = watch::channel(Leadership::Alone);
        let clock = Clock::starting_at(self.sim.now() + jiff::SignedDuration::from_secs(skew));
        let options = Options { namespace: None, instance: format!("stepgate-{}", self.controllers.len()) };
        let task = tokio::spawn(run_asking(client, Arc::new(self.sim.clone()), options, clock, leadership, Vitals::default()));
        self.controllers.push(Controller { line, task, _leads: leads });
    }

    async fn run(mut self) -> Report {
        let began = Instant::now();
        let mut rest_since: Option<(Instant, usize)> = None;
        loop {
            tokio::time::sleep(TICK).await;
            self.read();
            self.crashes();
            self.happen();
            self.act();
            self.visit();
            self.count_work();
            let now = Instant::now();
            let writes = self.law.writes.len();
            match (self.rests(), rest_since) {
                (false, _) => rest_since = None,
                (true, Some((since, then))) if then == writes => {
                    if now.duration_since(since) >= REST {
                        break;
                    }
                }
                (true, _) => rest_since = Some((now, writes)),
            }
            if now.duration_since(began) > PATIENCE {
                let why =
                    self.rollout().map(|rollout| format!("{} {}", at::text(&rollout, "/status/phase"), at::text(&rollout, "/status/why")));
                self.broken.push(format!("no rest: {}", why.unwrap_or_else(|| "the Rollout is gone".into())));
                break;
            }
        }
        self.report()
    }

    fn read(&mut self) {
        let Self { sim, law, .. } = self;
        sim.look(|world, _| law.read(world.api.store()));
    }

    fn note(&mut self, text: impl Into<String>) {
        let line = format!("{} > {}", self.sim.now(), text.into());
        self.trace.push(line);
    }

    /// A controller that was cut off is dead; another takes its place.
    fn crashes(&mut self) {
        let mut dead = 0;
        self.controllers.retain(|controller| {
            let cut = controller.line.is_cut() && !controller.task.is_finished();
            if cut {
                controller.task.abort();
                dead += 1;
            }
            !cut || controller.task.is_finished()
        });
        for _ in 0..dead {
            self.note("the controller is dead");
            self.later.push((Instant::now() + RESTART, Later::Controller { skew: 0 }));
        }
    }

    /// What is due, and the mishaps whose write is on its way.
    fn happen(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(when, _)| *when <= now);
        self.later = later;
        for (_, what) in due {
            self.note(format!("{what:?}").split('{').next().unwrap_or_default());
            match what {
                Later::Thaw(line) => line.thaw(),
                Later::Start(component) => self.sim.with(|world, _| world.start(component)),
                Later::Controller { skew } => {
                    let line = Line::new(self.seed ^ (1000 + self.visits)).with_rates(self.rates.clone());
                    self.controller(line, skew);
                }
                Later::Crash(line) => line.cut(),
                Later::Resume => self.edit_rollout(&json!({"spec": {"paused": false}})),
            }
        }
        if self.weather.is_some_and(|end| end <= now) {
            self.weather = None;
            self.rates = if self.short_watches {
                Rates { dropped_watch: 100.0, longest_watch: Duration::from_secs(2), ..Rates::NONE }
            } else {
                Rates::NONE
            };
            self.controllers.iter().for_each(|controller| controller.line.set_rates(self.rates.clone()));
            self.note("the weather is fine again");
        }
        let Some(line) = self.controllers.first().map(|controller| controller.line.clone()) else { return };
        let writes = line.writes();
        let (due, mishaps) = std::mem::take(&mut self.mishaps).into_iter().partition(|(number, _)| *number <= writes);
        self.mishaps = mishaps;
        for (_, mishap) in due {
            self.note(format!("{mishap:?}"));
            self.mishap(mishap, &line);
        }
    }

    fn mishap(&mut self, mishap: Mishap, line: &Line) {
        let end = Instant::now() + MISHAP;
        match mishap {
            Mishap::Freeze => {
                line.freeze(self.sim.now());
                self.later.push((end, Later::Thaw(line.clone())));
            }
            Mishap::FreezeAndCrash => {
                line.freeze(self.sim.now());
                self.later.push((Instant::now() + MISHAP / 2, Later::Crash(line.clone())));
            }
            Mishap::Compact => {
                self.read();
                self.sim.with(|world, _| world.api.compact());
            }
            Mishap::Stop(component) => {
                self.sim.with(|world, _| world.stop(component));
                self.later.push((end, Later::Start(component)));
            }
            Mishap::Second => self.later.push((Instant::now(), Later::Controller { skew: 0 })),
            Mishap::Skew { ahead } => {
                if let Some(controller) = self.controllers.first() {
                    controller.task.abort();
                    controller.line.cut();
                    self.controllers.remove(0);
                }
                self.later.push((Instant::now() + RESTART, Later::Controller { skew: if ahead { 3 } else { -3 } }));
            }
            Mishap::DeletePod(version) => {
                if let Some(name) = self.ready_pod(version) {
                    self.ask("DELETE", &format!("/api/v1/namespaces/default/pods/{name}"), "application/json", &json!({}));
                }
            }
            Mishap::Edit(edit) => self.edit(edit),
        }
    }

    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Image(version) => self.set_image(version),
            Edit::Scale(replicas) => self.patch_hello(&json!({"spec": {"replicas": replicas}})),
            Edit::Selector => {
                let selector = json!({"spec": {"selector": {"pod-template-hash": null, ROTATION: null}}});
                self.ask("PATCH", "/api/v1/namespaces/default/services/hello", "application/merge-patch+json", &selector);
            }
            Edit::Unpause => self.patch_hello(&json!({"spec": {"paused": false}})),
            Edit::Abort => self.request("Abort"),
            Edit::Promote => self.request("Promote"),
            Edit::DeleteCanary => {
                let canary = self.law.all("deployments.apps").find(|deployment| at::label(deployment, ROLLOUT_UID).is_some()).cloned();
                if let Some(canary) = canary {
                    self.ask(
                        "DELETE",
                        &format!("/apis/apps/v1/namespaces/default/deployments/{}", at::name(&canary)),
                        "application/json",
                        &json!({}),
                    );
                }
            }
            Edit::DeleteRollout => self.delete_rollout(),
            Edit::Hold => {
                self.edit_rollout(&json!({"spec": {"paused": true}}));
                self.later.push((Instant::now() + Duration::from_secs(5), Later::Resume));
            }
        }
    }

    /// One client, of many.
    fn visit(&mut self) {
        if self.done == 0 || self.scenario.services.is_empty() {
            return;
        }
        self.visits += 1;
        let client = format!("10.0.{}.{}", self.visits / 250 % 250, self.visits % 250);
        let service = Id::new("default", "hello");
        let visit = self.sim.look(|world, now| world.visit(now, &service, 80, &client, "/"));
        let live = self
            .law
            .all("rollouts.stepgate.dev")
            .next()
            .map(|rollout| at::text(rollout, "/status/stable/hash").to_owned())
            .unwrap_or_default();
        self.answered |= matches!(visit, Visit::Answered { .. });
        match visit {
            Visit::Answered { code: 200, pod, version, .. } => self.meets(pod, &version, &live),
            Visit::Answered { code, version, .. } => self.broken.push(format!("{}: {version} answered {code}", self.sim.now())),
            failed => {
                let alive = self.law.all("pods").any(|pod| law::serves(pod));
                if alive && self.answered {
                    self.broken.push(format!("{}: a client met {failed:?}", self.sim.now()));
                }
            }
        }
    }

    /// Without Services: how many pods work, from the first act on.
    fn count_work(&mut self) {
        if self.done > 0 {
            self.least_at_work = self.least_at_work.min(self.law.all("pods").filter(|pod| law::serves(pod)).count());
        }
    }

    // design §8.3
    fn meets(&mut self, pod: Option<Id>, version: &str, live: &str) {
        let hash =
            pod.and_then(|pod| self.law.get("pods", &pod.name)).and_then(|pod| at::label(pod, "pod-template-hash")).unwrap_or_default();
        let Some(rollout) = self.rollout().filter(|_| self.scenario.guarded && !hash.is_empty() && hash != live) else { return };
        if at::fields(&rollout, "/status/release").is_some() && at::text(&rollout, "/status/release/trafficSince").is_empty() {
            self.broken.push(format!("{}: a client met {version} before its gates had passed", self.sim.now()));
        }
    }

    fn rollout(&self) -> Option<Arc<Value>> {
        self.law.get("rollouts.stepgate.dev", "hello").cloned()
    }

    fn rests(&self) -> bool {
        let finished = self.done == self.scenario.script.len()
            && self.later.is_empty()
            && self.weather.is_none()
            && self.done_at.elapsed() > Duration::from_secs(1);
        finished
            && self.rollout().is_none_or(|rollout| {
                matches!(at::text(&rollout, "/status/phase"), "Healthy" | "RolledBack")
                    && at::fields(&rollout, "/status/release").is_none()
                    && !at::deleting(&rollout)
            })
    }

    fn report(mut self) -> Report {
        self.read();
        let rollout = self.rollout();
        let hello = self.law.get("deployments.apps", "hello").cloned().unwrap_or_default();
        let mut serving: Vec<&str> = self.law.all("pods").filter(|pod| law::serves(pod)).map(|pod| law::version(pod)).collect();
        serving.dedup();
        let end = End {
            phase: rollout.as_ref().map_or_else(|| "gone".into(), |rollout| at::text(rollout, "/status/phase").into()),
            serves: serving.join("+"),
            paused: at::flag(&hello, "/spec/paused"),
            outcomes: rollout
                .iter()
                .flat_map(|rollout| at::items(rollout, "/status/history"))
                .map(|entry| at::text(entry, "/outcome").into())
                .collect(),
        };
        let mut broken = std::mem::take(&mut self.broken);
        broken.append(&mut self.law.broken);
        if !self.answered && !self.scenario.services.is_empty() {
            broken.push("no client was ever answered".into());
        }
        broken.extend(leftovers(&self.law, &end));
        broken.extend(self.scenario.services.iter().flat_map(|service| leftovers_of(&self.law, service)));
        let accepted = self.controllers.iter().flat_map(|controller| controller.line.records());
        let accepted =
            accepted.filter(|record| record.write.is_some() && record.code / 100 == 2 && !record.path.ends_with("/events")).count();
        let line = self.controllers.first().map(|controller| controller.line.clone());
        self.trace.extend(self.law.writes.iter().map(|(at, write)| format!("{at} {write}")));
        self.trace.sort();
        let spent = |from: usize| self.law.writes.len().saturating_sub(from);
        Report {
            end,
            broken,
            writes: line.map_or(0, |line| line.writes()),
            spent: spent(self.writes_before[0]),
            spent_after_last: spent(self.writes_before[1]),
            started: self.law.started.iter().map(|(version, pods)| (version.clone(), pods.len())).collect(),
            idle: accepted.saturating_sub(self.law.writes.len()),
            visits: self.visits,
            least_at_work: self.least_at_work,
            missed: self.missed,
            trace: self.trace,
        }
    }
}

/// What is left of ours on a Service.
fn leftovers_of(law: &Law, service: &str) -> Vec<String> {
    let mut left = Vec::new();
    let selector = law.get("services", service).map(|service| service["spec"]["selector"].clone());
    if selector != Some(json!({"app": "hello"})) {
        left.push(format!("left: selector {selector:?}"));
    }
    let affinity = law.get("services", service).map(|service| at::text(service, "/spec/sessionAffinity").to_owned());
    if affinity.as_deref() != Some("None") {
        left.push(format!("left: session affinity {affinity:?}"));
    }
    left
}

/// What is left of ours, or not as its owner made it (design §8.5), and a status that says something that is not so (§8.8).
fn leftovers(law: &Law, end: &End) -> Vec<String> {
    let mut left = Vec::new();
    let hello = law.get("deployments.apps", "hello").cloned().unwrap_or_default();
    for deployment in law.all("deployments.apps").filter(|deployment| at::name(deployment) != "hello") {
        left.push(format!("left: Deployment {}", at::name(deployment)));
    }
    if at::label(&hello, HANDOVER).is_some() {
        left.push("left: the hand-over label".into());
    }
    if at::text(&hello, "/spec/strategy/rollingUpdate/maxSurge") != "25%" {
        left.push(format!("left: maxSurge {}", hello["spec"]["strategy"]));
    }
    for pod in law.all("pods").filter(|pod| at::label(pod, ROTATION).is_some() && !at::deleting(pod)) {
        left.push(format!("left: rotation label on pod {}", at::name(pod)));
    }
    let size = usize::try_from(at::int(&hello, "/spec/replicas")).unwrap_or(0);
    let serving = law.all("pods").filter(|pod| law::serves(pod)).count();
    if serving != size {
        left.push(format!("{serving} of {size} pods serve in the end"));
    }
    let template = at::items(&hello, "/spec/template/spec/containers/0/env")
        .first()
        .map(|variable| at::text(variable, "/value").to_owned())
        .unwrap_or_default();
    if (end.phase == "Healthy") != (template == end.serves) && end.phase != "gone" {
        left.push(format!("{} with template {template} while {} serves", end.phase, end.serves));
    }
    // An owner who takes the template back when the Rollout has just gone finds a Deployment that nobody will let go on.
    let taken_back_too_late = end.phase == "gone" && template == end.serves;
    if end.paused != (template != end.serves) && !taken_back_too_late {
        left.push(format!("paused: {}, template {template}, {} serves", end.paused, end.serves));
    }
    if let Some(rollout) = law.get("rollouts.stepgate.dev", "hello") {
        let said = (at::int(rollout, "/status/stable/ready"), at::int(rollout, "/status/stable/replicas"));
        let counted = i64::try_from(serving).unwrap_or(0);
        if said != (counted, i64::try_from(size).unwrap_or(0)) {
            left.push(format!("status says {said:?}, {serving} of {size} pods serve"));
        }
    }
    left
}
