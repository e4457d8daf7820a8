//! What must hold for every decision, whatever was observed: the same question has the same answer, an unchanged world soon has nothing new
//! to say, and who waits says for what and until when (design §10, the three laws).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::status::Phase,
    core::{
        decide::decide,
        decision::{
            Decision,
            action::Action,
            record::{Difference, difference},
            wait::Until,
        },
        facts::{Snapshot, pin::Pin},
        tests::model::Model,
        why::{Why, words::Load},
    },
};

/// So many decisions may follow each other at once, each on what the one before has put on record.
const ROUNDS: usize = 8;

impl Model {
    /// Asserts it of a decision, made of this snapshot, now.
    pub(super) fn check_decision(&self, snapshot: &Snapshot, decision: &Decision) {
        assert_eq!(decide(snapshot, self.now), *decision, "two answers to one question\n{}", self.trace.join("\n"));
        assert!(!decision.status.why.is_empty() && decision.status.why == decision.wait.why.to_string(), "{}", self.trace.join("\n"));
        let (snapshot, decision) = self.check_end(snapshot, decision);
        self.check_deadline(&decision);
        // What is done changes the world, and is asked about then.
        if decision.actions.is_empty() {
            self.check_wait(&decision);
            self.check_time(&snapshot, &decision);
        }
    }

    /// Asked again with what it has decided, in a world that is otherwise unchanged, it wants the same and reports nothing new. Only a
    /// transition, which is written at once, or a decision that asks for another one at once leads to more. What is wanted in the end.
    fn check_end(&self, snapshot: &Snapshot, decision: &Decision) -> (Snapshot, Decision) {
        let trace = || self.trace.join("\n");
        let (mut recorded, mut known, mut decision) = (self.recorded.clone(), snapshot.clone(), decision.clone());
        let mut pins = BTreeMap::new();
        for _ in 0..ROUNDS {
            self.check_pins(&decision, &mut pins);
            let moves_on = difference(Some(&known.status), &decision.status) == Difference::Transition
                || decision.wake_at.is_some_and(|at| at <= self.now);
            if difference(Some(&recorded), &decision.status) == Difference::Transition {
                recorded.clone_from(&decision.status);
            }
            known.status.clone_from(&decision.status);
            known.on_record = Some(recorded.clone());
            let next = decide(&known, self.now);
            if next.actions == decision.actions && next.status == decision.status {
                return (known, next);
            }
            assert!(moves_on, "asked again: {next:#?}\nafter: {decision:#?}\n{}", trace());
            decision = next;
        }
        panic!("it never ends: {decision:#?}\n{}", trace());
    }

    /// Of decisions that follow each other at once none writes another pin than the one before.
    fn check_pins(&self, decision: &Decision, pins: &mut BTreeMap<String, Pin>) {
        for action in &decision.actions {
            if let Action::PinService { service, to, .. } = action {
                let before = pins.insert(service.name.clone(), to.clone());
                assert!(before.as_ref().is_none_or(|before| before == to), "{before:?}, and at once {to:?}\n{}", self.trace.join("\n"));
            }
        }
    }

    /// The second law: a deadline runs in a release that goes forward only, and the decision is looked at again when it is over.
    fn check_deadline(&self, decision: &Decision) {
        if !matches!(decision.wait.until, Until::Deadline(_)) || self.rollout.spec.paused || decision.status.step.is_none() {
            return;
        }
        let phases = [Phase::Preparing, Phase::Progressing, Phase::Baking, Phase::Promoting];
        assert!(decision.status.phase.is_some_and(|phase| phases.contains(&phase)), "{:?}\n{}", decision.wait, self.trace.join("\n"));
        let at = decision.status.waiting.as_ref().and_then(|waiting| waiting.at);
        assert!(at.is_some() && decision.wake_at <= at && decision.wake_at.is_some(), "{:?}\n{}", decision.wait, self.trace.join("\n"));
    }

    /// A decision that does nothing, again and again, says nothing that is over, and ends: somebody else, or time, moves it on.
    fn check_wait(&self, decision: &Decision) {
        let trace = || self.trace.join("\n");
        assert!(decision.wait.why != Why::Recording, "nothing is written down\n{}", trace());
        assert!(decision.notices.is_empty(), "told again and again: {:?}\n{}", decision.notices, trace());
        assert!(decision.wake_at.is_none_or(|at| at > self.now), "asks to be asked at once: {:?}\n{}", decision.wait, trace());
        let status = &decision.status;
        let goes_on = status.release.as_ref().is_some_and(|release| release.rollback.is_none())
            && matches!(status.phase, Some(Phase::Preparing | Phase::Progressing | Phase::Baking));
        let clocks_run = !self.rollout.spec.paused && decision.wait.until != Until::Person;
        // A Deployment that was set to 0 ends its release without a rollback; the garbage collector has no deadline.
        let ends = matches!(decision.wait.why, Why::RemovingCanary { .. } | Why::TakingBack { load: Load::Work, .. });
        assert!(!goes_on || !clocks_run || ends || decision.wake_at.is_some(), "waits for ever: {:?}\n{}", decision.wait, trace());
    }

    /// Until the time that it names, and for ever where it names none, time alone changes nothing.
    fn check_time(&self, snapshot: &Snapshot, decision: &Decision) {
        let later = |span: SignedDuration| self.now.checked_add(span).unwrap_or(Timestamp::MAX);
        let times = match decision.wake_at {
            Some(at) => vec![later(at.duration_since(self.now) / 2), at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at)],
            None => [1, 60, 3_600, 86_400].map(|seconds| later(SignedDuration::from_secs(seconds))).to_vec(),
        };
        for time in times {
            let then = decide(snapshot, time);
            assert!(
                then.actions.is_empty() && then.status == decision.status,
                "at {time}, before {:?}: {then:#?}\nnow, {}: {decision:#?}\n{}",
                decision.wake_at,
                self.now,
                self.trace.join("\n")
            );
        }
    }
}
