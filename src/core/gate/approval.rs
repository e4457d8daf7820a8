//! Approval gates: a release stays where it stands until somebody sends a request `Approve` for exactly its revision.
//!
//! One request answers every gate that holds the release at that moment. What was approved is on record in the release, so that a gate asks
//! once; a release of another revision, or of the same one again, asks anew.

use crate::{
    api::{
        policy::{ApprovalGate, Gate, PolicySpec, When},
        status::{Approval, GateState, Phase, Release},
    },
    core::{
        gate::{
            kind::{Ask, Judgement, Kind},
            readiness::min_ready,
        },
        share::share,
        view::{View, side::Side},
        why::words,
    },
};

/// The approval of a gate, where somebody has given it.
pub fn of<'a>(release: &'a Release, gate: &str) -> Option<&'a Approval> {
    release.approvals.iter().find(|approval| approval.gate == gate)
}

/// Whether a gate asks for an approval at this moment, with so much of the traffic on the new version.
fn asks(gate: &Gate, when: When, weight: u8) -> bool {
    gate.approval.as_ref().is_some_and(|approval| match approval.weight {
        Some(step) => when == When::DuringSteps && weight >= step,
        None => gate.when.contains(&when),
    })
}

/// Names of the gates that ask for an approval at one of these moments.
pub fn asked(policy: &PolicySpec, moments: &[When], weight: u8) -> Vec<String> {
    let gates = policy.gates.iter().filter(|gate| moments.iter().any(|when| asks(gate, *when, weight)));
    gates.map(|gate| gate.name.clone()).collect()
}

/// Those of them that hold the release, because nobody has approved them.
pub fn missing(release: &Release, moments: &[When], weight: u8) -> Vec<String> {
    let mut gates = asked(&release.policy, moments, weight);
    gates.retain(|gate| of(release, gate).is_none());
    gates
}

/// Names of the gates that an approval is for now: those that hold the release where it stands, once there is something to look at.
pub fn awaited(view: &View<'_>, release: &Release) -> Vec<String> {
    let status = &view.snapshot.status;
    let in_effect = status.step.as_ref().filter(|step| step.since.is_some());
    match status.phase {
        // Without Services there is nothing to look at that would not work already.
        Some(Phase::Preparing) if view.is_worker() || is_up(view, release) => missing(release, &[When::BeforeTraffic], 0),
        Some(Phase::Progressing) => in_effect.map_or_else(Vec::new, |step| missing(release, &[When::DuringSteps], step.weight)),
        Some(Phase::Baking) => missing(release, &[When::DuringSteps, When::BeforePromotion], 100),
        _ => Vec::new(),
    }
}

/// Whether the new version has its pods.
fn is_up(view: &View<'_>, release: &Release) -> bool {
    let enough = |canary: &Side<'_>| canary.ready_count() >= share(min_ready(&release.policy), canary.replicas);
    view.canary().is_some_and(|canary| canary.replicas > 0 && enough(&canary))
}

impl Kind for ApprovalGate {
    fn name(&self) -> &'static str {
        "approval"
    }

    fn judge(&self, ask: &Ask<'_>) -> Judgement {
        let given = of(ask.release, &ask.gate.name);
        Judgement {
            state: if given.is_some() { GateState::Passing } else { GateState::Pending },
            value: given.map_or_else(|| "nobody yet".to_owned(), |given| format!("approved by {}", words::who(&given.by, given.verified))),
            threshold: "an approval".to_owned(),
            message: match (given, self.weight) {
                (None, Some(weight)) => format!("asked for at {weight} %"),
                (None, None) if !ask.is_active() => "not asked for in this phase".to_owned(),
                _ => String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{
            rollout::{Request, RequestAction},
            status::RollbackReason,
        },
        core::tests::model::{Crash, Model, policy},
    };

    /// A release of v2 by steps with these weights, with gate `sign-off` as described.
    fn released(weights: &[u8], sign_off: &Value) -> Model {
        let steps: Vec<Value> = weights.iter().map(|weight| json!({"weight": weight, "hold": "1s"})).collect();
        let mut gate = json!({"name": "sign-off", "approval": {}});
        json_patch::merge(&mut gate, sign_off);
        let spec = json!({"steps": steps, "gates": [gate], "settle": "0s", "keepPrevious": "1s", "progressDeadline": "60s"});
        let mut model = Model::new(4, policy(spec));
        model.run_to(Phase::Healthy);
        model.set_image("hello:v2");
        model
    }

    fn is_awaited(model: &Model) -> bool {
        model.status().why.ends_with(&format!("send an Approve request for revision {}", model.hello().revision))
    }

    /// The same, where it waits for its approval.
    fn waiting(weights: &[u8], sign_off: &Value) -> Model {
        let mut model = released(weights, sign_off);
        model.run(is_awaited);
        model
    }

    /// What becomes of a request for the Deployment's template.
    fn send(model: &mut Model, action: RequestAction) -> String {
        ask(model, action);
        model.control(Crash::Never);
        model.status().requests.last().map(|request| request.outcome.clone()).unwrap_or_default()
    }

    fn ask(model: &mut Model, action: RequestAction) {
        let (revision, id) = (model.hello().revision.clone(), model.now.to_string());
        model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: "alice".into() }));
    }

    fn in_an_hour(model: &mut Model) {
        model.tick(3_600_000);
        for _ in 0..4 {
            model.control(Crash::Never);
            model.settle();
            model.tick(250);
        }
    }

    fn condition<'a>(model: &'a Model, type_: &str) -> (&'a str, &'a str) {
        let condition = model.status().conditions.iter().find(|condition| condition.type_ == type_).expect("a condition");
        (condition.status.as_str(), condition.reason.as_str())
    }

    #[test]
    fn a_release_stays_where_its_gate_stands_until_somebody_approves_it() {
        for (weights, sign_off, phase, weight) in [
            (vec![100], json!({}), Phase::Preparing, 0),
            (vec![50, 100], json!({}), Phase::Preparing, 0),
            (vec![50, 100], json!({"when": ["BeforeTraffic"]}), Phase::Preparing, 0),
            (vec![25, 100], json!({"when": ["DuringSteps"]}), Phase::Progressing, 25),
            (vec![25, 75, 100], json!({"approval": {"weight": 75}}), Phase::Progressing, 75),
            (vec![50, 100], json!({"approval": {"weight": 100}, "when": ["DuringSteps"]}), Phase::Progressing, 100),
            (vec![50, 100], json!({"when": ["BeforePromotion"]}), Phase::Baking, 100),
        ] {
            let mut model = waiting(&weights, &sign_off);
            let stands = |model: &Model| (model.phase(), model.status().traffic.as_ref().map_or(0, |traffic| traffic.desired));
            for _ in 0..3 {
                in_an_hour(&mut model);
                assert_eq!(stands(&model), (phase, weight), "{sign_off}: {}", model.status().why);
            }
            assert_eq!(condition(&model, "Paused"), ("True", "ApprovalAwaited"), "{sign_off}");
            assert_eq!(condition(&model, "Stalled").0, "False", "{sign_off}: it is not a fault");
            assert_eq!(send(&mut model, RequestAction::Approve), "done: the gate is approved", "{sign_off}");
            model.run_to(Phase::Healthy);
            assert_eq!(model.status().stable.as_ref().map(|live| live.revision.clone()), Some(model.hello().revision.clone()));
            model.settle();
            model.assert_clean();
        }
    }

    #[test]
    fn an_approval_is_taken_only_where_a_gate_waits_for_it() {
        for (sign_off, place, outcome) in [
            (json!({}), "Healthy", "refused: no release is under way (phase Healthy)"),
            (json!({}), "Preparing", "refused: no gate waits for an approval yet"),
            (json!({}), "waiting", "done: the gate is approved"),
            (json!({"approval": {"weight": 75}}), "50 %", "refused: no gate waits for an approval yet"),
            (json!({"approval": {"weight": 75}}), "waiting", "done: the gate is approved"),
            (json!({"approval": null, "readiness": {}}), "50 %", "refused: no gate of this release asks for an approval"),
        ] {
            let mut model = released(&[50, 75, 100], &sign_off);
            model.run(|model| match place {
                "waiting" => is_awaited(model),
                "50 %" => model.status().step.as_ref().is_some_and(|at| at.weight == 50 && at.since.is_some()),
                phase => format!("{:?}", model.phase()) == phase,
            });
            assert_eq!(send(&mut model, RequestAction::Approve), outcome, "{sign_off}");
        }
        let mut model = waiting(&[50, 100], &json!({"when": ["DuringSteps"]}));
        assert_eq!(send(&mut model, RequestAction::Approve), "done: the gate is approved");
        model.tick(1);
        assert_eq!(send(&mut model, RequestAction::Approve), "refused: every gate that asks for an approval has it already");
    }

    #[test]
    fn an_approval_of_another_revision_is_refused() {
        let mut model = waiting(&[100], &json!({}));
        let seen = model.hello().revision.clone();
        model.set_image("hello:v3");
        model.run(|model| is_awaited(model) && model.status().release.as_ref().is_some_and(|release| release.revision != seen));
        let current = model.hello().revision.clone();
        let (id, action, by) = ("stale".into(), RequestAction::Approve, "alice".into());
        let stale = Request { id, action, revision: seen.clone(), to: None, reason: String::new(), by };
        model.edit_spec(|spec| spec.request = Some(stale));
        in_an_hour(&mut model);
        let outcome = model.status().requests.last().map(|request| request.outcome.clone());
        assert_eq!(outcome, Some(format!("refused: revision {current} is under release, not {seen}")));
        assert!(is_awaited(&model), "{}", model.status().why);
    }

    #[test]
    fn what_was_approved_is_told_and_asked_for_again_by_the_next_release() {
        let mut model = waiting(&[50, 100], &json!({"approval": {"weight": 50}}));
        let gate = |model: &Model| {
            let gates = &model.status().gates;
            gates.iter().find(|gate| gate.name == "sign-off").map(|gate| (gate.state, gate.value.clone()))
        };
        assert_eq!(gate(&model), Some((GateState::Pending, "nobody yet".into())));
        send(&mut model, RequestAction::Approve);
        let approved = model.status().release.as_ref().and_then(|release| of(release, "sign-off")).map(|approval| approval.by.clone());
        assert_eq!(approved.as_deref(), Some("alice"));
        model.run(|model| gate(model) == Some((GateState::Passing, "approved by alice".into())));
        model.run_to(Phase::Healthy);
        model.set_image("hello:v1");
        model.run(is_awaited);
    }

    #[test]
    fn one_approval_answers_every_gate_that_waits() {
        let gates = json!([
            {"name": "a", "approval": {}}, {"name": "b", "approval": {}}, {"name": "c", "approval": {}, "when": ["BeforePromotion"]},
        ]);
        let mut model = Model::new(2, policy(json!({"steps": [{"weight": 100}], "gates": gates, "settle": "0s", "keepPrevious": "1s"})));
        model.run_to(Phase::Healthy);
        model.set_image("hello:v2");
        model.run(is_awaited);
        assert!(model.status().why.contains("the approval of gates a, b;"), "{}", model.status().why);
        send(&mut model, RequestAction::Approve);
        model.run(is_awaited);
        assert_eq!(model.phase(), Phase::Baking);
        assert!(model.status().why.contains("the approval of gate c;"), "{}", model.status().why);
    }

    #[test]
    fn no_other_request_takes_the_place_of_an_approval() {
        let mut model = waiting(&[50, 100], &json!({"when": ["DuringSteps"]}));
        assert_eq!(send(&mut model, RequestAction::PromoteFull), "refused: gate sign-off has not passed yet");
        model.tick(1);
        assert_eq!(send(&mut model, RequestAction::Promote), "done: the hold is over");
        in_an_hour(&mut model);
        assert!(is_awaited(&model), "{}", model.status().why);
    }

    #[test]
    fn a_version_that_fails_while_its_approval_is_awaited_is_taken_back() {
        let mut model = waiting(&[50, 100], &json!({"approval": {"weight": 50}}));
        let canary: Vec<String> = model.pods_of("hello:v2").iter().map(|pod| pod.uid.clone()).collect();
        model.pods.iter_mut().filter(|pod| canary.contains(&pod.uid)).for_each(|pod| pod.ready = false);
        ask(&mut model, RequestAction::Approve);
        model.control(Crash::Never);
        let rollback = model.status().release.as_ref().and_then(|release| release.rollback.as_ref()).map(|rollback| rollback.reason);
        assert_eq!(rollback, Some(RollbackReason::ReadinessLost));
        model.run_to(Phase::RolledBack);
    }

    #[test]
    fn a_paused_release_takes_its_approval_and_stays() {
        let mut model = waiting(&[100], &json!({}));
        model.edit_spec(|spec| spec.paused = true);
        in_an_hour(&mut model);
        assert_eq!(send(&mut model, RequestAction::Approve), "done: the gate is approved");
        in_an_hour(&mut model);
        assert_eq!((model.phase(), condition(&model, "Paused").1), (Phase::Preparing, "PausedBySpec"));
        model.edit_spec(|spec| spec.paused = false);
        model.run_to(Phase::Healthy);
    }

    #[test]
    fn a_controller_that_dies_at_an_approval_forgets_neither_it_nor_the_gate() {
        for sign_off in [json!({}), json!({"approval": {"weight": 75}}), json!({"when": ["BeforePromotion"]})] {
            for writes in 0..4 {
                let mut model = waiting(&[25, 75, 100], &sign_off);
                ask(&mut model, RequestAction::Approve);
                model.control(Crash::After(writes));
                model.settle();
                model.run_to(Phase::Healthy);
                let history = &model.status().history;
                assert_eq!(history.last().map(|ended| ended.revision.clone()), Some(model.hello().revision.clone()), "{sign_off} {writes}");
            }
        }
    }

    #[test]
    fn a_rollout_that_is_deleted_asks_nobody_any_more() {
        let mut model = waiting(&[100], &json!({"when": ["BeforePromotion"]}));
        model.rollout.deleting = true;
        model.run(|model| !model.rollout.has_finalizer);
        assert_eq!(model.pods_of("hello:v2").len(), 4);
    }
}
