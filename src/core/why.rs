//! Why a Rollout stands where it stands: data first, turned into a sentence in one place.

use std::fmt;

use jiff::Timestamp;

use super::refusal::Refusal;

/// What a Rollout waits for, or why it rests.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// One version serves, nothing is to be done.
    Serving { revision: String },
    /// The same of a Rollout without Services.
    Working { revision: String },
    /// The owner's Deployment is in a roll-out of its own.
    NativeRollout { deployment: String },
    /// That roll-out is stuck past its own deadline.
    NativeRolloutStuck { deployment: String },
    /// The Deployment's pods of the live version cannot be found.
    LiveVersionGone { deployment: String, hash: String },
    /// Something only the cluster can tell is wrong.
    Refused(Refusal),
    /// What was decided is being written down.
    Recording,
    /// A release has begun; no client sees it yet.
    Beginning { canary: String },
    /// The Deployment is to be paused before anything else.
    Pausing { deployment: String },
    /// A roll-out of the Deployment's own had begun and is being undone.
    Restoring { deployment: String },
    /// Services are being pinned to the live side.
    Pinning { services: Vec<String> },
    /// Session affinity is being set on Services.
    KeepingClients { services: Vec<String> },
    /// The canary is being made.
    CreatingCanary { name: String },
    /// An object of that name is being removed first.
    CanaryBeingRemoved { name: String },
    /// Canary pods are awaited.
    CanaryPods { needed: i32, trouble: Option<String>, until: Option<Timestamp> },
    /// Gates are awaited.
    Gates { names: Vec<String>, until: Option<Timestamp> },
    /// The pods are being read from the API server itself before clients are sent to them.
    Verifying,
    /// A change of weight is being made.
    ChangingWeight { weight: u8 },
    /// A change of weight is awaited in the endpoints.
    Confirming { weight: u8, services: Vec<String> },
    /// A confirmed change of weight is given time to reach every node.
    Settling { weight: u8, until: Timestamp },
    /// The step is held.
    Holding { weight: u8, until: Timestamp },
    /// Somebody's approval of gates.
    ApprovalAwaited { gates: Vec<String>, revision: String, weight: u8 },
    /// `spec.paused`.
    PausedBySpec { weight: u8 },
    /// Fewer canary pods are ready than the step needs, and that is not the version's fault: both sides serve meanwhile.
    Sheltering { ready: i32, needed: i32 },
    /// 100 % on the canary, the previous version warm.
    Baking { until: Timestamp },
    /// Without Services: both versions in full size, at work.
    WorkingTogether { until: Timestamp },
    /// Preconditions of the adoption.
    AdoptionAwaits(AdoptionWait),
    /// The adoption is under way.
    Adopting(AdoptionStage),
    /// The Deployment rolls itself, off the traffic path.
    Rolling(RollStage),
    /// The new version takes the old one's place as the live one.
    Swapping { previous: String },
    /// Clients are being taken back.
    TakingBack { reason: String },
    /// Without Services: the canary's pods are being ended.
    EndingWork { reason: String },
    /// Both sides are bad, so nothing is moved.
    BothSidesBad { reason: String },
    /// Clients are back; the canary is being removed.
    RemovingCanary { reason: String },
    /// The same of a Rollout without Services.
    WorkEnded { reason: String },
    /// The canary is kept, dark, for debugging.
    KeptForDebugging { reason: String },
    /// The pending template was rejected.
    Held { revision: String, reason: String },
    /// The Rollout is being deleted.
    Deleting,
    /// The Deployment or its namespace is going away.
    WorkloadGoing { deployment: String },
}

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

impl Why {
    /// Whether a person has to do something for this to end.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::NativeRolloutStuck { .. }
                | Self::Refused(_)
                | Self::ApprovalAwaited { .. }
                | Self::PausedBySpec { .. }
                | Self::KeptForDebugging { .. }
                | Self::Held { .. }
                | Self::BothSidesBad { .. }
        )
    }
}

/// ` (until TIME)`, or nothing.
struct Until<'a>(&'a Option<Timestamp>);

impl fmt::Display for Until<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |until| write!(f, ", until {} at the latest", second(until)))
    }
}

/// A time to come, to the second: `2026-11-21T10:00:01Z`. Rounded up, so that it is not over before it is.
fn second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second() + i64::from(time.subsec_nanosecond() > 0)).unwrap_or(time)
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { revision } => write!(f, "revision {revision} serves all clients"),
            Self::Working { revision } => write!(f, "all pods are of revision {revision}"),
            Self::NativeRollout { deployment } => {
                write!(f, "waiting for Deployment {deployment} to finish the roll-out it is in; its result becomes the live version")
            }
            Self::NativeRolloutStuck { deployment } => write!(
                f,
                "the roll-out that Deployment {deployment} is in has exceeded its progress deadline; undo it with `kubectl rollout undo deployment/{deployment}`"
            ),
            Self::LiveVersionGone { deployment, hash } => {
                write!(
                    f,
                    "Deployment {deployment} has no ReplicaSet with pod-template-hash {hash}, the live version; waiting for a complete roll-out"
                )
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Recording => f.write_str("writing down what was decided"),
            Self::Beginning { canary } => write!(f, "preparing canary {canary}; no client sees it yet"),
            Self::Pausing { deployment } => write!(f, "pausing Deployment {deployment} before its new template takes effect"),
            Self::Restoring { deployment } => write!(f, "taking back the roll-out that Deployment {deployment} had begun by itself"),
            Self::Pinning { services } => write!(f, "pinning {} to the live version", Names("Service", services)),
            Self::KeepingClients { services } => write!(
                f,
                "setting session affinity on {}, so that clients keep their version while the weight rises",
                Names("Service", services)
            ),
            Self::CreatingCanary { name } => write!(f, "creating Deployment {name}"),
            Self::CanaryBeingRemoved { name } => write!(f, "waiting for the removal of an earlier Deployment {name}"),
            Self::CanaryPods { needed, trouble, until } => {
                write!(f, "waiting for {needed} canary {} to be available{}", if *needed == 1 { "pod" } else { "pods" }, Until(until))?;
                trouble.as_ref().map_or(Ok(()), |trouble| write!(f, ": {trouble}"))
            }
            Self::Gates { names, until } => write!(f, "waiting for {} to pass{}", Names("gate", names), Until(until)),
            Self::Verifying => f.write_str("reading the pods once more before going on"),
            Self::ChangingWeight { weight } => write!(f, "moving to {weight} %"),
            Self::Confirming { weight, services } => {
                write!(f, "waiting for the endpoints of {} to show {weight} %", Names("Service", services))
            }
            Self::Settling { weight, until } => write!(f, "{weight} % is confirmed; giving every node until {} to follow", second(*until)),
            Self::Holding { weight, until } => write!(f, "holding {weight} % until {}", second(*until)),
            Self::ApprovalAwaited { gates, revision, weight } => write!(
                f,
                "waiting at {weight} % for the approval of {}; send an Approve request for revision {revision}",
                Names("gate", gates)
            ),
            Self::PausedBySpec { weight } => write!(f, "paused at {weight} % by spec.paused; set it to false to go on"),
            Self::Sheltering { ready, needed } => {
                write!(f, "{ready} of {needed} canary pods are ready, so the old version takes clients too until replacements are ready")
            }
            Self::Baking { until } => {
                write!(f, "all clients are on the new version; the previous one is kept warm until {}", second(*until))
            }
            Self::WorkingTogether { until } => {
                write!(f, "as many pods of the new version work as of the old one; the old ones are kept until {}", second(*until))
            }
            Self::AdoptionAwaits(wait) => write!(f, "waiting for {wait} before the new pods are handed over"),
            Self::Adopting(stage) => stage.fmt(f),
            Self::Rolling(stage) => stage.fmt(f),
            Self::Swapping { previous } => {
                write!(f, "noting the new version as the live one, and letting the pods of Deployment {previous} go")
            }
            Self::TakingBack { reason } => write!(f, "taking clients back to the old version: {reason}"),
            Self::EndingWork { reason } => write!(f, "ending the pods of the new version: {reason}"),
            Self::BothSidesBad { reason } => {
                write!(f, "the new version is bad ({reason}) but the old one has no ready pod, so everything stays as it is")
            }
            Self::WorkEnded { reason } => write!(f, "no pod of the new version works any more ({reason}); removing the canary"),
            Self::RemovingCanary { reason } => write!(f, "clients are back on the old version ({reason}); removing the canary"),
            Self::KeptForDebugging { reason } => {
                write!(
                    f,
                    "clients are back on the old version ({reason}); the canary is kept without clients until a Retry or Abort request"
                )
            }
            Self::Held { revision, reason } => {
                write!(f, "revision {revision} was taken back ({reason}) and is held; change the template, or send a Retry request for it")
            }
            Self::Deleting => f.write_str("giving everything back before the Rollout is deleted"),
            Self::WorkloadGoing { deployment } => write!(f, "Deployment {deployment} is being deleted"),
        }
    }
}

/// `Service a`, or `Services a, b`.
pub struct Names<'a>(pub &'a str, pub &'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.0, if self.1.len() == 1 { "" } else { "s" }, self.1.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_what_is_awaited_and_until_when() {
        let until = "2026-11-21T10:00:00.5Z".parse().ok();
        let why = Why::CanaryPods { needed: 4, trouble: Some("ImagePullBackOff".into()), until };
        assert_eq!(
            why.to_string(),
            "waiting for 4 canary pods to be available, until 2026-11-21T10:00:01Z at the latest: ImagePullBackOff"
        );
    }
}
