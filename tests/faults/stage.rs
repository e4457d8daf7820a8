//! One run: the embedded cluster, the real controller, clients, a story, and what goes wrong in it.

#[path = "stage/end.rs"]
mod end;
#[path = "stage/mishap.rs"]
mod mishap;
#[path = "stage/script.rs"]
mod script;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use stepgate::{
    clock::Clock,
    controller::run::{Options, run_asking},
    lease::leadership::Leadership,
    sim::{
        Line, Setup, Sim, Visit,
        cluster::Id,
        fault::{Fault, Rates},
        json as at, sample,
        server::admission::{Admission, STEPGATE},
    },
    vitals::Vitals,
};

use self::mishap::Later;
use crate::{
    law::{self, Law},
    scenario::Scenario,
    trouble::{Mishap, Trouble, weather},
};

const TICK: Duration = Duration::from_millis(20);
/// Nothing of ours may be written for so long before a run counts as over.
const REST: Duration = Duration::from_secs(6);
/// A run that lasts longer than this does not end.
const PATIENCE: Duration = Duration::from_secs(420);
/// How long bad weather lasts.
const WEATHER: Duration = Duration::from_secs(60);

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
    /// Of which release, by their order, a pod that clients were on was not ready in between.
    pub flapped: Option<usize>,
    /// Pods that each Deployment asks for in the end.
    pub sizes: Vec<(String, i64)>,
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
    /// Whether there are clients: nobody asks a Service that has never had an endpoint.
    open: bool,
    visits: u64,
    least_at_work: usize,
    broken: Vec<String>,
    trace: Vec<String>,
    /// Whether the moment of an act never came.
    missed: bool,
    /// Whether a pod of the canary that clients were on was not ready in between.
    flapped: Option<usize>,
    weather: Option<Instant>,
    short_watches: bool,
    rates: Rates,
}

struct Controller {
    line: Line,
    task: JoinHandle<()>,
    _leads: watch::Sender<Leadership>,
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, troubles: &[Trouble], seed: u64) -> Self {
        let admission = if scenario.guarded { Admission::default() } else { Admission::none() };
        let sim = Sim::new(&Setup { seed, admission, ..Setup::default() });
        sim.spawn();
        let law = sim.look(|world, _| Law::new(world.api.store(), scenario.pair, scenario.guarded));
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
            open: false,
            visits: 0,
            least_at_work: usize::MAX,
            broken: Vec::new(),
            trace: Vec::new(),
            missed: false,
            flapped: None,
            weather: None,
            short_watches: false,
            rates: Rates::NONE,
        };
        this.prepare();
        this.plan(troubles);
        this
    }

    fn prepare(&mut self) {
        let pair = self.scenario.pair;
        let mut rollout = json!({
            "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"workload": pair.workload(), "services": self.scenario.services, "policy": self.scenario.policy},
        });
        if let Some(preview) = self.scenario.preview {
            let mut service = sample::service("default", "hello");
            service["metadata"]["name"] = json!(preview);
            rollout["spec"]["preview"] = json!(preview);
            self.ask("POST", "/api/v1/namespaces/default/services", "application/json", &service);
        }
        for deployment in pair.deployments() {
            self.ask("POST", "/apis/apps/v1/namespaces/default/deployments", "application/json", &deployment);
        }
        for service in self.scenario.services {
            let mut service = sample::service("default", service);
            service["spec"]["selector"] = pair.selector();
            self.ask("POST", "/api/v1/namespaces/default/services", "application/json", &service);
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

    /// One client, of many.
    fn visit(&mut self) {
        let service = Id::new("default", "hello");
        self.open |= self.done > 0 && self.sim.look(|world, _| !world.endpoints(&service, 80).is_empty());
        if !self.open {
            return;
        }
        self.visits += 1;
        let client = format!("10.0.{}.{}", self.visits / 250 % 250, self.visits % 250);
        let visit = self.sim.look(|world, now| world.visit(now, &service, 80, &client, "/"));
        let live = self.rollout().map(|rollout| self.law.live_value(&rollout)).unwrap_or_default();
        match visit {
            Visit::Answered { code: 200, pod, version, .. } => self.meets(pod, &version, &live),
            Visit::Answered { code, version, .. } => self.broken.push(format!("{}: {version} answered {code}", self.sim.now())),
            failed => {
                let alive = self.law.all("pods").any(|pod| law::serves(pod));
                if alive {
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
        let pair = self.scenario.pair;
        let pod = pod.and_then(|pod| self.law.get("pods", &pod.name));
        let value = pod.and_then(|pod| at::label(pod, pair.key())).unwrap_or_default();
        // Without admission policies a Deployment rolls by itself for a moment; versions of the user's own do not.
        let is_held = self.scenario.guarded || pair.is_declared();
        let Some(rollout) = self.rollout().filter(|_| is_held && !value.is_empty() && value != live) else { return };
        // Behind a proxy that has fallen asleep clients stay where they were; where they should be the endpoints say.
        if pod.is_some_and(|pod| !self.law.routed().contains(at::uid(pod))) {
            return;
        }
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
}
