//! A write under way: who makes it, how, and to which part of an object.

use jiff::Timestamp;

/// Who writes, and how.
#[derive(Clone, Debug)]
pub struct Call {
    pub now: Timestamp,
    pub user: String,
    /// The name under which the written fields are owned.
    pub manager: String,
    pub operation: Operation,
    /// Go all the way but the last step.
    pub dry_run: bool,
    /// `Warning` headers collected on the way.
    pub warnings: Vec<String>,
}

/// How a write owns fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What it changes.
    Update,
    /// What it says.
    Apply,
}

impl Call {
    /// A real write by this user.
    pub fn new(now: Timestamp, user: &str) -> Self {
        let manager = user.rsplit(':').next().unwrap_or(user).to_owned();
        Self { now, user: user.into(), manager, operation: Operation::Update, dry_run: false, warnings: Vec::new() }
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status, where status is written apart.
    Whole,
    Status,
    /// The number of replicas, through a Scale.
    Scale,
}
