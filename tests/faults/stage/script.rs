//! What people do in a story, and when.

use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use stepgate::{
    api::{HELD, HELD_BY_STEPGATE, POD_TEMPLATE_HASH},
    core::facts::revision::revision,
    sim::{
        World,
        cluster::Id,
        json as at,
        server::{Reply, request::Request},
    },
};
use tokio::time::Instant;

use super::Stage;
use crate::{
    law,
    scenario::{Act, When},
};

impl Stage<'_> {
    /// The next act of the story, if its moment has come.
    pub(super) fn act(&mut self) {
        for (version, key, value) in self.settings.clone() {
            let pods: Vec<Id> = self.law.all("pods").filter(|pod| law::version(pod) == version).map(|pod| Id::of(pod)).collect();
            for pod in pods {
                let mark = format!("{} {key}", pod.name);
                if !self.told.contains(&mark) && self.sim.with(|world, now| world.tell(now, &pod, key, value)) {
                    self.told.insert(mark);
                }
            }
        }
        self.approve();
        let Some((when, act)) = self.scenario.script.get(self.done).copied() else { return };
        if self.is_over() {
            // Something went wrong just then, and the moment of this act has passed.
            self.note(format!("too late for {act:?}"));
            self.missed = true;
            self.done += 1;
            self.done_at = Instant::now();
        } else if self.is(when) && self.perform(act) {
            self.note(format!("{act:?}"));
            if self.done == 0 {
                self.writes_before[0] = self.law.writes.len();
            }
            self.writes_before[1] = self.law.writes.len();
            self.done += 1;
            self.done_at = Instant::now();
        }
    }

    /// Whatever asks for an approval has it, once.
    fn approve(&mut self) {
        let Some(rollout) = self.rollout() else { return };
        let sent = at::text(&rollout, "/spec/request/id");
        let answered = sent.is_empty() || at::items(&rollout, "/status/requests").iter().any(|record| at::text(record, "/id") == sent);
        if answered && at::text(&rollout, "/status/why").contains("send an Approve request") {
            self.request("Approve");
        }
    }

    fn is(&self, when: When) -> bool {
        let Some(rollout) = self.rollout() else { return false };
        let phase = at::text(&rollout, "/status/phase");
        let (weight, confirmed) = (at::int(&rollout, "/status/step/weight"), rollout.pointer("/status/step/since").is_some());
        match when {
            When::In(wanted) => phase == format!("{wanted:?}"),
            When::Asked(wanted) => weight >= i64::from(wanted),
            When::Ended(releases) => {
                let rests = matches!(phase, "Healthy" | "RolledBack") && rollout.pointer("/status/release").is_none();
                rests && at::items(&rollout, "/status/history").len() >= releases
            }
            When::Confirmed(wanted) => weight > i64::from(wanted) || (weight == i64::from(wanted) && confirmed),
        }
    }

    /// Whether there is nothing more that the next act could happen to.
    fn is_over(&self) -> bool {
        let rests = self.rollout().is_none_or(|rollout| {
            matches!(at::text(&rollout, "/status/phase"), "Healthy" | "RolledBack") && rollout.pointer("/status/release").is_none()
        });
        rests && self.done_at.elapsed() > Duration::from_secs(20)
    }

    /// Whether it could be done.
    fn perform(&mut self, act: Act) -> bool {
        match act {
            Act::Image(version) => self.set_image(version),
            Act::Live(version) => self.set_live(version),
            Act::Unready(version) => {
                let Some(name) = self.ready_pod(version) else { return false };
                return self.sim.with(|world, now| world.tell(now, &Id::new("default", &name), "ready", "false"));
            }
            Act::Health(version, status) => self.settings.push((version, "health", status)),
            Act::Crash(version) => {
                if self.ready_pod(version).is_none() {
                    return false;
                }
                self.settings.push((version, "crash_after", "0s"));
            }
            Act::Abort => self.request("Abort"),
            Act::Undo => return self.undo(),
            Act::UndoTo(version) => return self.undo_to(version),
            Act::DeleteRollout => self.delete_rollout(),
        }
        true
    }

    pub(super) fn ready_pod(&self, version: &str) -> Option<String> {
        self.law.all("pods").find(|pod| law::version(pod) == version && law::serves(pod)).map(|pod| at::name(pod).to_owned())
    }

    pub(super) fn set_image(&mut self, version: &str) {
        self.set_image_of("hello", version);
    }

    pub(super) fn set_image_of(&mut self, deployment: &str, version: &str) {
        let container = json!({"name": "app", "image": format!("hello:{version}"), "env": [{"name": "VERSION", "value": version}]});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        self.ask_of(deployment, "application/strategic-merge-patch+json", &patch);
    }

    pub(super) fn patch_deployment(&mut self, deployment: &str, patch: &Value) {
        self.ask_of(deployment, "application/merge-patch+json", patch);
    }

    fn ask_of(&mut self, deployment: &str, kind: &str, patch: &Value) {
        self.ask("PATCH", &format!("/apis/apps/v1/namespaces/default/deployments/{deployment}"), kind, patch);
    }

    pub(super) fn set_live(&mut self, version: &str) {
        self.edit_rollout(&json!({"spec": {"workload": {"live": self.scenario.pair.deployment(version)}}}));
    }

    pub(super) fn request(&mut self, action: &str) {
        let Some(revision) =
            self.rollout().map(|rollout| at::text(&rollout, "/status/release/revision").to_owned()).filter(|revision| !revision.is_empty())
        else {
            return;
        };
        let id = self.sim.now().to_string();
        self.edit_rollout(&json!({"spec": {"request": {"id": id, "action": action, "revision": revision}}}));
    }

    /// Takes the release under way back; false where there is none.
    fn undo(&mut self) -> bool {
        let Some(rollout) = self.rollout() else { return false };
        let (revision, live) = (at::text(&rollout, "/status/release/revision"), at::text(&rollout, "/status/stable/revision"));
        let is_under_way = !revision.is_empty();
        if is_under_way {
            self.request_undo(revision, live);
        }
        is_under_way
    }

    /// Asks for it and writes the template of a version that the Deployment has had; false where it has none.
    fn undo_to(&mut self, version: &str) -> bool {
        let (Some(rollout), Some(hello)) = (self.rollout(), self.law.get("deployments.apps", "hello").cloned()) else { return false };
        let is_of = |set: &&Arc<Value>| {
            at::controller_uid(set) == at::uid(&hello) && at::text(set, "/spec/template/spec/containers/0/env/0/value") == version
        };
        let Some(set) = self.law.all("replicasets.apps").find(is_of).cloned() else { return false };
        let mut template = set["spec"]["template"].clone();
        at::fields_mut(&mut template, "/metadata/labels").remove(POD_TEMPLATE_HASH);
        self.request_undo(at::text(&rollout, "/status/stable/revision"), &revision(&template));
        let mut labels = hello["metadata"]["labels"].clone();
        if !at::flag(&hello, "/spec/paused") {
            labels[HELD] = HELD_BY_STEPGATE.into();
        }
        let patch = json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/spec/paused", "value": true},
            {"op": "add", "path": "/metadata/labels", "value": labels},
        ]);
        self.ask_of("hello", "application/json-patch+json", &patch);
        true
    }

    fn request_undo(&mut self, revision: &str, to: &str) {
        let id = self.sim.now().to_string();
        self.edit_rollout(&json!({"spec": {"request": {"id": id, "action": "Undo", "revision": revision, "to": to}}}));
    }

    pub(super) fn edit_rollout(&mut self, patch: &Value) {
        self.ask("PATCH", "/apis/stepgate.dev/v1alpha1/namespaces/default/rollouts/hello", "application/merge-patch+json", patch);
    }

    pub(super) fn delete_rollout(&mut self) {
        self.ask("DELETE", "/apis/stepgate.dev/v1alpha1/namespaces/default/rollouts/hello", "application/json", &json!({}));
    }

    /// A request of a person, answered at once. A refusal is an answer too.
    pub(super) fn ask(&mut self, method: &str, path: &str, kind: &str, body: &Value) {
        let request = Request::new(method, path, "alice").with_body(kind, body);
        let reply = self.sim.with(|world: &mut World, now| world.handle(now, &request));
        if let Reply::Answer { code, body, .. } = reply
            && code >= 300
        {
            self.note(format!("{method} {path}: {code} {}", at::text(&body, "/message")));
        }
    }
}
