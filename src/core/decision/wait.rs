//! Waits, as values: a decision that goes no further says why, and what ends that.

use std::ops::ControlFlow::{self, Break, Continue};

use jiff::Timestamp;

use crate::{api::Span, core::why::Why};

/// Why a decision goes no further, and what ends that.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    pub why: Why,
    pub until: Until,
}

/// What ends a wait at the latest. The second law in a type: no wait without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A change in the cluster, for so long at most: then the step has failed, or goes on another way.
    Deadline(Span),
    /// This time.
    Time(Timestamp),
    /// The answer to a write or a read of our own, in a moment.
    Answer,
    /// A person. No clock runs.
    Person,
    /// Nothing: whatever happens next in the cluster.
    Rest,
}

/// Goes on, or waits. `?` reads: "unless this waits".
pub type Flow<T = ()> = ControlFlow<Wait, T>;

/// A part of something larger, which is through or not yet. Whoever needs it says what is waited for.
pub type Part = ControlFlow<()>;

impl Wait {
    /// What a decision has come to: one that waits for nothing is still to be written down.
    pub fn of(flow: Flow) -> Self {
        match flow {
            Break(wait) => wait,
            Continue(()) => Self { why: Why::Recording, until: Until::Answer },
        }
    }

    /// The same wait, for so long at most.
    #[must_use]
    pub fn within(self, deadline: Span) -> Self {
        Self { until: Until::Deadline(deadline), ..self }
    }
}

impl Why {
    /// Waits for a change in the cluster, for so long at most.
    pub fn within<T>(self, deadline: Span) -> Flow<T> {
        Break(Wait { why: self, until: Until::Deadline(deadline) })
    }

    /// Waits until a time.
    pub fn until<T>(self, time: Timestamp) -> Flow<T> {
        Break(Wait { why: self, until: Until::Time(time) })
    }

    /// Waits for the answer to what this decision asks the cluster to do.
    pub fn until_answered<T>(self) -> Flow<T> {
        Break(Wait { why: self, until: Until::Answer })
    }

    /// Waits for a person, for as long as it takes.
    pub fn for_a_person<T>(self) -> Flow<T> {
        Break(Wait { why: self, until: Until::Person })
    }

    /// Waits for nothing in particular.
    pub fn at_rest<T>(self) -> Flow<T> {
        Break(Wait { why: self, until: Until::Rest })
    }
}
