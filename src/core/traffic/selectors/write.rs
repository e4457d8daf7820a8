//! Writes of selectors: to a pin, and back to what their owners wrote.

use std::{
    ops::ControlFlow::{Break, Continue},
    sync::Arc,
};

use crate::{
    api::Span,
    core::{
        decision::{
            action::{Action, Rotation},
            draft::Draft,
            notice::Reason,
            time::after,
            wait::Part,
        },
        facts::{labels::subset, pin::Pin, pod::PodFacts, service::ServiceFacts},
        traffic::selectors::{affinity, pins::pin},
        view::{View, declared::Pair},
    },
};

/// The EndpointSlice controller can learn of a deleted pod up to half a second after we do. If we widen a selector in that time it adds the
/// dying pod as an endpoint, and corrects it only a second later.
const PARTING: Span = Span::millis(500);

/// Writes a pin into Services, and with it the session affinity that they are to have by now.
pub fn move_services(view: &View<'_>, draft: &mut Draft, services: Vec<&ServiceFacts>, to: &Pin) {
    for service in services {
        let affinity = affinity::beside(view, draft, service);
        pin(view, draft, service, to, affinity);
    }
}

/// Waits before a Service is opened until it is known everywhere that the pods which its pin has kept out are ending.
pub fn see_off(view: &View<'_>, draft: &mut Draft) -> Part {
    let pinned = view.services().into_iter().any(|service| view.pin(service) != Pin::Open);
    let last = view.snapshot.pods.iter().filter(|pod| view.is_of_pair(pod)).filter_map(|pod| pod.deleting_since).max();
    let until = last.map(|last| after(last, PARTING)).filter(|until| pinned && *until > view.now);
    until.map_or(Continue(()), |until| {
        draft.wake(until);
        Break(())
    })
}

/// Services that were taken off the list in mid-release and have a key of ours. Nobody would move their clients any more: what is ours is
/// found where it was left, not where the Rollout names it now.
///
/// A key of the sides counts where it names one of the two sides, and the rest of the selector the pair's pods; the rotation label is nobody
/// else's.
pub fn abandoned<'a>(view: &View<'a>) -> Vec<&'a ServiceFacts> {
    if view.release().is_none() {
        return Vec::new();
    }
    let (spec, status) = (&view.snapshot.rollout.spec, &view.snapshot.status);
    let hashes = [&status.stable, &status.canary].map(|side| side.as_ref().map(|side| side.hash.as_str()));
    let is_ours = |service: &ServiceFacts| match view.pin(service) {
        Pin::Open => false,
        Pin::Rotation => true,
        Pin::Side(value) => matches!(view.pair, Pair::Managed { .. }) && !value.is_empty() && hashes.contains(&Some(value.as_str())),
    };
    let of_pair = |service: &ServiceFacts| {
        let owner = view.keys().owners(&service.selector);
        let pods = view.snapshot.pods.iter().filter(|pod| view.is_of_pair(pod));
        !owner.is_empty() && pods.into_iter().any(|pod| subset(&owner, &pod.labels))
    };
    let is_held = |name: &String| {
        let preview = status.preview.as_ref().is_some_and(|preview| preview.service == *name);
        preview || spec.held_services().any(|held| held == name) || view.snapshot.rivals.iter().any(|rival| rival.services.contains(name))
    };
    let services = view.snapshot.services.iter().map(Arc::as_ref);
    services.filter(|service| !service.deleting && !is_held(&service.name) && is_ours(service) && of_pair(service)).collect()
}

/// Gives such Services back to their owner at once.
pub fn free_abandoned(view: &View<'_>, draft: &mut Draft) {
    let rest = view.rest_pin();
    let lent = affinity::lent(view, draft);
    for service in abandoned(view) {
        let owners = lent.iter().find(|(other, _)| other.name == service.name).map(|(_, owners)| *owners);
        draft.notice(
            Reason::SelectorContested,
            format!("Service {} is not listed under services any more; taking Stepgate's key off its selector", service.name),
        );
        pin(view, draft, service, &rest, owners);
    }
}

/// Takes every Service to what it is at rest ([`View::rest_pin`]) and the rotation label off every pod, once the pods that have ended are
/// seen off where a Service is opened; waits while there was something to do.
pub fn open_all(view: &View<'_>, draft: &mut Draft) -> Part {
    let opens = view.rest_pin() == Pin::Open;
    if opens {
        see_off(view, draft)?;
    }
    open_at_once(view, draft)
}

/// The same without looking at the pods: for when those that a Service is pinned to are not there to serve.
pub fn open_at_once(view: &View<'_>, draft: &mut Draft) -> Part {
    let rest = view.rest_pin();
    let dropped = abandoned(view);
    let pinned: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != rest).chain(dropped).collect();
    let labelled: Vec<&PodFacts> = view.in_rotation().filter(|pod| !pod.deleting()).collect();
    let lent = affinity::lent(view, draft);
    if pinned.is_empty() && labelled.is_empty() && lent.is_empty() {
        return affinity::give_back(view, draft);
    }
    for service in pinned {
        let owners = lent.iter().find(|(other, _)| other.name == service.name).map(|(_, owners)| *owners);
        pin(view, draft, service, &rest, owners);
    }
    let _ = affinity::give_back(view, draft);
    draft.actions.extend(labelled.into_iter().map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }));
    Break(())
}
