//! What a Rollout has said, and when: its status at every change, and the Events about it, read off the log of the API server.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    cluster::Id,
    json,
    server::store::{Entry, Store},
};
use crate::api::{Rollout, RolloutStatus, status::Phase};

/// A status, from this moment to the next one.
#[derive(Clone, Debug)]
pub struct Moment {
    pub at: Timestamp,
    pub status: RolloutStatus,
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: Timestamp,
    /// Name of the Event; those of one moment are named in their order.
    pub name: String,
    pub reason: String,
    pub note: String,
    pub is_warning: bool,
}

/// Everything one Rollout has said since the first [`Timeline::read`] could see it, oldest first.
#[derive(Clone, Debug)]
pub struct Timeline {
    rollout: Id,
    cursor: u64,
    pub moments: Vec<Moment>,
    pub events: Vec<Told>,
}

impl Timeline {
    /// Of this Rollout, from here on.
    pub fn new(rollout: Id, store: &Store) -> Self {
        Self { rollout, cursor: store.oldest(), moments: Vec::new(), events: Vec::new() }
    }

    /// Reads what has happened since. A log that was compacted in between has a gap.
    pub fn read(&mut self, store: &Store) {
        self.cursor = self.cursor.max(store.oldest());
        while let Ok(Some(entry)) = store.after(self.cursor) {
            self.cursor = entry.version;
            self.take(entry);
        }
    }

    fn take(&mut self, entry: &Entry) {
        let Some(object) = entry.after.as_deref().filter(|_| entry.key.namespace == self.rollout.namespace) else { return };
        match &*entry.key.resource {
            "rollouts.stepgate.dev" if entry.key.name == self.rollout.name => {
                let status = serde_json::from_value::<Rollout>(object.clone()).ok().and_then(|rollout| rollout.status).unwrap_or_default();
                if self.moments.last().is_none_or(|last| last.status != status) {
                    self.moments.push(Moment { at: entry.at, status });
                }
            }
            "events.events.k8s.io" if json::text(object, "/regarding/name") == self.rollout.name && is_of_rollout(object) => {
                let text = |path: &str| json::text(object, path).to_owned();
                let at = json::time(object, "/eventTime").unwrap_or(entry.at);
                let is_warning = json::text(object, "/type") == "Warning";
                self.events.push(Told { at, name: entry.key.name.clone(), reason: text("/reason"), note: text("/note"), is_warning });
                // They are sent side by side, and told in the order in which they were written.
                self.events.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
            }
            _ => {}
        }
    }

    /// The status that was written last.
    pub fn status(&self) -> Option<&RolloutStatus> {
        self.moments.last().map(|moment| &moment.status)
    }
}

fn is_of_rollout(event: &Value) -> bool {
    json::text(event, "/regarding/kind") == "Rollout"
}

/// The weight that is in effect under a status: the one confirmed last; 0 as soon as a release is being taken back.
pub fn weight_in_effect(before: u8, status: &RolloutStatus) -> u8 {
    match status.phase {
        Some(Phase::Progressing | Phase::Baking | Phase::Promoting) => {
            status.step.as_ref().filter(|step| step.since.is_some()).map_or(before, |step| step.weight)
        }
        _ => 0,
    }
}

/// The weights of a stretch of moments: each with when it came into effect, the last with the end of the stretch behind it.
pub fn weights(moments: &[Moment]) -> Vec<(Timestamp, u8)> {
    let mut weights: Vec<(Timestamp, u8)> = Vec::new();
    let mut weight = 0;
    for moment in moments {
        let next = weight_in_effect(weight, &moment.status);
        if weights.is_empty() || next != weight {
            weights.push((moment.at, next));
        }
        weight = next;
    }
    weights
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn moment(second: i64, phase: &str, weight: u8, confirmed: bool) -> Moment {
        let since = confirmed.then_some("2026-01-01T00:00:00Z");
        let step = json!({"index": 1, "of": 2, "display": "1/2", "weight": weight, "since": since});
        let status = serde_json::from_value(json!({"phase": phase, "step": step})).unwrap();
        Moment { at: Timestamp::from_second(second).unwrap(), status }
    }

    #[test]
    fn a_weight_is_in_effect_from_its_confirmation_until_the_next_one_or_the_way_back() {
        let moments = [
            moment(0, "Preparing", 25, false),
            moment(1, "Progressing", 25, false),
            moment(2, "Progressing", 25, true),
            moment(3, "Progressing", 100, false),
            moment(4, "Progressing", 100, true),
            moment(5, "Baking", 100, true),
            moment(6, "RollingBack", 100, true),
        ];
        let found: Vec<(i64, u8)> = weights(&moments).into_iter().map(|(at, weight)| (at.as_second(), weight)).collect();
        assert_eq!(found, [(0, 0), (2, 25), (4, 100), (6, 0)]);
    }
}
