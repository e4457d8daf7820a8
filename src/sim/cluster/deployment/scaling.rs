//! Sizes: in proportion while a Deployment is paused or has just been resized, one set at a time otherwise.

use std::collections::BTreeMap;

use crate::sim::{
    json,
    server::{call::Part, problem::Problem},
};

use super::{DESIRED_REPLICAS, Look, MAX_REPLICAS, ME, Set, Sets};

impl Look<'_, '_> {
    /// Brings the sets to the Deployment's size without moving a roll-out on.
    pub(super) fn scale(&mut self, sets: &Sets) -> Result<(), Problem> {
        let size = self.replicas();
        if let Some(only) = active_or_latest(sets) {
            if only.replicas() != size {
                self.resize(&only, size, Changes::OfSize)?;
            }
            return Ok(());
        }
        if sets.new.as_ref().is_some_and(|new| self.is_saturated(new)) {
            for old in sets.old.iter().filter(|set| set.replicas() > 0) {
                self.resize(old, 0, Changes::OfSize)?;
            }
            return Ok(());
        }
        if self.recreates() {
            return Ok(());
        }
        let mut active = sets.active();
        let total: i64 = active.iter().map(Set::replicas).sum();
        let allowed = if size > 0 { size + self.max_surge() } else { 0 };
        let to_add = allowed - total;
        if to_add > 0 {
            active.sort_by(Set::by_size_newer_first);
        } else {
            active.sort_by(Set::by_size_older_first);
        }
        let mut added = 0;
        let mut sizes = BTreeMap::new();
        for set in &active {
            let share = self.proportion(set, to_add, added);
            sizes.insert(set.name().to_owned(), set.replicas() + share);
            added += share;
        }
        for (at, set) in active.iter().enumerate() {
            let mut next = sizes.get(set.name()).copied().unwrap_or_default();
            if at == 0 && to_add != 0 {
                next = (next + to_add - added).max(0);
            }
            self.resize(set, next, Changes::OfAnnotationsToo)?;
        }
        Ok(())
    }

    /// How many of the pods to add or remove fall on this set.
    fn proportion(&self, set: &Set, to_add: i64, added: i64) -> i64 {
        if set.replicas() == 0 || to_add == 0 || to_add == added {
            return 0;
        }
        let (fraction, allowed) = (self.fraction(set), to_add - added);
        if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
    }

    fn fraction(&self, set: &Set) -> i64 {
        let size = self.replicas();
        if size == 0 {
            return -set.replicas();
        }
        let before = set.number(MAX_REPLICAS).filter(|max| *max > 0).unwrap_or_else(|| json::int(&self.deployment, "/status/replicas"));
        if before == 0 {
            return 0;
        }
        // Rounded half away from zero, as the controller does; nothing here is negative.
        let scaled = set.replicas() * (size + self.max_surge());
        (2 * scaled + before) / (2 * before) - set.replicas()
    }

    /// Resizes a set; true if its size changed. Gives the set as it is afterwards.
    pub(super) fn resize(&mut self, set: &Set, size: i64, changes: Changes) -> Result<(bool, Set), Problem> {
        let (desired, max) = (self.replicas().to_string(), (self.replicas() + self.max_surge()).to_string());
        let before = set.replicas();
        let stale = json::annotation(&set.0, DESIRED_REPLICAS) != Some(&desired) || json::annotation(&set.0, MAX_REPLICAS) != Some(&max);
        if before == size && !(stale && changes == Changes::OfAnnotationsToo) {
            return Ok((false, set.clone()));
        }
        let mut next = set.clone();
        json::set(&mut next.0, "/spec/replicas", size);
        next.annotate(DESIRED_REPLICAS, &desired);
        next.annotate(MAX_REPLICAS, &max);
        let next = Set(self.context.put(ME, next.0, Part::Whole)?);
        if before != size {
            let way = if before < size { "up" } else { "down" };
            self.event("ScalingReplicaSet", &format!("Scaled {way} replica set {} from {before} to {size}", set.name()));
        }
        Ok((before != size, next))
    }

    /// Whether a set is as large as the Deployment, knows it, and is fully available.
    fn is_saturated(&self, set: &Set) -> bool {
        let size = self.replicas();
        set.replicas() == size && set.number(DESIRED_REPLICAS) == Some(size) && set.available() == size
    }

    /// The size the new set may have now.
    pub(super) fn new_size(&self, all: &[Set], new: &Set) -> i64 {
        if self.recreates() {
            return self.replicas();
        }
        let total: i64 = all.iter().map(Set::replicas).sum();
        let most = self.replicas() + self.max_surge();
        if total >= most { new.replicas() } else { new.replicas() + (most - total).min(self.replicas() - new.replicas()) }
    }
}

/// Whether annotations alone are worth a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Changes {
    OfSize,
    OfAnnotationsToo,
}

/// The only set with pods; the new or the newest where none has any; nothing where several have.
fn active_or_latest(sets: &Sets) -> Option<Set> {
    match &sets.active()[..] {
        [] => sets.new.clone().or_else(|| sets.old.iter().max_by(|one, other| Set::older_first(one, other)).cloned()),
        [only] => Some(only.clone()),
        _ => None,
    }
}
