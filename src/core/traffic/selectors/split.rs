//! How a plain Service gives a weight: by pod counts, by the rotation label, or by a pin to one side (design section 3).

use crate::{
    api::policy::{CanaryReplicas, PolicySpec, SplitMode},
    core::{
        facts::pin::Pin,
        share::{by_counts, by_rotation, nested, percent},
        traffic::selectors::affinity,
        view::{View, declared::Pair},
    },
};

/// Pods that the two versions of a declared pair ask for.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Full size of either side in a release.
    pub full: i32,
    pub live: i32,
    pub canary: i32,
}

/// How a weight is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Both sides behind the owner's selector; the share follows from the number of pods.
    Counts { canary: i32 },
    /// So many pods of each side carry the rotation label.
    Rotation { canary: i32, stable: i32 },
    /// All clients on the canary.
    All,
}

impl Split {
    /// The share of the connections that the canary gets when every pod counted on is ready, in percent, rounded.
    pub fn share(self, stable_pods: i32) -> u8 {
        let (canary, stable) = match self {
            Self::Counts { canary } => (canary, stable_pods),
            Self::Rotation { canary, stable } => (canary, stable),
            Self::All => (1, 0),
        };
        percent(canary, i64::from(canary) + i64::from(stable))
    }

    /// The pin that gives it, where the canary's pods have this value of the side label.
    pub fn pin(self, canary: &str) -> Pin {
        match self {
            Self::Counts { .. } => Pin::Open,
            Self::Rotation { .. } => Pin::Rotation,
            Self::All => Pin::Side(canary.to_owned()),
        }
    }
}

impl View<'_> {
    /// How the Services give a weight.
    pub fn split(&self, policy: &PolicySpec, weight: u8) -> Split {
        let full = self.full_size();
        match self.pair {
            // Without Services there is nothing that a label could be selected by.
            Pair::Managed { .. } if self.is_worker() => managed(policy, weight, full),
            Pair::Managed { .. } => {
                let canary = self.canary_deployment().map_or(0, |deployment| deployment.replicas);
                scaled(policy, weight, Sizes { full, live: self.hello.replicas, canary })
            }
            Pair::Declared(_) => {
                let canary = self.canary_deployment().map_or(0, |deployment| deployment.replicas);
                declared(policy, weight, Sizes { full, live: self.hello.replicas, canary }, || self.shared_pin())
            }
        }
    }
}

/// How the Services give a weight, under a policy, with `size` pods a side.
///
/// Where clients are to keep their version, `split: Exact` gives no other numbers: it would take a pod out of the rotation again.
pub fn managed(policy: &PolicySpec, weight: u8, size: i32) -> Split {
    let any_pods = policy.split == SplitMode::Resilient || affinity::seconds(policy).is_some();
    let by_weight = any_pods && policy.canary_replicas == CanaryReplicas::ByWeight;
    match weight {
        100.. => Split::All,
        ..=50 if by_weight => Split::Counts { canary: by_counts(weight, size) },
        _ => rotation(policy, weight, size),
    }
}

/// The same, where somebody may have scaled one of the two: where their numbers do not give the weight by themselves any more, the rotation
/// label does, as near as the pods that the owner asks for now allow. (Clients that are to keep their version keep it, whatever the share.)
fn scaled(policy: &PolicySpec, weight: u8, sizes: Sizes) -> Split {
    let Sizes { full, live, canary: running } = sizes;
    match managed(policy, weight, full) {
        Split::Counts { canary } if affinity::seconds(policy).is_none() && (live < full || running > canary) => {
            rotation(policy, weight, live.max(1))
        }
        split => split,
    }
}

/// The rotation that gives a weight.
pub fn rotation(policy: &PolicySpec, weight: u8, size: i32) -> Split {
    let (canary, stable) = if affinity::seconds(policy).is_some() { nested(weight, size) } else { by_rotation(weight, size) };
    Split::Rotation { canary, stable }
}

/// Canary pods that a split needs: what it counts on, and from 50 % on a full side, so that the next step does not wait for pods.
pub fn size(policy: &PolicySpec, weight: u8, split: Split, size: i32) -> i32 {
    match (policy.canary_replicas, split) {
        (CanaryReplicas::ByWeight, Split::Counts { canary }) => canary,
        (CanaryReplicas::ByWeight, Split::Rotation { canary, .. }) if weight <= 50 => canary,
        _ => size,
    }
}

/// How the Services give a weight between two versions of the user's own. Their counts are only ever raised, and only the two may be behind
/// the owner's selector (`shared`, see [`View::shared_pin`]): where that is not so the rotation label is used instead.
pub fn declared(policy: &PolicySpec, weight: u8, sizes: Sizes, shared: impl Fn() -> Pin) -> Split {
    let Sizes { full, live, canary: running } = sizes;
    match managed(policy, weight, full) {
        Split::Counts { canary } if live != full || running > canary || shared() != Pin::Open => rotation(policy, weight, full),
        split => split,
    }
}
