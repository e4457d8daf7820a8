//! Gates, judged: what the watch and the probes have seen, turned into passing, failing, pending or no data.

use crate::api::{
    policy::{ApprovalGate, Gate, HttpGate, PolicySpec, When},
    status::{GateState, GateStatus, Phase, Release, RollbackReason},
};

use super::{
    approval,
    replicas::share,
    request,
    snapshot::PodFacts,
    view::{Side, View, count},
};

/// Name of the readiness gate where the policy does not list one.
pub const READINESS: &str = "readiness";

/// A probe to be run for as long as decisions ask for it: a gate on a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub gate: String,
    pub http: HttpGate,
    pub pod: Target,
    /// A pod of the live side, asked the same where `pod` does not answer at all.
    pub control: Option<Target>,
}

/// An address of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub uid: String,
    pub name: String,
    pub ip: String,
    pub port: u16,
}

/// A gate that failed, in the words of the rollback it causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub gate: String,
    pub reason: RollbackReason,
    pub message: String,
}

/// Whether a gate is checked in a phase. Readiness always is.
pub fn is_active(gate: &Gate, phase: Phase) -> bool {
    let at = |when| gate.when.contains(&when);
    match phase {
        Phase::Preparing => at(When::BeforeTraffic),
        Phase::Progressing => at(When::DuringSteps),
        Phase::Baking | Phase::Promoting => at(When::DuringSteps) || at(When::BeforePromotion),
        Phase::Pending | Phase::Healthy | Phase::RollingBack | Phase::RolledBack => false,
    }
}

/// The share of the canary pods that must be ready.
pub fn min_ready(policy: &PolicySpec) -> &str {
    policy.gates.iter().find_map(|gate| gate.readiness.as_ref()).map_or("100%", |gate| &gate.min_ready)
}

fn readiness_name(policy: &PolicySpec) -> &str {
    policy.gates.iter().find(|gate| gate.readiness.is_some()).map_or(READINESS, |gate| &gate.name)
}

/// The probes that a phase needs, on the ready pods of `side`.
pub fn probes(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Vec<Probe> {
    let live = view.live();
    let gates = release.policy.gates.iter().filter(|gate| is_active(gate, phase));
    gates
        .filter_map(|gate| Some((gate, gate.http.as_ref()?)))
        .flat_map(|(gate, http)| {
            let control = live.as_ref().and_then(|live| live.ready().find_map(|pod| target(pod, http)));
            let targets = side.ready().filter_map(move |pod| target(pod, http));
            targets.map(move |pod| Probe { gate: gate.name.clone(), http: http.clone(), pod, control: control.clone() })
        })
        .collect()
}

fn target(pod: &PodFacts, http: &HttpGate) -> Option<Target> {
    use crate::api::policy::Port;
    let port = match &http.port {
        Port::Number(number) => *number,
        Port::Name(name) => *pod.ports.get(name)?,
    };
    Some(Target { uid: pod.uid.clone(), name: pod.name.clone(), ip: pod.ip.clone()?, port })
}

/// The first gate of this phase that has failed.
///
/// Readiness can fail only after traffic has begun: before, pods that are not ready are awaited. A pod that was deleted or evicted
/// is not a failure, nor one whose node is lost; one that turned not-ready or restarted a container is, once fewer than `minReady` good ones
/// are left.
pub fn failure(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
    readiness_failure(release, phase, side).or_else(|| http_failure(view, release, phase, side))
}

fn readiness_failure(release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
    let since = release.traffic_since?;
    if !matches!(phase, Phase::Progressing | Phase::Baking | Phase::Promoting) {
        return None;
    }
    let restarted = |pod: &PodFacts| pod.last_restart.is_some_and(|at| at.as_second() >= since.as_second());
    let unready = |pod: &PodFacts| !pod.ready && pod.was_ready && !pod.node_lost;
    let bad: Vec<&PodFacts> = side.pods.iter().copied().filter(|pod| restarted(pod) || unready(pod)).collect();
    let good = count(side.ready().filter(|pod| !restarted(pod)));
    let needed = share(min_ready(&release.policy), side.replicas);
    let first = bad.first()?;
    (good < needed).then(|| {
        let what = if restarted(first) { "restarted a container" } else { "is no longer ready" };
        Failure {
            gate: readiness_name(&release.policy).to_owned(),
            reason: RollbackReason::ReadinessLost,
            message: format!("canary pod {} {what}; {good} of {} are good, {needed} needed", first.name, side.replicas),
        }
    })
}

fn http_failure(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
    let gates = release.policy.gates.iter().filter(|gate| is_active(gate, phase));
    gates.filter_map(|gate| Some((gate, gate.http.as_ref()?))).find_map(|(gate, http)| {
        side.pods.iter().find_map(|pod| {
            let seen = view.snapshot.probes.get(&(gate.name.clone(), pod.uid.clone()))?;
            (seen.failures >= http.failure_threshold).then(|| Failure {
                gate: gate.name.clone(),
                reason: RollbackReason::GateFailed,
                message: format!(
                    "gate {}: {} {} on pod {}: {}",
                    gate.name,
                    http.failure_threshold,
                    times("failure", http.failure_threshold),
                    pod.name,
                    seen.last
                ),
            })
        })
    })
}

fn times(noun: &str, count: u32) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s in a row") }
}

/// The gates, as status reports them. `since` of a gate whose state has not changed is kept.
pub fn statuses(view: &View<'_>, release: &Release, phase: Phase, side: Option<&Side<'_>>) -> Vec<GateStatus> {
    let policy = &release.policy;
    let before = &view.snapshot.status.gates;
    let listed = policy.gates.iter().any(|gate| gate.readiness.is_some());
    let implicit = (!listed).then(|| readiness_status(release, READINESS, side));
    let stated = policy.gates.iter().map(|gate| match (&gate.http, &gate.approval) {
        (Some(http), _) => http_status(view, gate, http, phase, side),
        (None, Some(approval)) => approval_status(release, gate, approval, phase),
        (None, None) => readiness_status(release, &gate.name, side),
    });
    implicit
        .into_iter()
        .chain(stated)
        .map(|judged| {
            let since = before.iter().find(|old| old.name == judged.name && old.state == judged.state).map_or(view.now, |old| old.since);
            GateStatus {
                name: judged.name,
                kind: judged.kind.to_owned(),
                state: judged.state,
                value: judged.value,
                threshold: judged.threshold,
                since,
                message: judged.message,
            }
        })
        .collect()
}

struct Judged {
    name: String,
    kind: &'static str,
    state: GateState,
    value: String,
    threshold: String,
    message: String,
}

fn readiness_status(release: &Release, name: &str, side: Option<&Side<'_>>) -> Judged {
    let (ready, replicas) = side.map_or((0, 0), |side| (side.ready_count(), side.replicas));
    let needed = share(min_ready(&release.policy), replicas);
    let failure = side.and_then(|side| readiness_failure(release, Phase::Progressing, side));
    let state = match &failure {
        Some(_) => GateState::Failing,
        None if replicas > 0 && ready >= needed => GateState::Passing,
        None => GateState::Pending,
    };
    Judged {
        name: name.to_owned(),
        kind: "readiness",
        state,
        value: format!("{ready} of {replicas} ready"),
        threshold: format!("{needed} ready"),
        message: failure.map(|failure| failure.message).unwrap_or_default(),
    }
}

fn http_status(view: &View<'_>, gate: &Gate, http: &HttpGate, phase: Phase, side: Option<&Side<'_>>) -> Judged {
    let pods: Vec<&PodFacts> = side.map(|side| side.ready().collect()).unwrap_or_default();
    let seen = |pod: &&PodFacts| view.snapshot.probes.get(&(gate.name.clone(), pod.uid.clone()));
    let passing = count(pods.iter().filter(|pod| seen(pod).is_some_and(|seen| seen.successes >= http.success_threshold)));
    let failing = pods.iter().filter_map(seen).max_by_key(|seen| seen.failures).filter(|seen| seen.failures > 0);
    let unknown = pods.iter().filter_map(seen).find_map(|seen| seen.unknown.clone());
    let all = count(pods.iter());
    let state = if failing.is_some_and(|seen| seen.failures >= http.failure_threshold) {
        GateState::Failing
    } else if all > 0 && passing == all {
        GateState::Passing
    } else if unknown.is_some() {
        GateState::NoData
    } else {
        GateState::Pending
    };
    let active = is_active(gate, phase);
    Judged {
        name: gate.name.clone(),
        kind: "http",
        state: if active { state } else { GateState::Pending },
        value: format!("{passing} of {all} pods pass"),
        threshold: format!("{} in a row on every pod", http.success_threshold),
        message: match (active, failing, unknown) {
            (false, ..) => "not checked in this phase".to_owned(),
            (true, Some(seen), _) => format!("{} failed in a row, last: {}", seen.failures, seen.last),
            (true, None, Some(reason)) => reason,
            (true, None, None) => String::new(),
        },
    }
}

fn approval_status(release: &Release, gate: &Gate, approval: &ApprovalGate, phase: Phase) -> Judged {
    let given = approval::of(release, &gate.name);
    Judged {
        name: gate.name.clone(),
        kind: "approval",
        state: if given.is_some() { GateState::Passing } else { GateState::Pending },
        value: given.map_or_else(|| "nobody yet".to_owned(), |given| format!("approved by {}", request::who(&given.by, given.verified))),
        threshold: "an approval".to_owned(),
        message: match (given, approval.weight) {
            (None, Some(weight)) => format!("asked for at {weight} %"),
            (None, None) if !is_active(gate, phase) => "not asked for in this phase".to_owned(),
            _ => String::new(),
        },
    }
}

/// Names of the gates for `when` that have not passed yet, on every ready pod of `side`. Readiness is not among them: it is
/// asked for where pods are awaited.
pub fn pending(view: &View<'_>, release: &Release, when: When, side: &Side<'_>) -> Vec<String> {
    let passed = |gate: &Gate, http: &HttpGate| {
        let mut ready = side.ready().peekable();
        ready.peek().is_some()
            && ready.all(|pod| {
                view.snapshot.probes.get(&(gate.name.clone(), pod.uid.clone())).is_some_and(|seen| seen.successes >= http.success_threshold)
            })
    };
    let gates = release.policy.gates.iter().filter(|gate| gate.when.contains(&when));
    gates.filter(|gate| gate.http.as_ref().is_some_and(|http| !passed(gate, http))).map(|gate| gate.name.clone()).collect()
}
