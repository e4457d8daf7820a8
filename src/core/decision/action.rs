//! What a decision asks the shell to do: each action is one write (or one read), names the version of the object it was decided on, and
//! does no harm when it is done twice.

use serde_json::Value;

use crate::core::facts::{object::Object, pin::Pin, service::SessionAffinity};

/// One write, or one read, asked for by a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    AddFinalizer,
    RemoveFinalizer,
    /// Read the pods from the API server itself, so that a silent watch cannot move a release forward.
    ReadPods,
    /// Find out by a dry run whether the admission policies act on the Deployment.
    ProbeGuard {
        deployment: String,
    },
    /// Find out by a dry run whether the admission policies hold this key of the Service's selector.
    ProbePin {
        service: String,
        side_key: String,
    },
    /// Find out by a dry run whether the admission policies stamp who sends a request, such as the one with this id.
    ProbeStamp {
        id: String,
    },
    /// `spec.paused` of a Deployment, the user's or ours.
    SetPaused {
        deployment: Object,
        paused: bool,
    },
    /// Our keys of a Service's selector: the side key of this pair, and the rotation label; in the same write its session affinity, where
    /// that is to be another one.
    PinService {
        service: Object,
        side_key: String,
        from: Pin,
        to: Pin,
        affinity: Option<SessionAffinity>,
    },
    /// Our keys of the preview's selector. No client depends on it: it stands last, nothing waits for it, and what fails is tried again.
    PinPreview {
        service: Object,
        side_key: String,
        to: Pin,
    },
    /// Ours, beside the user's.
    CreateCanary {
        name: String,
        body: Value,
    },
    /// `spec.replicas` of the canary's Deployment, or of the live version's where it was set to 0 and clients come back. The user's own
    /// are only ever made larger. To 0 it is the way back of a Rollout without Services.
    ScaleCanary {
        deployment: Object,
        replicas: i32,
    },
    /// `spec.replicas` of a declared pair's previous version to 0, which is what `idle: ScaleToZero` asks for.
    ScaleToZero {
        deployment: Object,
    },
    /// A ReplicaSet's `spec.replicas`: 0, where the Deployment controller is to restore the other one.
    ScaleReplicaSet {
        replica_set: Object,
        replicas: i32,
    },
    /// An empty older twin of the new revision.
    DeleteReplicaSet {
        replica_set: Object,
    },
    /// The rotation label of a pod.
    LabelPod {
        pod: Object,
        rotation: Rotation,
    },
    /// The record that an adoption begins: a label on the user's Deployment.
    BeginHandover {
        deployment: Object,
        label: String,
    },
    /// `maxSurge` of the user's Deployment to 100 %, for the moment of the adoption.
    OpenSurge {
        deployment: Object,
    },
    /// The adoption itself: the canary's ReplicaSet becomes the user's Deployment's own.
    AdoptReplicaSet {
        replica_set: Object,
        owner: Object,
        size: i32,
    },
    /// The end of an adoption, done or called off: the label off, `maxSurge` back, paused as said.
    EndHandover {
        deployment: Object,
        max_surge: Option<Value>,
        paused: Option<bool>,
    },
    /// Our Deployment, with its pods. `must_own_nothing`: after an adoption, checked live before the deletion.
    DeleteCanary {
        deployment: Object,
        must_own_nothing: bool,
    },
}

/// Whether a pod is in rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    In,
    Out,
}

impl Action {
    /// Whether it takes clients, or work, off a bad version: it goes out before everything else and interrupts whatever is under way.
    pub fn is_way_back(&self) -> bool {
        match self {
            Self::PinService { from, to: to @ Pin::Side(_), .. } => from != to,
            Self::ScaleCanary { replicas, .. } => *replicas == 0,
            _ => false,
        }
    }

    /// Of two that look like ways back, whether this one takes clients where the other one does not: to move them to the new version alone is
    /// written in the same way.
    pub fn leads_elsewhere(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::PinService { to, .. }, Self::PinService { to: others, .. }) => to != others,
            _ => false,
        }
    }
}
