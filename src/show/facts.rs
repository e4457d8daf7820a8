//! Why a Rollout is where it is, fact by fact. Pure.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;

use crate::{
    api::{
        Rollout, RolloutStatus,
        status::{GateState, GateStatus, Phase},
    },
    core::{
        accept,
        facts::{Snapshot, labels::Labels, pin::Pin, service::ServiceFacts},
        preview,
        report::conditions,
        share::percent,
        traffic::pods,
        view::{View, declared::Pair, side::Side},
        why::words::who,
    },
    visible,
};

use super::{
    next::CONTROLLERS,
    standing::{since, unanswered},
    text::{counted, from_now, length, seen_from},
};

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub about: &'static str,
    pub sign: Sign,
    pub text: String,
}

/// Whether a fact is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Good,
    Bad,
    Neutral,
}

impl Sign {
    fn of(holds: bool) -> Self {
        if holds { Self::Good } else { Self::Bad }
    }
}

/// A fact.
pub fn fact(about: &'static str, sign: Sign, text: impl Into<String>) -> Fact {
    Fact { about, sign, text: visible::owned(text.into()) }
}

/// Everything that tells why the Rollout is where it is, causes first.
pub fn facts(rollout: &Rollout, snapshot: &Snapshot, now: Timestamp) -> Vec<Fact> {
    let status = &snapshot.status;
    let Some(view) = View::of(snapshot, now) else {
        let pair = Pair::of(&rollout.spec.workload);
        let refusal = pair.not_found(pair.live_name(snapshot));
        return vec![fact("accepted", Sign::Bad, refusal.to_string()), where_it_is(rollout, status, now)];
    };
    let mut facts = vec![accepted(&view)];
    facts.extend(guarded(status));
    facts.push(where_it_is(rollout, status, now));
    facts.extend(release(rollout, status, now));
    facts.push(deployment(&view));
    facts.extend(sides(&view));
    facts.extend(rollout.spec.services.iter().map(|name| service(&view, name)));
    facts.extend(preview(&view));
    facts.extend(rollout.spec.is_worker().then(|| at_work(&view)));
    facts.extend(status.gates.iter().map(|status| gate(status, now)));
    facts.extend(status.rejected.iter().map(|rejected| {
        fact("rejected", Sign::Bad, format!("revision {} {}: {}", rejected.revision, from_now(rejected.at, now), rejected.reason))
    }));
    facts.extend(requests(rollout, status));
    facts
}

fn accepted(view: &View<'_>) -> Fact {
    match accept::refusal(view, view.snapshot.policy.as_deref()) {
        Some(refusal) => fact("accepted", Sign::Bad, refusal.to_string()),
        None => fact("accepted", Sign::Good, conditions::accepted(view.snapshot)),
    }
}

fn guarded(status: &RolloutStatus) -> Option<Fact> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Guarded")?;
    let sign = if condition.status == "True" { Sign::Good } else { Sign::Neutral };
    Some(fact("guarded", sign, condition.message.clone()))
}

fn where_it_is(rollout: &Rollout, status: &RolloutStatus, now: Timestamp) -> Fact {
    let Some(phase) = status.phase else {
        return fact(
            "phase",
            Sign::Bad,
            format!("none: no controller has looked at this Rollout yet; see whether one runs: {CONTROLLERS}"),
        );
    };
    let for_ = since(status).map(|since| format!(" for {}", length(since, now))).unwrap_or_default();
    let behind =
        if status.observed_generation < rollout.metadata.generation { "; the controller has not seen the latest spec yet" } else { "" };
    let sign = match phase {
        Phase::Healthy => Sign::Good,
        Phase::RollingBack | Phase::RolledBack => Sign::Bad,
        _ => Sign::Neutral,
    };
    fact("phase", sign, format!("{phase:?}{for_}: {}{behind}", seen_from(&status.why, now)))
}

fn release(rollout: &Rollout, status: &RolloutStatus, now: Timestamp) -> Vec<Fact> {
    let Some(release) = &status.release else { return Vec::new() };
    let at = status.step.as_ref().map(|step| format!(", at step {} of {} ({} %)", step.index, step.of, step.weight)).unwrap_or_default();
    let began = format!(
        "of revision {} began {} with {}{at}; the policy is that of its start",
        release.revision,
        from_now(release.started_at, now),
        pods(release.size)
    );
    let mut facts = vec![fact("release", Sign::Neutral, began)];
    facts.extend(release.rollback.as_ref().map(|rollback| {
        let confirmed = match (rollback.confirmed_at, rollout.spec.is_worker()) {
            (Some(at), false) => format!("clients were back {}", from_now(at, now)),
            (None, false) => "clients are on their way back".to_owned(),
            (Some(at), true) => format!("its pods had been told to end {}", from_now(at, now)),
            (None, true) => "its pods are being ended".to_owned(),
        };
        fact("rollback", Sign::Bad, format!("{:?} {}: {}; {confirmed}", rollback.reason, from_now(rollback.at, now), rollback.message))
    }));
    facts
}

fn deployment(view: &View<'_>) -> Fact {
    let hello = view.hello;
    let paused = if hello.paused { ", paused" } else { "" };
    let observed = if hello.observed() { "" } else { "; the Deployment controller has not seen its latest spec yet" };
    fact(
        "deployment",
        Sign::Neutral,
        format!("{}: template is revision {}, {}{paused}{observed}", hello.name, hello.revision, pods(hello.replicas)),
    )
}

fn pods(number: i32) -> String {
    counted(usize::try_from(number).unwrap_or_default(), "pod")
}

fn sides(view: &View<'_>) -> Vec<Fact> {
    let live = view.live().map(|live| side("stable", &live));
    let canary = view.canary().map(|canary| side("canary", &canary));
    live.into_iter().chain(canary).collect()
}

fn side(about: &'static str, side: &Side<'_>) -> Fact {
    let (ready, wanted) = (side.ready_count(), side.replicas);
    let trouble: Vec<String> =
        side.pods.iter().filter_map(|pod| pod.trouble.as_ref().map(|trouble| format!("pod {}: {trouble}", pod.name))).collect();
    let trouble = if trouble.is_empty() { String::new() } else { format!("; {}", trouble.join("; ")) };
    let text =
        format!("revision {}, ReplicaSet {}: {ready} of {wanted} pods ready{trouble}", side.replica_set.revision, side.replica_set.name);
    fact(about, if ready >= wanted { Sign::Good } else { Sign::Bad }, text)
}

/// Without Services: how many pods of each side work.
fn at_work(view: &View<'_>) -> Fact {
    let (stable, canary) = pods::at_work(view);
    let all = stable + canary;
    let text = format!("no Services; of {} at work {canary} are the canary's ({} %)", pods(all), percent(canary, all));
    fact("work", Sign::of(all >= view.hello.replicas), text)
}

/// A Service: its selector, who added what to it, and whom it selects.
fn service(view: &View<'_>, name: &str) -> Fact {
    let Some(service) = view.services().into_iter().find(|service| service.name == name) else {
        return fact("service", Sign::Bad, format!("{name} does not exist"));
    };
    let pin = view.pin(service);
    let selected = view.selected(service, &pin);
    let of = |side: Option<Side<'_>>| {
        side.map_or(0, |side| selected.iter().filter(|pod| side.pods.iter().any(|own| own.uid == pod.uid)).count())
    };
    let (stable, canary) = (of(view.live()), of(view.canary()));
    let others = selected.len().saturating_sub(stable + canary);
    let others = if others == 0 { String::new() } else { format!(", {others} other") };
    let endpoints = if view.endpoints_follow(service) { "endpoints agree" } else { "endpoints do not show that yet" };
    let kept = view.snapshot.status.affinity.iter().find(|held| held.service == name && held.set() == service.affinity);
    let kept = kept.map(|held| format!("; clients keep their pods for {} s (sessionAffinity)", held.timeout_seconds)).unwrap_or_default();
    let text = format!(
        "{name} {} selects {}: {stable} stable, {canary} canary{others}; {endpoints}{kept}",
        said(&pin, service, view),
        counted(selected.len(), "ready pod"),
    );
    fact("service", Sign::of(!selected.is_empty()), text)
}

/// The preview: what it shows, and where.
fn preview(view: &View<'_>) -> Option<Fact> {
    let name = view.snapshot.rollout.spec.preview.as_ref()?;
    let Some(service) = view.service(name) else { return Some(fact("preview", Sign::Bad, format!("{name} does not exist"))) };
    let pin = view.pin(service);
    let (said, address) = (said(&pin, service, view), preview::address(name, &view.snapshot.rollout.namespace, service.first_port()));
    let shown = preview::shown(view).filter(|side| view.release().is_some() && side.pin() == pin);
    Some(match (shown, &view.snapshot.status.preview) {
        (Some(side), _) => {
            let ready = side.ready_count();
            let reached = format!("{name} {said}: {address} reaches revision {} and nothing else", side.replica_set.revision);
            fact("preview", Sign::of(ready > 0), format!("{reached}; {ready} of {} ready", pods(side.replicas)))
        }
        (None, Some(held)) if !held.message.is_empty() => fact("preview", Sign::Bad, format!("{name} {said}: {}", held.message)),
        (None, _) => {
            fact("preview", Sign::Neutral, format!("{name} {said}; the version under release is there for as long as there is one"))
        }
    })
}

fn said(pin: &Pin, service: &ServiceFacts, view: &View<'_>) -> String {
    let side = |value: &str| {
        let is = |side: Option<Side<'_>>| side.is_some_and(|side| side.value == value);
        if is(view.live()) {
            "the stable side"
        } else if is(view.canary()) {
            "the canary"
        } else {
            "a side that is gone"
        }
    };
    let by_us = match pin {
        Pin::Open => "as its owner wrote it".to_owned(),
        Pin::Side(value) => format!("pinned to {}", side(value)),
        Pin::Rotation => "pinned to the pods in rotation".to_owned(),
    };
    format!("({}; {by_us})", labels(&service.selector))
}

fn labels(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn gate(gate: &GateStatus, now: Timestamp) -> Fact {
    let GateStatus { name, kind: _, state: found, value, threshold, since, message } = gate;
    let sign = match found {
        GateState::Passing => Sign::Good,
        GateState::Failing => Sign::Bad,
        GateState::Pending | GateState::NoData => Sign::Neutral,
    };
    let word = state(*found);
    let message = if message.is_empty() { String::new() } else { format!("; {message}") };
    fact("gate", sign, format!("{name} is {word} for {}: {value}, needs {threshold}{message}", length(*since, now)))
}

fn requests(rollout: &Rollout, status: &RolloutStatus) -> Option<Fact> {
    if let Some(request) = unanswered(rollout) {
        return Some(fact("request", Sign::Bad, format!("{:?} of revision {} has no answer yet", request.action, request.revision)));
    }
    let record = status.requests.last()?;
    let by = if record.by.is_empty() { String::new() } else { format!(" by {}", who(&record.by, record.verified)) };
    Some(fact("request", Sign::Neutral, format!("{:?}{by}: {}", record.action, record.outcome)))
}

/// What Events told.
pub fn told(events: &[Event], now: Timestamp) -> Vec<Fact> {
    let told = |event: &Event| {
        let sign = if event.type_.as_deref() == Some("Warning") { Sign::Bad } else { Sign::Neutral };
        let when = event.event_time.as_ref().map(|time| from_now(time.0, now)).unwrap_or_default();
        fact("event", sign, format!("{when}: {}: {}", event.reason.clone().unwrap_or_default(), event.note.clone().unwrap_or_default()))
    };
    events.iter().map(told).collect()
}

/// The state of a gate in a word.
pub fn state(state: GateState) -> &'static str {
    match state {
        GateState::Passing => "passing",
        GateState::Failing => "failing",
        GateState::Pending => "pending",
        GateState::NoData => "no data",
    }
}
