//! A decision while it is being made.

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    Span,
    status::{Phase, RolloutStatus, StepStatus},
};

use super::{
    action::{Action, Notice, Reason},
    gate::Probe,
    refusal::Refusal,
    snapshot::Snapshot,
    why::Why,
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

/// Whether a part of a decision is through, or waits; a wait has been written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
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

/// A time, so much later; saturating.
pub fn after(time: Timestamp, span: Span) -> Timestamp {
    SignedDuration::try_from(span.0).ok().and_then(|span| time.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}

/// A time on record, `most` where there is none, and at most that: what is later was written by a controller whose clock was ahead, and no
/// wait is to last longer because of it.
pub fn bounded(recorded: &mut Option<Timestamp>, most: Timestamp) -> Timestamp {
    let time = recorded.map_or(most, |time| time.min(most));
    *recorded = Some(time);
    time
}

/// How much later one time is than another, in the whole milliseconds that a status can tell; nothing if it is not.
pub fn elapsed(from: Timestamp, to: Timestamp) -> Span {
    Span::millis(to.duration_since(from).as_millis().try_into().unwrap_or_default())
}

/// Step number `index` (from 1) of a release, not yet begun.
pub fn step(steps: &[crate::api::policy::Step], index: u32) -> StepStatus {
    let of = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let weight = usize::try_from(index).ok().and_then(|index| steps.get(index.saturating_sub(1))).map_or(100, |step| step.weight);
    StepStatus { index, of, display: format!("{index}/{of}"), weight, since: None, until: None, held: None, waiting_since: None }
}
