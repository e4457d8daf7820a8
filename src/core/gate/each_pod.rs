//! Gates of which every ready pod of the new version is asked, each on its own: so many good answers in a row on every pod to go on, so many
//! bad ones on one pod to go back.

use std::time::Duration;

use crate::{
    api::{
        Span,
        policy::{Pace, Port},
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
        view::side::{Side, count},
        why::refusal::Refusal,
    },
};

/// The protocol of every port that is asked.
const TCP: &str = "TCP";

/// What tells such kinds apart.
pub trait EachPod {
    /// What status calls the kind, and the field of the policy.
    const NAME: &'static str;

    /// How often, where, and what counts.
    fn pace(&self) -> Pace<'_>;

    /// What is asked.
    fn check(&self) -> Check;
}

impl<K: EachPod> Kind for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    /// What the worst pod of the side has answered.
    fn judge(&self, ask: &Ask<'_>) -> Judgement {
        let pods: Vec<&PodFacts> = ask.side.map(|side| side.ready().collect()).unwrap_or_default();
        let Pace { failure_threshold, success_threshold, .. } = self.pace();
        let seen = |pod: &&PodFacts| seen(ask, pod);
        let passing = count(pods.iter().filter(|pod| seen(pod).is_some_and(|seen| seen.successes >= success_threshold)));
        let failing = pods.iter().filter_map(seen).max_by_key(|seen| seen.failures).filter(|seen| seen.failures > 0);
        let unknown = pods.iter().filter_map(seen).find_map(|seen| seen.unknown.clone());
        let all = count(pods.iter());
        let state = if failing.is_some_and(|seen| seen.failures >= failure_threshold) {
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
            threshold: format!("{success_threshold} in a row on every pod"),
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
        let most = self.pace().failure_threshold;
        let pods = ask.side.filter(|_| ask.is_active()).map_or(&[][..], |side| &side.pods);
        pods.iter().find_map(|pod| {
            let seen = seen(ask, pod).filter(|seen| seen.failures >= most)?;
            let message = format!("gate {gate}: {most} {} on pod {}: {}", times("failure", most), pod.name, seen.last);
            Some(Failure { gate: gate.clone(), reason: RollbackReason::GateFailed, message })
        })
    }

    fn probes(&self, ask: &Ask<'_>) -> Vec<Probe> {
        let live = ask.view.live();
        let control = live.as_ref().and_then(|live| live.ready().find_map(|pod| target(pod, self.pace().port)));
        let targets = ask.side.into_iter().flat_map(Side::ready).filter_map(|pod| target(pod, self.pace().port));
        targets.map(|pod| Probe { gate: ask.gate.name.clone(), check: self.check(), pod, control: control.clone() }).collect()
    }

    fn has_passed(&self, ask: &Ask<'_>) -> bool {
        let needed = self.pace().success_threshold;
        let passes = |pod: &PodFacts| seen(ask, pod).is_some_and(|seen| seen.successes >= needed);
        let mut ready = ask.side.into_iter().flat_map(Side::ready).peekable();
        ready.peek().is_some() && ready.all(passes)
    }

    fn problem(&self, gate: &str, subject: &DeploymentFacts) -> Option<Refusal> {
        let spec = &subject.template["spec"];
        let (gate, deployment) = (gate.to_owned(), subject.name.clone());
        if spec["hostNetwork"].as_bool() == Some(true) {
            return Some(Refusal::HostNetwork { gate, kind: K::NAME, deployment });
        }
        let Port::Name(port) = self.pace().port else { return None };
        let known: Vec<String> = containers(spec)
            .flat_map(|container| list(&container["ports"]))
            .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == TCP))
            .filter_map(|port| port["name"].as_str().map(str::to_owned))
            .collect();
        (!known.contains(port)).then(|| Refusal::UnknownPort { gate, kind: K::NAME, deployment, port: port.clone(), known })
    }

    /// The first probe comes at once, the others a period apart.
    fn least_time(&self, gate: &str) -> Option<(Span, String)> {
        let Pace { period, success_threshold, .. } = self.pace();
        let needs = Span(period.0.checked_mul(success_threshold.saturating_sub(1)).unwrap_or(Duration::MAX));
        Some((needs, format!("gate {gate} ({success_threshold} successes in a row, one every {period})")))
    }
}

/// What the gate's probes have seen of a pod.
fn seen<'a>(ask: &Ask<'a>, pod: &PodFacts) -> Option<&'a ProbeFacts> {
    ask.view.snapshot.probes.get(&(ask.gate.name.clone(), pod.uid.clone()))
}

fn target(pod: &PodFacts, port: &Port) -> Option<Target> {
    let port = match port {
        Port::Number(number) => *number,
        Port::Name(name) => named(&pod.ports, name, TCP)?,
    };
    Some(Target { uid: pod.uid.clone(), name: pod.name.clone(), ip: pod.ip.clone()?, port })
}

fn times(noun: &str, count: u32) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s in a row") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{policy::Gate, status::Phase},
        core::tests::model::{Crash, Model, policy},
    };

    const KINDS: [&str; 3] = ["http", "tcp", "grpc"];

    /// A gate of this kind: two successes in a row, three failures in a row.
    fn gate(kind: &str, port: &Value) -> Value {
        let mut fields = json!({"port": port, "period": "2s", "failureThreshold": 3, "successThreshold": 2});
        if kind == "http" {
            fields["path"] = "/".into();
        }
        json!({"name": "asked", kind: fields})
    }

    /// A release of v2 with that gate, where the canary has its pods and the gate has shown nothing yet.
    fn waiting(kind: &str) -> Model {
        let spec = json!({"steps": [{"weight": 100, "hold": "1s"}], "gates": [gate(kind, &json!("http"))], "settle": "0s", "progressDeadline": "60s"});
        let mut model = Model::new(2, policy(spec));
        model.run_to(Phase::Healthy);
        model.set_image("hello:v2");
        model.run(|model| model.status().why.contains("asked"));
        model
    }

    /// Every pod of the canary has shown this; gives what status says of the gate then.
    fn shown(model: &mut Model, successes: u32, failures: u32, unknown: Option<&str>) -> (GateState, String) {
        let uids: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
        assert!(!uids.is_empty());
        for uid in uids {
            let seen =
                ProbeFacts { successes, failures, last: "the last".to_owned(), unknown: unknown.map(str::to_owned), failing_since: None };
            model.probes.insert(("asked".to_owned(), uid), seen);
        }
        model.control(Crash::Never);
        let gate = model.status().gates.iter().find(|gate| gate.name == "asked").expect("its status").clone();
        (gate.state, gate.message)
    }

    #[test]
    fn each_kind_waits_for_its_successes_and_goes_back_on_its_failures() {
        for kind in KINDS {
            let mut model = waiting(kind);
            assert_eq!(model.status().gates.iter().find(|gate| gate.name == "asked").map(|gate| gate.kind.as_str()), Some(kind));
            assert_eq!(shown(&mut model, 1, 0, None).0, GateState::Pending, "{kind}");
            assert_eq!(shown(&mut model, 0, 0, Some("the way is blocked")), (GateState::NoData, "the way is blocked".to_owned()), "{kind}");
            assert_eq!(shown(&mut model, 0, 2, None), (GateState::Pending, "2 failed in a row, last: the last".to_owned()), "{kind}");
            assert_eq!(model.phase(), Phase::Preparing, "{kind}");
            shown(&mut model, 2, 0, None);
            model.run(|model| model.phase() != Phase::Preparing);
            assert_eq!(model.phase(), Phase::Progressing, "{kind}");

            let mut model = waiting(kind);
            shown(&mut model, 0, 3, None);
            model.run_to(Phase::RolledBack);
            let rejected = model.status().rejected.last().expect("a rejected revision").reason.clone();
            assert!(rejected.contains("gate asked: 3 failures in a row on pod") && rejected.ends_with(": the last"), "{kind}: {rejected}");
        }
    }

    #[test]
    fn each_kind_refuses_a_port_that_the_pods_do_not_have_and_pods_whose_address_is_the_nodes() {
        let model = Model::new(1, policy(json!({"steps": [{"weight": 100}]})));
        let with = |host_network: bool| {
            let ports = json!([{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]);
            let template = json!({"spec": {"hostNetwork": host_network, "containers": [{"name": "hello", "ports": ports}]}});
            DeploymentFacts { template: Arc::new(template), ..model.hello().clone() }
        };
        for kind in KINDS {
            let problem = |port: Value, host_network| {
                let gate: Gate = serde_json::from_value(gate(kind, &port)).unwrap();
                gate.kind().unwrap().problem("asked", &with(host_network)).map(|refusal| refusal.to_string())
            };
            assert_eq!(problem(json!("http"), false), None, "{kind}");
            assert_eq!(problem(json!(9999), false), None, "{kind}");
            for unknown in ["web", "dns"] {
                let said = problem(json!(unknown), false).expect("a refusal");
                assert!(
                    said.starts_with(&format!("gate asked ({kind}.port) names port \"{unknown}\"")) && said.ends_with("one of http"),
                    "{said}"
                );
            }
            let said = problem(json!("http"), true).expect("a refusal");
            assert!(said.contains(&format!("gate asked is of kind {kind}, but")), "{said}");
        }
    }

    #[test]
    fn each_kind_takes_as_long_as_its_successes_in_a_row() {
        for kind in KINDS {
            let gate: Gate = serde_json::from_value(gate(kind, &json!(80))).unwrap();
            let (needs, what) = gate.kind().unwrap().least_time("asked").expect("a time");
            assert_eq!((needs, what.as_str()), (Span::seconds(2), "gate asked (2 successes in a row, one every 2s)"), "{kind}");
        }
    }
}
