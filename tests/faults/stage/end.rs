//! What there is when a run is over, and what of it should not be there.

use serde_json::Value;
use std::sync::Arc;
use stepgate::{
    api::{HANDOVER, HELD, ROTATION},
    sim::json as at,
};

use super::{End, Report, Stage};
use crate::{
    law::{self, Law},
    pair::Pair,
};

impl Stage<'_> {
    pub(super) fn report(mut self) -> Report {
        self.read();
        let (rollout, pair) = (self.rollout(), self.scenario.pair);
        let serving = serving(&self.law, pair);
        let mut versions: Vec<&str> = serving.iter().map(|pod| version(pod, pair)).collect();
        versions.dedup();
        let end = End {
            phase: rollout.as_ref().map_or_else(|| "gone".into(), |rollout| at::text(rollout, "/status/phase").into()),
            serves: versions.join("+"),
            paused: self.law.all("deployments.apps").any(|deployment| at::flag(deployment, "/spec/paused")),
            outcomes: rollout
                .iter()
                .flat_map(|rollout| at::items(rollout, "/status/history"))
                .map(|entry| at::text(entry, "/outcome").into())
                .collect(),
        };
        let mut broken = std::mem::take(&mut self.broken);
        broken.append(&mut self.law.broken);
        broken.extend(match pair {
            Pair::Managed => leftovers(&self.law, &end),
            Pair::Declared { .. } => leftovers_beside_versions(&self.law, pair, &end),
        });
        broken.extend(miscounted(&self.law, pair, &end, serving.len()));
        broken.extend(
            self.scenario.services.iter().chain(&self.scenario.preview).flat_map(|service| leftovers_of(&self.law, pair, &end, service)),
        );
        let accepted = self.controllers.iter().flat_map(|controller| controller.line.records());
        let accepted =
            accepted.filter(|record| record.write.is_some() && record.code / 100 == 2 && !record.path.ends_with("/events")).count();
        let line = self.controllers.first().map(|controller| controller.line.clone());
        self.trace.extend(self.law.writes.iter().map(|(at, write)| format!("{at} {write}")));
        self.trace.sort();
        let spent = |from: usize| self.law.writes.len().saturating_sub(from);
        let size = |deployment: &Arc<Value>| (at::name(deployment).to_owned(), at::int(deployment, "/spec/replicas"));
        Report {
            end,
            broken,
            writes: line.map_or(0, |line| line.writes()),
            spent: spent(self.writes_before[0]),
            spent_after_last: spent(self.writes_before[1]),
            started: self.law.started.iter().map(|(version, pods)| (version.clone(), pods.len())).collect(),
            sizes: self.law.all("deployments.apps").map(size).collect(),
            idle: accepted.saturating_sub(self.law.writes.len()),
            visits: self.visits,
            least_at_work: self.least_at_work,
            missed: self.missed,
            flapped: self.flapped,
            trace: self.trace,
        }
    }
}

/// Pods that serve in the end: of a declared pair those that the Service selects, because both versions may run.
fn serving(law: &Law, pair: Pair) -> Vec<Arc<Value>> {
    let service = law.get("services", "hello").filter(|_| pair.is_declared());
    let selector = service.and_then(|service| at::fields(service, "/spec/selector")).cloned().unwrap_or_default();
    let selects = |pod: &Value| selector.iter().all(|(key, value)| at::label(pod, key) == value.as_str());
    law.all("pods").filter(|pod| law::serves(pod) && selects(pod)).cloned().collect()
}

fn version(pod: &Value, pair: Pair) -> &str {
    match pair {
        Pair::Managed => law::version(pod),
        Pair::Declared { label, .. } => at::label(pod, label).unwrap_or_default(),
    }
}

/// What is left of ours on a Service.
fn leftovers_of(law: &Law, pair: Pair, end: &End, service: &str) -> Vec<String> {
    let mut left = Vec::new();
    let selector = law.get("services", service).map(|service| service["spec"]["selector"].clone());
    if selector != Some(pair.selector_at_rest(&end.serves)) {
        left.push(format!("left: selector {selector:?}"));
    }
    let affinity = law.get("services", service).map(|service| at::text(service, "/spec/sessionAffinity").to_owned());
    if affinity.as_deref() != Some("None") {
        left.push(format!("left: session affinity {affinity:?}"));
    }
    left
}

/// What is left of ours, or not as its owner made it (design §8.5).
fn leftovers(law: &Law, end: &End) -> Vec<String> {
    let mut left = Vec::new();
    let hello = law.get("deployments.apps", "hello").cloned().unwrap_or_default();
    for deployment in law.all("deployments.apps").filter(|deployment| at::name(deployment) != "hello") {
        left.push(format!("left: Deployment {}", at::name(deployment)));
    }
    if at::label(&hello, HANDOVER).is_some() {
        left.push("left: the hand-over label".into());
    }
    if at::label(&hello, HELD).is_some() && !hello["spec"]["paused"].as_bool().unwrap_or_default() {
        left.push("left: the record of a pause".into());
    }
    if at::text(&hello, "/spec/strategy/rollingUpdate/maxSurge") != "25%" {
        left.push(format!("left: maxSurge {}", hello["spec"]["strategy"]));
    }
    let template = at::items(&hello, "/spec/template/spec/containers/0/env")
        .first()
        .map(|variable| at::text(variable, "/value").to_owned())
        .unwrap_or_default();
    if (end.phase == "Healthy") != (template == end.serves) && end.phase != "gone" {
        left.push(format!("{} with template {template} while {} serves", end.phase, end.serves));
    }
    // An owner who takes the template back when the Rollout has just gone finds a Deployment that nobody will let go on.
    let taken_back_too_late = end.phase == "gone" && template == end.serves;
    if end.paused != (template != end.serves) && !taken_back_too_late {
        left.push(format!("paused: {}, template {template}, {} serves", end.paused, end.serves));
    }
    left
}

/// The same of versions of the user's own: there they are, both of them, nothing is paused, and what is to be live is, or is held.
fn leftovers_beside_versions(law: &Law, pair: Pair, end: &End) -> Vec<String> {
    let mut left = Vec::new();
    let names: Vec<&str> = law.all("deployments.apps").map(|deployment| at::name(deployment)).collect();
    if names != [pair.deployment("v1"), pair.deployment("v2")] || end.paused {
        left.push(format!("Deployments {names:?}, paused: {}", end.paused));
    }
    if let Some(rollout) = law.get("rollouts.stepgate.dev", "hello") {
        let wanted = at::text(rollout, "/spec/workload/live");
        if (end.phase == "Healthy") != (wanted == pair.deployment(&end.serves)) {
            left.push(format!("{} with live: {wanted} while {} serves", end.phase, end.serves));
        }
    }
    left
}

/// Rotation labels that are left, a size that is not its owner's, and a status that says something that is not so (design §8.8).
fn miscounted(law: &Law, pair: Pair, end: &End, serving: usize) -> Vec<String> {
    let mut left = Vec::new();
    for pod in law.all("pods").filter(|pod| at::label(pod, ROTATION).is_some() && !at::deleting(pod)) {
        left.push(format!("left: rotation label on pod {}", at::name(pod)));
    }
    let live = law.get("deployments.apps", &pair.deployment(&end.serves)).cloned().unwrap_or_default();
    let size = usize::try_from(at::int(&live, "/spec/replicas")).unwrap_or(0);
    if serving != size {
        left.push(format!("{serving} of {size} pods serve in the end"));
    }
    if let Some(rollout) = law.get("rollouts.stepgate.dev", "hello") {
        let said = (at::int(rollout, "/status/stable/ready"), at::int(rollout, "/status/stable/replicas"));
        let counted = |count: usize| i64::try_from(count).unwrap_or(0);
        if said != (counted(serving), counted(size)) {
            left.push(format!("status says {said:?}, {serving} of {size} pods serve"));
        }
    }
    left
}
