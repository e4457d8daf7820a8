//! The decision: what to do, report and wait for, from everything that was observed and the time.

use jiff::Timestamp;

use crate::api::status::{Phase, RolloutStatus};

use super::{
    action::{Action, Notice, Reason},
    conditions, declared, deletion,
    draft::Draft,
    gate::Probe,
    pair::Pair,
    preview, release, request, rest,
    snapshot::Snapshot,
    view::View,
    why::Why,
};

/// What one look at the world leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be done in this order; the first that fails ends the list. Deciding again finds what is missing.
    pub actions: Vec<Action>,
    /// What is to be reported, after the actions.
    pub status: RolloutStatus,
    /// Transitions, to be told once.
    pub notices: Vec<Notice>,
    /// The probes that are to run from now on, and no others.
    pub probes: Vec<Probe>,
    /// When to decide again even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// What is waited for.
    pub why: Why,
}

/// Decides. Pure: the same snapshot at the same time gives the same decision.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Decision {
    let mut draft = Draft::new(snapshot);
    let rollout = &snapshot.rollout;
    let view = View::of(snapshot, now);
    match view {
        Some(view) if view.hello.deleting => let_go(snapshot, &mut draft),
        Some(view) if rollout.deleting => drop(deletion::decide(&view, &mut draft)),
        Some(view) if draft.status.release.is_some() => drop(release::decide(&view, &mut draft)),
        Some(view) => match view.pair {
            Pair::Managed { .. } => drop(rest::decide(&view, &mut draft)),
            Pair::Declared(declared) => drop(declared::rest(&view, &mut draft, declared)),
        },
        None => without_deployment(snapshot, &mut draft),
    }
    // At the end of a Rollout it is given back before the finalizer goes.
    let ends = |view: &View<'_>| view.hello.deleting || (rollout.deleting && draft.status.release.is_none());
    if let Some(view) = view.filter(|view| !ends(view)) {
        preview::follow(&view, &mut draft);
    }
    request::verify(snapshot, &mut draft);
    draft.stop_idle_deadline();
    report(snapshot, &mut draft, now);
    let wake_at = draft.wake_at();
    let Draft { actions, status, notices, probes, why, .. } = draft;
    Decision { actions, status, notices, probes, wake_at, why }
}

/// The Deployment is going away, alone or with its namespace: nothing is made any more, and nothing of ours keeps it.
fn let_go(snapshot: &Snapshot, draft: &mut Draft) {
    if snapshot.rollout.has_finalizer {
        draft.act(Action::RemoveFinalizer);
    }
    let deployment = Pair::of(&snapshot.rollout.spec.workload).live_name(snapshot).to_owned();
    draft.why = Why::WorkloadGoing { deployment };
}

/// There is no Deployment of that name: a mistake, or it was deleted, and the canary with it.
fn without_deployment(snapshot: &Snapshot, draft: &mut Draft) {
    let pair = Pair::of(&snapshot.rollout.spec.workload);
    if snapshot.rollout.deleting {
        return let_go(snapshot, draft);
    }
    draft.status.release = None;
    draft.status.step = None;
    draft.status.traffic = None;
    draft.status.stable = None;
    draft.status.canary = None;
    draft.status.gates.clear();
    preview::is_gone(draft);
    draft.enter(Phase::Pending);
    let refusal = pair.not_found(pair.live_name(snapshot));
    draft.refusal = Some(refusal.clone());
    draft.why = Why::Refused(refusal);
}

fn report(snapshot: &Snapshot, draft: &mut Draft, now: Timestamp) {
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

/// How much of a status differs from what is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Nothing that a reader could see.
    Nothing,
    /// Counts and sentences: written when they last, or together with the next transition.
    Detail,
    /// A transition: written at once.
    Transition,
}

/// Compares what was decided with what is on record.
pub fn difference(recorded: Option<&RolloutStatus>, decided: &RolloutStatus) -> Difference {
    let Some(recorded) = recorded else { return Difference::Transition };
    if recorded == decided {
        return Difference::Nothing;
    }
    // One write a step: what a step does before its weight is confirmed is a detail.
    let step = |status: &RolloutStatus| status.step.as_ref().map(|step| (step.index, step.since, step.until, step.held));
    let confirmed = decided.step.as_ref().is_none_or(|step| step.since.is_some());
    let key = |status: &RolloutStatus| {
        let release = status.release.as_ref();
        let release = release.map(|release| {
            (release.revision.clone(), release.started_at, release.traffic_since, release.rollback.as_ref().map(|rollback| rollback.reason))
        });
        let stable = status.stable.as_ref().map(|stable| (stable.revision.clone(), stable.hash.clone()));
        let conditions = status.conditions.iter().map(|condition| (condition.type_.clone(), condition.status.clone())).collect::<Vec<_>>();
        (
            status.phase,
            release,
            stable,
            status.requests.last().map(|request| request.id.clone()),
            status.rejected.len(),
            status.history.len(),
            conditions,
            status.observed_generation,
        )
    };
    let same = key(recorded) == key(decided) && (!confirmed || step(recorded) == step(decided)) && are_owners_recorded(recorded, decided);
    if same { Difference::Detail } else { Difference::Transition }
}

/// Whether everything that owners are to be given back is on record. (What is not, any more, can wait.)
fn are_owners_recorded(recorded: &RolloutStatus, decided: &RolloutStatus) -> bool {
    let preview = |status: &RolloutStatus| status.preview.as_ref().map(|preview| preview.service.clone());
    let is_preview_recorded = decided.preview.is_none() || preview(recorded) == preview(decided);
    is_preview_recorded && decided.affinity.iter().all(|held| recorded.affinity.contains(held))
}

/// Whether the release, as it was decided, is on record as far as actions rely on it: that it began, who approved it, that traffic began,
/// what owners are to be given back, and, of a declared pair, that it is past its end.
pub fn is_recorded(recorded: Option<&RolloutStatus>, decided: &RolloutStatus) -> bool {
    let key = |status: &RolloutStatus| {
        let declared = status.stable.as_ref().is_some_and(|stable| !stable.name.is_empty());
        let past = declared && status.phase == Some(Phase::Promoting);
        let release = status.release.as_ref();
        release
            .map(|release| (release.revision.clone(), release.started_at, release.approvals.len(), release.traffic_since.is_some(), past))
    };
    recorded.is_some_and(|recorded| key(recorded) == key(decided) && are_owners_recorded(recorded, decided))
}
