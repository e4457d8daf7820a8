//! Whether a part of a decision is through, or waits.

/// Whether a part of a decision is through, or waits; a wait has been written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    Waiting,
}
