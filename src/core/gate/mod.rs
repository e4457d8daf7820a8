//! Gates, judged: what the watch and the probes have seen, turned into passing, failing, pending or no data.

pub mod approval;
pub mod connect;
pub mod http;
pub mod kind;
pub mod readiness;

use std::ops::ControlFlow::Continue;

use crate::{
    api::{
        policy::{Gate, HttpGate, When},
        status::{GateStatus, Phase, Release},
    },
    core::{
        decision::wait::Flow,
        gate::{
            approval::approval_status,
            http::{http_failure, http_status},
            kind::Failure,
            readiness::{READINESS, readiness_failure, readiness_status},
        },
        view::{View, side::Side},
        why::Why,
    },
};

/// The first gate of this phase that has failed.
///
/// Readiness can fail only after traffic has begun: before, pods that are not ready are awaited. A pod that was deleted or evicted
/// is not a failure, nor one whose node is lost; one that turned not-ready or restarted a container is, once fewer than `minReady` good ones
/// are left.
pub fn failure(view: &View<'_>, release: &Release, phase: Phase, side: &Side<'_>) -> Option<Failure> {
    readiness_failure(release, phase, side).or_else(|| http_failure(view, release, phase, side))
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

/// Stops where gates ask for an approval that nobody has given. It takes as long as it takes: no deadline runs.
pub fn ask_for_approval(view: &View<'_>, release: &Release, moments: &[When], weight: u8) -> Flow {
    let gates = approval::missing(release, moments, weight);
    if gates.is_empty() {
        return Continue(());
    }
    Why::ApprovalAwaited { gates, revision: release.revision.clone(), weight: view.share(weight) }.for_a_person()
}
