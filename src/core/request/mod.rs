//! Requests: one command at a time, tied to a revision, each carried out once.

pub mod approve;
pub mod command;
pub mod judge;
pub mod undo;

use crate::{
    api::{
        rollout::{Request, RequestAction},
        status::RequestRecord,
    },
    core::{
        decision::{action::Action, draft::Draft, notice::Reason, step::step},
        facts::Snapshot,
        request::{command::Command, judge::judge},
        view::View,
        why::words::{is_done, what, who},
    },
};

/// How many requests are remembered.
pub const REMEMBERED: usize = 20;

/// Takes the request of the Rollout, if it is a new one: records what becomes of it and says what is to be done. Whoever asks is to be on
/// record with it, so it waits until it is known whether the name can be trusted; what takes clients back waits for nothing.
pub fn take(view: &View<'_>, draft: &mut Draft) -> Option<Command> {
    let request = view.snapshot.rollout.spec.request.as_ref()?;
    let (known, verified) = (draft.status.requests.iter().any(|known| known.id == request.id), view.snapshot.stamped);
    if known || (verified.is_none() && !matches!(request.action, RequestAction::Abort | RequestAction::Undo)) {
        return None;
    }
    let judged = judge(view, request, draft.refusal.as_ref());
    let outcome = match &judged {
        Ok((_, done)) => format!("done: {done}"),
        Err(refused) => format!("refused: {refused}"),
    };
    match judged {
        Ok((Command::Approve, _)) => approve::give(view, draft, request),
        Ok((Command::Undo, _)) => undo::abandon(view, draft, request),
        _ => {}
    }
    let to = undo::instead(request);
    let Request { id, action, revision, to: _, by, reason: _ } = request.clone();
    let record = RequestRecord { id, action, revision, to, by, verified, at: Some(view.now), outcome };
    if verified.is_some() {
        tell(draft, &record);
    }
    draft.status.requests.push(record);
    let surplus = draft.status.requests.len().saturating_sub(REMEMBERED);
    draft.status.requests.drain(..surplus);
    judged.ok().map(|(command, _)| command)
}

/// Has it found out whether the name under the request can be trusted, and puts on record what was found.
pub fn verify(snapshot: &Snapshot, draft: &mut Draft) {
    let Some(request) = &snapshot.rollout.spec.request else { return };
    let record = draft.status.requests.iter_mut().find(|record| record.id == request.id);
    match (snapshot.stamped, record) {
        (_, Some(RequestRecord { verified: Some(_), .. })) | (Some(_), None) => {}
        (None, _) => {
            // Before what may fail, but not before what takes clients off a bad version.
            let place = if draft.actions.first().is_some_and(Action::is_way_back) { draft.actions.len() } else { 0 };
            draft.actions.insert(place, Action::ProbeStamp { id: request.id.clone() });
        }
        (verified, Some(record)) => {
            record.verified = verified;
            let record = record.clone();
            tell(draft, &record);
        }
    }
}

fn tell(draft: &mut Draft, record: &RequestRecord) {
    let RequestRecord { id: _, action, revision, to, by, verified, at: _, outcome } = record;
    let reason = if is_done(record) { Reason::RequestDone } else { Reason::RequestRefused };
    draft.notice(reason, format!("{} by {}: {outcome}", what(*action, revision, to), who(by, *verified)));
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
        Command::Abort | Command::Retry | Command::Approve | Command::Undo => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{
            rollout::Request,
            status::{Asked, Phase},
        },
        core::{
            decide::decide,
            tests::model::{Crash, Model, policy},
        },
    };

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
        model.edit_spec(|spec| spec.request = Some(Request { id: id.into(), action, revision, to: None, reason, by: String::new() }));
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

    #[test]
    fn a_name_that_no_policy_stamped_is_told_as_one() {
        for (by, verified, told) in [
            ("alice", Some(true), "alice"),
            ("alice", Some(false), "alice (unverified)"),
            ("alice", None, "alice (unverified)"),
            ("", Some(true), "someone"),
            ("", Some(false), "someone"),
        ] {
            assert_eq!(who(by, verified), told, "{by} {verified:?}");
        }
        let mut model = model(Phase::Progressing);
        model.stamped = Some(false);
        let revision = model.hello().revision.clone();
        let (id, action, by) = ("one".into(), RequestAction::Promote, "alice".into());
        model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by }));
        model.control(Crash::Never);
        assert_eq!(model.status().requests.last().and_then(|record| record.verified), Some(false));
        assert!(model.notices.iter().any(|notice| notice.contains(" by alice (unverified): done: ")), "{:?}", model.notices);
    }

    #[test]
    fn a_request_waits_until_it_is_known_whether_its_name_can_be_trusted() {
        let mut model = model(Phase::Progressing);
        model.stamped = None;
        assert_eq!(send(&mut model, "one", RequestAction::Promote, None), "", "first that is found out");
        assert_eq!(model.stamped, Some(true));
        model.control(Crash::Never);
        let record = model.status().requests.last().cloned().expect("a record");
        assert_eq!((record.outcome.as_str(), record.verified), ("done: the hold is over", Some(true)));
        assert_eq!((record.revision, record.at), (model.hello().revision.clone(), Some(model.now)));
    }

    #[test]
    fn an_abort_waits_for_nothing_and_is_told_once_its_name_is_known() {
        let mut model = model(Phase::Progressing);
        model.stamped = None;
        let (id, action, revision) = ("one".into(), RequestAction::Abort, model.hello().revision.clone());
        model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: "alice".into() }));
        let actions = decide(&model.snapshot(), model.now).actions;
        assert!(actions.first().is_some_and(Action::is_way_back), "{actions:?}");
        assert!(matches!(actions.last(), Some(Action::ProbeStamp { .. })), "{actions:?}");
        model.control(Crash::Never);
        assert_eq!((model.phase(), model.status().requests.last().and_then(|record| record.verified)), (Phase::RollingBack, None));
        let told = |model: &Model| model.notices.iter().filter(|notice| notice.contains(" by alice: done: ")).count();
        assert_eq!(told(&model), 0);
        model.run_to(Phase::RolledBack);
        assert_eq!((told(&model), model.status().requests.last().and_then(|record| record.verified)), (1, Some(true)));
    }

    #[test]
    fn history_says_who_asked_for_what_in_a_release() {
        let mut model = model(Phase::Progressing);
        send(&mut model, "stale", RequestAction::Abort, Some("0123456789"));
        send(&mut model, "one", RequestAction::Promote, None);
        model.run_to(Phase::Healthy);
        let asked = |model: &Model| model.status().history.last().map(|ended| ended.asked.clone()).unwrap_or_default();
        assert_eq!(asked(&model), [Asked { action: RequestAction::Promote, by: String::new(), verified: Some(true) }]);
        model.set_image("hello:v1");
        model.run(|model| model.status().step.as_ref().is_some_and(|step| step.since.is_some()));
        send(&mut model, "two", RequestAction::PromoteFull, None);
        model.run_to(Phase::Healthy);
        assert_eq!(asked(&model).iter().map(|asked| asked.action).collect::<Vec<_>>(), [RequestAction::PromoteFull]);
    }
}
