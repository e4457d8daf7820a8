//! One namespace: its facts, its Rollouts, and the loop in which events become decisions.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    core::{ApiResource, DeserializeGuard, DynamicObject},
    runtime::watcher::{self, watcher},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    act::{self, Calls, Written},
    api::{Rollout, RolloutPolicy, rollout::PolicyKind, status::Phase},
    clock::{Clock, sleep_until},
    core::{
        decide::decide,
        facts::{
            Snapshot,
            deployment::{DeploymentFacts, ReplicaSetFacts},
            pod::PodFacts,
            service::ServiceFacts,
        },
        view::names,
    },
    events::Recorder,
    lease::leadership::Leadership,
    observe::{
        self, Policies, PolicySeen, RolloutSeen, SliceSeen,
        readable::{Unreadable, readable},
        store::Store,
        watch::{Change, WatchBackoff},
    },
    probe::{Prober, Seen, Slots, http::Asker},
    vitals::{
        Vitals,
        pulse::{Report, State},
    },
};

use super::actor::{Actor, Actors, Done};

/// How many messages may wait; more make their senders wait.
const QUEUE: usize = 1024;
/// How long the first lists may take before nobody else waits for them: a namespace that cannot be listed is not to keep the controller from
/// being ready.
const LISTING: Duration = Duration::from_secs(60);
/// Decisions that are made in one turn.
const TURN: u32 = 16;
/// Messages that are taken in before decisions are made: a burst is one change.
const BURST: usize = 256;

/// What the loop of a namespace needs from outside.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: Clock,
    pub instance: String,
    pub policies: watch::Receiver<Arc<Policies>>,
    pub leadership: watch::Receiver<Leadership>,
    pub asker: Asker,
    /// Of [`crate::act::guard_turns`].
    pub turns: Arc<Semaphore>,
    /// For the probes of all namespaces.
    pub slots: Slots,
    pub vitals: Vitals,
}

/// Something that happened.
enum Message {
    Rollout(Change<RolloutSeen>),
    Policy(Change<PolicySeen>),
    Deployment(Change<DeploymentFacts>),
    ReplicaSet(Change<ReplicaSetFacts>),
    Pod(Change<Pod>),
    Service(Change<ServiceFacts>),
    Slice(Change<SliceSeen>),
    Done(Arc<str>, Done),
}

/// The facts of a namespace.
#[derive(Default)]
struct Facts {
    rollouts: Store<RolloutSeen>,
    policies: Store<PolicySeen>,
    deployments: Store<DeploymentFacts>,
    replica_sets: Store<ReplicaSetFacts>,
    pods: Store<PodFacts>,
    services: Store<ServiceFacts>,
    slices: Store<SliceSeen>,
}

impl Facts {
    /// Whether every kind has been listed: nothing is decided on half a view.
    fn are_complete(&self) -> bool {
        self.missing().is_none()
    }

    /// A kind that has not been listed yet.
    fn missing(&self) -> Option<&'static str> {
        let Self { rollouts, policies, deployments, replica_sets, pods, services, slices } = self;
        let listed = [
            ("Rollouts", rollouts.is_listed()),
            ("RolloutPolicies", policies.is_listed()),
            ("Deployments", deployments.is_listed()),
            ("ReplicaSets", replica_sets.is_listed()),
            ("Pods", pods.is_listed()),
            ("Services", services.is_listed()),
            ("EndpointSlices", slices.is_listed()),
        ];
        listed.into_iter().find_map(|(kind, listed)| (!listed).then_some(kind))
    }
}

/// Runs a namespace until the receiver of its Rollouts' existence is told to stop (the task is aborted).
pub async fn run(namespace: String, context: Context) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (seen_sender, seen_receiver) = mpsc::channel(QUEUE);
    let mut watches = JoinSet::new();
    spawn_watches(&mut watches, &context.client, &namespace, &sender);
    let calls = Calls::new(context.client.clone(), namespace.clone(), Arc::clone(&context.turns), context.vitals.metrics.clone());
    tracing::info!(namespace, "watching");
    let (facts, actors) = (Facts::default(), Actors::new());
    let slots = context.slots.of_namespace();
    let mut this = Namespace {
        name: namespace,
        since: Instant::now(),
        context,
        calls,
        slots,
        facts,
        actors,
        sender,
        seen_sender,
        leads: false,
        dirty: BTreeSet::new(),
        tasks: JoinSet::new(),
    };
    this.work(receiver, seen_receiver).await;
}

fn spawn_watches(watches: &mut JoinSet<()>, client: &Client, namespace: &str, sender: &mpsc::Sender<Message>) {
    let dynamic = |kind: ApiResource| Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind);
    watches.spawn(pump(
        Api::<DeserializeGuard<Rollout>>::namespaced(client.clone(), namespace),
        |object| readable(object).map(|rollout| observe::rollout(&rollout)),
        Message::Rollout,
        sender.clone(),
    ));
    watches.spawn(pump(
        Api::<DeserializeGuard<RolloutPolicy>>::namespaced(client.clone(), namespace),
        |object| readable(object).map(|policy| observe::policy(&policy, &policy.spec.0)),
        Message::Policy,
        sender.clone(),
    ));
    watches.spawn(pump(dynamic(act::deployments()), |object| Ok(observe::deployment(&object)), Message::Deployment, sender.clone()));
    watches.spawn(pump(dynamic(act::replica_sets()), |object| Ok(observe::replica_set(&object)), Message::ReplicaSet, sender.clone()));
    watches.spawn(pump(Api::<Pod>::namespaced(client.clone(), namespace), Ok, Message::Pod, sender.clone()));
    watches.spawn(pump(
        Api::<Service>::namespaced(client.clone(), namespace),
        |object| Ok(observe::service(&object)),
        Message::Service,
        sender.clone(),
    ));
    watches.spawn(pump(
        Api::<EndpointSlice>::namespaced(client.clone(), namespace),
        |object| Ok(observe::slice(&object)),
        Message::Slice,
        sender.clone(),
    ));
}

/// Turns a watch into messages, for as long as anybody listens.
async fn pump<K, T>(api: Api<K>, reduce: fn(K) -> Result<T, Unreadable>, message: fn(Change<T>) -> Message, sender: mpsc::Sender<Message>)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    T: Send,
{
    use kube::runtime::WatchStreamExt;
    let mut events = watcher(api, watcher::Config::default()).backoff(WatchBackoff::default()).boxed();
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(watcher::Event::Apply(object)) => reduce(object).map_or_else(Change::Forget, Change::Apply),
            Ok(watcher::Event::Delete(object)) => reduce(object).map_or_else(Change::Forget, Change::Delete),
            Ok(watcher::Event::Init) => {
                list.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                list.extend(reduce(object));
                continue;
            }
            Ok(watcher::Event::InitDone) => Change::Replace(std::mem::take(&mut list)),
            Err(error) => {
                tracing::debug!(%error, "a watch was interrupted");
                continue;
            }
        };
        if sender.send(message(change)).await.is_err() {
            return;
        }
    }
}

struct Namespace {
    name: String,
    /// When it began to watch.
    since: Instant,
    context: Context,
    calls: Calls,
    slots: Slots,
    facts: Facts,
    actors: Actors,
    sender: mpsc::Sender<Message>,
    seen_sender: mpsc::Sender<(Arc<str>, Seen)>,
    /// Whether this controller led when it was last looked at.
    leads: bool,
    /// Rollouts to decide for.
    dirty: BTreeSet<Arc<str>>,
    tasks: JoinSet<()>,
}

impl Namespace {
    async fn work(&mut self, mut receiver: mpsc::Receiver<Message>, mut seen: mpsc::Receiver<(Arc<str>, Seen)>) {
        let mut policies = self.context.policies.clone();
        let mut leadership = self.context.leadership.clone();
        let mut pulse = self.context.vitals.pulse.listen();
        self.follow_leadership();
        loop {
            let wake_at = self.actors.values().filter_map(Actor::wake_at).min();
            tokio::select! {
                message = receiver.recv() => {
                    let Some(message) = message else { return };
                    self.take_in(message);
                    for _ in 0..BURST {
                        let Ok(message) = receiver.try_recv() else { break };
                        self.take_in(message);
                    }
                }
                Some((rollout, seen)) = seen.recv() => {
                    if let Some(actor) = self.actors.get_mut(&rollout) {
                        actor.probes.record(seen);
                        self.dirty.insert(rollout);
                    }
                }
                Ok(()) = policies.changed() => self.all_dirty(),
                Ok(()) = leadership.changed() => self.follow_leadership(),
                question = pulse.asked() => question.answer(self.report()),
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    let due: Vec<Arc<str>> = self.actors.iter().filter(|(_, actor)| actor.wake_at().is_some_and(|at| at <= now)).map(|(name, _)| Arc::clone(name)).collect();
                    self.dirty.extend(due);
                }
            }
            while self.tasks.try_join_next().is_some() {}
            if self.facts.are_complete() && self.context.leadership.borrow().may_write() {
                for (number, name) in (1_u32..).zip(std::mem::take(&mut self.dirty)) {
                    self.decide(&name);
                    // A namespace with many Rollouts takes turns with the others, and with the lease.
                    if number.is_multiple_of(TURN) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// A standby keeps its facts up to date, and does nothing else with them: it acts at once when it leads.
    fn follow_leadership(&mut self) {
        let leads = self.context.leadership.borrow().may_write();
        // Most changes are renewals, once a second.
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        if leads {
            self.all_dirty();
        } else {
            self.actors.values_mut().for_each(Actor::stand_by);
        }
    }

    fn report(&self) -> Report {
        let state = match self.facts.missing() {
            None => State::Ready,
            Some(_) if self.since.elapsed() > LISTING => State::Late,
            Some(kind) => State::NotYet(format!("{kind} have not been listed yet")),
        };
        let phases =
            self.facts.rollouts.iter().map(|rollout| rollout.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending));
        Report { who: format!("namespace {}", self.name), state, phases: phases.collect() }
    }

    fn all_dirty(&mut self) {
        self.dirty.extend(self.facts.rollouts.iter().map(|rollout| Arc::from(rollout.name.as_str())));
    }

    /// Takes in what happened, and marks the Rollouts that it may matter to.
    fn take_in(&mut self, message: Message) {
        match message {
            Message::Rollout(change) => self.take_in_rollout(change),
            Message::Policy(change) => {
                change.store(&mut self.facts.policies);
                self.all_dirty();
            }
            Message::Deployment(change) => {
                let names: Vec<String> = change.facts().iter().map(|fact| fact.name.clone()).collect();
                let owners: Vec<String> =
                    change.facts().iter().filter_map(|fact| fact.labels.get(crate::api::ROLLOUT_UID).cloned()).collect();
                change.store(&mut self.facts.deployments);
                // Also one that only has a name like a canary's: it may have stood in the way.
                let concerns = |deployment: &str| names.iter().any(|name| name.starts_with(names::stem(deployment)));
                self.mark(|rollout| rollout.facts.spec.workload.deployments().any(concerns) || owners.contains(&rollout.uid));
            }
            Message::ReplicaSet(change) => {
                change.store(&mut self.facts.replica_sets);
                self.all_dirty();
            }
            Message::Pod(change) => {
                let labels: Vec<_> = change.facts().iter().map(|pod| pod.metadata.labels.clone().unwrap_or_default()).collect();
                let change = change.map(|pod| self.pod_facts(&pod));
                change.store(&mut self.facts.pods);
                let deployments: Vec<String> = self
                    .facts
                    .deployments
                    .iter()
                    .filter(|deployment| labels.iter().any(|labels| deployment.selector.matches(labels)))
                    .map(|deployment| deployment.name.clone())
                    .collect();
                self.mark(|rollout| rollout.facts.spec.workload.deployments().any(|name| deployments.iter().any(|known| known == name)));
            }
            Message::Service(change) => {
                change.store(&mut self.facts.services);
                self.all_dirty();
            }
            Message::Slice(change) => {
                let services: Vec<String> = change.facts().iter().map(|fact| fact.service.clone()).collect();
                change.store(&mut self.facts.slices);
                self.mark(|rollout| rollout.facts.spec.services.iter().any(|service| services.contains(service)));
            }
            Message::Done(name, done) => self.finish(&name, done),
        }
    }

    fn take_in_rollout(&mut self, change: Change<RolloutSeen>) {
        change.store(&mut self.facts.rollouts);
        let names: BTreeSet<Arc<str>> = self.facts.rollouts.iter().map(|rollout| Arc::from(rollout.name.as_str())).collect();
        self.actors.retain(|name, _| names.contains(name));
        // Rollouts are rivals of each other: one that goes may set another free.
        self.all_dirty();
    }

    fn mark(&mut self, concerns: impl Fn(&RolloutSeen) -> bool) {
        let concerned = self.facts.rollouts.iter().filter(|rollout| concerns(rollout)).map(|rollout| Arc::from(rollout.name.as_str()));
        for name in concerned.collect::<Vec<Arc<str>>>() {
            if let Some(actor) = self.actors.get_mut(&name) {
                actor.stir();
            }
            self.dirty.insert(name);
        }
    }

    fn finish(&mut self, name: &Arc<str>, mut done: Done) {
        let now = self.context.clock.now();
        if let Some(actor) = self.actors.get_mut(name)
            && let Some(notice) = actor.finished(&done, now)
            && let Some(seen) = self.facts.rollouts.get(name)
        {
            actor.recorder.tell(&seen.facts, vec![notice], now);
        }
        for written in done.written.drain(..) {
            match written {
                Written::Rollout(seen) => self.facts.rollouts.written(*seen),
                Written::Deployment(facts) => self.facts.deployments.written(*facts),
                Written::ReplicaSet(facts) => self.facts.replica_sets.written(*facts),
                Written::Service(seen) => self.facts.services.written(*seen),
                Written::Pod(pod) => {
                    let facts = self.pod_facts(&pod);
                    self.facts.pods.written(facts);
                }
                Written::Pods(pods) => {
                    let facts = pods.iter().map(|pod| self.pod_facts(pod)).collect();
                    self.facts.pods.replace(facts);
                }
                Written::Guarded(_) | Written::Stamped { .. } => {}
            }
        }
        self.dirty.insert(Arc::clone(name));
    }

    fn pod_facts(&self, pod: &Pod) -> PodFacts {
        let known = pod.metadata.name.as_deref().and_then(|name| self.facts.pods.get(name));
        observe::pod(pod, known.map(Arc::as_ref), self.context.clock.now())
    }

    /// Decides for one Rollout and sets off what follows.
    fn decide(&mut self, name: &Arc<str>) {
        let Some(seen) = self.facts.rollouts.get(name).cloned() else { return };
        let context = &self.context;
        let actor = self.actors.entry(Arc::clone(name)).or_insert_with(|| {
            let recorder = Recorder::new(context.client.clone(), context.instance.clone(), context.vitals.metrics.clone());
            Actor::new(recorder)
        });
        actor.seen(&seen);
        let snapshot = snapshot(&self.facts, &context.policies.borrow(), &seen, actor);
        let now = context.clock.now();
        let decision = decide(&snapshot, now);
        context.vitals.metrics.decided();
        let prober = Prober {
            asker: Arc::clone(&context.asker),
            slots: self.slots.clone(),
            clock: context.clock,
            sender: self.seen_sender.clone(),
            rollout: Arc::clone(name),
        };
        actor.probes.sync(&decision.probes, &prober);
        if actor.postpones(&decision) {
            return;
        }
        let before = snapshot.status.phase;
        if before != decision.status.phase && decision.status.release.is_none() {
            actor.ask_guard_again();
        }
        // `idle: ScaleToZero`: the version that has no clients any more is about to lose its pods.
        let declared = seen.facts.spec.workload.deployment.is_none();
        if declared && before != decision.status.phase && decision.status.phase == Some(Phase::Promoting) {
            actor.forget_guard();
        }
        actor.recorder.tell(&snapshot.rollout, decision.notices.clone(), now);
        let wake_at = decision.wake_at.map(|at| context.clock.instant(at));
        let Some(batch) = actor.take(&seen, decision, wake_at) else { return };
        let (calls, sender, leadership, rollout) = (self.calls.clone(), self.sender.clone(), context.leadership.clone(), Arc::clone(name));
        let way_back = batch.way_back().cloned();
        let task = self.tasks.spawn(async move {
            let done = batch.carry_out(&calls, || leadership.borrow().may_write()).await;
            // Nobody listens any more when the namespace is left: then nothing is to be told.
            let _ = sender.send(Message::Done(rollout, done)).await;
        });
        actor.started(way_back, task);
    }
}

/// Everything one decision may read.
fn snapshot(facts: &Facts, policies: &Policies, seen: &RolloutSeen, actor: &Actor) -> Snapshot {
    let spec = &seen.facts.spec;
    let policy = match (&spec.policy, &spec.policy_ref) {
        (Some(policy), _) => Some(Arc::new(policy.clone())),
        (None, Some(reference)) => match reference.kind {
            PolicyKind::RolloutPolicy => facts.policies.get(&reference.name).map(|policy| Arc::clone(&policy.spec)),
            PolicyKind::ClusterRolloutPolicy => policies.get(&reference.name).cloned(),
        },
        (None, None) => None,
    };
    let rivals = facts.rollouts.iter().filter(|other| other.uid != seen.uid && !other.facts.deleting).map(|other| other.rival());
    Snapshot {
        rollout: seen.facts.clone(),
        status: actor.status(seen),
        on_record: seen.status.clone(),
        policy,
        deployments: facts.deployments.iter().cloned().collect(),
        replica_sets: facts.replica_sets.iter().cloned().collect(),
        pods: facts.pods.iter().cloned().collect(),
        services: facts
            .services
            .iter()
            .map(|service| Arc::new(observe::service_facts(service, facts.slices.iter().map(Arc::as_ref))))
            .collect(),
        rivals: rivals.collect(),
        probes: actor.probes.facts().clone(),
        guarded: actor.guarded(),
        stamped: actor.stamped(seen),
        pods_read_at: actor.pods_read_at(),
    }
    .resolved()
}
