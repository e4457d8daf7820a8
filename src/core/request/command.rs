//! What an accepted request asks for.

/// A request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Promote,
    PromoteFull,
    Abort,
    Retry,
    Approve,
    /// Abandon the live revision: it is held from now on. (While a release is under way an `Undo` is an [`Self::Abort`].)
    Undo,
}
