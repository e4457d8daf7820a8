//! How much of a decided status is on record already, and how much of the difference a reader would notice.

use crate::api::status::{Phase, RolloutStatus};

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
