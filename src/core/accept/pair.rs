//! The versions of a declared pair.

use crate::{
    api::policy::{Idle, PolicySpec},
    core::{
        facts::{
            deployment::DeploymentFacts,
            port::{ContainerPort, TargetPort, ports_of},
        },
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
        .or_else(|| ports_differ(view, view.hello, wanted))
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

/// A number that a port of a Service targets, declared by the containers of one version and not among those that the other one declares. (A
/// target by name may be another number on each version.)
fn ports_differ(view: &View<'_>, one: &DeploymentFacts, other: &DeploymentFacts) -> Option<BadPair> {
    let (ports, others) = (ports_of(&one.template), ports_of(&other.template));
    let targets = view.services().into_iter().flat_map(|service| &service.ports);
    targets.into_iter().find_map(|port| {
        let TargetPort::Number(number) = port.target else { return None };
        let declared = |ports: &[ContainerPort]| -> Vec<u16> {
            ports.iter().filter(|known| known.protocol == port.protocol).map(|known| known.number).collect()
        };
        let (mine, theirs) = (declared(&ports), declared(&others));
        let lacks = |has: &[u16], lacks: &[u16]| has.contains(&number) && !lacks.is_empty() && !lacks.contains(&number);
        (lacks(&mine, &theirs) || lacks(&theirs, &mine)).then(|| BadPair::PortsDiffer {
            deployments: [one.name.clone(), other.name.clone()],
            ports: [format!("port {}", list(&mine)), format!("port {}", list(&theirs))],
        })
    })
}

fn list(numbers: &[u16]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
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
