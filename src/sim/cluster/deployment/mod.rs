//! The Deployment controller, after kube-controller-manager 1.36 (`pkg/controller/deployment`), function by function.

use serde_json::{Value, json};

mod history;
mod rolling;
mod scaling;
mod set;
mod status;

use set::Set;

use crate::sim::{
    json,
    server::{call::Part, problem::Problem, selector::Labels},
};

use super::{Context, Id, Task, owner_reference};

/// The controller's name, as user and as reporter.
const ME: &str = "deployment-controller";

const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// The `ReplicaSets` of a Deployment: the one with its template, if there is one, and all others.
struct Sets {
    new: Option<Set>,
    old: Vec<Set>,
}

impl Sets {
    fn all(&self) -> Vec<Set> {
        self.old.iter().chain(&self.new).cloned().collect()
    }

    fn active(&self) -> Vec<Set> {
        self.all().into_iter().filter(|set| set.replicas() > 0).collect()
    }
}

/// One look at one Deployment.
struct Look<'a, 'b> {
    context: &'a mut Context<'b>,
    deployment: Value,
}

/// Looks at a Deployment and moves it on.
pub(in crate::sim) fn sync(context: &mut Context<'_>, id: &Id) -> Result<(), Problem> {
    let Some(deployment) = context.api.get("deployments.apps", &id.namespace, &id.name) else { return Ok(()) };
    let deployment = (**deployment).clone();
    Look { context, deployment }.sync()
}

impl Look<'_, '_> {
    fn sync(&mut self) -> Result<(), Problem> {
        let owned = self.claim()?;
        if json::deleting(&self.deployment) {
            let sets = self.sort(&owned, false)?;
            return self.sync_status(&sets);
        }
        self.check_paused_conditions()?;
        if self.paused() || self.is_scaling_event(&owned)? {
            return self.scale_only(&owned);
        }
        if self.recreates() { self.recreate(&owned) } else { self.roll(&owned) }
    }

    /// Scales without rolling: a paused Deployment, or one whose size has just changed.
    fn scale_only(&mut self, owned: &[Set]) -> Result<(), Problem> {
        let sets = self.sort(owned, false)?;
        self.scale(&sets)?;
        if self.paused() {
            self.clean_up(&sets.old)?;
        }
        self.sync_status(&sets)
    }

    /// The `ReplicaSets` that are its own: orphans that match are adopted, its own that do not match any more are released.
    fn claim(&mut self) -> Result<Vec<Set>, Problem> {
        let selector = self.deployment.pointer("/spec/selector").map(Labels::of_selector).unwrap_or_default();
        let namespace = json::namespace(&self.deployment).to_owned();
        let uid = json::uid(&self.deployment).to_owned();
        let concerns = |set: &Value| json::controller(set).map_or_else(|| selector.matches(set), |owner| json::text(owner, "/uid") == uid);
        let found: Vec<Value> =
            self.context.api.list("replicasets.apps", &namespace).filter(|set| concerns(set)).map(|set| (**set).clone()).collect();
        let mut owned = Vec::new();
        for mut set in found {
            let matches = !selector.is_empty() && selector.matches(&set);
            match json::controller(&set).map(|owner| json::text(owner, "/uid") == uid) {
                Some(true) if matches => owned.push(Set(set)),
                Some(true) if !json::deleting(&self.deployment) => {
                    let others: Vec<Value> = json::items(&set, "/metadata/ownerReferences")
                        .iter()
                        .filter(|owner| json::text(owner, "/uid") != uid)
                        .cloned()
                        .collect();
                    json::set(&mut set, "/metadata/ownerReferences", others);
                    self.context.put(ME, set, Part::Whole)?;
                }
                None if matches && !json::deleting(&self.deployment) && !json::deleting(&set) => {
                    let mut owners = json::items(&set, "/metadata/ownerReferences").to_vec();
                    owners.push(owner_reference(&self.deployment));
                    json::set(&mut set, "/metadata/ownerReferences", owners);
                    owned.push(Set(self.context.put(ME, set, Part::Whole)?));
                }
                _ => {}
            }
        }
        owned.sort_by(Set::older_first);
        Ok(owned)
    }

    /// A change of size is seen by the size that active `ReplicaSets` remember.
    fn is_scaling_event(&mut self, owned: &[Set]) -> Result<bool, Problem> {
        let sets = self.sort(owned, false)?;
        let size = self.replicas();
        Ok(sets.active().iter().any(|set| set.number(DESIRED_REPLICAS).is_some_and(|desired| desired != size)))
    }

    fn clean_up(&mut self, old: &[Set]) -> Result<(), Problem> {
        let Some(limit) =
            self.deployment.pointer("/spec/revisionHistoryLimit").and_then(Value::as_u64).filter(|limit| *limit != 2_147_483_647)
        else {
            return Ok(());
        };
        let mut alive: Vec<Set> = old.iter().filter(|set| !json::deleting(&set.0)).cloned().collect();
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        alive.sort_by_key(|set| (set.revision(), set.created().to_owned(), set.name().to_owned()));
        for set in alive.iter().take(surplus) {
            if set.replicas() == 0
                && set.status("replicas") == 0
                && json::int(&set.0, "/metadata/generation") <= set.status("observedGeneration")
            {
                let mut call = self.context.call(ME);
                let key = crate::sim::server::store::Key::new("replicasets.apps", json::namespace(&set.0), set.name());
                match self.context.api.delete(&mut call, &key, &crate::sim::server::DeleteOptions::default()) {
                    Err(problem) if problem.code != 404 => return Err(problem),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn later(&mut self, delay: std::time::Duration) {
        let task = Task::Deployment(Id::of(&self.deployment));
        self.context.later(delay, task);
    }

    fn event(&mut self, reason: &str, note: &str) {
        let about = self.deployment.clone();
        self.context.event(&about, ME, reason, note);
    }

    fn paused(&self) -> bool {
        json::flag(&self.deployment, "/spec/paused")
    }

    fn recreates(&self) -> bool {
        json::text(&self.deployment, "/spec/strategy/type") == "Recreate"
    }

    fn replicas(&self) -> i64 {
        json::int(&self.deployment, "/spec/replicas")
    }

    /// `maxSurge` and `maxUnavailable` in pods; both 0 means that one may be missing.
    fn fenceposts(&self) -> (i64, i64) {
        if self.recreates() {
            return (0, 0);
        }
        let of = |field: &str, up: bool| {
            let value = self.deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}")).cloned().unwrap_or_else(|| json!(0));
            let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok());
            match percent {
                Some(percent) if up => (percent * self.replicas() + 99) / 100,
                Some(percent) => percent * self.replicas() / 100,
                None => value.as_i64().unwrap_or(0),
            }
        };
        let (surge, unavailable) = (of("maxSurge", true), of("maxUnavailable", false));
        (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
    }

    fn max_surge(&self) -> i64 {
        self.fenceposts().0
    }

    fn max_unavailable(&self) -> i64 {
        if self.replicas() == 0 { 0 } else { self.fenceposts().1.min(self.replicas()) }
    }
}

#[cfg(test)]
mod tests;
