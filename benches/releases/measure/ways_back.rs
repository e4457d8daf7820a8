//! From the trouble, or from the order, to the old version.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepgate::{
    api::{POD_TEMPLATE_HASH, rollout::RequestAction, status::Phase},
    sim::load::{self, Outcome, Report},
};
use tokio::time;

use super::{
    assert_nothing_written_in_vain, audit::Window, back_to_rest, blue_green, count, end, first, held_at, is_hello, live_hash, new_version,
    selects, start,
};
use crate::{
    report::{
        Row,
        Sample::{Count, Time},
    },
    scenario::{Plan, Pods},
    world::{Kind, text},
};

/// How a new version fails once all clients are with it.
#[derive(Clone, Copy)]
pub enum Break {
    OneUnready,
    AllCrash,
    AllAnswer500,
}

/// Three bad answers in a row, this far apart.
fn checked_every(period: &str) -> Value {
    json!({"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": period, "timeout": period, "failureThreshold": 3, "successThreshold": 2}})
}

/// The moment within a check's period is left to chance.
async fn at_any_moment(run: usize) {
    time::sleep(Duration::from_millis(u64::try_from(run * 137 % 1000).expect("below 1000"))).await;
}

pub async fn readiness(plan: Plan, runs: usize, pods: Pods) -> Row {
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

pub async fn probes(plan: Plan, runs: usize, period: &'static str) -> Row {
    let mut s = start(held_at(plan, 50).policy(&json!({"gates": [checked_every(period)]}))).await;
    let mut samples = Vec::new();
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(50).await;
        let live = live_hash(&s);
        at_any_moment(run).await;
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

pub async fn abort(plan: Plan, runs: usize, weight: u8) -> Vec<Row> {
    let mut s = start(held_at(plan, weight)).await;
    let (mut times, mut writes) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(weight).await;
        let (at, live) = (Instant::now(), live_hash(&s));
        let window = Window::open();
        let id = s.request(RequestAction::Abort).await;
        s.wait_for_phase(Phase::RolledBack).await;
        let asked = first(&s, at, |change| {
            is_hello(change, Kind::Rollout) && change.object.as_deref().is_some_and(|rollout| text(rollout, "/spec/request/id") == id)
        });
        let taken = first(&s, at, |change| selects(change, &live)).expect("a write");
        times.push(Time(taken.duration_since(asked.expect("the request"))));
        time::sleep(Duration::from_secs(2)).await;
        writes.extend(window.asked(&s).await.map(|asked| Count(asked.writes())));
        back_to_rest(&mut s, "v1", "0").await;
    }
    assert_nothing_written_in_vain(&s);
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

/// What clients on new connections saw of a version from a moment on.
struct Harm {
    /// The last request that it answered, or that nobody did.
    lasted: Duration,
    unanswered: usize,
    bad: usize,
}

impl Harm {
    fn since(at: Instant, version: &str, seen: &Report) -> Self {
        let requests = || seen.requests.iter().filter(|request| request.kind == load::Kind::New && request.sent_at >= at);
        let touched = requests().filter(|request| request.outcome.is_unanswered() || request.version.as_deref() == Some(version));
        Self {
            lasted: touched.map(|request| request.sent_at.duration_since(at)).max().unwrap_or_default(),
            unanswered: requests().filter(|request| request.outcome.is_unanswered()).count(),
            bad: requests().filter(|request| matches!(request.outcome, Outcome::Status(400..))).count(),
        }
    }
}

/// All clients are with a new version of four pods when it breaks.
pub async fn breaks(plan: Plan, runs: usize, how: Break) -> Vec<Row> {
    let (pods, setting) = match how {
        Break::OneUnready => (Pods::OneCanary, "ready=false"),
        Break::AllCrash => (Pods::Canary, "crash=true"),
        Break::AllAnswer500 => (Pods::Canary, "fail=100&health=500"),
    };
    let gates = json!([{"name": "ready", "readiness": {"minReady": "100%"}}, checked_every("1s")]);
    let mut s = start(blue_green(plan).policy(&json!({"gates": gates}))).await;
    let [mut lasted, mut unanswered, mut bad] = [const { Vec::new() }; 3];
    for run in 1..=runs {
        new_version(&mut s, "v2", run).await;
        s.wait_for_weight(100).await;
        time::sleep(Duration::from_millis(500)).await;
        at_any_moment(run).await;
        let at = s.behave(pods, setting).await;
        s.wait_for_phase(Phase::RolledBack).await;
        time::sleep(Duration::from_secs(2)).await;
        let harm = Harm::since(at, "v2", s.clients());
        lasted.push(Time(harm.lasted));
        unanswered.push(count(harm.unanswered));
        bad.push(count(harm.bad));
        back_to_rest(&mut s, "v1", "0").await;
    }
    end(s).await;
    match how {
        Break::OneUnready => vec![
            Row {
                what: "after a flip one of four pods is told to be unready -> last answer of the new version",
                bar: "2.5 s",
                peer: "never (A)",
                samples: lasted,
            },
            Row { what: "requests without an answer, each time", bar: "0", peer: "12,246 to 12,575 (A)", samples: unanswered },
        ],
        Break::AllCrash => vec![
            Row {
                what: "after a flip all four pods are told to exit -> last request that was lost or that they answered",
                bar: "2.5 s",
                peer: "-",
                samples: lasted,
            },
            Row {
                what: "requests without an answer, each time: in flight, or sent before anybody had seen the pods end",
                bar: "as few as there can be",
                peer: "-",
                samples: unanswered,
            },
        ],
        Break::AllAnswer500 => vec![
            Row {
                what: "after a flip all four pods are told to answer 500, to checks too (3, a second apart) -> last of these answers",
                bar: "2.5 s",
                peer: "2.6 s with all pods ready (A)",
                samples: lasted,
            },
            Row { what: "answers of 500 that clients got, each time, at 100 a second", bar: "225", peer: "-", samples: bad },
            Row { what: "requests without an answer, each time", bar: "0", peer: "0", samples: unanswered },
        ],
    }
}
