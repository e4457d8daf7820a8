//! Whether this controller may write.

use tokio::time::Instant;

/// Until when this controller may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another one leads, or nobody does yet.
    Standby,
    /// This one leads until then, unless the lease is renewed.
    Until(Instant),
    /// There is only this one.
    Alone,
}

impl Leadership {
    /// Whether a write may be made now.
    pub fn may_write(self) -> bool {
        match self {
            Self::Standby => false,
            Self::Until(end) => Instant::now() < end,
            Self::Alone => true,
        }
    }
}
