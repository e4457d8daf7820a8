//! What gates have seen.

use jiff::Timestamp;

/// What a gate's probes have seen of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFacts {
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// What came last, in a few words: `200`, `500`, `connection refused`.
    pub last: String,
    /// Set while probes can be neither passed nor failed, with the reason.
    pub unknown: Option<String>,
    /// When the first failure in a row was seen.
    pub failing_since: Option<Timestamp>,
}
