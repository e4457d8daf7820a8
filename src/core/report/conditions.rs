//! Conditions of a Rollout.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::status::Phase,
    core::{
        decision::{
            draft::Draft,
            wait::{Until, Wait},
        },
        facts::Snapshot,
        report::serving::{self, Unserved},
        view::declared::Pair,
        why::Why,
    },
};

/// Sets all conditions from the draft; a condition keeps its time as long as its status does not change.
pub fn set(draft: &mut Draft, snapshot: &Snapshot, wait: &Wait, now: Timestamp) {
    let why = wait.why.to_string();
    let phase = draft.status.phase.unwrap_or(Phase::Pending);
    let at_rest = matches!(phase, Phase::Healthy | Phase::RolledBack) && draft.status.release.is_none();
    // design §3: RolledBack is Stalled, also while the Deployment's own roll-out of what is held is being stopped.
    let held = phase == Phase::RolledBack && at_rest;
    let refused = matches!(wait.why, Why::Refused(_));
    let is_asked = matches!(wait.why, Why::PausedBySpec { .. } | Why::PausedByOwner { .. } | Why::ApprovalAwaited { .. });
    let stalled = held || refused || (wait.until == Until::Person && !is_asked);
    let waits_for_owner = matches!(wait.why, Why::PausedByOwner { pending: Some(_), .. });
    let reason = format!("{phase:?}");
    let unserved = serving::unserved(snapshot, &draft.status);
    let fails = unserved.as_ref().filter(|unserved| **unserved != Unserved::ScaledToZero);
    // Ready: what the owner asks for is what serves. A template that is held is not, however well the old version does: see Serving.
    let ready = phase == Phase::Healthy && at_rest && !refused && !waits_for_owner && fails.is_none();
    let (ready_reason, ready_message) = match fails {
        Some(unserved) if phase == Phase::Healthy && at_rest && !refused => (unserved.reason(), format!("{why}; {unserved}")),
        _ => (reason.as_str(), why.clone()),
    };
    one(draft, "Ready", ready, ready_reason, &ready_message, snapshot, now);
    let (serving_reason, serving_message) = match &unserved {
        Some(unserved) => (unserved.reason(), unserved.to_string()),
        None => ("Serving", serves(snapshot).to_owned()),
    };
    one(draft, "Serving", unserved.is_none(), serving_reason, &serving_message, snapshot, now);
    one(draft, "Reconciling", !at_rest && !stalled, &reason, &why, snapshot, now);
    one(draft, "Stalled", stalled, &reason, &why, snapshot, now);
    let refusal = draft.refusal.clone();
    let (accepted_reason, message) = match &refusal {
        Some(refusal) => (refusal.reason(), refusal.to_string()),
        None => ("Accepted", accepted(snapshot).to_owned()),
    };
    one(draft, "Accepted", refusal.is_none(), accepted_reason, &message, snapshot, now);
    if let Some(guarded) = snapshot.guarded {
        let (reason, message) = match (guarded, Pair::of(&snapshot.rollout.spec.workload)) {
            (true, Pair::Managed { .. }) if snapshot.rollout.spec.is_worker() => {
                ("AdmissionPolicies", "admission policies hold the Deployment during a release")
            }
            (true, Pair::Managed { .. }) => {
                ("AdmissionPolicies", "admission policies hold the Deployment and the Services during a release")
            }
            (true, Pair::Declared(_)) => ("AdmissionPolicies", "an admission policy holds the version key of the Services' selectors"),
            (false, Pair::Managed { .. }) => {
                ("WatchOnly", "no admission policy acts on the Deployment; a new template is caught as soon as it is seen")
            }
            (false, Pair::Declared(_)) => {
                ("WatchOnly", "no admission policy holds the Services' selectors; what is overwritten is put right as soon as it is seen")
            }
        };
        one(draft, "Guarded", guarded, reason, message, snapshot, now);
    }
    let paused = match &wait.why {
        Why::PausedBySpec { .. } => Some("PausedBySpec"),
        Why::PausedByOwner { .. } => Some("PausedByOwner"),
        Why::ApprovalAwaited { .. } => Some("ApprovalAwaited"),
        Why::KeptForDebugging { .. } => Some("KeptForDebugging"),
        _ => None,
    };
    one(draft, "Paused", paused.is_some(), paused.unwrap_or("NotPaused"), if paused.is_some() { &why } else { "" }, snapshot, now);
}

/// That somebody serves.
fn serves(snapshot: &Snapshot) -> &'static str {
    if snapshot.rollout.spec.is_worker() { "there are pods that are ready" } else { "every port of every Service has ready endpoints" }
}

/// That nothing is refused.
pub fn accepted(snapshot: &Snapshot) -> &'static str {
    if snapshot.rollout.spec.is_worker() {
        "Deployment and policy are such that a release can go"
    } else {
        "Deployment, Services and policy are such that a release can go"
    }
}

fn one(draft: &mut Draft, type_: &str, holds: bool, reason: &str, message: &str, snapshot: &Snapshot, now: Timestamp) {
    let status = if holds { "True" } else { "False" };
    let conditions = &mut draft.status.conditions;
    let known = conditions.iter().position(|condition| condition.type_ == type_);
    let since = known
        .map(|i| &conditions[i])
        .filter(|condition| condition.status == status)
        .map(|condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(snapshot.rollout.generation),
        // Kubernetes keeps times of conditions in whole seconds.
        last_transition_time: since.unwrap_or(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
    };
    match known {
        Some(i) => conditions[i] = condition,
        None => conditions.push(condition),
    }
}
