//! Gates, judged: what the watch and the probes have seen, turned into passing, failing, pending or no data.

pub mod approval;
pub mod connect;
pub mod each_pod;
pub mod grpc;
pub mod http;
pub mod kind;
pub mod readiness;
pub mod tcp;

use std::ops::ControlFlow::Continue;

use crate::{
    api::{
        policy::{Gate, PolicySpec, When},
        status::{GateStatus, Phase, Release},
    },
    core::{
        decision::{wait::Flow, watch::Probe},
        gate::kind::{Ask, Failure},
        view::{View, side::Side},
        why::Why,
    },
};

/// The first gate of this phase that has failed, readiness before the others.
///
/// Readiness can fail only after traffic has begun: before, pods that are not ready are awaited. A pod that was deleted or evicted
/// is not a failure, nor one whose node is lost; one that turned not-ready or restarted a container is, once fewer than `minReady` good ones
/// are left.
pub fn failure(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
    let implicit = implicit(&release.policy);
    let of_readiness = |gate: &&Gate| gate.readiness.is_some();
    let first = implicit.iter().chain(&release.policy.gates).filter(of_readiness);
    let others = release.policy.gates.iter().filter(|gate| !of_readiness(gate));
    first.chain(others).find_map(|gate| gate.kind()?.failure(&Ask { gate, view, release, phase, side: Some(side) }))
}

/// The probes that a phase needs, on the ready pods of `side`.
pub fn probes(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Vec<Probe> {
    let asks = release.policy.gates.iter().map(|gate| Ask { gate, view, release, phase, side: Some(side) });
    asks.filter(Ask::is_active).filter_map(|ask| Some(ask.gate.kind()?.probes(&ask))).flatten().collect()
}

/// The gates, as status reports them. `since` of a gate whose state has not changed is kept.
pub fn statuses(view: &View<'_>, release: &Release, phase: Phase, side: Option<&Side<'_>>) -> Vec<GateStatus> {
    let before = &view.snapshot.status.gates;
    let implicit = implicit(&release.policy);
    let status = |gate: &Gate| {
        let kind = gate.kind()?;
        let judged = kind.judge(&Ask { gate, view, release, phase, side });
        let since = before.iter().find(|old| old.name == gate.name && old.state == judged.state).map_or(view.now, |old| old.since);
        Some(GateStatus {
            name: gate.name.clone(),
            kind: kind.name().to_owned(),
            state: judged.state,
            value: judged.value,
            threshold: judged.threshold,
            since,
            message: judged.message,
        })
    };
    implicit.iter().chain(&release.policy.gates).filter_map(status).collect()
}

/// The readiness gate that a release has where its policy lists none.
fn implicit(policy: &PolicySpec) -> Option<Gate> {
    policy.gates.iter().all(|gate| gate.readiness.is_none()).then(readiness::implicit)
}

/// Names of the gates for `when` that have not passed yet, on every ready pod of `side`. Readiness is not among them: it is
/// asked for where pods are awaited.
pub fn pending(view: &View<'_>, release: &Release, when: When, side: &Side<'_>) -> Vec<String> {
    let phase = view.snapshot.status.phase.unwrap_or(Phase::Preparing);
    let gates = release.policy.gates.iter().filter(|gate| gate.when.contains(&when));
    let has_passed = |gate: &Gate| gate.kind().is_none_or(|kind| kind.has_passed(&Ask { gate, view, release, phase, side: Some(side) }));
    gates.filter(|gate| !has_passed(gate)).map(|gate| gate.name.clone()).collect()
}

/// Stops where gates ask for an approval that nobody has given. It takes as long as it takes: no deadline runs.
pub fn ask_for_approval(view: &View<'_>, release: &Release, moments: &[When], weight: u8) -> Flow {
    let gates = approval::missing(release, moments, weight);
    if gates.is_empty() {
        return Continue(());
    }
    Why::ApprovalAwaited { gates, revision: release.revision.clone(), weight: view.share(weight) }.for_a_person()
}
