//! The kinds of group `stepgate.dev`: what a user writes and what Stepgate reports. No logic.

pub mod duration;
mod names;
pub mod policy;
pub mod request;
pub mod rollout;
pub mod status;
pub mod workload;

pub use duration::Span;
pub use names::{API_VERSION, FINALIZER, GROUP, HANDOVER, HELD, HELD_BY_STEPGATE, POD_TEMPLATE_HASH, ROLLOUT_UID, ROTATION, ROTATION_IN};
pub use policy::{ClusterRolloutPolicy, ClusterRolloutPolicySpec, PolicySpec, RolloutPolicy, RolloutPolicySpec};
pub use rollout::{Rollout, RolloutSpec};
pub use status::RolloutStatus;
