//! Reasons, as data: what is waited for and what is refused. Each has one sentence, which status, Events, the CLI and the tests share.

pub mod refusal;
pub mod stage;
pub mod words;

use std::fmt;

use jiff::Timestamp;

use crate::core::why::{
    refusal::Refusal,
    stage::{AdoptionStage, AdoptionWait, RollStage},
    words::{Load, Names, Until, second},
};

/// What a Rollout waits for, or why it rests.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// One version serves, nothing is to be done.
    Serving { load: Load, revision: String },
    /// The owner's Deployment is in a roll-out of its own.
    NativeRollout { deployment: String },
    /// That roll-out is stuck past its own deadline.
    NativeRolloutStuck { deployment: String },
    /// The Deployment's pods of the live version cannot be found.
    LiveVersionGone { deployment: String, hash: String },
    /// The Deployment was set to 0 in mid-release.
    AtZero { deployment: String, revision: String },
    /// The same, and the ReplicaSet of the live version is gone: the Deployment has no template but the one that is held.
    LiveVersionLost { deployment: String, revision: String },
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
    /// A port of a Service, on a pod of the canary, takes no connection yet.
    Connecting { service: String, port: String, pod: String, number: u16, last: Option<String>, until: Option<Timestamp> },
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
    /// The Deployment is paused by its owner; with a template that is to be released, once it is resumed.
    PausedByOwner { deployment: String, namespace: String, pending: Option<String> },
    /// Fewer canary pods are ready than the step needs, and that is not the version's fault: both sides serve meanwhile.
    Sheltering { ready: i32, needed: i32 },
    /// All clients on the canary, the previous version warm; or both versions at work, in full size.
    Baking { load: Load, until: Timestamp },
    /// Preconditions of the adoption.
    AdoptionAwaits(AdoptionWait),
    /// The adoption is under way.
    Adopting(AdoptionStage),
    /// The Deployment rolls itself, off the traffic path.
    Rolling(RollStage),
    /// The new version takes the old one's place as the live one.
    Swapping { previous: String },
    /// Clients are being moved back to the old version; or the canary's pods are being ended.
    TakingBack { load: Load, reason: String },
    /// Both sides are bad, so nothing is moved.
    BothSidesBad { reason: String },
    /// Clients are back, or no pod of the canary works any more: it is being removed.
    RemovingCanary { load: Load, reason: String },
    /// The canary is kept, dark, for debugging.
    KeptForDebugging { reason: String },
    /// The pending template was rejected.
    Held { revision: String, reason: String },
    /// The Rollout is being deleted.
    Deleting,
    /// The Deployment or its namespace is going away.
    WorkloadGoing { deployment: String },
}

impl Why {
    /// Names the time at which the wait ends at the latest, where the sentence has a place for it.
    pub fn names_until(&mut self, time: Timestamp) {
        if let Self::CanaryPods { until, .. } | Self::Gates { until, .. } | Self::Connecting { until, .. } = self {
            *until = Some(time);
        }
    }

    /// The name of the reason, for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Serving { .. } => "Serving",
            Self::NativeRollout { .. } => "NativeRollout",
            Self::NativeRolloutStuck { .. } => "NativeRolloutStuck",
            Self::LiveVersionGone { .. } => "LiveVersionGone",
            Self::AtZero { .. } => "AtZero",
            Self::LiveVersionLost { .. } => "LiveVersionLost",
            Self::Refused(_) => "Refused",
            Self::Recording => "Recording",
            Self::Beginning { .. } => "Beginning",
            Self::Pausing { .. } => "Pausing",
            Self::Restoring { .. } => "Restoring",
            Self::Pinning { .. } => "Pinning",
            Self::KeepingClients { .. } => "KeepingClients",
            Self::CreatingCanary { .. } => "CreatingCanary",
            Self::CanaryBeingRemoved { .. } => "CanaryBeingRemoved",
            Self::CanaryPods { .. } => "CanaryPods",
            Self::Gates { .. } => "Gates",
            Self::Connecting { .. } => "Connecting",
            Self::Verifying => "Verifying",
            Self::ChangingWeight { .. } => "ChangingWeight",
            Self::Confirming { .. } => "Confirming",
            Self::Settling { .. } => "Settling",
            Self::Holding { .. } => "Holding",
            Self::ApprovalAwaited { .. } => "ApprovalAwaited",
            Self::PausedBySpec { .. } => "PausedBySpec",
            Self::PausedByOwner { .. } => "PausedByOwner",
            Self::Sheltering { .. } => "Sheltering",
            Self::Baking { .. } => "Baking",
            Self::AdoptionAwaits(_) => "AdoptionAwaits",
            Self::Adopting(_) => "Adopting",
            Self::Rolling(_) => "Rolling",
            Self::Swapping { .. } => "Swapping",
            Self::TakingBack { .. } => "TakingBack",
            Self::BothSidesBad { .. } => "BothSidesBad",
            Self::RemovingCanary { .. } => "RemovingCanary",
            Self::KeptForDebugging { .. } => "KeptForDebugging",
            Self::Held { .. } => "Held",
            Self::Deleting => "Deleting",
            Self::WorkloadGoing { .. } => "WorkloadGoing",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { load: Load::Clients, revision } => write!(f, "revision {revision} serves all clients"),
            Self::Serving { load: Load::Work, revision } => write!(f, "all pods are of revision {revision}"),
            Self::NativeRollout { deployment } => {
                write!(f, "waiting for Deployment {deployment} to finish the roll-out it is in; its result becomes the live version")
            }
            Self::NativeRolloutStuck { deployment } => write!(
                f,
                "the roll-out that Deployment {deployment} is in has exceeded its progress deadline; undo it with `kubectl rollout undo deployment/{deployment}`"
            ),
            Self::LiveVersionGone { deployment, hash } => write!(
                f,
                "Deployment {deployment} has no ReplicaSet with pod-template-hash {hash}, the live version; waiting for a complete roll-out"
            ),
            Self::AtZero { deployment, revision } => write!(
                f,
                "Deployment {deployment} is scaled to 0; when it has pods again they are of the live version, and the release of revision {revision} begins anew"
            ),
            Self::LiveVersionLost { deployment, revision } => write!(
                f,
                "Deployment {deployment} is paused without pods: Kubernetes has removed the ReplicaSet of the live version (see revisionHistoryLimit), and revision {revision}, its template, is held; apply the template of a good version, or send a Retry request for revision {revision}"
            ),
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
            Self::Connecting { service, port, pod, number, last, until } => {
                let last = last.as_ref().map(|last| format!(": {last}")).unwrap_or_default();
                write!(
                    f,
                    "waiting for pod {pod} to take connections at {number}, where port {port} of Service {service} leads to{}{last}",
                    Until(until)
                )
            }
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
            Self::PausedByOwner { deployment, namespace, pending } => paused_by_owner(f, deployment, namespace, pending.as_deref()),
            Self::Sheltering { ready, needed } => {
                write!(f, "{ready} of {needed} canary pods are ready, so the old version takes clients too until replacements are ready")
            }
            Self::Baking { load: Load::Clients, until } => {
                write!(f, "all clients are on the new version; the previous one is kept warm until {}", second(*until))
            }
            Self::Baking { load: Load::Work, until } => {
                write!(f, "as many pods of the new version work as of the old one; the old ones are kept until {}", second(*until))
            }
            Self::AdoptionAwaits(wait) => write!(f, "waiting for {wait} before the new pods are handed over"),
            Self::Adopting(stage) => stage.fmt(f),
            Self::Rolling(stage) => stage.fmt(f),
            Self::Swapping { previous } => {
                write!(f, "noting the new version as the live one, and letting the pods of Deployment {previous} go")
            }
            Self::TakingBack { load: Load::Clients, reason } => write!(f, "taking clients back to the old version: {reason}"),
            Self::TakingBack { load: Load::Work, reason } => write!(f, "ending the pods of the new version: {reason}"),
            Self::BothSidesBad { reason } => {
                write!(f, "the new version is bad ({reason}) but the old one has no ready pod, so everything stays as it is")
            }
            Self::RemovingCanary { load: Load::Work, reason } => {
                write!(f, "no pod of the new version works any more ({reason}); removing the canary")
            }
            Self::RemovingCanary { load: Load::Clients, reason } => {
                write!(f, "clients are back on the old version ({reason}); removing the canary")
            }
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

fn paused_by_owner(f: &mut fmt::Formatter<'_>, deployment: &str, namespace: &str, pending: Option<&str>) -> fmt::Result {
    write!(f, "Deployment {deployment} is paused by its owner (spec.paused)")?;
    match pending {
        Some(revision) => write!(f, "; the release of revision {revision} begins")?,
        None => f.write_str("; a new template is released")?,
    }
    write!(f, " once it is resumed: kubectl -n {namespace} rollout resume deployment/{deployment}")
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
