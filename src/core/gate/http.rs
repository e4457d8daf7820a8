//! The HTTP gate: each pod is asked, and answers as the policy expects.

use crate::{
    api::{
        policy::{Gate, HttpGate},
        status::{GateState, Phase, Release, RollbackReason},
    },
    core::{
        decision::watch::{Check, Probe, Target},
        facts::{pod::PodFacts, port::named},
        gate::kind::{Failure, Judged, is_active},
        view::{
            View,
            side::{Side, count},
        },
    },
};

/// The probes that a phase needs, on the ready pods of `side`.
pub fn probes(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Vec<Probe> {
    let live = view.live();
    let gates = release.policy.gates.iter().filter(|gate| is_active(gate, phase));
    gates
        .filter_map(|gate| Some((gate, gate.http.as_ref()?)))
        .flat_map(|(gate, http)| {
            let control = live.as_ref().and_then(|live| live.ready().find_map(|pod| target(pod, http)));
            let targets = side.ready().filter_map(move |pod| target(pod, http));
            targets.map(move |pod| Probe { gate: gate.name.clone(), check: Check::Http(http.clone()), pod, control: control.clone() })
        })
        .collect()
}

fn target(pod: &PodFacts, http: &HttpGate) -> Option<Target> {
    use crate::api::policy::Port;
    let port = match &http.port {
        Port::Number(number) => *number,
        Port::Name(name) => named(&pod.ports, name, "TCP")?,
    };
    Some(Target { uid: pod.uid.clone(), name: pod.name.clone(), ip: pod.ip.clone()?, port })
}

/// The first HTTP gate of this phase that a pod has failed.
pub fn http_failure(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
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

/// The gate, as it is found to be now: what the worst pod of the side has answered.
pub fn http_status(view: &View<'_>, gate: &Gate, http: &HttpGate, phase: Phase, side: Option<&Side<'_>>) -> Judged {
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
