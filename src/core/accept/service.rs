//! The Services: those whose clients are moved, the preview, and those that nobody has listed.

use crate::{
    api::{POD_TEMPLATE_HASH, ROTATION},
    core::{
        accept::subject::sides,
        facts::{
            deployment::template_labels,
            labels::{Labels, subset},
            pin::Pin,
            service::ServiceFacts,
        },
        view::{View, declared::Pair, fit::misses_template},
        why::refusal::{
            Refusal,
            pods::NeedsService,
            service::{Named, Unsuitable},
        },
    },
};

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

/// Why a Service cannot be used for what it is named for: its form, what it selects, and whose pods these are.
pub fn unsuitable(view: &View<'_>, service: &ServiceFacts, named: Named) -> Option<Refusal> {
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
    if let Some(refusal) = sides(view).into_iter().find_map(|side| misses_template(view, service, named, side)) {
        return Some(refusal);
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

/// Services that select the pods and are on neither list.
pub fn unlisted(view: &View<'_>) -> Option<Refusal> {
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
