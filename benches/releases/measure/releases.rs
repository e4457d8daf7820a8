//! Whole releases, and what clients see of them.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use serde_json::json;
use stepgate::{
    api::{
        rollout::RequestAction,
        status::{Outcome, Phase},
    },
    sim::load::Report,
};
use tokio::time;

use super::{
    assert_nothing_written_in_vain, audit::Window, back_to_rest, blue_green, count, end, first, is_hello, live_hash, new_version, selects,
    start,
};
use crate::{
    report::{
        Row,
        Sample::{self, Count, Time},
    },
    scenario::{Plan, Scenario},
    world::{Change, HELLO, Kind, text},
};

/// Requests a second on new connections while releases and rollbacks are counted.
const RATE: f64 = 200.0;

/// Clients with an address of their own: each comes once a second.
const ADDRESSES: u8 = 200;

/// Each of them has come twice.
const TWO_VISITS: Duration = Duration::from_secs(2);

/// Longer than a client waits for an answer: then every request is on record.
const ALL_ANSWERED: Duration = Duration::from_secs(6);

/// The same acts by hand on the same node: what no controller can be faster than.
pub async fn by_hand(plan: Plan, runs: usize) -> Vec<Row> {
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

/// Whose Deployments are flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// The user has one, the canary is made.
    Managed,
    /// The user has both.
    Declared,
}

/// All clients to the new version and back again, 50 flips or more.
pub async fn flip(plan: Plan, runs: usize, pair: Pair) -> Vec<Row> {
    let plan = blue_green(plan);
    let mut s = match pair {
        Pair::Managed => start(plan).await,
        Pair::Declared => plan.versions(&[("blue", "v1"), ("green", "v2")]).start().await,
    };
    s.forget_clients().await;
    s.start_clients(RATE).await;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for run in 1..=runs.max(25) {
        s.pause().await;
        match pair {
            Pair::Managed => new_version(&mut s, "v2", run).await,
            Pair::Declared => s.set_live("green").await,
        }
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
        match pair {
            Pair::Managed => {
                s.request(RequestAction::Abort).await;
                s.wait_for_phase(Phase::RolledBack).await;
            }
            Pair::Declared => {
                s.set_live("blue").await;
                s.wait_for_live("blue").await;
            }
        }
        time::sleep(Duration::from_secs(1)).await;
        back.push(last_answer(&mut s, "v2", at));
        if pair == Pair::Managed {
            back_to_rest(&mut s, "v1", "0").await;
        }
    }
    time::sleep(ALL_ANSWERED).await;
    let failed = s.clients().failed().len();
    end(s).await;
    let ([there_is, back_is, failed_are], bar, peers) = match pair {
        Pair::Managed => (
            [
                "blue-green: command -> last answer of the old version",
                "blue-green: back again -> last answer of the new version",
                "failed requests of all of these flips, at 200 a second",
            ],
            "p50 100 ms, p99 250 ms",
            ["52 ms (A)", "151 ms (A)", "0"],
        ),
        Pair::Declared => (
            [
                "versions of your own: command -> last answer of the old version",
                "versions of your own: back again -> last answer of the new version",
                "failed requests of all of these flips, at 200 a second",
            ],
            "500 ms",
            ["-", "-", "-"],
        ),
    };
    vec![
        Row { what: there_is, bar, peer: peers[0], samples: there },
        Row { what: back_is, bar, peer: peers[1], samples: back },
        Row { what: failed_are, bar: "0", peer: peers[2], samples: vec![count(failed)] },
    ]
}

/// Clients of 200 addresses, by session affinity: whole releases, and others that are aborted at 75 %.
pub async fn sticky(plan: Plan, runs: usize) -> Vec<Row> {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": if weight == 75 { "10m" } else { "1s" }}));
    let policy = json!({"steps": steps, "keepPrevious": "1s", "affinity": {"clientIP": {"timeout": "10m"}}});
    let mut s = start(plan.clients(ADDRESSES).policy(&policy)).await;
    let [mut moves, mut off, mut failed] = [const { Vec::new() }; 3];
    for round in 1..=runs.min(10) {
        let image = if round % 2 == 1 { "v2" } else { "v1" };
        all_anew(&mut s).await;
        new_version(&mut s, image, round).await;
        s.wait_for_weight(75).await;
        time::sleep(TWO_VISITS).await;
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy(image).await;
        time::sleep(TWO_VISITS).await;
        let ways = s.clients().versions_by_source();
        assert_eq!(ways.len(), usize::from(ADDRESSES), "addresses that had answers");
        moves.push(count(ways.values().map(|versions| versions.len() - 1).max().unwrap_or_default()));
        failed.push(count(s.clients().failed().len()));

        all_anew(&mut s).await;
        new_version(&mut s, "v3", round).await;
        s.wait_for_weight(75).await;
        time::sleep(TWO_VISITS).await;
        let at = Instant::now();
        s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        time::sleep(ALL_ANSWERED).await;
        off.push(last_answer(&mut s, "v3", at));
        failed.push(count(s.clients().failed().len()));
        back_to_rest(&mut s, image, &round.to_string()).await;
    }
    end(s).await;
    vec![
        Row { what: "of 200 addresses with session affinity: most moves of one in a release", bar: "1", peer: "-", samples: moves },
        Row { what: "session affinity: abort at 75 % -> last answer of the new version", bar: "1 s", peer: "-", samples: off },
        Row { what: "failed requests of each of these releases, at 200 a second", bar: "0", peer: "-", samples: failed },
    ]
}

/// Clients that nobody knows yet: the report of those before is over.
async fn all_anew(s: &mut Scenario) {
    s.forget_clients().await;
    s.start_clients(RATE).await;
    time::sleep(TWO_VISITS).await;
}

/// Time from a command to the last request on a new connection that this version answered.
fn last_answer(s: &mut Scenario, version: &str, command: Instant) -> Sample {
    let last = s.clients().last_answer(version, command).map(|request| request.sent_at.duration_since(command));
    Time(last.unwrap_or_default())
}

pub async fn release(plan: Plan, runs: usize) -> Vec<Row> {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "0s"}));
    let gates = json!([{"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": "250ms", "successThreshold": 1}}]);
    let mut s = plan.policy(&json!({"steps": steps, "settle": "0s", "keepPrevious": "0s", "gates": gates})).start().await;
    let [mut all, mut healthy, mut pod, mut adoption, mut writes, mut reads] = [const { Vec::new() }; 6];
    for run in 1..=runs {
        let (at, window) = (Instant::now(), Window::open());
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
        let asked = window.asked(&s).await;
        writes.extend(asked.as_ref().map(|asked| Count(asked.writes())));
        reads.extend(asked.map(|asked| Count(asked.reads() + asked.watches())));
    }
    let in_vain = assert_nothing_written_in_vain(&s);
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
        Row { what: "writes of such a release (Events and lease apart)", bar: "32", peer: "28 to 35 (A), 30 (F)", samples: writes },
        Row { what: "reads in it: get, list, watch, dry runs", bar: "", peer: "0 to 2 (A), 120 (F)", samples: reads },
        in_vain,
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

/// Releases and rollbacks in turn, and the requests that failed in each of them.
pub async fn many(plan: Plan, runs: usize) -> Vec<Row> {
    // More than 25 of each take longer than five minutes: who wants them asks for them.
    let rounds = if runs < 50 { runs.min(25) } else { runs };
    let mut s = start(plan.hold("200ms").policy(&json!({"keepPrevious": "0s"}))).await;
    s.forget_clients().await;
    s.start_clients(RATE).await;
    let (mut released, mut taken_back) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let image = if round % 2 == 1 { "v2" } else { "v1" };
        let begun = Instant::now();
        new_version(&mut s, image, round).await;
        s.wait_for_healthy(image).await;
        released.push(begun..Instant::now());

        let begun = Instant::now();
        new_version(&mut s, "v3", round).await;
        s.wait_for("weight 50", |status| status.step.as_ref().is_some_and(|step| step.weight == 50)).await;
        s.request(RequestAction::Abort).await;
        let status = s.wait_for_phase(Phase::RolledBack).await;
        assert_eq!(status.history.last().map(|entry| entry.outcome), Some(Outcome::RolledBack));
        back_to_rest(&mut s, image, &round.to_string()).await;
        taken_back.push(begun..Instant::now());
    }
    time::sleep(ALL_ANSWERED).await;
    let seen = s.clients();
    let failed = |times: &[Range<Instant>]| times.iter().map(|time| failed_in(seen, time)).collect();
    let samples = [failed(&released), failed(&taken_back)];
    let [sent, kept] = [seen.total(), seen.failed_kept().len()];
    let in_vain = assert_nothing_written_in_vain(&s);
    end(s).await;
    let [released, taken_back] = samples;
    vec![
        Row { what: "failed requests of a release in four steps, at 200 a second", bar: "0", peer: "0", samples: released },
        Row { what: "failed requests of a release that is aborted at 50 %, at 200 a second", bar: "0", peer: "0", samples: taken_back },
        Row { what: "all requests while these were made", bar: "", peer: "", samples: vec![count(sent)] },
        Row {
            what: "of them failed on a connection that had been used before, which HTTP clients send again",
            bar: "0",
            peer: "0",
            samples: vec![count(kept)],
        },
        in_vain,
    ]
}

/// Failed requests on new connections that were sent in this time.
fn failed_in(seen: &Report, time: &Range<Instant>) -> Sample {
    count(seen.failed().iter().filter(|request| time.contains(&request.sent_at)).count())
}
