//! The HTTP gate: each pod is asked, and answers as the policy expects.

use std::time::Duration;

use crate::{
    api::{
        Span,
        policy::{HttpGate, Port},
        status::{GateState, RollbackReason},
    },
    core::{
        decision::watch::{Check, Probe, Target},
        facts::{
            deployment::{DeploymentFacts, containers, list},
            observed::ProbeFacts,
            pod::PodFacts,
            port::named,
        },
        gate::kind::{Ask, Failure, Judgement, Kind},
        view::side::count,
        why::refusal::Refusal,
    },
};

impl Kind for HttpGate {
    fn name(&self) -> &'static str {
        "http"
    }

    /// What the worst pod of the side has answered.
    fn judge(&self, ask: &Ask<'_>) -> Judgement {
        let pods: Vec<&PodFacts> = ask.side.map(|side| side.ready().collect()).unwrap_or_default();
        let seen = |pod: &&PodFacts| seen(ask, pod);
        let passing = count(pods.iter().filter(|pod| seen(pod).is_some_and(|seen| seen.successes >= self.success_threshold)));
        let failing = pods.iter().filter_map(seen).max_by_key(|seen| seen.failures).filter(|seen| seen.failures > 0);
        let unknown = pods.iter().filter_map(seen).find_map(|seen| seen.unknown.clone());
        let all = count(pods.iter());
        let state = if failing.is_some_and(|seen| seen.failures >= self.failure_threshold) {
            GateState::Failing
        } else if all > 0 && passing == all {
            GateState::Passing
        } else if unknown.is_some() {
            GateState::NoData
        } else {
            GateState::Pending
        };
        let active = ask.is_active();
        Judgement {
            state: if active { state } else { GateState::Pending },
            value: format!("{passing} of {all} pods pass"),
            threshold: format!("{} in a row on every pod", self.success_threshold),
            message: match (active, failing, unknown) {
                (false, ..) => "not checked in this phase".to_owned(),
                (true, Some(seen), _) => format!("{} failed in a row, last: {}", seen.failures, seen.last),
                (true, None, Some(reason)) => reason,
                (true, None, None) => String::new(),
            },
        }
    }

    fn failure(&self, ask: &Ask<'_>) -> Option<Failure> {
        let gate = &ask.gate.name;
        let HttpGate { failure_threshold: most, .. } = self;
        let pods = ask.side.filter(|_| ask.is_active()).map_or(&[][..], |side| &side.pods);
        pods.iter().find_map(|pod| {
            let seen = seen(ask, pod).filter(|seen| seen.failures >= *most)?;
            let message = format!("gate {gate}: {most} {} on pod {}: {}", times("failure", *most), pod.name, seen.last);
            Some(Failure { gate: gate.clone(), reason: RollbackReason::GateFailed, message })
        })
    }

    fn probes(&self, ask: &Ask<'_>) -> Vec<Probe> {
        let live = ask.view.live();
        let control = live.as_ref().and_then(|live| live.ready().find_map(|pod| target(pod, self)));
        let targets = ask.side.into_iter().flat_map(|side| side.ready()).filter_map(|pod| target(pod, self));
        targets.map(|pod| Probe { gate: ask.gate.name.clone(), check: Check::Http(self.clone()), pod, control: control.clone() }).collect()
    }

    fn has_passed(&self, ask: &Ask<'_>) -> bool {
        let passes = |pod: &PodFacts| seen(ask, pod).is_some_and(|seen| seen.successes >= self.success_threshold);
        let mut ready = ask.side.into_iter().flat_map(|side| side.ready()).peekable();
        ready.peek().is_some() && ready.all(passes)
    }

    fn problem(&self, gate: &str, subject: &DeploymentFacts) -> Option<Refusal> {
        let spec = &subject.template["spec"];
        let (gate, deployment) = (gate.to_owned(), subject.name.clone());
        if spec["hostNetwork"].as_bool() == Some(true) {
            return Some(Refusal::HostNetwork { gate, deployment });
        }
        let Port::Name(port) = &self.port else { return None };
        let known: Vec<String> = containers(spec)
            .flat_map(|container| list(&container["ports"]))
            .filter_map(|port| port["name"].as_str().map(str::to_owned))
            .collect();
        (!known.contains(port)).then(|| Refusal::UnknownPort { gate, deployment, port: port.clone(), known })
    }

    /// The first probe comes at once, the others a period apart.
    fn least_time(&self, gate: &str) -> Option<(Span, String)> {
        let HttpGate { period, success_threshold, .. } = self;
        let needs = Span(period.0.checked_mul(success_threshold.saturating_sub(1)).unwrap_or(Duration::MAX));
        Some((needs, format!("gate {gate} ({success_threshold} successes in a row, one every {period})")))
    }
}

/// What the gate's probes have seen of a pod.
fn seen<'a>(ask: &Ask<'a>, pod: &PodFacts) -> Option<&'a ProbeFacts> {
    ask.view.snapshot.probes.get(&(ask.gate.name.clone(), pod.uid.clone()))
}

fn target(pod: &PodFacts, http: &HttpGate) -> Option<Target> {
    let port = match &http.port {
        Port::Number(number) => *number,
        Port::Name(name) => named(&pod.ports, name, "TCP")?,
    };
    Some(Target { uid: pod.uid.clone(), name: pod.name.clone(), ip: pod.ip.clone()?, port })
}

fn times(noun: &str, count: u32) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s in a row") }
}
