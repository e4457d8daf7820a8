//! What only the cluster can tell: whether a Rollout's Deployment, Services and policy are such that a release can go without harm.

use std::{iter, time::Duration};

use serde_json::Value;

use crate::api::{
    POD_TEMPLATE_HASH, ROLLOUT_UID, ROTATION, Span,
    policy::{Gate, HttpGate, PolicySpec, Port, When},
};

use super::{
    bad_pair, canary,
    pair::Pair,
    refusal::{Contested, Mismatch, Named, Refusal, Reserved, Unsuitable},
    service_split::Pin,
    snapshot::{DeploymentFacts, Labels, ServiceFacts, subset},
    view::View,
    worker::{self, NeedsService},
};

/// The first reason not to begin a release, if there is any.
pub fn refusal(view: &View<'_>, policy: Option<&PolicySpec>) -> Option<Refusal> {
    refusals(view, policy).next()
}

/// The reasons not to begin a release, each looked for only once the ones before it have been taken. Of what stands in the way of the same
/// thing, such as two faults of one Service, only the first is among them.
pub fn refusals<'a>(view: &'a View<'a>, policy: Option<&'a PolicySpec>) -> impl Iterator<Item = Refusal> + use<'a> {
    one(|| rival(view))
        .chain(one(move || versions_problem(view, policy)))
        .chain(sides(view).into_iter().filter_map(reserved_label))
        .chain(one(move || policy.is_none().then(|| missing_policy(view)).flatten()))
        .chain(one(|| services_missing(view)))
        .chain(view.services().into_iter().filter_map(|service| unsuitable(view, service, Named::Services)))
        // It has no clients, so that a release under way goes on without it.
        .chain(one(|| view.release().is_none().then(|| preview_problem(view)).flatten()))
        .chain(one(|| unlisted(view)))
        .chain(one(|| template_problem(view, view.snapshot.rollout.spec.workload.allow_overlap)))
        .chain(policy.into_iter().flat_map(|policy| policy_problems(view, policy)))
}

/// What one rule finds, when it is asked.
fn one<'a>(rule: impl FnOnce() -> Option<Refusal> + 'a) -> impl Iterator<Item = Refusal> + 'a {
    iter::once_with(rule).flatten()
}

fn versions_problem(view: &View<'_>, policy: Option<&PolicySpec>) -> Option<Refusal> {
    match view.pair {
        Pair::Managed { .. } => None,
        Pair::Declared(declared) => bad_pair::refusal(view, declared, policy),
    }
}

/// The Deployments of both sides, as far as they exist before a release: the user's, or the live version and the one that is to be.
fn sides<'a>(view: &View<'a>) -> Vec<&'a DeploymentFacts> {
    let wanted = view.wanted().filter(|wanted| wanted.uid != view.hello.uid);
    std::iter::once(view.hello).chain(wanted).collect()
}

/// The Deployment whose template a release would bring.
fn subject<'a>(view: &View<'a>) -> &'a DeploymentFacts {
    view.wanted().unwrap_or(view.hello)
}

/// The name of the policy that does not exist.
pub fn missing_policy(view: &View<'_>) -> Option<Refusal> {
    let reference = view.snapshot.rollout.spec.policy_ref.as_ref()?;
    Some(Refusal::PolicyNotFound { kind: reference.kind, name: reference.name.clone() })
}

/// A label of ours that its owner wrote, or copied from a canary.
fn reserved_label(deployment: &DeploymentFacts) -> Option<Refusal> {
    let found = if deployment.labels.contains_key(ROLLOUT_UID) {
        Reserved::OnDeployment
    } else if template_labels(deployment).contains_key(ROTATION) {
        Reserved::InTemplate
    } else {
        return None;
    };
    Some(Refusal::ReservedLabel { deployment: deployment.name.clone(), found })
}

/// Another Rollout that was first, for the Deployment or for one of the Services.
pub fn rival(view: &View<'_>) -> Option<Refusal> {
    let (me, spec) = (&view.snapshot.rollout, &view.snapshot.rollout.spec);
    let older = view.snapshot.rivals.iter().filter(|other| (other.created_at, &other.uid) < (me.created_at, &me.uid));
    older.into_iter().find_map(|other| {
        let contested = spec.workload.deployments().find(|name| other.deployments.iter().any(|theirs| theirs == name));
        let object = if let Some(deployment) = contested {
            Contested::Deployment(deployment.to_owned())
        } else {
            let service = spec.held_services().find(|service| other.services.contains(service))?;
            let named = if spec.preview.as_ref() == Some(service) { Named::Preview } else { Named::Services };
            Contested::Service { service: service.clone(), named }
        };
        Some(Refusal::RivalRollout { rollout: other.name.clone(), object })
    })
}

/// Services that are listed and do not exist.
pub fn services_missing(view: &View<'_>) -> Option<Refusal> {
    let found = view.services();
    let missing: Vec<String> =
        view.snapshot.rollout.spec.services.iter().filter(|name| found.iter().all(|service| service.name != **name)).cloned().collect();
    (!missing.is_empty()).then_some(Refusal::ServiceNotFound { services: missing, named: Named::Services })
}

/// Why the Service that is named as preview cannot be one.
pub fn preview_problem(view: &View<'_>) -> Option<Refusal> {
    let name = view.snapshot.rollout.spec.preview.as_ref()?;
    if view.is_worker() {
        return Some(Refusal::NeedsService(NeedsService::Preview));
    }
    match view.service(name) {
        Some(service) => unsuitable(view, service, Named::Preview),
        None => Some(Refusal::ServiceNotFound { services: vec![name.clone()], named: Named::Preview }),
    }
}

fn unsuitable(view: &View<'_>, service: &ServiceFacts, named: Named) -> Option<Refusal> {
    let problem = |problem| Some(Refusal::ServiceUnsuitable { service: service.name.clone(), named, problem });
    let owner = view.keys().owners(&service.selector);
    if service.external_name {
        return problem(Unsuitable::ExternalName);
    }
    // With a live version on record such a key is a leftover of ours, which is taken off at rest; before that it is its owner's.
    // The rotation label is one, too, where a declared pair's live version was on record and is gone: the finalizer says so.
    let left = matches!(view.pair, Pair::Declared(_)) && view.snapshot.rollout.has_finalizer;
    let taken = |key: &&String| *key == POD_TEMPLATE_HASH || (*key == ROTATION && !left);
    if view.snapshot.status.stable.is_none()
        && let Some((key, value)) = service.selector.iter().find(|(key, _)| taken(key))
    {
        return problem(Unsuitable::ReservedKey { found: format!("{key}={value}") });
    }
    if service.selector.is_empty() {
        return problem(Unsuitable::NoSelector);
    }
    if owner.is_empty() {
        return problem(Unsuitable::OnlyOurKey { key: view.keys().side.to_owned() });
    }
    if service.publish_not_ready {
        return problem(Unsuitable::PublishNotReady);
    }
    if let Some(field) = service.local_traffic {
        return problem(Unsuitable::LocalTraffic { field });
    }
    let differs = |side: &DeploymentFacts| Some((side.name.clone(), mismatch(&owner, &template_labels(side))?));
    if let Some((deployment, mismatch)) = sides(view).into_iter().find_map(differs) {
        return Some(Refusal::ServiceNotSelecting { service: service.name.clone(), named, deployment, mismatch });
    }
    let ours: Vec<&str> = match view.pair {
        Pair::Managed { .. } => std::iter::once(view.hello).chain(view.ours()).map(|deployment| deployment.uid.as_str()).collect(),
        Pair::Declared(declared) => declared.deployments(view.snapshot).map(|deployment| deployment.uid.as_str()).collect(),
    };
    // Where a declared pair's sides would be behind the owner's selector with others, that selector is never used.
    let selectors: Vec<Labels> = match view.pair {
        Pair::Managed { .. } => vec![owner],
        Pair::Declared(declared) => {
            let values = sides(view).into_iter().filter_map(|side| declared.value(side));
            values.map(|value| view.keys().apply(&Pin::Side(value.to_owned()), &owner)).collect()
        }
    };
    let family = |owner: &str| {
        view.snapshot.replica_sets.iter().any(|set| set.uid == owner && set.owner.as_deref().is_some_and(|uid| ours.contains(&uid)))
    };
    let strangers: Vec<String> = view
        .snapshot
        .pods
        .iter()
        .filter(|pod| !pod.deleting() && !pod.finished && selectors.iter().any(|selector| subset(selector, &pod.labels)))
        // A pod whose ReplicaSet has not been seen is not judged: the watches of both are not in step.
        .filter(|pod| {
            pod.owner.as_deref().is_none_or(|owner| view.snapshot.replica_sets.iter().any(|set| set.uid == owner) && !family(owner))
        })
        .map(|pod| pod.name.clone())
        .take(3)
        .collect();
    (!strangers.is_empty()).then(|| Refusal::SelectsStrangers {
        service: service.name.clone(),
        named,
        deployment: view.hello.name.clone(),
        pods: strangers,
    })
}

/// What a selector asks for and these labels do not give.
fn mismatch(selector: &Labels, labels: &Labels) -> Option<Mismatch> {
    let wrong: Vec<_> = selector.iter().filter(|(key, value)| labels.get(*key) != Some(*value)).collect();
    let found = |key: &String| labels.get(key).map_or_else(|| format!("no label {key}"), |value| format!("{key}={value}"));
    (!wrong.is_empty()).then(|| Mismatch {
        wanted: wrong.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        found: wrong.iter().map(|(key, _)| found(key)).collect(),
    })
}

/// Services that select the pods and are on neither list.
fn unlisted(view: &View<'_>) -> Option<Refusal> {
    let spec = &view.snapshot.rollout.spec;
    let sides: Vec<Labels> = sides(view).into_iter().map(template_labels).collect();
    let meets_both = |service: &&std::sync::Arc<ServiceFacts>| match view.pair {
        // One that selects by a key of ours alone says nothing of whose pods it means.
        Pair::Managed { .. } => {
            let owner = view.keys().owners(&service.selector);
            !owner.is_empty() && sides.iter().all(|labels| subset(&owner, labels))
        }
        // One that names a version has chosen, and is left alone.
        Pair::Declared(_) => {
            !service.selector.is_empty() && sides.len() > 1 && sides.iter().all(|labels| subset(&service.selector, labels))
        }
    };
    let mut services: Vec<String> = view
        .snapshot
        .services
        .iter()
        .filter(|service| !service.deleting && !service.external_name)
        .filter(|service| !spec.held_services().chain(&spec.unmanaged_services).any(|known| *known == service.name))
        .filter(meets_both)
        .map(|service| service.name.clone())
        .collect();
    services.sort();
    (!services.is_empty()).then(|| Refusal::UnlistedService { deployment: view.hello.name.clone(), services })
}

fn template_problem(view: &View<'_>, allow_overlap: bool) -> Option<Refusal> {
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
    if let Some(taken) = canary::name_taken(view, &hello.revision) {
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

/// What cannot work with this Deployment, whatever the cluster does.
fn policy_problems<'a>(view: &'a View<'a>, policy: &'a PolicySpec) -> impl Iterator<Item = Refusal> + use<'a> {
    one(|| view.is_worker().then(|| worker::needs_service(policy)).flatten().map(Refusal::NeedsService))
        .chain(one(|| affinity_problem(view, policy)))
        .chain(one(|| deadline_problem(view, policy)))
        .chain(policy.gates.iter().filter_map(|gate| gate_problem(view, gate)))
}

fn affinity_problem(view: &View<'_>, policy: &PolicySpec) -> Option<Refusal> {
    // Without Services it is refused whatever it is.
    let affinity = policy.affinity.as_ref().filter(|_| !view.is_worker())?;
    if affinity.cookie.is_some() {
        return Some(Refusal::CookieAffinity { services: view.snapshot.rollout.spec.services.clone() });
    }
    let headless = view.services().into_iter().find(|service| service.headless)?;
    Some(Refusal::ServiceUnsuitable { service: headless.name.clone(), named: Named::Services, problem: Unsuitable::HeadlessAffinity })
}

fn deadline_problem(view: &View<'_>, policy: &PolicySpec) -> Option<Refusal> {
    let (needs, what) = slowest_wait(view, policy).filter(|(needs, _)| *needs >= policy.progress_deadline)?;
    Some(Refusal::DeadlineTooShort { deadline: policy.progress_deadline, what, needs })
}

/// What a canary has to wait for at least before its first client, under `progressDeadline`.
fn slowest_wait(view: &View<'_>, policy: &PolicySpec) -> Option<(Span, String)> {
    let hello = subject(view);
    let min_ready = Span::seconds(u64::try_from(hello.min_ready_seconds).unwrap_or_default());
    let gates = policy.gates.iter().filter(|gate| gate.when.contains(&When::BeforeTraffic));
    gates
        .filter_map(|gate| Some((gate, gate.http.as_ref()?)))
        .map(|(gate, http)| {
            let HttpGate { period, success_threshold, .. } = http;
            (time_to_pass(http), format!("gate {} ({success_threshold} successes in a row, one every {period})", gate.name))
        })
        .chain((min_ready > Span::default()).then(|| (min_ready, format!("minReadySeconds of Deployment {}", hello.name))))
        .max_by_key(|(needs, _)| *needs)
}

/// The first probe comes at once, the others a period apart.
fn time_to_pass(http: &HttpGate) -> Span {
    Span(http.period.0.checked_mul(http.success_threshold.saturating_sub(1)).unwrap_or(Duration::MAX))
}

fn gate_problem(view: &View<'_>, gate: &Gate) -> Option<Refusal> {
    let http = gate.http.as_ref()?;
    let spec = &subject(view).template["spec"];
    let deployment = subject(view).name.clone();
    if spec["hostNetwork"].as_bool() == Some(true) {
        return Some(Refusal::HostNetwork { gate: gate.name.clone(), deployment });
    }
    let Port::Name(port) = &http.port else { return None };
    let known: Vec<String> = containers(spec)
        .flat_map(|container| list(&container["ports"]))
        .filter_map(|port| port["name"].as_str().map(str::to_owned))
        .collect();
    (!known.contains(port)).then(|| Refusal::UnknownPort { gate: gate.name.clone(), deployment, port: port.clone(), known })
}

/// The containers that run for as long as the pod: its own, and its sidecars.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    list(&spec["containers"]).chain(list(&spec["initContainers"]).filter(|container| container["restartPolicy"] == "Always"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The labels that pods of the Deployment's template get.
fn template_labels(deployment: &DeploymentFacts) -> Labels {
    let labels = deployment.template.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
