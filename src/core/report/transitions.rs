//! Text and conditions of a decision, and the notices of those that change.

use jiff::Timestamp;

use crate::{
    api::status::{Phase, RolloutStatus, WaitEnd, Waiting},
    core::{
        decision::{
            draft::Draft,
            notice::Reason,
            time::after,
            wait::{Until, Wait},
        },
        facts::Snapshot,
        report::conditions,
    },
};

/// Text, conditions, and the notices of those that change.
pub fn report(snapshot: &Snapshot, draft: &mut Draft, wait: &Wait, now: Timestamp) {
    draft.status.why = wait.why.to_string();
    draft.status.waiting = Some(waiting(snapshot, wait, draft, now));
    draft.status.observed_generation = Some(snapshot.rollout.generation);
    draft.status.phase.get_or_insert(Phase::Pending);
    conditions::set(draft, snapshot, wait, now);
    tell_flips(snapshot, draft, wait);
}

/// The wait, for machines. It lasts for as long as its reason has the same name.
fn waiting(snapshot: &Snapshot, wait: &Wait, draft: &Draft, now: Timestamp) -> Waiting {
    let reason = wait.why.name();
    let since = snapshot.status.waiting.as_ref().filter(|before| before.reason == reason).map_or(now, |before| before.since);
    let waiting_since = draft.status.step.as_ref().and_then(|step| step.waiting_since);
    let (until, at) = match wait.until {
        Until::Deadline(deadline) => (WaitEnd::Deadline, waiting_since.map(|since| after(since, deadline))),
        Until::Time(time) => (WaitEnd::Time, Some(time)),
        Until::Answer => (WaitEnd::Answer, None),
        Until::Person => (WaitEnd::Person, None),
        Until::Rest => (WaitEnd::Rest, None),
    };
    Waiting { reason: reason.to_owned(), until, at, since }
}

/// Conditions that people act on are told of when they change.
fn tell_flips(snapshot: &Snapshot, draft: &mut Draft, wait: &Wait) {
    let holds = |status: &RolloutStatus, type_: &str| {
        status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status == "True")
    };
    let flip = |type_: &str| (holds(&snapshot.status, type_), holds(&draft.status, type_));
    let (paused, accepted) = (flip("Paused"), flip("Accepted"));
    match paused {
        (Some(false) | None, Some(true)) => draft.notice(Reason::Paused, wait.why.to_string()),
        (Some(true), Some(false)) => draft.notice(Reason::Resumed, wait.why.to_string()),
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
