//! Text and conditions of a decision, and the notices of those that change.

use jiff::Timestamp;

use crate::{
    api::status::{Phase, RolloutStatus},
    core::{
        decision::{draft::Draft, notice::Reason},
        facts::Snapshot,
        report::conditions,
    },
};

/// Text, conditions, and the notices of those that change.
pub fn report(snapshot: &Snapshot, draft: &mut Draft, now: Timestamp) {
    draft.status.why = draft.why.to_string();
    draft.status.observed_generation = Some(snapshot.rollout.generation);
    draft.status.phase.get_or_insert(Phase::Pending);
    conditions::set(draft, snapshot, now);
    tell_flips(snapshot, draft);
}

/// Conditions that people act on are told of when they change.
fn tell_flips(snapshot: &Snapshot, draft: &mut Draft) {
    let holds = |status: &RolloutStatus, type_: &str| {
        status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status == "True")
    };
    let flip = |type_: &str| (holds(&snapshot.status, type_), holds(&draft.status, type_));
    let (paused, accepted) = (flip("Paused"), flip("Accepted"));
    match paused {
        (Some(false) | None, Some(true)) => draft.notice(Reason::Paused, draft.why.to_string()),
        (Some(true), Some(false)) => draft.notice(Reason::Resumed, draft.why.to_string()),
        _ => {}
    }
    match accepted {
        (Some(true) | None, Some(false)) => {
            draft.notice(Reason::NotAccepted, draft.refusal.as_ref().map(ToString::to_string).unwrap_or_default());
        }
        (Some(false), Some(true)) => draft.notice(Reason::Accepted, "what was wrong has been put right"),
        _ => {}
    }
}
