//! What a decision is made of: what to do, to tell, to observe and to report.

pub mod action;
pub mod draft;
pub mod notice;
pub mod record;
pub mod step;
pub mod time;
pub mod wait;
pub mod watch;

use jiff::Timestamp;

use crate::{
    api::status::RolloutStatus,
    core::decision::{action::Action, notice::Notice, wait::Wait, watch::Probe},
};

/// What one look at the world leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be done in this order; the first that fails ends the list. Deciding again finds what is missing.
    pub actions: Vec<Action>,
    /// What is to be reported, after the actions.
    pub status: RolloutStatus,
    /// Transitions, to be told once.
    pub notices: Vec<Notice>,
    /// The probes that are to run from now on, and no others.
    pub probes: Vec<Probe>,
    /// When to decide again even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// What is waited for, and until when.
    pub wait: Wait,
}
