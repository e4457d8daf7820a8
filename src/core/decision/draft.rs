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
            wait::Progress,
            watch::Probe,
        },
        facts::Snapshot,
        why::{Why, refusal::Refusal},
    },
};

/// What is to be done, reported and waited for.
#[derive(Clone, Debug)]
pub struct Draft {
    pub actions: Vec<Action>,
    pub status: RolloutStatus,
    pub notices: Vec<Notice>,
    pub probes: Vec<Probe>,
    pub why: Why,
    pub refusal: Option<Refusal>,
    wake_at: Option<Timestamp>,
    clocks: Clocks,
}

/// Whether the clocks of hold and deadline run (`spec.paused`), and whether this decision needs that of `progressDeadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clocks {
    Stopped,
    Idle,
    Waiting,
}

impl Draft {
    /// A draft that leaves the status as it is. While the Rollout is paused, no clock runs.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            actions: Vec::new(),
            status: snapshot.status.clone(),
            notices: Vec::new(),
            probes: Vec::new(),
            why: Why::Recording,
            refusal: None,
            wake_at: None,
            clocks: if snapshot.rollout.spec.paused { Clocks::Stopped } else { Clocks::Idle },
        }
    }

    /// Adds an action; later ones are done only if this one was.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Says what is waited for.
    pub fn wait(&mut self, why: Why) -> Progress {
        self.why = why;
        Progress::Waiting
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

    /// Starts the clock of `progressDeadline` unless it runs, and says when it ends; nothing while the Rollout is paused.
    pub fn deadline(&mut self, deadline: Span, now: Timestamp) -> Option<Timestamp> {
        if self.clocks == Clocks::Stopped {
            return None;
        }
        self.clocks = Clocks::Waiting;
        let step = self.status.step.as_mut()?;
        let until = after(bounded(&mut step.waiting_since, now), deadline);
        self.wake(until);
        Some(until)
    }

    /// Stops that clock where nothing was waited for.
    pub fn stop_idle_deadline(&mut self) {
        if self.clocks != Clocks::Waiting
            && let Some(step) = &mut self.status.step
        {
            step.waiting_since = None;
        }
    }
}
