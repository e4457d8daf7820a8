//! Requests: one command at a time, tied to a revision, each carried out once.

use crate::api::{
    rollout::{Request, RequestAction},
    status::{Phase, RequestRecord, StepStatus},
};

use super::{
    action::Reason,
    adoption, approval,
    draft::{Draft, step},
    gate,
    pair::Pair,
    release,
    view::View,
};

use crate::api::policy::When;

/// How many requests are remembered.
const REMEMBERED: usize = 20;

/// A request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Approve,
}

/// Takes the request of the Rollout, if it is a new one: records what becomes of it and says what is to be done.
pub fn take(view: &View<'_>, draft: &mut Draft) -> Option<Command> {
    let request = view.snapshot.rollout.spec.request.as_ref()?;
    if draft.status.requests.iter().any(|known| known.id == request.id) {
        return None;
    }
    let judged = judge(view, request);
    let (outcome, reason) = match &judged {
        Ok((_, done)) => (format!("done: {done}"), Reason::RequestDone),
        Err(refused) => (format!("refused: {refused}"), Reason::RequestRefused),
    };
    if let Ok((Command::Approve, _)) = judged {
        approval::give(view, draft, request);
    }
    let by = who(&request.by);
    draft.notice(reason, format!("{:?} of revision {} by {by}: {outcome}", request.action, request.revision));
    draft.status.requests.push(RequestRecord { id: request.id.clone(), action: request.action, by: request.by.clone(), outcome });
    let surplus = draft.status.requests.len().saturating_sub(REMEMBERED);
    draft.status.requests.drain(..surplus);
    judged.ok().map(|(command, _)| command)
}

/// Who asked, for people.
pub fn who(by: &str) -> &str {
    if by.is_empty() { "someone" } else { by }
}

fn judge(view: &View<'_>, request: &Request) -> Result<(Command, &'static str), String> {
    let status = &view.snapshot.status;
    let under_release = status.release.as_ref();
    let phase = status.phase.unwrap_or(Phase::Pending);
    if request.action == RequestAction::Retry {
        return judge_retry(view, request);
    }
    let Some(under_release) = under_release else {
        return Err(format!("no release is under way (phase {phase:?})"));
    };
    if under_release.revision != request.revision {
        return Err(format!("revision {} is under release, not {}", under_release.revision, request.revision));
    }
    match (request.action, phase) {
        (RequestAction::Abort, _) if adoption::is_past_return(view) || release::is_rolling(view, phase) => Err(match view.pair {
            Pair::Managed { .. } => "the Deployment has the new version already; go back with a new template (kubectl rollout undo)",
            Pair::Declared(_) => "the new version is the live one already; go back by setting workload.live to the old one",
        }
        .into()),
        (RequestAction::Abort, Phase::RollingBack) => Ok((Command::Abort, "the release is being taken back")),
        (RequestAction::Abort, _) => Ok((Command::Abort, "the release is taken back")),
        (_, Phase::RollingBack) => Err("the release is being taken back; a Retry request releases the revision again afterwards".into()),
        (_, Phase::Promoting) => Err("the release is being made permanent already".into()),
        (RequestAction::Approve, _) => approval::judge(view, under_release).map(|done| (Command::Approve, done)),
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
                Err(format!("{} has not passed yet", super::why::Names("gate", &pending)))
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
        _ if status.rejected.iter().any(|rejected| rejected.revision == request.revision) => {
            Ok((Command::Retry, "the revision is released again, from the first step"))
        }
        _ => Err(format!("revision {} was not taken back, so there is nothing to retry", request.revision)),
    }
}

/// What a promotion does to the step: its hold is over, or it is the last one. Gates are asked all the same.
pub fn promote(view: &View<'_>, draft: &mut Draft, command: Command) {
    let Some(release) = draft.status.release.clone() else { return };
    match command {
        Command::Promote => {
            if let Some(step) = &mut draft.status.step {
                // A weight that is still settling settles: only the hold is cut short.
                step.until = Some(step.since.map_or(view.now, |since| since.max(view.now)));
                step.held = None;
            }
        }
        Command::PromoteFull => {
            let last = u32::try_from(release.policy.steps.len()).unwrap_or(u32::MAX);
            if draft.status.step.as_ref().is_none_or(|step| step.index < last) {
                draft.status.step = Some(step(&release.policy.steps, last));
            }
        }
        Command::Abort | Command::Retry | Command::Approve => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::model::{Crash, Model, policy};

    /// A release of v2 that is held at 50 % for an hour, or, at another phase, on its way there or from there.
    fn model(phase: Phase) -> Model {
        let steps = json!({"steps": [{"weight": 50, "hold": "1h"}, {"weight": 100}], "settle": "0s"});
        let mut model = Model::new(2, policy(steps));
        model.run_to(Phase::Healthy);
        if phase == Phase::Healthy {
            return model;
        }
        model.set_image("hello:v2");
        model.run(|model| model.phase() == Phase::Preparing);
        if phase == Phase::Preparing {
            return model;
        }
        model.run(|model| model.status().step.as_ref().is_some_and(|step| step.since.is_some_and(|since| since < model.now)));
        if phase == Phase::Progressing {
            return model;
        }
        send(&mut model, "abort", RequestAction::Abort, None);
        model.run(|model| model.phase() == phase);
        model
    }

    /// What becomes of a request, for the Deployment's template where no revision is named.
    fn send(model: &mut Model, id: &str, action: RequestAction, revision: Option<&str>) -> String {
        let revision = revision.map_or_else(|| model.hello().revision.clone(), str::to_owned);
        let reason = "because it must \u{2013} schöne Grüße \u{1f680}".into();
        model.edit_spec(|spec| spec.request = Some(Request { id: id.into(), action, revision, reason, by: String::new() }));
        model.control(Crash::Never);
        model.status().requests.last().map(|request| request.outcome.clone()).unwrap_or_default()
    }

    #[test]
    fn every_request_is_answered_with_what_was_found() {
        use Phase::{Healthy, Preparing, Progressing, RolledBack, RollingBack};
        use RequestAction::{Abort, Promote, PromoteFull, Retry};
        let stale = Some("0123456789");
        for (phase, action, revision, outcome) in [
            (Healthy, Promote, None, "refused: no release is under way (phase Healthy)"),
            (Healthy, Abort, stale, "refused: no release is under way (phase Healthy)"),
            (Healthy, Retry, None, "refused: revision REVISION was not taken back, so there is nothing to retry"),
            (Healthy, Retry, stale, "refused: the Deployment's template is revision REVISION, not 0123456789"),
            (Preparing, Promote, None, "refused: no gate has passed yet: the release is still being prepared"),
            (Preparing, PromoteFull, None, "refused: no gate has passed yet: the release is still being prepared"),
            (Preparing, Abort, None, "done: the release is taken back"),
            (Progressing, Promote, stale, "refused: revision REVISION is under release, not 0123456789"),
            (Progressing, Retry, None, "refused: revision REVISION is under release already"),
            (Progressing, Promote, None, "done: the hold is over"),
            (Progressing, PromoteFull, None, "done: the remaining steps are skipped"),
            (
                RollingBack,
                Promote,
                None,
                "refused: the release is being taken back; a Retry request releases the revision again afterwards",
            ),
            (RollingBack, Abort, None, "done: the release is being taken back"),
            (RolledBack, Promote, None, "refused: no release is under way (phase RolledBack)"),
            (RolledBack, Retry, stale, "refused: the Deployment's template is revision REVISION, not 0123456789"),
            (RolledBack, Retry, None, "done: the revision is released again, from the first step"),
        ] {
            let mut model = model(phase);
            let outcome = outcome.replace("REVISION", &model.hello().revision);
            assert_eq!(send(&mut model, "now", action, revision), outcome, "{action:?} in {phase:?}");
        }
    }

    #[test]
    fn a_request_that_is_sent_again_is_neither_carried_out_nor_recorded_again() {
        let mut model = model(Phase::RolledBack);
        let before = model.status().clone();
        send(&mut model, "abort", RequestAction::Abort, None);
        assert_eq!(model.status().requests, before.requests);
        assert_eq!(model.phase(), Phase::RolledBack);
    }

    #[test]
    fn the_last_twenty_requests_are_remembered() {
        let mut model = model(Phase::Progressing);
        for number in 0..25 {
            send(&mut model, &format!("{number}"), RequestAction::Promote, Some("0123456789"));
        }
        let ids: Vec<&str> = model.status().requests.iter().map(|request| request.id.as_str()).collect();
        assert_eq!((ids.len(), ids.first(), ids.last()), (REMEMBERED, Some(&"5"), Some(&"24")));
        assert_eq!(model.phase(), Phase::Progressing);
    }
}
