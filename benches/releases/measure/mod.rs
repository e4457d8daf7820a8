//! What is measured, and how.

pub mod audit;
mod releases;
mod rest;
mod ways_back;

use std::time::{Duration, Instant};

use serde_json::json;
use stepgate::api::{POD_TEMPLATE_HASH, ROTATION, status::Phase};

use crate::{
    report::{Group, Row, Sample},
    scenario::{Plan, Pods, Scenario},
    world::{Change, HELLO, Kind, violations},
};

use releases::Pair;
use ways_back::Break;

/// A measurement; it makes one row or more.
pub struct Measurement {
    pub name: &'static str,
    pub group: Group,
    what: What,
}

enum What {
    ByHand,
    Readiness(Pods),
    Probes { period: &'static str },
    Abort(u8),
    Break(Break),
    Flip(Pair),
    Release,
    Many,
    Sticky,
    AtRest,
    Memory { rollouts: usize },
}

const fn of(group: Group, name: &'static str, what: What) -> Measurement {
    Measurement { name, group, what }
}

/// Everything that is measured, in the order of the page.
pub const ALL: &[Measurement] = &[
    of(Group::Limit, "by-hand", What::ByHand),
    of(Group::WaysBack, "readiness-all", What::Readiness(Pods::Canary)),
    of(Group::WaysBack, "readiness-one", What::Readiness(Pods::OneCanary)),
    of(Group::WaysBack, "probes-1s", What::Probes { period: "1s" }),
    of(Group::WaysBack, "probes-250ms", What::Probes { period: "250ms" }),
    of(Group::WaysBack, "abort-25", What::Abort(25)),
    of(Group::WaysBack, "abort-75", What::Abort(75)),
    of(Group::WaysBack, "abort-100", What::Abort(100)),
    of(Group::WaysBack, "break-unready", What::Break(Break::OneUnready)),
    of(Group::WaysBack, "break-crash", What::Break(Break::AllCrash)),
    of(Group::WaysBack, "break-500", What::Break(Break::AllAnswer500)),
    of(Group::Releases, "flip", What::Flip(Pair::Managed)),
    of(Group::Releases, "flip-pair", What::Flip(Pair::Declared)),
    of(Group::Releases, "release", What::Release),
    of(Group::Releases, "many", What::Many),
    of(Group::Releases, "sticky", What::Sticky),
    of(Group::AtRest, "rest", What::AtRest),
    of(Group::AtRest, "memory-50", What::Memory { rollouts: 50 }),
    of(Group::AtRest, "memory-1000", What::Memory { rollouts: 1000 }),
];

impl Measurement {
    pub async fn run(&self, plan: Plan, runs: usize) -> Vec<Row> {
        let plan = plan.replicas(4).pods_change().lasting(Duration::from_secs(3600));
        match self.what {
            What::ByHand => releases::by_hand(plan, runs).await,
            What::Readiness(pods) => vec![ways_back::readiness(plan, runs, pods).await],
            What::Probes { period } => vec![ways_back::probes(plan, runs, period).await],
            What::Abort(weight) => ways_back::abort(plan, runs, weight).await,
            What::Break(how) => ways_back::breaks(plan, runs, how).await,
            What::Flip(pair) => releases::flip(plan, runs, pair).await,
            What::Release => releases::release(plan, runs).await,
            What::Many => releases::many(plan, runs).await,
            What::Sticky => releases::sticky(plan, runs).await,
            What::AtRest => rest::requests(plan).await,
            What::Memory { rollouts } => rest::memory(plan, rollouts).await,
        }
    }
}

/// A policy that stays at this weight until somebody acts.
fn held_at(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "0s" }}));
    plan.policy(&json!({"steps": steps, "settle": "0s", "keepPrevious": "0s"}))
}

/// All clients at once; the old version stays beside until somebody acts.
fn blue_green(plan: Plan) -> Plan {
    plan.policy(&json!({"steps": [{"weight": 100, "hold": "10m"}], "settle": "0s", "keepPrevious": "10m"}))
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

/// The first version has the variable too, so that going back to it is one write of the same form.
async fn start(mut plan: Plan) -> Scenario {
    plan.manifests.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "RUN", "value": "0"}]);
    plan.start().await
}

/// Lets the controller give back what it holds: without it the Rollout's finalizer would keep the namespace.
async fn end(mut s: Scenario) {
    s.forget_clients().await;
    s.delete_rollout().await;
    s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
    s.remove().await;
}

fn count(number: usize) -> Sample {
    Sample::Count(u32::try_from(number).expect("a small number"))
}

/// Asserts that none of the writes so far was needless, in the eyes of the end-to-end tests' witness.
///
/// What else it saw is said aloud; the tests are where that fails.
fn assert_nothing_written_in_vain(s: &Scenario) -> Row {
    let is_in_vain = |sentence: &String| sentence.contains("again and again") || sentence.contains("a write that changes nothing");
    let (in_vain, others): (Vec<String>, Vec<String>) = violations(&s.timeline.borrow(), &s.allowance).into_iter().partition(is_in_vain);
    for sentence in others {
        eprintln!("the witness saw: {sentence}");
    }
    assert!(in_vain.is_empty(), "written in vain:\n{}", in_vain.join("\n"));
    Row {
        what: "objects written again and again, or without a change, in all of these",
        bar: "0",
        peer: "1,215 writes of one selector in 30 s after an abort (A)",
        samples: vec![count(in_vain.len())],
    }
}
