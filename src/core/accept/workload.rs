//! The Deployments, their templates and names.

use serde_json::Value;

use crate::{
    api::{ROLLOUT_UID, ROTATION},
    core::{
        accept::subject::subject,
        facts::deployment::{DeploymentFacts, containers, list, template_labels},
        view::{View, declared::Pair, names::canary},
        why::refusal::{Refusal, Reserved},
    },
};

/// The canary's name, where a Deployment that is not ours has it.
pub fn name_taken(view: &View<'_>, revision: &str) -> Option<String> {
    let canary = canary(&view.hello.name, revision);
    view.snapshot.deployments.iter().any(|other| other.name == canary && !view.made(other)).then_some(canary)
}

/// A label of ours that its owner wrote, or copied from a canary.
pub fn reserved_label(deployment: &DeploymentFacts) -> Option<Refusal> {
    let found = if deployment.labels.contains_key(ROLLOUT_UID) {
        Reserved::OnDeployment
    } else if template_labels(deployment).contains_key(ROTATION) {
        Reserved::InTemplate
    } else {
        return None;
    };
    Some(Refusal::ReservedLabel { deployment: deployment.name.clone(), found })
}

/// What in a template keeps its pods from running beside those of another version.
pub fn template_problem(view: &View<'_>, allow_overlap: bool) -> Option<Refusal> {
    let hello = subject(view);
    let spec = &hello.template["spec"];
    if let Some(gate) = list(&spec["readinessGates"]).next() {
        let condition = gate["conditionType"].as_str().unwrap_or_default().to_owned();
        return Some(Refusal::ReadinessGates { deployment: hello.name.clone(), condition });
    }
    // Versions that are all the user's need no name, and run side by side by the user's own decision.
    if matches!(view.pair, Pair::Declared(_)) {
        return None;
    }
    if let Some(taken) = name_taken(view, &hello.revision) {
        return Some(Refusal::NameTaken { name: taken });
    }
    if allow_overlap {
        return None;
    }
    let because = if hello.is_recreate() {
        Some("has strategy Recreate".to_owned())
    } else if let Some(claim) =
        list(&spec["volumes"]).find_map(|volume| volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str))
    {
        Some(format!("mounts PersistentVolumeClaim {claim}"))
    } else {
        let host_port = |port: &&Value| port["hostPort"].as_i64().is_some_and(|port| port > 0);
        containers(spec)
            .find_map(|container| list(&container["ports"]).find(host_port))
            .map(|port| format!("uses hostPort {}", port["hostPort"]))
    };
    because.map(|because| Refusal::OverlapNotAllowed { deployment: hello.name.clone(), because })
}
