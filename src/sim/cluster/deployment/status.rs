//! The Deployment's status: counts, conditions, and whether it makes progress.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sim::{
    clock::{after, seconds},
    json,
    server::{call::Part, problem::Problem},
};

use super::{Look, ME, Set, Sets};

impl Look<'_, '_> {
    pub(super) fn put_status(&mut self) -> Result<(), Problem> {
        let stored = self.context.put(ME, self.deployment.clone(), Part::Status)?;
        self.deployment = stored;
        Ok(())
    }

    pub(super) fn has_deadline(&self) -> bool {
        self.deployment.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_i64).is_some_and(|deadline| deadline != 2_147_483_647)
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(u64::try_from(json::int(&self.deployment, "/spec/progressDeadlineSeconds")).unwrap_or(0))
    }

    /// Says that it is paused, or resumed: the clock of the deadline starts anew.
    pub(super) fn check_paused_conditions(&mut self) -> Result<(), Problem> {
        let reason = json::condition(&self.deployment, "Progressing")
            .map(|condition| json::text(condition, "/reason").to_owned())
            .unwrap_or_default();
        if !self.has_deadline() || reason == "ProgressDeadlineExceeded" {
            return Ok(());
        }
        let said = reason == "DeploymentPaused";
        match (self.paused(), said) {
            (true, false) => self.set_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"),
            (false, true) => self.set_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"),
            _ => return Ok(()),
        }
        self.put_status()
    }

    pub(super) fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let now = seconds(self.context.now);
        set_condition(&mut self.deployment["status"], kind, status, reason, message, &now);
    }

    /// The status outside of a roll-out.
    pub(super) fn sync_status(&mut self, sets: &Sets) -> Result<(), Problem> {
        let status = self.calculate(sets);
        if status == self.deployment["status"] {
            return Ok(());
        }
        self.deployment["status"] = status;
        self.put_status()
    }

    /// The status during a roll-out, with an estimate of its progress.
    pub(super) fn sync_roll_out(&mut self, sets: &Sets) -> Result<(), Problem> {
        let mut status = self.calculate(sets);
        if !self.has_deadline() {
            remove_condition(&mut status, "Progressing");
        }
        let current = json::condition(&self.deployment, "Progressing").cloned();
        let reason = current.as_ref().map(|condition| json::text(condition, "/reason").to_owned()).unwrap_or_default();
        let done = json::int(&status, "/replicas") == json::int(&status, "/updatedReplicas") && reason == "NewReplicaSetAvailable";
        let subject = match &sets.new {
            Some(new) => format!("ReplicaSet {:?}", new.name()),
            None => format!("Deployment {:?}", json::name(&self.deployment)),
        };
        let now = seconds(self.context.now);
        if self.has_deadline() && !done {
            if self.is_complete(&status) {
                let message = format!("{subject} has successfully progressed.");
                set_condition(&mut status, "Progressing", "True", "NewReplicaSetAvailable", &message, &now);
            } else if self.is_progressing(&status) {
                remove_condition(&mut status, "Progressing");
                set_condition(&mut status, "Progressing", "True", "ReplicaSetUpdated", &format!("{subject} is progressing."), &now);
                if let Some(since) = current
                    .as_ref()
                    .filter(|condition| json::text(condition, "/status") == "True")
                    .map(|condition| condition["lastTransitionTime"].clone())
                {
                    for condition in
                        status["conditions"].as_array_mut().into_iter().flatten().filter(|condition| condition["type"] == "Progressing")
                    {
                        condition["lastTransitionTime"] = since.clone();
                    }
                }
            } else if self.has_timed_out(&status) {
                let message = format!("{subject} has timed out progressing.");
                set_condition(&mut status, "Progressing", "False", "ProgressDeadlineExceeded", &message, &now);
            }
        }
        Self::copy_failure(&mut status, sets, &now);
        if status == self.deployment["status"] {
            self.look_again_at_the_deadline(&status);
            return Ok(());
        }
        self.deployment["status"] = status;
        self.put_status()
    }

    fn copy_failure(status: &mut Value, sets: &Sets, now: &str) {
        let failure = sets.new.iter().chain(&sets.old).find_map(|set| json::condition(&set.0, "ReplicaFailure"));
        match failure {
            Some(failure) => set_condition(
                status,
                "ReplicaFailure",
                json::text(failure, "/status"),
                json::text(failure, "/reason"),
                json::text(failure, "/message"),
                now,
            ),
            None => remove_condition(status, "ReplicaFailure"),
        }
    }

    fn calculate(&self, sets: &Sets) -> Value {
        let all = sets.all();
        let sum = |of: &dyn Fn(&Set) -> i64| all.iter().map(of).sum::<i64>();
        let (asked, available) = (sum(&Set::replicas), sum(&Set::available));
        let mut status = json!({});
        for (field, count) in [
            ("observedGeneration", json::int(&self.deployment, "/metadata/generation")),
            ("replicas", sum(&|set| set.status("replicas"))),
            ("updatedReplicas", sets.new.as_ref().map_or(0, |new| new.status("replicas"))),
            ("readyReplicas", sum(&|set| set.status("readyReplicas"))),
            ("availableReplicas", available),
            ("unavailableReplicas", (asked - available).max(0)),
        ] {
            if count != 0 {
                status[field] = count.into();
            }
        }
        status["terminatingReplicas"] = sum(&|set| set.status("terminatingReplicas")).into();
        for field in ["collisionCount", "conditions"] {
            if let Some(value) = self.deployment["status"].get(field) {
                status[field] = value.clone();
            }
        }
        let now = seconds(self.context.now);
        if available >= self.replicas() - self.max_unavailable() {
            set_condition(&mut status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", &now);
        } else {
            set_condition(
                &mut status,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
                &now,
            );
        }
        status
    }

    pub(super) fn is_complete(&self, status: &Value) -> bool {
        let size = self.replicas();
        ["/updatedReplicas", "/replicas", "/availableReplicas"].iter().all(|count| json::int(status, count) == size)
            && json::int(status, "/observedGeneration") >= json::int(&self.deployment, "/metadata/generation")
    }

    fn is_progressing(&self, new: &Value) -> bool {
        let old = &self.deployment["status"];
        let leftover = |status: &Value| json::int(status, "/replicas") - json::int(status, "/updatedReplicas");
        leftover(new) < leftover(old)
            || ["/updatedReplicas", "/readyReplicas", "/availableReplicas"]
                .iter()
                .any(|count| json::int(new, count) > json::int(old, count))
    }

    fn has_timed_out(&self, status: &Value) -> bool {
        let Some(condition) = json::items(status, "/conditions").iter().find(|condition| condition["type"] == "Progressing") else {
            return false;
        };
        match json::text(condition, "/reason") {
            "NewReplicaSetAvailable" => false,
            "ProgressDeadlineExceeded" => true,
            _ => json::time(condition, "/lastUpdateTime").is_some_and(|since| after(since, self.deadline()) < self.context.now),
        }
    }

    fn look_again_at_the_deadline(&mut self, status: &Value) {
        let Some(condition) = json::condition(&self.deployment, "Progressing").cloned() else { return };
        if !self.has_deadline() || self.is_complete(status) || json::text(&condition, "/reason") == "ProgressDeadlineExceeded" {
            return;
        }
        let due = json::time(&condition, "/lastUpdateTime").map(|since| after(since, self.deadline()).duration_since(self.context.now));
        let wait = due.and_then(|due| Duration::try_from(due).ok()).unwrap_or_default();
        self.later(wait + Duration::from_secs(1));
    }
}

/// Sets a condition unless it says the same; the time of its last transition changes with its status only. It moves to the end of the list.
fn set_condition(status: &mut Value, kind: &str, state: &str, reason: &str, message: &str, now: &str) {
    let current = json::items(status, "/conditions").iter().find(|condition| condition["type"] == kind).cloned();
    let same_state = current.as_ref().is_some_and(|condition| condition["status"] == state);
    if same_state && current.as_ref().is_some_and(|condition| condition["reason"] == reason) {
        return;
    }
    let since = current.filter(|_| same_state).map_or_else(|| now.into(), |condition| condition["lastTransitionTime"].clone());
    remove_condition(status, kind);
    let mut conditions = json::items(status, "/conditions").to_vec();
    conditions.push(
        json!({ "type": kind, "status": state, "reason": reason, "message": message, "lastUpdateTime": now, "lastTransitionTime": since }),
    );
    status["conditions"] = conditions.into();
}

fn remove_condition(status: &mut Value, kind: &str) {
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != kind);
        if conditions.is_empty() {
            json::unset(status, "/conditions");
        }
    }
}
