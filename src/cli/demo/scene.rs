//! Everything that the view shows, as data.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::RolloutStatus;

/// Nothing is drawn wider than this.
pub const WIDEST: usize = 100;

/// How many requests have ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub requests: usize,
    /// See [`super::report::is_bad_answer`].
    pub bad: usize,
    /// Failed otherwise.
    pub failed: usize,
}

/// The demo at one moment.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Since the demo began.
    pub elapsed: Duration,
    /// Requests a second.
    pub rate: u32,
    /// The release that is played; none while the first version comes up.
    pub act: Option<Act>,
    pub now: Timestamp,
    pub status: RolloutStatus,
    /// The stable version, then the others.
    pub versions: Vec<Version>,
    /// The last Events, oldest first.
    pub events: Vec<Event>,
    pub tally: Tally,
}

/// A release, and its place among those that are played.
#[derive(Clone, Debug)]
pub struct Act {
    pub number: usize,
    pub of: usize,
    pub command: String,
    pub promise: &'static str,
}

/// A version and its pods.
#[derive(Clone, Debug)]
pub struct Version {
    pub name: String,
    pub role: Role,
    /// Share of the answers of the last second, in percent; none while there are no answers.
    pub share: Option<f64>,
    pub pods: Vec<Pod>,
}

/// What a version is to the Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Stable,
    Canary,
    /// Neither: its last pods are ending.
    Leaving,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub state: PodState,
    /// Whether a new connection to the Service may come to it.
    pub takes_clients: bool,
    /// Answers in the last second.
    pub answers: usize,
}

/// State of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    Starting,
    Ready,
    NotReady,
    Crashing,
    Ending,
}

/// An Event of the Rollout.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the demo began.
    pub elapsed: Duration,
    pub reason: String,
    pub note: String,
    pub is_warning: bool,
}
