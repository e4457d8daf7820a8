//! The preview, in whole releases of both kinds of pair.

use serde_json::json;

use crate::api::{
    PolicySpec,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase, Preview},
};

use crate::core::{
    decide::decide,
    facts::{
        Rival,
        labels::subset,
        pin::{Keys, MANAGED, Pin},
        pod::PodFacts,
        service::ServiceFacts,
    },
    tests::model::{Crash, Model, VERSIONS, policy},
};

const NEXT: &str = "hello-next";
const PAIRS: [Kind; 2] = [Kind::Managed, Kind::Declared];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Managed,
    Declared,
}

/// Quarters that last until they are promoted.
fn held() -> PolicySpec {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "1h"}));
    policy(json!({"steps": steps, "keepPrevious": "1s", "settle": "0s", "progressDeadline": "60s"}))
}

fn brisk() -> PolicySpec {
    policy(
        json!({"steps": [{"weight": 50}, {"weight": 75}, {"weight": 100}], "keepPrevious": "1s", "settle": "0s", "progressDeadline": "60s"}),
    )
}

impl Kind {
    /// At rest, with a preview.
    fn at_rest(self, policy: PolicySpec) -> Model {
        let mut model = match self {
            Self::Managed => Model::new(4, policy),
            Self::Declared => Model::declared(&[4, 4], policy),
        };
        model.add_preview(NEXT);
        model.run(|model| model.phase() == Phase::Healthy && model.recorded.preview.is_some() && is_at_rest(model));
        model
    }

    /// The same, with a release that has a canary and no client yet, and stays so.
    fn dark(self) -> Model {
        let mut model = self.at_rest(held());
        model.edit_spec(|spec| spec.paused = true);
        self.release(&mut model, 2);
        model.run(|model| !address(model).is_empty() && canary_pods(model).iter().any(|pod| pod.ready));
        model
    }

    /// A release at this weight.
    fn at_weight(self, weight: u8) -> Model {
        let mut model = self.at_rest(held());
        self.release(&mut model, 2);
        for step in [25, 50, 75, 100] {
            model.run(|model| model.status().step.as_ref().is_some_and(|at| at.weight == step && at.since.is_some()));
            if step == weight {
                break;
            }
            model.tick(1_000);
            request(&mut model, RequestAction::Promote);
        }
        model
    }

    /// The version of this number is to be live.
    fn release(self, model: &mut Model, number: u8) {
        match self {
            Self::Managed => model.set_image(&format!("hello:v{number}")),
            Self::Declared => model.set_live(VERSIONS[usize::from(number - 1)]),
        }
    }
}

fn keys(model: &Model) -> Keys<'static> {
    if model.is_declared() { Keys { side: "version" } } else { MANAGED }
}

fn service<'a>(model: &'a Model, name: &str) -> &'a ServiceFacts {
    model.services.iter().find(|service| service.name == name).expect("the Service")
}

fn pin_of(model: &Model, name: &str) -> Pin {
    keys(model).pin(&service(model, name).selector)
}

fn address(model: &Model) -> &str {
    model.status().preview.as_ref().map_or("", |preview| &preview.address)
}

fn canary_pods(model: &Model) -> Vec<&PodFacts> {
    model.pods_of("hello:v2")
}

/// Ready pods behind a Service.
fn behind<'a>(model: &'a Model, name: &str) -> Vec<&'a PodFacts> {
    let selector = &service(model, name).selector;
    model.pods.iter().filter(|pod| pod.serves() && subset(selector, &pod.labels)).collect()
}

/// Whether the preview is as its owner wrote it, or, of a declared pair, has the live version's key.
fn is_at_rest(model: &Model) -> bool {
    let live = model.status().stable.as_ref().map(|stable| stable.name.trim_start_matches("hello-").to_owned());
    let rest = if model.is_declared() { Pin::Side(live.unwrap_or_default()) } else { Pin::Open };
    model.status().release.is_none() && model.services.iter().skip(1).all(|service| keys(model).pin(&service.selector) == rest)
}

fn request(model: &mut Model, action: RequestAction) {
    let revision = model.status().release.as_ref().map(|release| release.revision.clone()).unwrap_or_default();
    let id = model.now.to_string();
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
}

fn outcome(model: &Model) -> Option<Outcome> {
    model.status().history.last().map(|entry| entry.outcome)
}

fn rounds(model: &mut Model, number: usize) {
    for _ in 0..number {
        model.control(Crash::Never);
        model.settle();
        model.tick(250);
    }
}

fn told(model: &Model) -> usize {
    model.notices.iter().filter(|notice| notice.starts_with("PreviewUnavailable")).count()
}

#[test]
fn it_reaches_the_canary_alone_before_the_first_client_does() {
    for kind in PAIRS {
        let model = kind.dark();
        let canary: Vec<&str> = canary_pods(&model).iter().map(|pod| pod.uid.as_str()).collect();
        let (shown, served) = (behind(&model, NEXT), behind(&model, "hello"));
        assert!(!shown.is_empty() && shown.iter().all(|pod| canary.contains(&pod.uid.as_str())), "{kind:?}");
        assert!(served.iter().all(|pod| !canary.contains(&pod.uid.as_str())), "{kind:?}");
        assert_eq!((address(&model), model.phase()), ("http://hello-next.shop", Phase::Preparing), "{kind:?}");
        assert!(decide(&model.snapshot(), model.now).actions.is_empty(), "{kind:?}: nothing is written twice");
    }
}

#[test]
fn it_shows_the_canary_at_every_weight_and_counts_for_none() {
    for kind in PAIRS {
        for weight in [25, 50, 75, 100] {
            let model = kind.at_weight(weight);
            let revision = model.status().release.as_ref().map(|release| release.revision.clone());
            let images: Vec<bool> =
                behind(&model, NEXT).iter().map(|pod| canary_pods(&model).iter().any(|own| own.uid == pod.uid)).collect();
            assert!(!images.is_empty() && images.iter().all(|own| *own), "{kind:?} at {weight} %: {revision:?}");
            let mut without = model.snapshot();
            without.services.retain(|service| service.name != NEXT);
            let (with, without) = (decide(&model.snapshot(), model.now).status, decide(&without, model.now).status);
            assert_eq!((with.traffic, with.step, with.gates, with.why), (without.traffic, without.step, without.gates, without.why));
        }
    }
}

#[test]
fn it_is_its_owners_again_at_every_end() {
    type End = (&'static str, fn(Kind, &mut Model), fn(&Model) -> bool);
    let ends: [End; 5] = [
        ("promoted", |_, model| request(model, RequestAction::PromoteFull), |model| outcome(model) == Some(Outcome::Promoted)),
        ("aborted", |_, model| request(model, RequestAction::Abort), |model| outcome(model) == Some(Outcome::RolledBack)),
        ("reverted", |kind, model| kind.release(model, 1), |model| outcome(model) == Some(Outcome::Superseded)),
        (
            "unready",
            |_, model| {
                let canary: Vec<String> = canary_pods(model).iter().map(|pod| pod.uid.clone()).collect();
                model.pods.iter_mut().filter(|pod| canary.contains(&pod.uid)).for_each(|pod| pod.ready = false);
            },
            |model| outcome(model) == Some(Outcome::RolledBack),
        ),
        ("deleted", |_, model| model.rollout.deleting = true, |model| !model.rollout.has_finalizer),
    ];
    for kind in PAIRS {
        for weight in [25, 50, 75, 100] {
            for (name, end, is_over) in ends {
                let mut model = kind.at_weight(weight);
                end(kind, &mut model);
                if name == "promoted" {
                    model.run(|model| model.status().step.as_ref().is_some_and(|at| at.weight == 100 && at.since.is_some()));
                    model.tick(1_000);
                    request(&mut model, RequestAction::Promote);
                }
                model.run(is_over);
                // What gives it back on the way out goes before the finalizer.
                let rest = if name == "deleted" { 0 } else { 4 };
                rounds(&mut model, rest);
                assert!(is_at_rest(&model) && address(&model).is_empty(), "{kind:?} {name} at {weight} %\n{}", model.trace.join("\n"));
                assert_eq!(told(&model), 0, "{kind:?} {name} at {weight} %: {:?}", model.notices);
            }
        }
    }
}

#[test]
fn a_release_in_the_place_of_another_shows_its_own_canary() {
    let mut model = Kind::Managed.at_weight(50);
    model.edit_spec(|spec| spec.paused = true);
    model.set_image("hello:v3");
    model.run(|model| {
        model.status().release.as_ref().is_some_and(|release| release.revision == model.revision_of(3)) && !address(model).is_empty()
    });
    model.run(|model| !behind(model, NEXT).is_empty());
    let third: Vec<&str> = model.pods_of("hello:v3").iter().map(|pod| pod.uid.as_str()).collect();
    assert!(behind(&model, NEXT).iter().all(|pod| third.contains(&pod.uid.as_str())));
}

#[test]
fn clients_go_back_before_it_is_touched() {
    for kind in PAIRS {
        let mut model = kind.at_weight(75);
        // Somebody applies what the owner wrote, in the very moment of the failure.
        let preview = model.services.iter_mut().find(|service| service.name == NEXT).expect("the preview");
        preview.selector = [("app".to_owned(), "hello".to_owned())].into();
        request(&mut model, RequestAction::Abort);
        model.trace.clear();
        model.control(Crash::Never);
        assert!(model.trace.iter().any(|line| line.starts_with("PinService")), "{kind:?}");
        assert!(model.trace.iter().all(|line| !line.starts_with("PinPreview")), "{kind:?}\n{}", model.trace.join("\n"));
        model.run(|model| model.phase() == Phase::RolledBack && is_at_rest(model));
    }
}

#[test]
fn a_canary_that_is_kept_for_debugging_is_kept_in_it() {
    let mut model = Kind::Managed.at_rest(PolicySpec { on_failure: crate::api::policy::OnFailure::Pause, ..held() });
    model.set_image("hello:v2");
    model.run(|model| model.status().step.as_ref().is_some_and(|at| at.since.is_some()));
    let canary: Vec<String> = canary_pods(&model).iter().map(|pod| pod.uid.clone()).collect();
    model.pods.iter_mut().filter(|pod| canary.contains(&pod.uid)).for_each(|pod| pod.ready = false);
    model.run(|model| model.status().why.contains("kept without clients"));
    rounds(&mut model, 2);
    assert_eq!(address(&model), "http://hello-next.shop");
    request(&mut model, RequestAction::Abort);
    model.run(|model| model.phase() == Phase::RolledBack && is_at_rest(model));
    assert_eq!(address(&model), "");
}

#[test]
fn nothing_waits_for_one_that_cannot_be_written() {
    for kind in PAIRS {
        let mut model = kind.at_rest(brisk());
        model.preview_fails = true;
        kind.release(&mut model, 2);
        model.run(|model| outcome(model) == Some(Outcome::Promoted));
        assert_eq!(address(&model), "");
        model.preview_fails = false;
        model.run(is_at_rest);
    }
    let mut model = Kind::Managed.at_weight(50);
    model.preview_fails = true;
    request(&mut model, RequestAction::Abort);
    model.run(|model| model.phase() == Phase::RolledBack);
    assert!(!is_at_rest(&model));
    // The one end that waits for it.
    model.rollout.deleting = true;
    rounds(&mut model, 20);
    assert!(model.rollout.has_finalizer);
    model.preview_fails = false;
    model.run(|model| !model.rollout.has_finalizer);
    assert!(is_at_rest(&model));
}

#[test]
fn a_release_goes_on_without_one_that_is_gone() {
    for kind in PAIRS {
        let mut model = kind.at_weight(50);
        model.services.retain(|service| service.name != NEXT);
        rounds(&mut model, 3);
        assert_eq!((address(&model), told(&model)), ("", 1), "{kind:?}: told once: {:?}", model.notices);
        let said = model.status().preview.as_ref().map(|preview| preview.message.clone()).unwrap_or_default();
        assert!(said.contains("hello-next (spec.preview) not found"), "{said}");
        request(&mut model, RequestAction::PromoteFull);
        model.run(|model| model.status().step.as_ref().is_some_and(|at| at.weight == 100 && at.since.is_some()));
        model.tick(1_000);
        request(&mut model, RequestAction::Promote);
        model.run(|model| outcome(model) == Some(Outcome::Promoted));
        rounds(&mut model, 2);
        let accepted = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted");
        assert_eq!(accepted.map(|accepted| accepted.reason.as_str()), Some("ServiceNotFound"), "no new release: {kind:?}");
    }
}

#[test]
fn another_one_in_mid_release_takes_its_place_and_the_first_is_given_back() {
    for kind in PAIRS {
        let mut model = kind.at_weight(50);
        let shown = pin_of(&model, NEXT);
        model.add_preview("hello-other");
        model.run(|model| address(model) == "http://hello-other.shop");
        let rest = if kind == Kind::Declared { Pin::Side("blue".into()) } else { Pin::Open };
        assert_eq!((pin_of(&model, NEXT), pin_of(&model, "hello-other")), (rest.clone(), shown), "{kind:?}");
        model.edit_spec(|spec| spec.preview = None);
        model.run(|model| model.status().preview.is_none());
        assert_eq!(pin_of(&model, "hello-other"), rest, "{kind:?}");
    }
}

#[test]
fn a_service_of_other_pods_is_never_written() {
    for kind in PAIRS {
        let mut model = kind.at_weight(50);
        model.add_preview("website");
        let website = model.services.iter_mut().find(|service| service.name == "website").expect("it");
        website.selector = [("app".to_owned(), "website".to_owned())].into();
        model.trace.clear();
        rounds(&mut model, 20);
        assert!(!model.trace.iter().any(|line| line.starts_with("PinPreview") && line.contains("website")), "{}", model.trace.join("\n"));
        let said = model.status().preview.as_ref().map(|preview| preview.message.clone()).unwrap_or_default();
        assert!(said.contains("Service website (spec.preview) selects app=website") && told(&model) == 1, "{kind:?}: {said}");
        model.edit_spec(|spec| spec.preview = None);
        model.run(|model| model.status().preview.is_none());
        assert!(!model.trace.iter().any(|line| line.starts_with("PinPreview") && line.contains("website")), "{}", model.trace.join("\n"));
    }
}

#[test]
fn what_an_older_rollout_has_is_not_written() {
    for kind in PAIRS {
        let mut model = kind.at_weight(50);
        let before = pin_of(&model, NEXT);
        let created_at = model.rollout.created_at;
        let services = vec![NEXT.to_owned()];
        model.rivals.push(Rival { name: "older".into(), uid: "a".into(), created_at, deployments: Vec::new(), services });
        request(&mut model, RequestAction::Abort);
        model.run(|model| model.status().release.is_none());
        rounds(&mut model, 8);
        assert_eq!(pin_of(&model, NEXT), before, "{kind:?}");
        model.rollout.deleting = true;
        model.run(|model| !model.rollout.has_finalizer);
        assert_eq!(pin_of(&model, NEXT), before, "{kind:?}");
    }
}

#[test]
fn what_cannot_be_a_preview_is_refused_in_a_sentence_that_names_the_field() {
    type Wrong = fn(&mut Model);
    let wrongs: [(&str, &str, Wrong); 5] = [
        ("ServiceNotFound", "Service hello-next (spec.preview) not found", |model| model.services.truncate(1)),
        ("ServiceNotSelecting", "Service hello-next (spec.preview) selects app=website", |model| {
            model.services[1].selector.insert("app".into(), "website".into());
        }),
        ("ServiceUnsuitable", "Service hello-next (spec.preview) has publishNotReadyAddresses: true", |model| {
            model.services[1].publish_not_ready = true;
        }),
        ("RivalRollout", "already has Service hello-next (spec.preview)", |model| {
            let created_at = model.rollout.created_at;
            let services = vec![NEXT.to_owned()];
            model.rivals.push(Rival { name: "older".into(), uid: "a".into(), created_at, deployments: Vec::new(), services });
        }),
        ("UnlistedService", "are also behind Service hello-next", |model| model.edit_spec(|spec| spec.preview = None)),
    ];
    for (reason, says, wrong) in wrongs {
        let mut model = Model::new(2, brisk());
        model.add_preview(NEXT);
        wrong(&mut model);
        rounds(&mut model, 4);
        let accepted = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("Accepted");
        assert!(accepted.reason == reason && accepted.message.contains(says), "{reason}: {}", accepted.message);
        assert_eq!(model.status().preview, None::<Preview>, "{reason}");
    }
    let mut model = Model::worker(2, policy(json!({"steps": [{"weight": 50}, {"weight": 100}]})));
    model.edit_spec(|spec| spec.preview = Some(NEXT.into()));
    rounds(&mut model, 4);
    let accepted = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("Accepted");
    assert_eq!(accepted.reason, "NeedsService", "{}", accepted.message);
}

#[test]
fn a_selector_that_somebody_overwrites_is_written_again() {
    for kind in PAIRS {
        let mut model = kind.at_weight(50);
        let shown = pin_of(&model, NEXT);
        let preview = model.services.iter_mut().find(|service| service.name == NEXT).expect("the preview");
        preview.selector = [("app".to_owned(), "hello".to_owned())].into();
        model.run(|model| pin_of(model, NEXT) == shown);
        assert_eq!(model.status().step.as_ref().map(|at| at.weight), Some(50), "{kind:?}");
    }
}

#[test]
fn a_crash_after_any_write_changes_nothing_about_the_outcome() {
    for kind in PAIRS {
        for every in 2..24 {
            for outcome_wanted in [Outcome::Promoted, Outcome::RolledBack] {
                let mut model = kind.at_rest(brisk());
                kind.release(&mut model, 2);
                let mut asked = false;
                for round in 0..4_000 {
                    let weight = model.status().step.as_ref().map_or(0, |at| at.weight);
                    if outcome_wanted == Outcome::RolledBack && !asked && weight == 75 {
                        request(&mut model, RequestAction::Abort);
                        asked = true;
                    }
                    if outcome(&model).is_some() && is_at_rest(&model) && model.recorded.release.is_none() {
                        break;
                    }
                    let crash = if round % every == 0 { Crash::After(round % 4) } else { Crash::Never };
                    model.control(crash);
                    if round % 2 == 0 {
                        model.settle();
                    }
                    model.tick(250);
                    assert!(round < 3_999, "no end: {:?} {}\n{}", model.phase(), model.status().why, model.trace.join("\n"));
                }
                rounds(&mut model, 4);
                assert_eq!(outcome(&model), Some(outcome_wanted), "{kind:?} every {every}\n{}", model.trace.join("\n"));
                assert!(is_at_rest(&model), "{kind:?} every {every}\n{}", model.trace.join("\n"));
            }
        }
    }
}
