//! The readiness gate: enough of the canary's pods are ready. Every release has one.

use crate::{
    api::{
        policy::{Gate, PolicySpec, ReadinessGate},
        status::{GateState, Phase, Release, RollbackReason},
    },
    core::{
        facts::pod::PodFacts,
        gate::kind::{Ask, Failure, Judgement, Kind},
        share::share,
        view::side::{Side, count},
    },
};

/// Name of the readiness gate where the policy does not list one.
pub const READINESS: &str = "readiness";

/// The share of the canary pods that must be ready where the policy says nothing.
const ALL: &str = "100%";

/// The share of the canary pods that must be ready.
pub fn min_ready(policy: &PolicySpec) -> &str {
    policy.gates.iter().find_map(|gate| gate.readiness.as_ref()).map_or(ALL, |gate| &gate.min_ready)
}

fn readiness_name(policy: &PolicySpec) -> &str {
    policy.gates.iter().find(|gate| gate.readiness.is_some()).map_or(READINESS, |gate| &gate.name)
}

/// That pods turned bad after traffic had begun, and fewer than `minReady` good ones are left.
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

/// The gate of a release whose policy lists none.
pub fn implicit() -> Gate {
    let readiness = ReadinessGate { min_ready: ALL.to_owned() };
    Gate { name: READINESS.to_owned(), readiness: Some(readiness), http: None, tcp: None, grpc: None, approval: None, when: Vec::new() }
}

impl Kind for ReadinessGate {
    fn name(&self) -> &'static str {
        "readiness"
    }

    fn judge(&self, ask: &Ask<'_>) -> Judgement {
        let (ready, replicas) = ask.side.map_or((0, 0), |side| (side.ready_count(), side.replicas));
        let needed = share(min_ready(&ask.release.policy), replicas);
        let failure = ask.side.and_then(|side| readiness_failure(ask.release, Phase::Progressing, side));
        let state = match &failure {
            Some(_) => GateState::Failing,
            None if replicas > 0 && ready >= needed => GateState::Passing,
            None => GateState::Pending,
        };
        Judgement {
            state,
            value: format!("{ready} of {replicas} ready"),
            threshold: format!("{needed} ready"),
            message: failure.map(|failure| failure.message).unwrap_or_default(),
        }
    }

    fn failure(&self, ask: &Ask<'_>) -> Option<Failure> {
        readiness_failure(ask.release, ask.phase, ask.side?)
    }
}
