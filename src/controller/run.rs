//! The controller: finds the namespaces that have Rollouts, and runs each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{
    act,
    api::{ClusterRolloutPolicy, Rollout},
    clock::Clock,
    lease::leadership::Leadership,
    observe::readable::readable,
    observe::{Policies, watch::WatchBackoff},
    probe::{
        Slots,
        http::{self, Asker},
    },
    vitals::{
        Vitals,
        pulse::{Report, State},
    },
};

use super::namespace::{self, Context};

/// What the controller works on, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this namespace; all of them where none is named.
    pub namespace: Option<String>,
    /// Name of this copy, in Events and in the lease.
    pub instance: String,
}

/// Runs until it is aborted. Without leadership it watches all the same, so that it can act at once when it leads.
///
/// # Errors
/// When the client for HTTP probes cannot be made.
pub async fn run(
    client: Client,
    options: Options,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    vitals: Vitals,
) -> anyhow::Result<()> {
    let asker = Arc::new(http::Network::new()?);
    run_asking(client, asker, options, clock, leadership, vitals).await;
    Ok(())
}

/// The same, with the requests of HTTP gates sent by `asker`.
pub async fn run_asking(
    client: Client,
    asker: Asker,
    options: Options,
    clock: Clock,
    leadership: watch::Receiver<Leadership>,
    vitals: Vitals,
) {
    let (policy_sender, policies) = watch::channel(Arc::new(Policies::new()));
    let mut pulse = vitals.process.listen();
    let context = Context {
        client: client.clone(),
        clock,
        instance: options.instance.clone(),
        policies,
        leadership,
        asker,
        turns: act::guard_turns(),
        slots: Slots::default(),
        vitals,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_policies(client.clone(), policy_sender));
    let api: Api<PartialObjectMeta<Rollout>> = match &options.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    // Metadata alone: where there are Rollouts is all that is asked here.
    let mut events = watcher(api, watcher::Config::default()).backoff(WatchBackoff::default()).boxed();
    let mut places = Places::default();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            question = pulse.asked() => {
                question.answer(places.report());
                continue;
            }
        };
        let Some(event) = event else { return };
        let changed = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                places.add(object.namespace().unwrap_or_default(), object.name_any())
            }
            Ok(watcher::Event::Delete(object)) => places.remove(&object.namespace().unwrap_or_default(), &object.name_any()),
            Ok(watcher::Event::Init) => {
                places.rollouts.clear();
                false
            }
            Ok(watcher::Event::InitDone) => {
                places.listed = true;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "Rollouts cannot be watched");
                false
            }
        };
        if changed {
            places.follow(&mut tasks, &context);
        }
    }
}

/// The namespaces that have Rollouts, and the tasks that run them.
#[derive(Default)]
struct Places {
    listed: bool,
    rollouts: BTreeMap<String, BTreeSet<String>>,
    running: BTreeMap<String, AbortHandle>,
}

impl Places {
    fn add(&mut self, namespace: String, name: String) -> bool {
        self.rollouts.entry(namespace).or_default().insert(name)
    }

    fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let Some(names) = self.rollouts.get_mut(namespace) else { return false };
        names.remove(name);
        if names.is_empty() {
            self.rollouts.remove(namespace);
        }
        true
    }

    fn report(&self) -> Report {
        // Nothing but a panic ends the task of a namespace that is still wanted.
        let broken = self
            .running
            .iter()
            .find_map(|(namespace, task)| task.is_finished().then(|| format!("the task of namespace {namespace} has ended")));
        let state = match broken {
            Some(broken) => State::Broken(broken),
            None if !self.listed => State::NotYet("Rollouts have not been listed yet".to_owned()),
            None => State::Ready,
        };
        Report { who: "controller".to_owned(), state, phases: Vec::new() }
    }

    fn follow(&mut self, tasks: &mut JoinSet<()>, context: &Context) {
        let rollouts = &self.rollouts;
        self.running.retain(|namespace, task| {
            let wanted = rollouts.contains_key(namespace) && !task.is_finished();
            if !wanted {
                task.abort();
            }
            wanted
        });
        for namespace in rollouts.keys() {
            self.running.entry(namespace.clone()).or_insert_with(|| tasks.spawn(namespace::run(namespace.clone(), context.clone())));
        }
    }
}

async fn watch_policies(client: Client, sender: watch::Sender<Arc<Policies>>) {
    let mut events = watcher(Api::<DeserializeGuard<ClusterRolloutPolicy>>::all(client), watcher::Config::default())
        .backoff(WatchBackoff::default())
        .boxed();
    let mut known = Policies::new();
    let mut list = Policies::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(policy)) => match readable(policy) {
                Ok(policy) => drop(known.insert(policy.name_any(), Arc::new(policy.spec.0))),
                Err(policy) => drop(known.remove(&policy.name)),
            },
            Ok(watcher::Event::Delete(policy)) => drop(known.remove(&policy.name_any())),
            Ok(watcher::Event::Init) => list.clear(),
            Ok(watcher::Event::InitApply(policy)) => {
                list.extend(readable(policy).map(|policy| (policy.name_any(), Arc::new(policy.spec.0))));
            }
            Ok(watcher::Event::InitDone) => known = std::mem::take(&mut list),
            Err(error) => tracing::debug!(%error, "ClusterRolloutPolicies cannot be watched"),
        }
        sender.send_replace(Arc::new(known.clone()));
    }
}
