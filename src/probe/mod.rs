//! The probes of one Rollout: a task each, with a clock of its own; they only wake the decision.

pub mod answer;
pub mod grpc;
pub mod http;
pub mod tls;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    clock::Clock,
    core::{
        decision::watch::{Check, Probe, Target},
        facts::observed::ProbeFacts,
    },
};

use self::http::{Answer, Ask, Asker, is_expected, probe};

/// A gate on a pod.
pub type Key = (String, String);

/// What one probe saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub key: Key,
    pub outcome: Outcome,
    pub at: Timestamp,
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed(String),
    Failed(String),
    /// Neither: a pod of the live side did not answer either.
    Unknown(String),
}

/// The probes that run, and what they have seen.
#[derive(Debug, Default)]
pub struct Probes {
    running: BTreeMap<Key, Running>,
    facts: BTreeMap<Key, ProbeFacts>,
}

#[derive(Debug)]
struct Running {
    check: Check,
    target: Target,
    control: tokio::sync::watch::Sender<Option<Target>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests that may be under way at once, of all namespaces and of each: every one is a connection, and whoever writes gates and runs pods
/// decides how many are wanted and how long they last.
const OF_ALL: usize = 512;
const OF_NAMESPACE: usize = 64;

/// Room for the requests of probes. Where there is none a probe waits, which is neither a success nor a failure.
#[derive(Clone, Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(OF_ALL)), own: Arc::new(Semaphore::new(OF_NAMESPACE)) }
    }
}

impl Slots {
    /// The same room for all together, and room of its own for one namespace.
    #[must_use]
    pub fn of_namespace(&self) -> Self {
        Self { all: Arc::clone(&self.all), own: Arc::new(Semaphore::new(OF_NAMESPACE)) }
    }

    /// Waits for room, first that of the namespace: what waits there keeps none of the others from theirs.
    async fn room(&self) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        Some((self.own.acquire().await.ok()?, self.all.acquire().await.ok()?))
    }
}

/// What a probe's task needs.
#[derive(Clone)]
pub struct Prober {
    pub asker: Asker,
    pub slots: Slots,
    pub clock: Clock,
    pub sender: mpsc::Sender<(Arc<str>, Seen)>,
    /// Name of the Rollout, sent back with what was seen.
    pub rollout: Arc<str>,
}

impl Probes {
    /// Runs exactly these probes: starts what is missing, ends what is no longer wanted, and leaves the clocks of the others alone.
    pub fn sync(&mut self, wanted: &[Probe], prober: &Prober) {
        let key = |probe: &Probe| (probe.gate.clone(), probe.pod.uid.clone());
        let keys: BTreeMap<Key, &Probe> = wanted.iter().map(|probe| (key(probe), probe)).collect();
        self.running.retain(|key, running| keys.get(key).is_some_and(|probe| probe.check == running.check && probe.pod == running.target));
        self.facts.retain(|key, _| keys.contains_key(key));
        for (key, probe) in keys {
            if let Some(running) = self.running.get(&key) {
                running.control.send_if_modified(|control| std::mem::replace(control, probe.control.clone()) != probe.control);
                continue;
            }
            let (control, watched) = tokio::sync::watch::channel(probe.control.clone());
            let task = tokio::spawn(run(prober.clone(), key.clone(), probe.check.clone(), probe.pod.clone(), watched)).abort_handle();
            self.running.insert(key, Running { check: probe.check.clone(), target: probe.pod.clone(), control, task });
        }
    }

    /// What the probes have seen.
    pub fn facts(&self) -> &BTreeMap<Key, ProbeFacts> {
        &self.facts
    }

    /// Counts what a probe saw; nothing if it is no longer wanted.
    pub fn record(&mut self, seen: Seen) {
        if !self.running.contains_key(&seen.key) {
            return;
        }
        let facts = self.facts.entry(seen.key).or_insert_with(|| ProbeFacts {
            successes: 0,
            failures: 0,
            last: String::new(),
            unknown: None,
            failing_since: None,
        });
        match seen.outcome {
            Outcome::Passed(last) => {
                *facts = ProbeFacts { successes: facts.successes.saturating_add(1), failures: 0, last, unknown: None, failing_since: None }
            }
            Outcome::Failed(last) => {
                let failing_since = facts.failing_since.or(Some(seen.at));
                *facts = ProbeFacts { successes: 0, failures: facts.failures.saturating_add(1), last, unknown: None, failing_since };
            }
            Outcome::Unknown(reason) => {
                facts.successes = 0;
                facts.unknown = Some(reason);
            }
        }
    }
}

/// Probes once a period: at even distances, and never two at a time; a tick that is missed because an answer took longer is left out.
async fn run(prober: Prober, key: Key, check: Check, target: Target, control: tokio::sync::watch::Receiver<Option<Target>>) {
    let mut ticks = interval_at(Instant::now(), check.period().0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let room = prober.slots.room().await;
        let outcome = match probe(&*prober.asker, &check, &target).await {
            Answer::Connected => Outcome::Passed("connected".to_owned()),
            Answer::Serving => Outcome::Passed("SERVING".to_owned()),
            Answer::NotServing(reason) => Outcome::Failed(reason),
            Answer::Status(status) => match &check {
                Check::Http(http) if !is_expected(&http.expect_status, status) => Outcome::Failed(format!("status {status}")),
                Check::Http(_) | Check::Tcp(_) | Check::Grpc(_) | Check::Connect => Outcome::Passed(status.to_string()),
            },
            Answer::None(reason) => {
                let control = control.borrow().clone();
                without_answer(&*prober.asker, &check, control, reason).await
            }
        };
        drop(room);
        let seen = Seen { key: key.clone(), outcome, at: prober.clock.now() };
        if prober.sender.send((Arc::clone(&prober.rollout), seen)).await.is_err() {
            return;
        }
    }
}

/// No answer at all: the same is asked of a pod of the live side. No answer there either means that the way is blocked, which says
/// nothing of the new version (design, corner rules).
async fn without_answer(asker: &dyn Ask, check: &Check, control: Option<Target>, reason: String) -> Outcome {
    let Some(control) = control else { return Outcome::Failed(reason) };
    match probe(asker, check, &control).await {
        Answer::Status(_) | Answer::Connected | Answer::Serving | Answer::NotServing(_) => Outcome::Failed(reason),
        Answer::None(_) => {
            Outcome::Unknown(format!("ProbePathBlocked: {reason}, and pod {} of the old version does not answer either", control.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::BoxFuture;

    use super::*;
    use crate::api::policy::{GrpcGate, HttpGate};

    /// Never answers, and counts who waits for it.
    #[derive(Default)]
    struct Tarpit(AtomicUsize);

    impl Ask for Tarpit {
        fn ask<'a>(&'a self, _: &'a HttpGate, _: &'a Target) -> BoxFuture<'a, Answer> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }

        fn grpc<'a>(&'a self, _: &'a GrpcGate, _: &'a Target) -> BoxFuture<'a, Answer> {
            Box::pin(std::future::pending())
        }

        fn connect<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Answer> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pods_that_never_answer_take_no_more_connections_than_their_namespace_has() {
        let (tarpit, slots) = (Arc::new(Tarpit::default()), Slots::default());
        let http: HttpGate = serde_json::from_value(serde_json::json!({"path": "/", "port": 80, "timeout": "1m"})).unwrap();
        let (sender, _receiver) = mpsc::channel(1);
        let mut all = Vec::new();
        for namespace in 0..20 {
            let prober = Prober {
                asker: Arc::clone(&tarpit) as Asker,
                slots: slots.of_namespace(),
                clock: Clock::starting_at(Timestamp::UNIX_EPOCH),
                sender: sender.clone(),
                rollout: Arc::from("hello"),
            };
            let pod = |uid: usize| Target { uid: uid.to_string(), name: uid.to_string(), ip: "10.0.0.1".to_owned(), port: 80 };
            let wanted: Vec<Probe> = (0..100)
                .map(|uid| Probe { gate: "gate".to_owned(), check: Check::Http(http.clone()), pod: pod(uid), control: None })
                .collect();
            let mut these = Probes::default();
            these.sync(&wanted, &prober);
            all.push(these);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(tarpit.0.load(Ordering::Relaxed), (OF_NAMESPACE * (namespace + 1)).min(OF_ALL), "{namespace}");
        }
    }
}
