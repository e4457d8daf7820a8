//! Names that Stepgate puts on objects, or finds on them.

/// API group of all kinds.
pub const GROUP: &str = "stepgate.dev";
/// The group of the kinds, and their only version.
pub const API_VERSION: &str = "stepgate.dev/v1alpha1";
/// The label that carries the uid of the Rollout an object of ours belongs to.
pub const ROLLOUT_UID: &str = "stepgate.dev/rollout-uid";
/// The pod label a Service is pinned to while counts cannot express a weight.
pub const ROTATION: &str = "stepgate.dev/rotation";
/// The only value of [`ROTATION`] that is ever written.
pub const ROTATION_IN: &str = "in";
/// The label on the user's Deployment for the seconds of an adoption: the revision, and the owner's `maxSurge`.
pub const HANDOVER: &str = "stepgate.dev/handover";
/// The label on the user's Deployment that says whose `spec.paused` is: Stepgate's, or an admission policy's on its behalf. Its value is
/// [`HELD_BY_STEPGATE`]. A Deployment that is paused without it is paused by its owner. No annotation, because the Deployment controller copies
/// those to ReplicaSets.
pub const HELD: &str = "stepgate.dev/held";
/// The only value of [`HELD`] that is ever written.
pub const HELD_BY_STEPGATE: &str = "paused-by-stepgate";
/// The finalizer on a Rollout that has anything to give back.
pub const FINALIZER: &str = "stepgate.dev/rollout";
/// The label Kubernetes puts on the pods of a Deployment's ReplicaSet.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
