//! What is measured, and how.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stepgate::api::{POD_TEMPLATE_HASH, ROTATION, rollout::RequestAction, status::Phase};
use tokio::time;

use crate::{
    report::{
        Row,
        Sample::{self, Count, Time},
    },
    scenario::{Plan, Pods, Scenario},
    world::{Change, HELLO, Kind, text},
};

/// A measurement; it makes one row or more.
pub struct Measurement {
    pub name: &'static str,
    what: What,
}

enum What {
    ByHand,
    Readiness(Pods),
    Probes { period: &'static str },
    Abort(u8),
    Flip,
    Release,
}

/// Everything that is measured.
pub const ALL: &[Measurement] = &[
    Measurement { name: "by-hand", what: What::ByHand },
    Measurement { name: "readiness-all", what: What::Readiness(Pods::Canary) },
    Measurement { name: "readiness-one", what: What::Readiness(Pods::OneCanary) },
    Measurement { name: "probes-1s", what: What::Probes { period: "1s" } },
    Measurement { name: "probes-250ms", what: What::Probes { period: "250ms" } },
    Measurement { name: "abort-25", what: What::Abort(25) },
    Measurement { name: "abort-75", what: What::Abort(75) },
    Measurement { name: "abort-100", what: What::Abort(100) },
    Measurement { name: "flip", what: What::Flip },
    Measurement { name: "release", what: What::Release },
];

impl Measurement {
    pub async fn run(&self, plan: Plan, runs: usize) -> Vec<Row> {
        let plan = plan.replicas(4).pods_change().lasting(Duration::from_secs(3600));
        match self.what {
            What::ByHand => by_hand(plan, runs).await,
            What::Readiness(pods) => vec![readiness(plan, runs, pods).await],
            What::Probes { period } => vec![probes(plan, runs, period).await],
            What::Abort(weight) => abort(plan, runs, weight).await,
            What::Flip => flip(plan, runs).await,
            What::Release => release(plan, runs).await,
        }
    }
}

/// A policy that stays at this weight until somebody acts.
fn held_at(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "0s" }}));
    plan.policy(&json!({"steps": steps, "settle": "0s", "keepPrevious": "0s"}))
}

/// When this was first seen to be so after a moment.
fn first(s: &Scenario, after: Instant, is_it: impl Fn(&Change) -> bool) -> Option<Instant> {
    s.timeline.borrow().in_order().iter().filter(|change| change.at >= after).find(|change| is_it(change)).map(|change| change.at)
}

fn is_hello(change: &Change, kind: Kind) -> bool {
    change.kind == kind && change.name == HELLO
}

fn selects(change: &Change, hash: &str) -> bool {
    is_hello(change, Kind::Service)
        && change.object.as_deref().is_some_and(|service| {
            let key = |key: &str| service.pointer("/spec/selector").and_then(|selector| selector.get(key)?.as_str());
            key(POD_TEMPLATE_HASH) == Some(hash) && key(ROTATION).is_none()
        })
}

fn live_hash(s: &Scenario) -> String {
    s.status().stable.expect("a live version").hash
}

/// A template that was never there before.
async fn new_version(s: &mut Scenario, image: &str, run: usize) {
    s.set_image_and_env(image, "RUN", &run.to_string()).await;
}

/// Back to the version that serves, and at rest.
async fn back_to_rest(s: &mut Scenario, image: &str, run: &str) {
    s.set_image_and_env(image, "RUN", run).await;
    s.wait_for_phase(Phase::Healthy).await;
}

async fn end(mut s: Scenario) {
    s.forget_clients().await;
    s.remove().await;
}

/// The first version has the variable too, so that going back to it is one write of the same form.
async fn start(mut plan: Plan) -> Scenario {
    plan.manifests.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "RUN", "value": "0"}]);
    plan.start().await
}

async fn readiness(plan: Plan, runs: usize, pods: Pods) -> Row {
    let mut s = start(held_at(plan, 50)).await;
    let mut samples = Vec::new();
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(50).await;
        let (canary, live) = (s.status().canary.expect("a canary").hash, live_hash(&s));
        let at = s.behave(pods, "ready=false").await;
        s.wait_for_phase(Phase::RolledBack).await;
        let unready = first(&s, at, |change| {
            change.kind == Kind::Pod
                && change.object.as_deref().is_some_and(|pod| {
                    pod.pointer("/metadata/labels").and_then(|labels| labels.get(POD_TEMPLATE_HASH)?.as_str()) == Some(&canary)
                        && !crate::world::is_ready(pod)
                })
        });
        let taken = first(&s, at, |change| selects(change, &live));
        samples.push(Time(taken.expect("a write").duration_since(unready.expect("an unready pod"))));
        back_to_rest(&mut s, "v1", "0").await;
    }
    end(s).await;
    let (what, peer) = if pods == Pods::OneCanary {
        ("one of four canary pods `Ready=False` -> Service on the old version", "never (both)")
    } else {
        ("all canary pods `Ready=False` (first event) -> Service on the old version", "23 ms after the last event (A), 19 s (F)")
    };
    Row { what, bar: "p50 50 ms, p99 150 ms", peer, samples }
}

async fn probes(plan: Plan, runs: usize, period: &'static str) -> Row {
    let gates = json!([{"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": period, "timeout": period, "failureThreshold": 3, "successThreshold": 2}}]);
    let mut s = start(held_at(plan, 50).policy(&json!({"gates": gates}))).await;
    let mut samples = Vec::new();
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(50).await;
        let live = live_hash(&s);
        // The moment of the check within its period is left to chance.
        time::sleep(Duration::from_millis(u64::try_from(run * 137 % 1000).expect("below 1000"))).await;
        let at = s.behave(Pods::OneCanary, "health=500").await;
        let pods = s.addresses(Pods::OneCanary);
        let bad_since = first_bad_answer(&pods[0]).await;
        s.wait_for_phase(Phase::RolledBack).await;
        let taken = first(&s, at, |change| selects(change, &live)).expect("a write");
        samples.push(Time(taken.saturating_duration_since(bad_since)));
        back_to_rest(&mut s, "v1", "0").await;
    }
    end(s).await;
    match period {
        "1s" => Row {
            what: "3 answers of 500, a second apart: first bad answer -> Service on the old version",
            bar: "2.25 s",
            peer: "2.04 s tuned, 40 s by default (A); 10 s to 600 s (F)",
            samples,
        },
        _ => Row { what: "the same, 250 ms apart", bar: "0.75 s", peer: "0.18 s, because it does not keep to 250 ms (A)", samples },
    }
}

/// When the pod first answered a health check badly, by its own word; pods and measurement share a clock.
async fn first_bad_answer(address: &str) -> Instant {
    loop {
        let answer = reqwest::get(format!("http://{address}:8081/state")).await.expect("the pod's control port");
        let state: Value = serde_json::from_slice(&answer.bytes().await.expect("its answer")).expect("its state");
        let since = state["bad_since"].as_i64().expect("a time");
        if since > 0 {
            let ago = jiff::Timestamp::now().as_millisecond() - since;
            return Instant::now().checked_sub(Duration::from_millis(u64::try_from(ago).unwrap_or(0))).expect("a time since the start");
        }
        time::sleep(Duration::from_millis(20)).await;
    }
}

async fn abort(plan: Plan, runs: usize, weight: u8) -> Vec<Row> {
    let mut s = start(held_at(plan, weight)).await;
    let (mut times, mut writes) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(weight).await;
        let (at, live) = (Instant::now(), live_hash(&s));
        let id = s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        let asked = first(&s, at, |change| {
            is_hello(change, Kind::Rollout) && change.object.as_deref().is_some_and(|rollout| text(rollout, "/spec/request/id") == id)
        });
        let taken = first(&s, at, |change| selects(change, &live)).expect("a write");
        times.push(Time(taken.duration_since(asked.expect("the request"))));
        time::sleep(Duration::from_secs(2)).await;
        writes.push(Count(own_writes(&s, at)));
        back_to_rest(&mut s, "v1", "0").await;
    }
    end(s).await;
    let (what, counted) = match weight {
        25 => ("Abort at 25 % -> Service on the old version", "writes of that abort (Events apart)"),
        75 => ("Abort at 75 % -> Service on the old version", "writes of that abort"),
        _ => ("Abort at 100 % -> Service on the old version", "writes of that abort"),
    };
    vec![
        Row { what, bar: "p50 50 ms, p99 150 ms", peer: "24 ms (A), 6 s (F)", samples: times },
        Row { what: counted, bar: "8", peer: "1,253 in a minute (A)", samples: writes },
    ]
}

/// Versions of objects that the controller wrote after a moment, by the field managers' word; deletions are not seen in it.
fn own_writes(s: &Scenario, after: Instant) -> u32 {
    let mut times: BTreeMap<(Kind, String), String> = BTreeMap::new();
    let mut count = 0;
    for change in s.timeline.borrow().in_order() {
        let Some(object) = change.object.as_deref() else { continue };
        let managed = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        let own: Vec<&Value> = managed.filter(|entry| text(entry, "/manager").starts_with("stepgate")).collect();
        let seen = format!("{own:?} {}", text(object, "/metadata/generation"));
        let key = (change.kind, change.name.clone());
        let changed = times.insert(key, seen.clone()).is_none_or(|before| before != seen);
        if changed && !own.is_empty() && change.at >= after {
            count += 1;
        }
    }
    count
}

async fn flip(plan: Plan, runs: usize) -> Vec<Row> {
    let policy = json!({"steps": [{"weight": 100, "hold": "10m"}], "settle": "0s", "keepPrevious": "10m"});
    let mut s = start(plan.policy(&policy)).await;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        s.pause().await;
        new_version(&mut s, "v2", run).await;
        s.wait_for("a canary that waits to be let in", |status| {
            status.phase == Some(Phase::Preparing)
                && status.why.contains("paused")
                && status.gates.iter().all(|gate| gate.message.is_empty())
        })
        .await;
        time::sleep(Duration::from_millis(500)).await;
        let at = Instant::now();
        s.resume().await;
        s.wait_for_weight(100).await;
        time::sleep(Duration::from_secs(1)).await;
        there.push(last_answer(&mut s, "v1", at));
        let at = Instant::now();
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        time::sleep(Duration::from_secs(1)).await;
        back.push(last_answer(&mut s, "v2", at));
        back_to_rest(&mut s, "v1", "0").await;
    }
    let failed = s.clients().failed().len();
    end(s).await;
    vec![
        Row {
            what: "blue-green: command -> last answer of the old version",
            bar: "p50 100 ms, p99 250 ms",
            peer: "52 ms (A)",
            samples: there,
        },
        Row {
            what: "blue-green: back again -> last answer of the new version",
            bar: "p50 100 ms, p99 250 ms",
            peer: "151 ms (A)",
            samples: back,
        },
        Row {
            what: "failed requests of all of these flips, at 100 a second",
            bar: "0",
            peer: "0",
            samples: vec![Count(u32::try_from(failed).expect("a small number"))],
        },
    ]
}

/// Time from a command to the last request on a new connection that this version answered.
fn last_answer(s: &mut Scenario, version: &str, command: Instant) -> Sample {
    let last = s.clients().last_answer(version, command).map(|request| request.sent_at.duration_since(command));
    Time(last.unwrap_or_default())
}

async fn release(plan: Plan, runs: usize) -> Vec<Row> {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "0s"}));
    let gates = json!([{"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": "250ms", "successThreshold": 1}}]);
    let mut s = plan.policy(&json!({"steps": steps, "settle": "0s", "keepPrevious": "0s", "gates": gates})).start().await;
    let [mut all, mut healthy, mut pod, mut adoption, mut writes] = [const { Vec::new() }; 5];
    for run in 1..=runs {
        let at = Instant::now();
        new_version(&mut s, if run % 2 == 1 { "v2" } else { "v1" }, run).await;
        s.wait_for_phase(Phase::Preparing).await;
        s.wait_for_phase(Phase::Healthy).await;
        time::sleep(Duration::from_secs(4)).await;
        let hash = live_hash(&s);
        let begun = first(&s, at, |change| is_hello(change, Kind::Deployment)).expect("a new template");
        let flipped = first(&s, at, |change| selects(change, &hash)).expect("a pin to the new version");
        let over = first(&s, at, |change| {
            is_hello(change, Kind::Rollout)
                && change
                    .object
                    .as_deref()
                    .is_some_and(|rollout| text(rollout, "/status/phase") == "Healthy" && text(rollout, "/status/stable/hash") == hash)
        })
        .expect("Healthy");
        all.push(Time(flipped.duration_since(begun)));
        healthy.push(Time(over.duration_since(begun)));
        pod.extend(pod_starts(&s, at));
        adoption.extend(adopted_in(&s, at, &hash));
        writes.push(Count(own_writes(&s, at)));
    }
    end(s).await;
    vec![
        Row {
            what: "25/50/75/100 of 4 pods, no holds, `settle: 0s`: new template -> 100 %",
            bar: "2 pod starts + 1.5 s",
            peer: "4.1 s (A), 46 s (F)",
            samples: all,
        },
        Row { what: "the same: new template -> `Healthy`", bar: "1.5 s more", peer: "4.1 s (A), 76 s (F)", samples: healthy },
        Row { what: "a pod start in these releases: made -> ready", bar: "", peer: "0.5 s to 1.7 s", samples: pod },
        Row { what: "adoption: the one write -> the old ReplicaSet asks for 0 pods", bar: "1 s", peer: "-", samples: adoption },
        Row { what: "writes of such a release (Events and deletions apart)", bar: "32", peer: "28 to 35 (A), 30 (F)", samples: writes },
    ]
}

/// From the first sight of each pod made after a moment to its readiness.
fn pod_starts(s: &Scenario, after: Instant) -> Vec<Sample> {
    let mut made: BTreeMap<String, Instant> = BTreeMap::new();
    let mut starts = Vec::new();
    for change in s.timeline.borrow().in_order().into_iter().filter(|change| change.kind == Kind::Pod && change.at >= after) {
        let Some(pod) = change.object.as_deref() else { continue };
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            continue;
        }
        if crate::world::is_ready(pod) {
            starts.extend(made.remove(&change.name).map(|at| Time(change.at.duration_since(at))));
        } else if pod.pointer("/spec/nodeName").is_none() {
            made.insert(change.name, change.at);
        }
    }
    starts
}

/// From the write that gave the new ReplicaSet to the Deployment to the moment at which no older one asks for pods.
fn adopted_in(s: &Scenario, after: Instant, hash: &str) -> Option<Sample> {
    let of = |change: &Change, pointer: &str| change.object.as_deref().map(|set| text(set, pointer).to_owned());
    let is_new = |change: &Change| of(change, "/metadata/labels/pod-template-hash").as_deref() == Some(hash);
    let adopted = first(s, after, |change| {
        change.kind == Kind::ReplicaSet && is_new(change) && of(change, "/metadata/ownerReferences/0/name").as_deref() == Some(HELLO)
    })?;
    let emptied = first(s, adopted, |change| {
        change.kind == Kind::ReplicaSet
            && !is_new(change)
            && change.object.as_deref().is_some_and(|set| set.pointer("/spec/replicas") == Some(&json!(0)))
    })?;
    Some(Time(emptied.duration_since(adopted)))
}

/// The same acts by hand on the same node: what no controller can be faster than.
async fn by_hand(plan: Plan, runs: usize) -> Vec<Row> {
    let s = plan.start_without_controller().await;
    let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::namespaced(s.client.clone(), &s.namespace);
    let mut writes = Vec::new();
    for run in 0..runs {
        let note = json!({"metadata": {"annotations": {"run": run.to_string()}}});
        let at = Instant::now();
        services.patch(HELLO, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&note)).await.expect("a patch");
        writes.push(Time(at.elapsed()));
    }
    s.remove().await;
    vec![Row { what: "limit: one PATCH by hand, sent -> answered", bar: "", peer: "", samples: writes }]
}
