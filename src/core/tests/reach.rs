//! Reachability is a law: no client is moved to a version that a port of a Service does not reach, whatever owners write.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::status::{Outcome, Phase};

use crate::core::{
    decide::decide,
    decision::action::Action,
    facts::{
        observed::ProbeFacts,
        pin::{MANAGED, Pin},
        port::TargetPort,
        revision::{digest, revision},
        service::ServiceFacts,
    },
    tests::model::{Crash, Model, policy, quarters, template},
    why::Why,
};

/// What its owner does to a Service.
type Edit = fn(&mut ServiceFacts);

fn healthy(replicas: i32) -> Model {
    let mut model = Model::new(replicas, quarters());
    model.run_to(Phase::Healthy);
    for _ in 0..3 {
        model.control(Crash::Never);
        model.settle();
    }
    model
}

/// The user's apply of another template, with the pause policy in effect.
fn apply(model: &mut Model, image: &str, ports: Value) {
    let mut template = template(image);
    template["spec"]["containers"][0]["ports"] = ports;
    model.set_image(image);
    let hello = model.deployments.iter_mut().find(|deployment| deployment.name == "hello").expect("hello");
    hello.revision = revision(&template);
    hello.digest = digest(&template);
    hello.template = Arc::new(template);
}

/// The Service's owner edits it.
fn edit(model: &mut Model, edit: impl FnOnce(&mut ServiceFacts)) {
    let service = &mut model.services[0];
    edit(service);
    service.resource_version.push('0');
    model.endpoints();
}

fn at_50(replicas: i32) -> Model {
    let mut model = Model::new(
        replicas,
        policy(json!({"steps": [{"weight": 50, "hold": "1h"}, {"weight": 100}], "settle": "0s", "progressDeadline": "60s"})),
    );
    model.run_to(Phase::Healthy);
    model.set_image("hello:v2");
    model.run(|model| model.status().step.as_ref().is_some_and(|step| step.since.is_some()));
    model
}

/// A quarter of an hour in which nobody does anything.
fn wait(model: &mut Model) {
    for _ in 0..90 {
        model.control(Crash::Never);
        model.settle();
        model.tick(10_000);
    }
}

fn accepted(model: &Model) -> (String, String) {
    let condition = model.status().conditions.iter().find(|condition| condition.type_ == "Accepted").expect("a condition");
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn a_template_that_renames_the_port_of_a_service_is_refused_before_anything_is_written() {
    let mut model = healthy(4);
    apply(&mut model, "hello:v2", json!([{"name": "web", "containerPort": 8080}]));
    model.trace.clear();
    wait(&mut model);
    assert!(model.trace.iter().all(|line| line.starts_with("status")), "{:?}", model.trace);
    let (reason, said) = accepted(&model);
    assert_eq!(reason, "PortMissing");
    for word in ["port 80 of Service hello (services)", "named http (TCP)", "Deployment hello", "web"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!((model.pods_of("hello:v1").len(), model.pods_of("hello:v2").len()), (4, 0));
    // The way out that it names.
    apply(&mut model, "hello:v2", json!([{"name": "web", "containerPort": 8080}, {"name": "http", "containerPort": 8081}]));
    model.run(|model| model.phase() == Phase::Healthy && model.pods_of("hello:v1").is_empty());
    assert_eq!((accepted(&model).0.as_str(), model.pods_of("hello:v2").len()), ("Accepted", 4));
    model.assert_clean();
}

#[test]
fn a_service_edited_in_mid_release_so_that_it_misses_a_side_holds_the_step_and_blames_nobody() {
    let lacking: [(&str, Edit); 3] = [
        ("PortMissing", |service| service.ports[0].target = TargetPort::Name("web".into())),
        ("ServiceNotSelecting", |service| drop(service.selector.insert("app".into(), "website".into()))),
        ("ServiceNotSelecting", |service| drop(service.selector.insert("tier".into(), "web".into()))),
    ];
    for (reason, change) in lacking {
        let mut model = at_50(4);
        let (selector, ports) = (model.services[0].selector.clone(), model.services[0].ports.clone());
        edit(&mut model, change);
        model.trace.clear();
        wait(&mut model);
        assert!(model.trace.iter().all(|line| line.starts_with("status")), "{:?}", model.trace);
        assert_eq!((model.phase(), accepted(&model).0.as_str()), (Phase::Progressing, reason));
        assert!(model.status().why.contains("Service hello"), "{}", model.status().why);
        assert_eq!(model.status().traffic.as_ref().and_then(|traffic| traffic.routed), None);
        edit(&mut model, |service| (service.selector, service.ports) = (selector, ports));
        model.run_fast(|model| model.phase() == Phase::Healthy && model.status().release.is_none());
        assert!(model.status().rejected.is_empty());
        assert_eq!(model.status().history.last().map(|entry| entry.outcome), Some(Outcome::Promoted));
        model.assert_clean();
    }
}

#[test]
fn a_weight_is_confirmed_by_endpoints_of_every_port_and_never_by_none() {
    let mut model = at_50(2);
    let step = |model: &Model| model.status().step.clone().expect("a step");
    assert!(matches!(decide(&model.snapshot(), model.now).wait.why, Why::Holding { .. }), "{}", model.status().why);
    model.services[0].reached.clear();
    let why = decide(&model.snapshot(), model.now).wait.why;
    assert!(matches!(why, Why::Confirming { .. }), "{why:?} {:?}", step(&model));
    model.endpoints();
    model.services[0].reached.values_mut().for_each(|uids| drop(uids.pop_first()));
    let why = decide(&model.snapshot(), model.now).wait.why;
    assert!(matches!(why, Why::Confirming { .. }), "{why:?}");
}

#[test]
fn a_version_that_does_not_listen_where_the_service_leads_gets_no_client() {
    let mut model = healthy(4);
    model.services[0].ports[0].target = TargetPort::Number(8080);
    model.deaf = vec![8080];
    apply(&mut model, "hello:v2", json!([{"name": "http", "containerPort": 9090}]));
    model.run(|model| matches!(decide(&model.snapshot(), model.now).wait.why, Why::Connecting { last: Some(_), .. }));
    let said = decide(&model.snapshot(), model.now).status.why;
    for word in ["to take connections at 8080", "port 80 of Service hello", "connection refused", "until "] {
        assert!(said.contains(word), "{word}: {said}");
    }
    model.run_fast(|model| model.phase() == Phase::RolledBack && model.status().release.is_none());
    assert_eq!(model.status().history.last().map(|entry| entry.max_weight), Some(0));
    let reason = model.status().rejected.last().map(|rejected| rejected.reason.clone()).unwrap_or_default();
    assert!(reason.contains("to take connections at 8080"), "{reason}");
    model.assert_clean();
}

#[test]
fn a_port_that_the_live_version_does_not_answer_at_either_says_nothing_of_the_new_one() {
    let mut model = healthy(2);
    model.deaf = vec![8080];
    model.set_image("hello:v2");
    model.run(|model| matches!(decide(&model.snapshot(), model.now).wait.why, Why::Connecting { .. }));
    let probes = decide(&model.snapshot(), model.now).probes;
    assert!(!probes.is_empty() && probes.iter().all(|probe| probe.control.is_some()), "{probes:?}");
    let blocked =
        ProbeFacts { successes: 0, failures: 0, last: String::new(), unknown: Some("ProbePathBlocked".into()), failing_since: None };
    model.probes = probes.iter().map(|probe| ((probe.gate.clone(), probe.pod.uid.clone()), blocked.clone())).collect();
    let why = decide(&model.snapshot(), model.now).wait.why;
    assert!(!matches!(why, Why::Connecting { .. }), "{why:?}");
}

#[test]
fn every_listed_service_is_looked_at() {
    let mut model = healthy(2);
    let mut admin = model.services[0].clone();
    admin.name = "admin".into();
    admin.ports[0].target = TargetPort::Name("admin".into());
    model.services.push(admin);
    model.edit_spec(|spec| spec.services.push("admin".into()));
    model.set_image("hello:v2");
    model.control(Crash::Never);
    let (reason, said) = accepted(&model);
    assert!(reason == "PortMissing" && said.contains("Service admin"), "{said}");
    let decision = decide(&model.snapshot(), model.now);
    assert!(decision.actions.iter().all(|action| !matches!(action, Action::PinService { .. })), "{:?}", decision.actions);
    assert!(model.services.iter().all(|service| MANAGED.pin(&service.selector) == Pin::Open));
}

#[test]
fn a_service_taken_off_the_list_in_mid_release_has_its_selector_back_at_once() {
    for weight in [75, 100] {
        let steps = json!({"steps": [{"weight": 25}, {"weight": 75, "hold": "1h"}, {"weight": 100, "hold": "1h"}], "settle": "0s"});
        let mut model = Model::new(4, policy(steps));
        model.run_to(Phase::Healthy);
        let mut admin = model.services[0].clone();
        admin.name = "admin".into();
        model.services.push(admin);
        model.edit_spec(|spec| spec.services.push("admin".into()));
        model.set_image("hello:v2");
        let pinned = |model: &Model| MANAGED.pin(&model.services[1].selector) != Pin::Open;
        let is_there = |model: &Model| model.status().step.as_ref().is_some_and(|step| step.weight == weight && step.since.is_some());
        model.run_fast(is_there);
        assert!(pinned(&model));
        model.edit_spec(|spec| spec.services.retain(|name| name == "hello"));
        model.control(Crash::Never);
        assert!(!pinned(&model), "{weight} %\n{}", model.trace.join("\n"));
        model.run_fast(|model| model.phase() == Phase::Healthy && model.status().release.is_none());
        model.assert_clean();
    }
}

#[test]
fn a_service_taken_off_the_list_is_found_by_a_rollback_too() {
    let mut model = at_50(2);
    let mut admin = model.services[0].clone();
    let canary = model.status().canary.as_ref().map(|canary| canary.hash.clone()).unwrap_or_default();
    admin.name = "admin".into();
    admin.selector = MANAGED.apply(&Pin::Side(canary), &admin.selector);
    model.services.push(admin);
    let stranger = MANAGED.apply(&Pin::Side("of-somebody-else".into()), &model.services[0].selector.clone());
    let mut debug = model.services[0].clone();
    (debug.name, debug.selector) = ("debug".into(), stranger.clone());
    model.services.push(debug);
    model.endpoints();
    let revision = model.hello().revision.clone();
    let (id, action) = ("abort".into(), crate::api::rollout::RequestAction::Abort);
    model.edit_spec(|spec| {
        spec.request = Some(crate::api::rollout::Request { id, action, revision, to: None, reason: String::new(), by: String::new() });
    });
    model.run_to(Phase::RolledBack);
    assert_eq!(MANAGED.pin(&model.services[1].selector), Pin::Open);
    assert_eq!(model.services[2].selector, stranger, "what others pinned is theirs");
}
