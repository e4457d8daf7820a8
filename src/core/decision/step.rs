//! Steps, as status keeps them.

use crate::api::status::StepStatus;

/// Step number `index` (from 1) of a release, not yet begun.
pub fn step(steps: &[crate::api::policy::Step], index: u32) -> StepStatus {
    let of = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let weight = usize::try_from(index).ok().and_then(|index| steps.get(index.saturating_sub(1))).map_or(100, |step| step.weight);
    StepStatus { index, of, display: format!("{index}/{of}"), weight, since: None, until: None, held: None, waiting_since: None }
}
