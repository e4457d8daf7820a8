//! The readiness gate: enough of the canary's pods are ready. Every release has one.

use crate::{
    api::{
        policy::PolicySpec,
        status::{GateState, Phase, Release, RollbackReason},
    },
    core::{
        facts::pod::PodFacts,
        gate::kind::{Failure, Judged},
        share::share,
        view::side::{Side, count},
    },
};

/// Name of the readiness gate where the policy does not list one.
pub const READINESS: &str = "readiness";

/// The share of the canary pods that must be ready.
pub fn min_ready(policy: &PolicySpec) -> &str {
    policy.gates.iter().find_map(|gate| gate.readiness.as_ref()).map_or("100%", |gate| &gate.min_ready)
}

fn readiness_name(policy: &PolicySpec) -> &str {
    policy.gates.iter().find(|gate| gate.readiness.is_some()).map_or(READINESS, |gate| &gate.name)
}

/// That pods turned bad after traffic had begun, and fewer than `minReady` good ones are left.
pub fn readiness_failure(release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
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

/// The gate, as it is found to be now.
pub fn readiness_status(release: &Release, name: &str, side: Option<&Side<'_>>) -> Judged {
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
