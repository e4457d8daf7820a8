//! A decision while it is being made.

use jiff::Timestamp;

use crate::{
    api::{
        Span,
        status::{Phase, RolloutStatus},
    },
    core::{
        decision::{
            action::Action,
            notice::{Notice, Reason},
            time::{after, bounded},
            wait::{Until, Wait},
            watch::Probe,
        },
        facts::Snapshot,
        why::refusal::Refusal,
    },
};

/// What is to be done, reported and waited for.
#[derive(Clone, Debug)]
pub struct Draft {
    pub actions: Vec<Action>,
    pub status: RolloutStatus,
    pub notices: Vec<Notice>,
    pub probes: Vec<Probe>,
    pub refusal: Option<Refusal>,
    wake_at: Option<Timestamp>,
    /// While the Rollout is paused, no clock of a hold or a deadline runs.
    is_paused: bool,
}

impl Draft {
    /// A draft that leaves the status as it is. While the Rollout is paused, no clock runs.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            actions: Vec::new(),
            status: snapshot.status.clone(),
            notices: Vec::new(),
            probes: Vec::new(),
            refusal: None,
            wake_at: None,
            is_paused: snapshot.rollout.spec.paused,
        }
    }

    /// Adds an action; later ones are done only if this one was.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Asks to be called again at a time, or earlier.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When to decide again even if nothing happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    /// Tells people of a transition.
    pub fn notice(&mut self, reason: Reason, note: impl Into<String>) {
        self.notices.push(Notice { reason, note: note.into() });
    }

    /// Moves to a phase.
    pub fn enter(&mut self, phase: Phase) {
        self.status.phase = Some(phase);
    }

    /// Whether the wait on record has lasted so long; never while the Rollout is paused.
    pub fn has_waited(&self, deadline: Span, now: Timestamp) -> bool {
        let since = self.status.step.as_ref().and_then(|step| step.waiting_since);
        !self.is_paused && since.is_some_and(|since| after(since.min(now), deadline) <= now)
    }

    /// Sets the clocks for the wait that this decision has come to: that of a deadline runs for as long as decisions come to one, and stops as
    /// soon as one does not.
    pub fn set_clocks(&mut self, wait: &mut Wait, now: Timestamp) {
        if let Until::Time(time) = wait.until {
            self.wake(time);
        }
        let Some(step) = &mut self.status.step else { return };
        match wait.until {
            Until::Deadline(deadline) if !self.is_paused => {
                let until = after(bounded(&mut step.waiting_since, now), deadline);
                wait.why.names_until(until);
                self.wake(until);
            }
            _ => step.waiting_since = None,
        }
    }
}
