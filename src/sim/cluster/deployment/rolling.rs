//! The two strategies.

use super::{Look, Set, Sets, scaling::Changes};
use crate::sim::{json, server::problem::Problem};

impl Look<'_, '_> {
    /// `RollingUpdate`: up where surge allows, down where availability allows, one of the two at a time.
    pub(super) fn roll(&mut self, owned: &[Set]) -> Result<(), Problem> {
        let sets = self.sort(owned, true)?;
        let Some(new) = sets.new.clone() else { return Ok(()) };
        if self.grow_new(&sets, &new)? || self.shrink_old(&sets, &new)? {
            return self.sync_roll_out(&sets);
        }
        if self.is_complete(&self.deployment["status"]) {
            self.clean_up(&sets.old)?;
        }
        self.sync_roll_out(&sets)
    }

    fn grow_new(&mut self, sets: &Sets, new: &Set) -> Result<bool, Problem> {
        let size = self.replicas();
        let next = match new.replicas() {
            now if now == size => return Ok(false),
            now if now > size => size,
            _ => self.new_size(&sets.all(), new),
        };
        Ok(self.resize(new, next, Changes::OfSize)?.0)
    }

    fn shrink_old(&mut self, sets: &Sets, new: &Set) -> Result<bool, Problem> {
        let mut old: Vec<Set> = sets.old.iter().filter(|set| set.replicas() > 0).cloned().collect();
        if old.is_empty() {
            return Ok(false);
        }
        let total: i64 = sets.all().iter().map(Set::replicas).sum();
        let least = self.replicas() - self.max_unavailable();
        let most_down = total - least - (new.replicas() - new.available());
        if most_down <= 0 {
            return Ok(false);
        }
        old.sort_by(Set::older_first);
        // Pods that serve nobody go first.
        let mut down = 0;
        for set in &mut old {
            let broken = set.replicas() - set.available();
            if down >= most_down || set.replicas() == 0 || broken <= 0 {
                continue;
            }
            let step = broken.min(most_down - down);
            *set = self.resize(set, set.replicas() - step, Changes::OfSize)?.1;
            down += step;
        }
        let available: i64 = old.iter().chain([new]).map(Set::available).sum();
        let mut spare = available - least;
        for set in &old {
            if spare <= 0 {
                break;
            }
            let step = set.replicas().min(spare);
            if step > 0 {
                self.resize(set, set.replicas() - step, Changes::OfSize)?;
                spare -= step;
                down += step;
            }
        }
        Ok(down > 0)
    }

    /// `Recreate`: nothing new before everything old has stopped.
    pub(super) fn recreate(&mut self, owned: &[Set]) -> Result<(), Problem> {
        let mut sets = self.sort(owned, false)?;
        let mut shrunk = false;
        for at in 0..sets.old.len() {
            if sets.old[at].replicas() > 0 {
                let (_, next) = self.resize(&sets.old[at].clone(), 0, Changes::OfSize)?;
                sets.old[at] = next;
                shrunk = true;
            }
        }
        if shrunk || self.old_pods_run(&sets) {
            return self.sync_roll_out(&sets);
        }
        if sets.new.is_none() {
            sets = self.sort(owned, true)?;
        }
        if let Some(new) = sets.new.clone() {
            let size = self.replicas();
            self.resize(&new, size, Changes::OfSize)?;
        }
        if self.is_complete(&self.deployment["status"]) {
            self.clean_up(&sets.old)?;
        }
        self.sync_roll_out(&sets)
    }

    fn old_pods_run(&self, sets: &Sets) -> bool {
        if sets.old.iter().any(|set| set.status("replicas") > 0) {
            return true;
        }
        self.context.api.list("pods", json::namespace(&self.deployment)).any(|pod| {
            let running = !matches!(json::text(pod, "/status/phase"), "Failed" | "Succeeded");
            running && sets.old.iter().any(|set| json::uid(&set.0) == json::controller_uid(pod))
        })
    }
}
