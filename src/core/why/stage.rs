//! How far an adoption or a roll is.

use std::fmt;

/// What an adoption waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionWait {
    DeploymentObserved,
    SameSize,
    StableAvailable,
    CanaryAvailable,
    ServicesPinned,
}

impl fmt::Display for AdoptionWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeploymentObserved => "the Deployment controller to see the Deployment as it is now",
            Self::SameSize => "both versions to have the same number of pods",
            Self::StableAvailable => "all pods of the old version to be available",
            Self::CanaryAvailable => "all pods of the new version to be available",
            Self::ServicesPinned => "the Services to be pinned to the new version",
        })
    }
}

/// How far an adoption is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionStage {
    Recording,
    Preparing,
    HandingOver,
    Draining,
    Counting,
    Parting,
    GivingBack,
}

impl fmt::Display for AdoptionStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recording => "writing down that the hand-over begins",
            Self::Preparing => "preparing both Deployments for the hand-over",
            Self::HandingOver => "handing the new pods over",
            Self::Draining => "waiting for the Deployment to let its old pods go",
            Self::Counting => "waiting for the Deployment to count the new pods as its own",
            Self::Parting => "letting everybody see that the old pods are ending",
            Self::GivingBack => "giving everything back to its owner",
        })
    }
}

/// How far the roll of a Deployment is, off the traffic path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollStage {
    Unpausing,
    Rolling,
    FinishingFirst,
    MovingServices,
    Draining,
    RemovingCanary,
}

impl fmt::Display for RollStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpausing => "letting the Deployment roll itself, while the canary stands in",
            Self::Rolling => "waiting for the Deployment to roll itself, while the canary stands in",
            Self::FinishingFirst => "finishing the roll before the next template's turn",
            Self::MovingServices => "moving the Services to the Deployment's own pods",
            Self::Draining => "giving connections to the canary's pods time to end",
            Self::RemovingCanary => "removing the canary, whose place the Deployment's own pods have taken",
        })
    }
}
