//! Whether a request can be carried out, by what is found.

use crate::{
    api::{
        policy::When,
        rollout::{Request, RequestAction},
        status::{Phase, Release, StepStatus},
    },
    core::{
        gate::{self, approval},
        history::is_held,
        request::{approve, command::Command, undo},
        view::{View, declared::Pair, handover},
        why::{refusal::Refusal, words::Names},
    },
};

/// The command that a request gives, and what is done by it.
///
/// # Errors
/// In words for who has sent it: why it is refused.
pub fn judge(view: &View<'_>, request: &Request, refusal: Option<&Refusal>) -> Result<(Command, &'static str), String> {
    let status = &view.snapshot.status;
    let under_release = status.release.as_ref();
    let phase = status.phase.unwrap_or(Phase::Pending);
    if request.action == RequestAction::Retry {
        return judge_retry(view, request);
    }
    // Also where the template that it is for was seen first, so that its release has begun.
    let of_rest = |release: &Release| request.to.as_ref() == Some(&release.revision) && release.rollback.is_none();
    if request.action == RequestAction::Undo && under_release.is_none_or(of_rest) {
        return undo::judge(view, request, refusal).map(|done| (Command::Undo, done));
    }
    let Some(under_release) = under_release else {
        return Err(format!("no release is under way (phase {phase:?})"));
    };
    if under_release.revision != request.revision {
        return Err(format!("revision {} is under release, not {}", under_release.revision, request.revision));
    }
    match (request.action, phase) {
        (RequestAction::Abort | RequestAction::Undo, _) if handover::is_past_return(view) || handover::is_rolling(view, phase) => {
            Err(match view.pair {
                Pair::Managed { .. } => {
                    "the Deployment has the new version already; once the release is over (seconds), go back with `stepgate undo`"
                }
                Pair::Declared(_) => {
                    "the new version is the live one already; once the release is over, go back with `stepgate undo`, or set workload.live to the old one"
                }
            }
            .into())
        }
        (RequestAction::Abort | RequestAction::Undo, Phase::RollingBack) => Ok((Command::Abort, "the release is being taken back")),
        (RequestAction::Abort | RequestAction::Undo, _) => Ok((Command::Abort, "the release is taken back")),
        (_, Phase::RollingBack) => Err("the release is being taken back; a Retry request releases the revision again afterwards".into()),
        (_, Phase::Promoting) => Err("the release is being made permanent already".into()),
        (RequestAction::Approve, _) => approve::judge(view, under_release).map(|done| (Command::Approve, done)),
        (_, Phase::Preparing) => Err("no gate has passed yet: the release is still being prepared".into()),
        (RequestAction::Promote | RequestAction::PromoteFull, Phase::Baking) => {
            Ok((Command::Promote, "the previous version is not kept warm any longer"))
        }
        (RequestAction::Promote, _) => match &status.step {
            Some(StepStatus { since: Some(_), .. }) => Ok((Command::Promote, "the hold is over")),
            _ => Err("the step has no hold to end yet: its weight is not confirmed".into()),
        },
        (RequestAction::PromoteFull, _) => {
            let mut pending = view.canary().map_or_else(Vec::new, |canary| gate::pending(view, under_release, When::DuringSteps, &canary));
            pending.extend(approval::missing(under_release, &[When::DuringSteps], 100));
            if pending.is_empty() {
                Ok((Command::PromoteFull, "the remaining steps are skipped"))
            } else {
                Err(format!("{} has not passed yet", Names("gate", &pending)))
            }
        }
        (RequestAction::Retry, _) => judge_retry(view, request),
    }
}

fn judge_retry(view: &View<'_>, request: &Request) -> Result<(Command, &'static str), String> {
    let status = &view.snapshot.status;
    let wanted = view.wanted().unwrap_or(view.hello);
    if wanted.revision != request.revision {
        return Err(format!("the Deployment's template is revision {}, not {}", wanted.revision, request.revision));
    }
    match &status.release {
        Some(release) if release.rollback.is_none() => Err(format!("revision {} is under release already", request.revision)),
        _ if status.rejected.iter().any(|rejected| rejected.revision == request.revision) || is_held(status, &request.revision) => {
            Ok((Command::Retry, "the revision is released again, from the first step"))
        }
        _ => Err(format!("revision {} was not taken back, so there is nothing to retry", request.revision)),
    }
}
