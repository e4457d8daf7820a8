//! Everybody in turn, and time.

use jiff::SignedDuration;

use crate::{
    api::status::Phase,
    core::{
        decide::decide,
        decision::record::{Difference, difference},
        tests::model::{Crash, Model},
    },
};

impl Model {
    pub fn tick(&mut self, milliseconds: i64) {
        // A clock knows more than milliseconds.
        self.now = self.now.checked_add(SignedDuration::from_millis(milliseconds) + SignedDuration::from_nanos(1_237)).expect("a time");
    }

    /// Everybody but our controller, until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.controllers();
            self.kubelet();
            self.endpoints();
        }
    }

    /// Everybody in turn, until our controller has nothing left to do but wait; `until` ends it earlier. Panics where there is no end.
    pub fn run(&mut self, until: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if until(self) {
                return;
            }
            self.control(Crash::Never);
            self.settle();
            self.tick(250);
        }
        panic!("no end: {:?} {}\n{}", self.phase(), self.status().why, self.trace.join("\n"));
    }

    /// The same, skipping the time in which nothing happens.
    pub fn run_fast(&mut self, until: impl Fn(&Self) -> bool) {
        self.run(|model| until(model) || model.is_waiting());
        while !until(self) {
            let wake_at = decide(&self.snapshot(), self.now).wake_at.expect("a wait has an end");
            self.now = self.now.max(wake_at);
            self.run(|model| until(model) || model.is_waiting());
        }
    }

    /// Whether nothing will happen before the time that the decision named.
    fn is_waiting(&self) -> bool {
        let decision = decide(&self.snapshot(), self.now);
        decision.actions.is_empty()
            && decision.wake_at.is_some_and(|at| at > self.now)
            && difference(Some(&self.recorded), &decision.status) == Difference::Nothing
    }

    pub fn run_to(&mut self, phase: Phase) {
        self.run(|model| model.phase() == phase && model.status().release.is_none());
    }
}
