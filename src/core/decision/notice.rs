//! What people are told of: each notice becomes one Event.

/// Something worth an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub reason: Reason,
    pub note: String,
}

/// The reason of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Accepted,
    NotAccepted,
    ReleaseStarted,
    WeightConfirmed,
    GateFailed,
    RollbackStarted,
    RolledBack,
    Adopted,
    Promoted,
    Paused,
    Resumed,
    RequestDone,
    RequestRefused,
    SelectorContested,
    KeptRunning,
    PreviewUnavailable,
    Unguarded,
    AdoptionCalledOff,
    AdoptionEndangered,
    RollingInstead,
    LeftPaused,
    DeploymentHeld,
    ScaledToZero,
}

impl Reason {
    /// Whether the Event is a warning.
    pub fn is_warning(self) -> bool {
        match self {
            Self::NotAccepted
            | Self::GateFailed
            | Self::RollbackStarted
            | Self::RequestRefused
            | Self::SelectorContested
            | Self::KeptRunning
            | Self::PreviewUnavailable
            | Self::Unguarded
            | Self::AdoptionCalledOff
            | Self::AdoptionEndangered
            | Self::RollingInstead
            | Self::LeftPaused
            | Self::DeploymentHeld => true,
            Self::Accepted
            | Self::ReleaseStarted
            | Self::WeightConfirmed
            | Self::RolledBack
            | Self::Adopted
            | Self::Promoted
            | Self::Paused
            | Self::Resumed
            | Self::RequestDone
            | Self::ScaledToZero => false,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
