//! What is asked for that only a Service could give.

use std::fmt;

/// The largest share of the pods that a canary can have while the stable side has all of its own.
pub const LARGEST: u8 = 50;

/// What is asked for that only a Service could give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedsService {
    Step {
        weight: u8,
    },
    Affinity,
    ExactSplit,
    FullCanary,
    KeptCanary,
    DarkGate {
        gate: String,
    },
    /// `spec.preview`, not the policy's.
    Preview,
}

impl fmt::Display for NeedsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { weight } => write!(
                f,
                "steps has weight {weight}, but without Services (services: []) a share is one of pods, at most {LARGEST} % while the old version keeps all of its own; let the steps rise to {LARGEST} and end with 100, which is the promotion"
            ),
            Self::Affinity => f.write_str(
                "affinity is set, but without Services (services: []) there are no clients that could keep their version; leave affinity out",
            ),
            Self::ExactSplit => f.write_str(
                "split is Exact, but without Services (services: []) every pod that runs works, and none can be left out; set split: Resilient",
            ),
            Self::FullCanary => f.write_str(
                "canaryReplicas is Full, but without Services (services: []) every pod that runs works, so that each step would be 50 %; set canaryReplicas: ByWeight",
            ),
            Self::KeptCanary => f.write_str(
                "onFailure is Pause, but without Services (services: []) a canary that is kept would go on working; set onFailure: Rollback",
            ),
            Self::DarkGate { gate } => write!(
                f,
                "gate {gate} has BeforeTraffic without DuringSteps in when, but without Services (services: []) a pod works as soon as it runs; add DuringSteps"
            ),
            Self::Preview => f.write_str(
                "spec.preview is set, but without Services (services: []) a pod of the new version works as soon as it runs, so there is no time to look at it before; leave preview out",
            ),
        }
    }
}
