//! Undo: back to a version that was live before, and what is given up stays away.

use proptest::prelude::*;
use serde_json::json;

use crate::api::{
    PolicySpec,
    rollout::{Request, RequestAction},
    status::{Asked, HistoryEntry, Outcome, Phase},
};

use crate::core::{
    decide::decide,
    decision::action::Action,
    facts::{revision::revision, service::ServiceFacts},
    history::{was_abandoned, was_live},
    tests::model::{Crash, Model, policy, template},
};

/// Halves, held for an hour each; the previous version is kept warm for another one.
fn held(undo: &str) -> PolicySpec {
    let steps = json!([{"weight": 50, "hold": "1h"}, {"weight": 100, "hold": "1h"}]);
    policy(json!({"steps": steps, "settle": "0s", "keepPrevious": "1h", "undo": undo}))
}

/// These versions, released one after the other; the last one is live.
fn released(policy: PolicySpec, images: &[&str]) -> Model {
    let mut model = Model::new(2, policy);
    model.run_to(Phase::Healthy);
    for image in images {
        release(&mut model, image);
    }
    model
}

fn release(model: &mut Model, image: &str) {
    model.set_image(image);
    model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of(image));
}

fn live_of(model: &Model) -> String {
    model.status().stable.as_ref().map(|stable| stable.revision.clone()).unwrap_or_default()
}

fn of(image: &str) -> String {
    revision(&template(image))
}

/// What becomes of an `Undo` from one version to another one.
fn undo(model: &mut Model, from: &str, to: &str) -> String {
    let (id, action, revision) = (model.now.to_string(), RequestAction::Undo, of(from));
    let request = Request { id, action, revision, to: Some(of(to)), reason: "checkout is slow".into(), by: "alice".into() };
    model.edit_spec(|spec| spec.request = Some(request));
    model.control(Crash::Never);
    let names = ["hello:v1", "hello:v2", "hello:v3", "hello:v4"].map(|image| (of(image), image));
    let outcome = model.status().requests.last().map(|request| request.outcome.clone()).unwrap_or_default();
    names.iter().fold(outcome, |outcome, (revision, image)| outcome.replace(revision, image))
}

fn in_phase(images: &[&str], phase: Phase) -> Model {
    let mut model = released(held("FullPolicy"), images);
    model.set_image("hello:v3");
    model.run_fast(|model| model.phase() == phase);
    model
}

fn held_revisions(model: &Model) -> Vec<&str> {
    model.status().rejected.iter().map(|rejected| rejected.revision.as_str()).collect()
}

#[test]
fn an_undo_is_answered_with_what_was_found() {
    let at_rest = || released(held("FullPolicy"), &["hello:v2"]);
    let held_one = || {
        let mut model = in_phase(&["hello:v2"], Phase::Baking);
        undo(&mut model, "hello:v3", "hello:v2");
        model.run_to(Phase::RolledBack);
        model
    };
    let unlisted = || {
        let mut model = at_rest();
        let other = ServiceFacts { name: "metrics".into(), ..model.services[0].clone() };
        model.services.push(other);
        model
    };
    for (place, mut model, from, to, outcome) in vec![
        ("at rest", at_rest(), "hello:v2", "hello:v1", "done: the abandoned revision is held from now on"),
        (
            "at rest",
            at_rest(),
            "hello:v1",
            "hello:v2",
            "refused: revision hello:v2 is live, not hello:v1; send it for hello:v2 to abandon that one",
        ),
        ("preparing", in_phase(&["hello:v2"], Phase::Preparing), "hello:v3", "hello:v2", "done: the release is taken back"),
        ("progressing", in_phase(&["hello:v2"], Phase::Progressing), "hello:v3", "hello:v2", "done: the release is taken back"),
        ("baking", in_phase(&["hello:v2"], Phase::Baking), "hello:v3", "hello:v2", "done: the release is taken back"),
        ("baking, to an older one", in_phase(&["hello:v2"], Phase::Baking), "hello:v3", "hello:v1", "done: the release is taken back"),
        (
            "baking, a stale one",
            in_phase(&["hello:v2"], Phase::Baking),
            "hello:v2",
            "hello:v1",
            "refused: revision hello:v3 is under release, not hello:v2",
        ),
        (
            "begun already",
            in_phase(&["hello:v2"], Phase::Preparing),
            "hello:v2",
            "hello:v3",
            "done: the abandoned revision is held from now on",
        ),
        ("rolled back", held_one(), "hello:v3", "hello:v2", "done: the abandoned revision was taken back already, and stays held"),
        ("rolled back, to an older one", held_one(), "hello:v2", "hello:v1", "done: the abandoned revision is held from now on"),
        (
            "rolled back, to the held one",
            held_one(),
            "hello:v2",
            "hello:v3",
            "refused: revision hello:v3 is held itself (undone by request: checkout is slow); write its template and send a Retry request to release it all the same",
        ),
        (
            "refused",
            unlisted(),
            "hello:v2",
            "hello:v1",
            "refused: the pods of Deployment hello are also behind Service metrics, whose clients would see both versions unasked; add to services, or to unmanagedServices where that is meant",
        ),
    ] {
        assert_eq!(undo(&mut model, from, to), outcome, "{place}");
    }
    let mut model = Model::new(2, held("FullPolicy"));
    model.deployments[0].status.available = 0;
    model.pods.iter_mut().for_each(|pod| pod.ready = false);
    model.control(Crash::Never);
    assert_eq!(
        undo(&mut model, "hello:v1", "hello:v2"),
        "refused: no version is recorded as the live one yet; wait until the Rollout is Healthy"
    );
}

#[test]
fn in_the_bake_it_is_one_write_in_the_same_decision_and_the_abandoned_revision_is_held() {
    let mut model = in_phase(&[], Phase::Baking);
    model.stamped = None;
    let (id, action, revision) = ("one".into(), RequestAction::Undo, of("hello:v3"));
    let request = Request { id, action, revision, to: Some(of("hello:v1")), reason: String::new(), by: "alice".into() };
    model.edit_spec(|spec| spec.request = Some(request));
    let actions = decide(&model.snapshot(), model.now).actions;
    assert!(actions.first().is_some_and(Action::is_way_back), "it waits for nothing, whoever asks: {actions:?}");
    assert_eq!(actions.iter().filter(|action| action.is_way_back()).count(), 1, "{actions:?}");
    model.run_to(Phase::RolledBack);
    assert_eq!((live_of(&model), held_revisions(&model)), (of("hello:v1"), vec![of("hello:v3").as_str()]));
    assert!(model.status().why.contains("was taken back (undone by request)"), "{}", model.status().why);
}

#[test]
fn after_the_bake_the_older_template_is_a_release_and_the_abandoned_one_does_not_come_back() {
    let mut model = released(held("FullPolicy"), &["hello:v2"]);
    undo(&mut model, "hello:v2", "hello:v1");
    assert_eq!(
        (model.phase(), held_revisions(&model)),
        (Phase::Healthy, vec![of("hello:v2").as_str()]),
        "clients stay until there is a template"
    );
    model.set_image("hello:v1");
    model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of("hello:v1"));
    let ended = model.status().history.last().cloned().expect("a release");
    let alice = Asked { action: RequestAction::Undo, by: "alice".into(), verified: Some(true) };
    assert_eq!((ended.outcome, ended.replaced, ended.asked), (Outcome::Promoted, of("hello:v2"), vec![alice]));
    model.settle();
    model.assert_clean();
    // Git still says v2.
    model.set_image("hello:v2");
    model.run_to(Phase::RolledBack);
    assert_eq!((live_of(&model), model.status().history.len()), (of("hello:v1"), 2), "no release of it has begun");
    let held = model.status().canary.clone().expect("what is held");
    assert_eq!((held.revision, held.images), (of("hello:v2"), vec!["hello:v2".to_owned()]), "it is told like one that failed");
    // A third one that is promoted sets it free.
    for image in ["hello:v3", "hello:v2"] {
        model.set_image(image);
        model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of(image));
    }
    assert!(model.status().rejected.is_empty(), "{:?}", model.status().rejected);
}

#[test]
fn what_is_held_and_written_again_is_stalled_from_the_first_moment() {
    let mut model = released(held("FullPolicy"), &["hello:v2"]);
    undo(&mut model, "hello:v2", "hello:v1");
    model.set_image("hello:v1");
    model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of("hello:v1"));
    model.settle();
    // No admission policy has paused it in the write that changed its template.
    model.set_image("hello:v2");
    model.deployments[0].paused = false;
    model.control(Crash::Never);
    assert_eq!(model.phase(), Phase::RolledBack);
    assert!(!model.status().why.contains("is held"), "it is being stopped first: {}", model.status().why);
    let holds = |type_: &str| model.status().conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
    assert_eq!(["Ready", "Stalled", "Reconciling"].map(holds), [false, true, false]);
}

/// Goes back from one version to another one, to the end.
fn go_back(model: &mut Model, from: &str, to: &str) {
    undo(model, from, to);
    release(model, to);
}

#[test]
fn a_version_that_an_undo_leads_to_sets_nothing_free() {
    let mut model = released(held("FullPolicy"), &["hello:v2", "hello:v3"]);
    go_back(&mut model, "hello:v3", "hello:v2");
    go_back(&mut model, "hello:v2", "hello:v1");
    assert_eq!(held_revisions(&model), [of("hello:v3"), of("hello:v2")]);
    // Git still says v3.
    model.set_image("hello:v3");
    model.run_to(Phase::RolledBack);
    assert_eq!(live_of(&model), of("hello:v1"));
    // A fourth one that is promoted sets both free.
    release(&mut model, "hello:v4");
    assert_eq!(held_revisions(&model), [""; 0]);
}

#[test]
fn what_failed_is_held_on_when_an_older_version_is_gone_back_to() {
    let mut model = released(held("FullPolicy"), &["hello:v2"]);
    model.set_image("hello:v3");
    model.run_fast(|model| model.phase() == Phase::Progressing);
    make_unready(&mut model, "hello:v3");
    model.run_to(Phase::RolledBack);
    go_back(&mut model, "hello:v2", "hello:v1");
    assert_eq!(held_revisions(&model), [of("hello:v3"), of("hello:v2")]);
}

#[test]
fn a_revision_that_is_retried_and_promoted_is_held_no_longer() {
    let mut model = released(held("FullPolicy"), &["hello:v2", "hello:v3"]);
    go_back(&mut model, "hello:v3", "hello:v2");
    go_back(&mut model, "hello:v2", "hello:v1");
    model.set_image("hello:v2");
    model.run_to(Phase::RolledBack);
    let (id, action, revision) = (model.now.to_string(), RequestAction::Retry, of("hello:v2"));
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
    model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of("hello:v2"));
    assert_eq!(held_revisions(&model), [of("hello:v3")], "v3 was given up for this very one");
}

/// The revisions that are held, each with the one that an undo put in its place.
fn held_instead(model: &Model) -> Vec<(String, String)> {
    model.status().rejected.iter().map(|rejected| (rejected.revision.clone(), rejected.instead.clone())).collect()
}

fn make_unready(model: &mut Model, image: &str) {
    let uids: Vec<String> = model.pods_of(image).iter().map(|pod| pod.uid.clone()).collect();
    model.pods.iter_mut().filter(|pod| uids.contains(&pod.uid)).for_each(|pod| pod.ready = false);
}

#[test]
fn what_is_undone_while_it_is_taken_back_for_another_reason_does_not_come_back() {
    for action in [RequestAction::Undo, RequestAction::Abort] {
        let mut model = in_phase(&["hello:v2"], Phase::Progressing);
        let services = std::mem::take(&mut model.services);
        model.control(Crash::Never);
        assert_eq!((model.phase(), held_revisions(&model)), (Phase::RollingBack, vec![""; 0]), "the Service is gone");
        let to = (action == RequestAction::Undo).then(|| of("hello:v2"));
        let request = Request { id: "one".into(), action, revision: of("hello:v3"), to, reason: String::new(), by: String::new() };
        model.edit_spec(|spec| spec.request = Some(request));
        model.control(Crash::Never);
        assert_eq!(model.status().requests.last().map(|record| record.outcome.as_str()), Some("done: the release is being taken back"));
        model.services = services;
        model.run_to(Phase::RolledBack);
        let instead = if action == RequestAction::Undo { of("hello:v2") } else { String::new() };
        assert_eq!(held_instead(&model), [(of("hello:v3"), instead)], "{action:?}");
        model.run(|model| model.status().why.contains("is held"));
    }
}

#[test]
fn an_undo_to_an_older_one_is_on_record_whatever_else_takes_the_release_back() {
    for order in ["together", "failure first", "failure first, then an abort"] {
        let mut model = in_phase(&["hello:v2"], Phase::Progressing);
        model.run_fast(|model| model.status().traffic.as_ref().is_some_and(|traffic| traffic.routed == Some(50)));
        make_unready(&mut model, "hello:v3");
        if order != "together" {
            model.control(Crash::Never);
            assert_eq!((model.phase(), held_instead(&model)), (Phase::RollingBack, vec![(of("hello:v3"), String::new())]));
        }
        undo(&mut model, "hello:v3", "hello:v1");
        if order == "failure first, then an abort" {
            let (id, action, revision) = ("abort".into(), RequestAction::Abort, of("hello:v3"));
            model.edit_spec(|spec| {
                spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() });
            });
            model.control(Crash::Never);
        }
        assert_eq!(held_instead(&model), [(of("hello:v3"), of("hello:v1"))], "{order}");
        let reason = &model.status().rejected[0].reason;
        assert!(!reason.contains("by request"), "{order}: the failure is told: {reason}");
        release(&mut model, "hello:v1");
        assert_eq!(held_revisions(&model), [of("hello:v3")], "{order}");
    }
}

#[test]
fn an_undo_that_fails_is_taken_back_to_what_it_abandoned() {
    let mut model = released(held("FullPolicy"), &["hello:v2"]);
    undo(&mut model, "hello:v2", "hello:v1");
    model.set_image("hello:v1");
    model.run_fast(|model| model.phase() == Phase::Progressing);
    make_unready(&mut model, "hello:v1");
    model.run_to(Phase::RolledBack);
    assert_eq!(live_of(&model), of("hello:v2"));
    let held: Vec<(String, String)> = model.status().rejected.iter().map(|old| (old.revision.clone(), old.instead.clone())).collect();
    assert_eq!(held, [(of("hello:v2"), of("hello:v1")), (of("hello:v1"), String::new())], "the request before was for the other one");
    // Git goes back to what serves: nothing is released for that.
    model.set_image("hello:v2");
    model.run_to(Phase::Healthy);
}

#[test]
fn a_policy_decides_whether_a_version_that_was_live_is_held_again() {
    for (undo, image, minutes) in [("FullPolicy", "hello:v1", 180), ("Fast", "hello:v1", 60), ("Fast", "hello:v3", 180)] {
        let mut model = released(held(undo), &["hello:v2"]);
        let began = model.now;
        model.set_image(image);
        model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of(image));
        let took = model.now.duration_since(began).as_secs() / 60;
        assert_eq!(took, minutes, "{undo} {image}: what is kept warm afterwards is kept all the same");
        let told = model.notices.iter().any(|notice| notice.ends_with("without holds (undo: Fast)"));
        assert_eq!(told, minutes == 60, "{undo} {image}: {:?}", model.notices);
    }
}

#[test]
fn without_holds_every_weight_is_confirmed_and_every_gate_asked() {
    let mut policy = held("Fast");
    policy.gates = serde_json::from_value(json!([{"name": "sign-off", "approval": {"weight": 50}}])).expect("a gate");
    let mut model = Model::new(2, policy);
    model.run_to(Phase::Healthy);
    let approve = |model: &mut Model| {
        model.run_fast(|model| model.status().why.contains("send an Approve request"));
        let (id, action, revision) = (model.now.to_string(), RequestAction::Approve, model.hello().revision.clone());
        model.edit_spec(|spec| {
            spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() });
        });
        model.run_fast(|model| model.phase() == Phase::Healthy && model.hello().revision == live_of(model));
    };
    model.set_image("hello:v2");
    approve(&mut model);
    model.notices.clear();
    model.set_image("hello:v1");
    approve(&mut model);
    let confirmed: Vec<&String> = model.notices.iter().filter(|notice| notice.starts_with("WeightConfirmed")).collect();
    assert_eq!(confirmed.len(), 2, "{confirmed:?}");
}

#[test]
fn a_revision_that_was_abandoned_and_is_retried_is_held_at_every_step() {
    let mut model = released(held("Fast"), &["hello:v2"]);
    undo(&mut model, "hello:v2", "hello:v1");
    model.set_image("hello:v1");
    model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of("hello:v1"));
    model.set_image("hello:v2");
    model.run_to(Phase::RolledBack);
    let (id, action, revision) = (model.now.to_string(), RequestAction::Retry, of("hello:v2"));
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
    model.run_fast(|model| model.phase() == Phase::Progressing);
    let release = model.status().release.clone().expect("a release");
    assert_eq!(release.policy, *model.policy);
}

#[test]
fn a_controller_that_dies_at_an_undo_forgets_nothing() {
    for writes in 0..4 {
        for template_first in [true, false] {
            let mut model = released(held("Fast"), &["hello:v2"]);
            if template_first {
                model.set_image("hello:v1");
            }
            let (id, action, revision) = ("one".into(), RequestAction::Undo, of("hello:v2"));
            let request = Request { id, action, revision, to: Some(of("hello:v1")), reason: String::new(), by: String::new() };
            model.edit_spec(|spec| spec.request = Some(request));
            model.control(Crash::After(writes));
            model.set_image("hello:v1");
            model.run_fast(|model| model.phase() == Phase::Healthy && live_of(model) == of("hello:v1"));
            assert_eq!(held_revisions(&model), [of("hello:v2")], "{writes} {template_first}");
            let asked = model.status().history.last().map(|ended| ended.asked.len());
            assert_eq!(asked, Some(1), "{writes} {template_first}");
        }
    }
}

fn ended(outcome: Outcome, revision: u8, replaced: u8, undone: bool) -> HistoryEntry {
    let asked = if undone { vec![Asked { action: RequestAction::Undo, by: String::new(), verified: None }] } else { Vec::new() };
    let time = "2026-11-21T10:00:00Z".parse().expect("a time");
    let (revision, replaced) = (revision.to_string(), replaced.to_string());
    HistoryEntry {
        revision,
        images: vec![],
        outcome,
        started_at: time,
        ended_at: time,
        max_weight: 100,
        reason: String::new(),
        replaced,
        asked,
    }
}

#[test]
fn what_was_live_and_was_not_given_up_is_known_from_the_history() {
    use Outcome::{Promoted, RolledBack, ScaledToZero, Superseded, Unguarded};
    for (history, was) in [
        (vec![], false),
        (vec![ended(Promoted, 1, 0, false)], true),
        (vec![ended(Promoted, 2, 1, false)], true),
        (vec![ended(Promoted, 2, 1, true)], false),
        (vec![ended(Promoted, 1, 0, false), ended(RolledBack, 1, 0, false)], false),
        (vec![ended(Promoted, 1, 0, false), ended(Superseded, 1, 0, false)], true),
        (vec![ended(RolledBack, 1, 0, false), ended(Promoted, 1, 0, false)], true),
        (vec![ended(Unguarded, 1, 0, false)], false),
        (vec![ended(ScaledToZero, 1, 0, false)], false),
        (vec![ended(Unguarded, 2, 1, false)], false),
    ] {
        assert_eq!(was_live(&history, "1"), was, "{history:?}");
    }
}

#[test]
fn what_was_abandoned_last_is_known_from_the_history_until_it_is_live_again() {
    use Outcome::{Promoted, RolledBack, Superseded, Unguarded};
    for (history, was) in [
        (vec![], false),
        (vec![ended(Promoted, 2, 1, false)], false),
        (vec![ended(Promoted, 2, 1, true)], true),
        (vec![ended(Promoted, 2, 1, true), ended(Promoted, 3, 2, false)], true),
        (vec![ended(Promoted, 2, 1, true), ended(Superseded, 1, 0, false)], true),
        (vec![ended(Promoted, 2, 1, true), ended(Promoted, 1, 2, false)], false),
        (vec![ended(Promoted, 2, 1, true), ended(Unguarded, 1, 2, false), ended(Unguarded, 3, 1, false)], false),
        (vec![ended(Promoted, 1, 0, false), ended(Promoted, 2, 1, false), ended(RolledBack, 1, 0, true)], true),
        (vec![ended(Promoted, 1, 0, false), ended(Promoted, 2, 1, false), ended(RolledBack, 1, 0, false)], false),
    ] {
        assert_eq!(was_abandoned(&history, "1"), was, "{history:?}");
    }
}

proptest! {
    /// The same, told forwards: what each release makes of the revisions that there are.
    #[test]
    fn a_revision_is_known_by_the_last_thing_that_became_of_it(ends in prop::collection::vec((0u8..4, 0u8..4, any::<bool>()), 0..12)) {
        let (mut live, mut good, mut history) = (0_u8, [false; 4], Vec::new());
        for (revision, outcome, undone) in ends.into_iter().filter(|(revision, ..)| *revision < 4) {
            let outcome = [Outcome::Promoted, Outcome::RolledBack, Outcome::Superseded, Outcome::Unguarded][usize::from(outcome)];
            if revision == live {
                continue;
            }
            let replaced = live;
            match outcome {
                Outcome::Promoted => {
                    good[usize::from(live)] = !undone;
                    good[usize::from(revision)] = true;
                    live = revision;
                }
                Outcome::RolledBack => good[usize::from(revision)] = false,
                Outcome::Unguarded => {
                    good[usize::from(revision)] = false;
                    live = revision;
                }
                Outcome::Superseded | Outcome::ScaledToZero => {}
            }
            history.push(ended(outcome, revision, replaced, undone));
        }
        for revision in 0..4_u8 {
            prop_assert_eq!(was_live(&history, &revision.to_string()), good[usize::from(revision)], "{} {:?}", revision, history);
        }
    }
}
