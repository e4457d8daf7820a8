//! Whole releases with session affinity, on the model, and the clients that come back again and again all through them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::{
    PolicySpec,
    rollout::{Request, RequestAction},
    status::{Outcome, Phase},
};

use crate::core::{
    decision::record::{Difference, difference, is_recorded},
    facts::{
        pin::{MANAGED, Pin},
        service::SessionAffinity::{self, ClientIp, Off},
    },
    tests::model::{Crash, Model, policy},
};

/// Quarters with affinity, and what is otherwise.
fn sticky(different: &Value) -> PolicySpec {
    let mut text = json!({
        "steps": [{"weight": 25}, {"weight": 50}, {"weight": 75}, {"weight": 100}], "affinity": {"clientIP": {"timeout": "10m"}},
        "keepPrevious": "1s", "settle": "0s", "progressDeadline": "60s",
    });
    json_patch::merge(&mut text, different);
    policy(text)
}

/// Steps that are held until they are promoted.
fn held() -> PolicySpec {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "1h"}));
    sticky(&json!({"steps": steps}))
}

fn healthy(replicas: i32, policy: PolicySpec, owners: SessionAffinity) -> Model {
    let mut model = Model::new(replicas, policy);
    model.set_affinity(owners);
    model.run_to(Phase::Healthy);
    model
}

/// A release of v2 that has its weight confirmed.
fn at_weight(replicas: i32, weight: u8, owners: SessionAffinity) -> Model {
    let mut model = healthy(replicas, held(), owners);
    model.set_image("hello:v2");
    for step in [25, 50, 75, 100] {
        model.run(|model| {
            model.status().step.as_ref().is_some_and(|at| at.weight == step && at.since.is_some_and(|since| since < model.now))
        });
        if step == weight {
            break;
        }
        request(&mut model, RequestAction::Promote);
    }
    model
}

fn request(model: &mut Model, action: RequestAction) {
    let (revision, id) = (model.hello().revision.clone(), model.now.to_string());
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() }));
}

fn affinity(model: &Model) -> SessionAffinity {
    model.services[0].affinity
}

/// Clients of the Service, each with the pod that it was given and the versions that it has met, as often as it met another one.
struct Clients(Vec<(String, Vec<bool>)>);

impl Clients {
    fn new(number: usize) -> Self {
        Self(vec![(String::new(), Vec::new()); number])
    }

    /// Each comes once: to the pod that it has, while that is an endpoint and the Service has affinity; else to any.
    fn come(&mut self, model: &Model) {
        let (endpoints, sticky) = (model.services[0].endpoints.iter().collect::<Vec<_>>(), affinity(model) != Off);
        let new: BTreeSet<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
        for (number, (pod, versions)) in self.0.iter_mut().enumerate().filter(|_| !endpoints.is_empty()) {
            if !sticky || !endpoints.contains(&&*pod) {
                // Another one each time, and not in step with the others.
                pod.clone_from(endpoints[(number * 7 + versions.len() * 5 + endpoints.len()) % endpoints.len()]);
            }
            if versions.last() != Some(&new.contains(pod)) {
                versions.push(new.contains(pod));
            }
        }
    }

    fn share_of_new(&self) -> usize {
        100 * self.0.iter().filter(|(_, versions)| versions.last() == Some(&true)).count() / self.0.len()
    }
}

#[test]
fn a_client_moves_at_most_once_while_the_weight_rises() {
    for replicas in [1, 2, 3, 4, 7, 10] {
        for different in [json!({}), json!({"split": "Exact"}), json!({"canaryReplicas": "Full"}), json!({"promotion": "Roll"})] {
            let mut model = healthy(replicas, sticky(&different), Off);
            model.set_image("hello:v2");
            let mut clients = Clients::new(60);
            for round in 0..2_000 {
                model.control(Crash::Never);
                model.settle();
                if affinity(&model) != Off {
                    clients.come(&model);
                }
                model.tick(250);
                if model.phase() == Phase::Healthy && !model.status().history.is_empty() {
                    break;
                }
                assert!(round < 1_999, "no end: {}", model.status().why);
            }
            let seen: BTreeSet<&[bool]> = clients.0.iter().map(|(_, versions)| versions.as_slice()).collect();
            assert_eq!(seen, BTreeSet::from([&[false, true][..]]), "{replicas} replicas, {different}");
            model.run_to(Phase::Healthy);
            model.settle();
            model.assert_clean();
        }
    }
}

#[test]
fn a_client_that_is_known_meets_the_new_version_above_50_only() {
    let mut model = healthy(4, held(), Off);
    model.set_image("hello:v2");
    let mut clients = Clients::new(60);
    for (weight, share) in [(25, 0..=0), (50, 0..=0), (75, 45..=75), (100, 100..=100)] {
        for _ in 0..200 {
            model.control(Crash::Never);
            model.settle();
            if affinity(&model) != Off {
                clients.come(&model);
            }
            model.tick(250);
        }
        assert_eq!(model.status().step.as_ref().map(|step| step.weight), Some(weight));
        assert!(share.contains(&clients.share_of_new()), "{weight} %: {} %", clients.share_of_new());
        request(&mut model, RequestAction::Promote);
    }
}

#[test]
fn on_the_way_back_everybody_leaves_at_once() {
    for weight in [50, 75, 100] {
        let mut model = at_weight(4, weight, Off);
        let mut clients = Clients::new(60);
        clients.come(&model);
        request(&mut model, RequestAction::Abort);
        model.control(Crash::Never);
        model.endpoints();
        clients.come(&model);
        assert_eq!(clients.share_of_new(), 0, "{weight} %");
        model.run_to(Phase::RolledBack);
        assert_eq!(affinity(&model), Off);
        model.assert_clean();
    }
}

#[test]
fn whatever_the_owner_had_comes_back_however_a_release_ends() {
    for (owners, during) in [(Off, ClientIp(600)), (ClientIp(60), ClientIp(600)), (ClientIp(10_800), ClientIp(10_800))] {
        for weight in [25, 50, 75, 100] {
            let mut model = at_weight(3, weight, owners);
            assert_eq!(affinity(&model), during, "{owners:?} at {weight} %");
            let mut deleted = model.clone();
            request(&mut model, RequestAction::Abort);
            model.run_to(Phase::RolledBack);
            model.assert_clean();
            deleted.rollout.deleting = true;
            deleted.run(|model| !model.rollout.has_finalizer);
            deleted.settle();
            deleted.assert_clean();
        }
        let mut model = healthy(3, sticky(&json!({})), owners);
        model.set_image("hello:v2");
        model.run(|model| !model.status().history.is_empty());
        assert_eq!(model.status().history.last().map(|entry| entry.outcome), Some(Outcome::Promoted));
        model.settle();
        model.assert_clean();
    }
}

#[test]
fn what_the_owner_writes_in_the_middle_of_it_is_what_comes_back() {
    // Git writes what was there before; somebody wants another one; somebody wants a longer one than the release does.
    for (written, during) in [(Off, ClientIp(600)), (ClientIp(7), ClientIp(600)), (ClientIp(7_200), ClientIp(7_200))] {
        let mut model = at_weight(3, 50, Off);
        model.set_affinity(written);
        for _ in 0..8 {
            model.control(Crash::Never);
            model.settle();
        }
        assert_eq!(affinity(&model), during, "{written:?}");
        let told = model.notices.iter().filter(|notice| notice.contains("session affinity")).count();
        assert!(told <= if written == during { 0 } else { 2 }, "{:?}", model.notices);
        request(&mut model, RequestAction::Abort);
        model.run_to(Phase::RolledBack);
        model.assert_clean();
        assert_eq!(affinity(&model), written);
    }
}

#[test]
fn a_crash_after_any_write_loses_nothing_of_what_the_owner_had() {
    for (every, owners) in (2..40).zip([Off, ClientIp(60)].into_iter().cycle()) {
        let mut model = healthy(4, sticky(&json!({})), owners);
        model.set_image("hello:v2");
        let mut writes = 0;
        for round in 0..4_000 {
            if model.phase() == Phase::Healthy && !model.status().history.is_empty() {
                break;
            }
            writes += 1;
            model.control(if writes % every == 0 { Crash::After(round % 3) } else { Crash::Never });
            if round % 2 == 0 {
                model.settle();
            }
            model.tick(250);
            assert!(round < 3_999, "no end: {}\n{}", model.status().why, model.trace.join("\n"));
        }
        model.run_to(Phase::Healthy);
        model.settle();
        model.assert_clean();
    }
}

#[test]
fn affinity_costs_no_write_of_its_own() {
    let services = |policy: PolicySpec| {
        let mut model = healthy(4, policy, Off);
        model.set_image("hello:v2");
        model.run(|model| !model.status().history.is_empty());
        model.trace.iter().filter(|line| line.starts_with("PinService")).count()
    };
    assert_eq!(services(sticky(&json!({}))), services(sticky(&json!({"affinity": null}))));
}

#[test]
fn a_service_that_is_taken_off_the_list_has_its_own_back() {
    let mut model = at_weight(3, 25, Off);
    let mut other = model.services[0].clone();
    other.name = "other".into();
    other.affinity = Off;
    model.services.push(other);
    model.edit_spec(|spec| spec.services.push("other".into()));
    model.run(|model| model.services[1].affinity == ClientIp(600));
    model.edit_spec(|spec| drop(spec.services.pop()));
    model.run(|model| model.services[1].affinity == Off);
    assert_eq!(affinity(&model), ClientIp(600), "the other one keeps its clients");
}

#[test]
fn a_declared_pair_has_its_own_back_too() {
    for end in [RequestAction::PromoteFull, RequestAction::Abort] {
        let steps = json!({"steps": [{"weight": 50, "hold": "1h"}, {"weight": 100}]});
        let mut model = Model::declared(&[3, 3], sticky(&steps));
        model.run_to(Phase::Healthy);
        model.run(|model| model.pin() != Pin::Open);
        model.set_live("hello-green");
        model.run(|model| model.status().step.as_ref().is_some_and(|step| step.since.is_some_and(|since| since < model.now)));
        assert_eq!(affinity(&model), ClientIp(600));
        let (revision, id) = (model.wanted().revision.clone(), "end".to_owned());
        model.edit_spec(|spec| {
            spec.request = Some(Request { id, action: end, revision, to: None, reason: String::new(), by: String::new() });
        });
        model.run(|model| !model.status().history.is_empty());
        model.run(|model| affinity(model) == Off);
        assert!(model.status().release.is_none() && MANAGED.pin(&model.services[0].selector) == Pin::Open);
        model.assert_clean();
    }
}

#[test]
fn what_was_on_record_is_kept_until_no_write_of_ours_can_come_any_more() {
    let mut model = at_weight(2, 25, Off);
    let before = model.status().affinity.clone();
    request(&mut model, RequestAction::Abort);
    model.run_to(Phase::RolledBack);
    assert_eq!(model.status().affinity, before);
    // Such a write, answered late.
    model.services[0].affinity = ClientIp(600);
    model.run(|model| affinity(model) == Off);
    model.tick(60_000);
    model.run(|model| model.status().affinity.is_empty());
}

#[test]
fn what_an_owner_had_is_written_at_once_and_forgotten_in_time() {
    let model = at_weight(2, 25, Off);
    let mut without = model.recorded.clone();
    without.affinity.clear();
    assert_eq!(difference(Some(&without), &model.recorded), Difference::Transition);
    assert!(!is_recorded(Some(&without), &model.recorded));
    assert_eq!(difference(Some(&model.recorded), &without), Difference::Detail);
    assert!(is_recorded(Some(&model.recorded), &without));
}
