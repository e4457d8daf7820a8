//! The versions of a declared pair.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    api::policy::{Idle, PolicySpec},
    core::{
        facts::deployment::DeploymentFacts,
        view::{View, declared::Declared},
        why::refusal::{Refusal, pair::BadPair},
    },
};

/// The first thing that is wrong with the versions, those of them that exist. The one that is to be live must.
pub fn refusal(view: &View<'_>, declared: Declared<'_>, policy: Option<&PolicySpec>) -> Option<Refusal> {
    let Some(wanted) = view.wanted() else { return Some(Refusal::VersionNotFound { deployment: declared.wanted.to_owned() }) };
    let versions: Vec<&DeploymentFacts> = declared.deployments(view.snapshot).collect();
    let label = declared.label.to_owned();
    let unlabelled = versions.iter().find(|version| declared.value(version).is_none());
    unlabelled
        .map(|version| BadPair::NoVersionLabel { deployment: version.name.clone(), label: label.clone() })
        .or_else(|| alike(declared, &versions))
        .or_else(|| ports_differ(view.hello, wanted))
        .or_else(|| undecided(view, declared))
        .or_else(|| {
            // A release under way goes on: at its end it leaves the previous version its pods.
            let empties = policy.is_some_and(|policy| policy.idle == Idle::ScaleToZero) && view.release().is_none();
            (empties && is_unguarded(view)).then_some(BadPair::IdleUnguarded { label })
        })
        .map(Refusal::BadPair)
}

/// Whether no policy acts, as far as is known; while that is asked for again, what was known before counts.
fn is_unguarded(view: &View<'_>) -> bool {
    let before = || view.snapshot.status.conditions.iter().any(|condition| condition.reason == "IdleUnguarded");
    view.snapshot.guarded.map_or_else(before, |acts| !acts)
}

fn alike(declared: Declared<'_>, versions: &[&DeploymentFacts]) -> Option<BadPair> {
    let pairs = versions.iter().enumerate().flat_map(|(i, one)| versions[i + 1..].iter().map(move |other| (*one, *other)));
    pairs.into_iter().find_map(|(one, other)| {
        let deployments = [one.name.clone(), other.name.clone()];
        let value = declared.value(one)?;
        if declared.value(other) == Some(value) {
            return Some(BadPair::SameVersion { deployments, label: declared.label.to_owned(), value: value.to_owned() });
        }
        (one.selector == other.selector).then_some(BadPair::SameSelector { deployments })
    })
}

/// A port name that means another number on the other version, or no number in common at all. A port that only one of them has is its own
/// affair: a new version may bring one.
fn ports_differ(one: &DeploymentFacts, other: &DeploymentFacts) -> Option<BadPair> {
    let (ports, others) = (ports(one), ports(other));
    let differ = |found: String, instead: String| {
        Some(BadPair::PortsDiffer { deployments: [one.name.clone(), other.name.clone()], ports: [found, instead] })
    };
    let named = ports.iter().filter(|(name, _)| !name.is_empty());
    let moved =
        named.filter_map(|(name, numbers)| Some((name, numbers, others.get(name)?))).find(|(_, numbers, instead)| numbers != instead);
    if let Some((name, numbers, instead)) = moved {
        return differ(format!("port {name} {}", list(numbers)), format!("port {name} {}", list(instead)));
    }
    let all = |ports: &BTreeMap<&str, Vec<i64>>| ports.values().flatten().copied().collect::<Vec<_>>();
    let (numbers, instead) = (all(&ports), all(&others));
    let apart = !numbers.is_empty() && !instead.is_empty() && numbers.iter().all(|number| !instead.contains(number));
    if apart { differ(format!("port {}", list(&numbers)), format!("port {}", list(&instead))) } else { None }
}

fn list(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Container ports by name; those without a name under the empty one.
fn ports(deployment: &DeploymentFacts) -> BTreeMap<&str, Vec<i64>> {
    let containers = deployment.template.pointer("/spec/containers").and_then(Value::as_array);
    let ports = containers.into_iter().flatten().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let mut found: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for port in ports {
        found.entry(port["name"].as_str().unwrap_or_default()).or_default().extend(port["containerPort"].as_i64());
    }
    for numbers in found.values_mut() {
        numbers.sort_unstable();
    }
    found
}

/// Before a live version is on record: Services from which it cannot be told which one that is.
fn undecided(view: &View<'_>, declared: Declared<'_>) -> Option<BadPair> {
    if view.live().is_some() {
        return None;
    }
    let named: Vec<String> = declared.named(view.snapshot).map(str::to_owned).collect();
    if named.len() > 1 {
        return Some(BadPair::ServicesDisagree { versions: named, label: declared.label.to_owned() });
    }
    let known: Vec<String> = declared
        .existing(view.snapshot)
        .filter_map(|version| declared.value(version))
        .map(|value| format!("{}={value}", declared.label))
        .collect();
    view.services().into_iter().find_map(|service| {
        let value = service.selector.get(declared.label)?;
        let stranger = !known.contains(&format!("{}={value}", declared.label)) && !view.matching(&service.selector).is_empty();
        stranger.then(|| BadPair::UnknownVersion {
            service: service.name.clone(),
            label: declared.label.to_owned(),
            value: value.clone(),
            known: known.clone(),
        })
    })
}
