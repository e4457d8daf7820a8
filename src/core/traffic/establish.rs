//! One change of weight, in its order: scale first and wait for available pods, labels, then the selectors, then the endpoints.

use std::ops::ControlFlow::{Break, Continue};

use crate::{
    api::{
        Span,
        status::{Release, Traffic},
    },
    core::{
        decision::{
            action::Action,
            draft::Draft,
            notice::Reason,
            time::after,
            wait::{Flow, Part},
        },
        facts::{pin::Pin, pod::PodFacts, service::ServiceFacts},
        gate::readiness::min_ready,
        share::{percent, share},
        traffic::{
            fresh::read_pods_first,
            pods::share_of_pods,
            selectors::{
                affinity,
                rotation::{chosen, enough, kept, label, retire_labels},
                split::{self, Split},
                write::{move_services, see_off},
            },
        },
        view::{
            View,
            fit::unreachable,
            side::{Side, Sides, count},
        },
        why::Why,
    },
};

/// Clients of a headless Service learn addresses from DNS, which they may keep for its usual time to live.
pub const HEADLESS_SETTLE: Span = Span::seconds(30);

/// How long to wait after a confirmed change of weight. Without Services no node has to follow.
pub fn settle(view: &View<'_>, release: &Release) -> Span {
    if view.is_worker() {
        return Span::default();
    }
    let headless = view.services().iter().any(|service| service.headless);
    release.policy.settle.max(if headless { HEADLESS_SETTLE } else { Span::default() })
}

/// Brings every Service to `weight`, and keeps it there: called again, it does what is missing and nothing else.
///
/// Done means confirmed: the endpoints of every Service are exactly the ready pods that the weight asks for. Without Services it means that
/// these pods are there.
pub fn establish(view: &View<'_>, draft: &mut Draft, release: &Release, weight: u8, sides: Sides<'_, '_>) -> Flow {
    let desired = view.share(weight);
    let Some(deployment) = view.canary_deployment() else {
        return Why::ChangingWeight { weight: desired }.within(release.policy.progress_deadline);
    };
    let size = view.full_size();
    let split = view.split(&release.policy, weight);
    let asked = split::size(&release.policy, weight, split, size);
    // Clients may be with every pod that is there; work is done by those that are left.
    let wanted = if view.is_worker() { asked } else { asked.max(deployment.replicas) };
    draft.status.traffic = Some(Traffic { desired, routed: routed(view, sides), clients: None });
    // A step that is over in this very decision may have asked for another number: one write is enough.
    draft.actions.retain(|action| !matches!(action, Action::ScaleCanary { .. }));
    if deployment.replicas != wanted {
        draft.act(Action::ScaleCanary { deployment: deployment.object(), replicas: wanted });
    }

    let needed = share(min_ready(&release.policy), wanted);
    let available = sides.canary.available_count(deployment.min_ready_seconds, view.now);
    if available < needed {
        if view.is_worker() {
            // What the pods are now they are not any more when this is read.
            draft.status.traffic = Some(Traffic { desired, ..Traffic::default() });
        }
        if shelter(view, draft, sides).is_break() {
            let ready = sides.canary.ready_count();
            return Why::Sheltering { ready, needed }.within(release.policy.progress_deadline);
        }
        return await_pods(view, draft, release, sides.canary, needed);
    }

    // Design §8: what its owner has made of a Service is no fault of the version. Clients stay where they are, and no deadline runs.
    if let Some(refusal) = unreachable(view, weight) {
        draft.refusal = Some(refusal.clone());
        return Why::Refused(refusal).for_a_person();
    }
    let stands = stands(view, draft);
    if let Break(wait) = affinity::hold(view, draft, release) {
        if stands {
            draft.notice(Reason::SelectorContested, "the session affinity of a Service is not what the policy asks for; setting it again");
        }
        return Break(wait.within(release.policy.progress_deadline));
    }
    let target = split.pin(sides.canary.value);
    if let Split::Rotation { canary, stable } = split
        && label(view, draft, &chosen(view, sides, canary.max(kept(release, weight, sides.canary)), stable)).is_break()
    {
        draft.status.traffic = Some(Traffic { desired: weight, ..Traffic::default() });
        return Why::ChangingWeight { weight }.within(release.policy.progress_deadline);
    }
    let to_move: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !to_move.is_empty() {
        // Design §8.2: a write of ours never leaves a Service with fewer ready pods than the live side has, or than it could select.
        let enough = enough(view, sides);
        if to_move.iter().any(|service| count(view.selected(service, &target).iter()) < enough) {
            return await_pods(view, draft, release, sides.canary, view.hello.replicas);
        }
        if target == Pin::Open && see_off(view, draft).is_break() {
            return Why::ChangingWeight { weight }.within(release.policy.progress_deadline);
        }
        read_pods_first(view, draft)?;
        if stands {
            let names: Vec<&str> = to_move.iter().map(|service| service.name.as_str()).collect();
            draft.notice(
                Reason::SelectorContested,
                format!("the selector of Service {} is not what {weight} % needs; writing it again", names.join(", ")),
            );
        }
        move_services(view, draft, to_move, &target);
        // What the endpoints gave a moment ago is over by the time this is read.
        draft.status.traffic = Some(Traffic { desired: weight, ..Traffic::default() });
        return Why::ChangingWeight { weight }.within(release.policy.progress_deadline);
    }
    let unconfirmed = view.unreached();
    if !unconfirmed.is_empty() {
        return Why::Confirming { weight, services: unconfirmed }.within(release.policy.progress_deadline);
    }
    if let Some(traffic) = &mut draft.status.traffic {
        traffic.clients = traffic.routed.and(affinity::moved(&release.policy, weight, size));
    }
    retire_labels(view, draft, split);
    Continue(())
}

/// Whether the step stands: held, and waiting for nothing. What is not as it was then, somebody else wrote. (After a shelter the clock of
/// the wait still runs.)
fn stands(view: &View<'_>, draft: &Draft) -> bool {
    let (was, is) = (view.snapshot.status.step.as_ref(), draft.status.step.as_ref());
    was.is_some_and(|was| was.since.is_some() && was.waiting_since.is_none() && is.is_some_and(|is| is.index == was.index))
}

/// The share of new connections that the canary gets, from the endpoints; none while a Service has no endpoint or its endpoints trail.
/// Without Services: its share of the pods.
pub fn routed(view: &View<'_>, sides: Sides<'_, '_>) -> Option<u8> {
    let (services, canary) = (view.services(), sides.canary);
    if view.is_worker() {
        return Some(share_of_pods(&[canary], sides.live));
    }
    if services.iter().any(|service| !view.is_reached(service)) {
        return None;
    }
    let of_canary = |service: &&ServiceFacts| count(canary.pods.iter().filter(|pod| service.endpoints.contains(&pod.uid)));
    let all: i32 = services.iter().map(|service| count(service.endpoints.iter())).sum();
    Some(percent(services.iter().map(of_canary).sum(), all))
}

/// Where canary pods were lost and the Services, as they are pinned now, select fewer ready pods than they should: lets both sides
/// serve until replacements are there. This is not a rollback, and is not taken for one: the pin is removed, not set to the live side.
fn shelter(view: &View<'_>, draft: &mut Draft, sides: Sides<'_, '_>) -> Part {
    let (enough, shared) = (enough(view, sides), view.shared_pin());
    let thin = |service: &&ServiceFacts| {
        let pin = view.pin(service);
        let on_canary = pin == Pin::Rotation || pin == sides.canary.pin();
        on_canary && count(view.selected(service, &pin).iter()) < enough
    };
    let services: Vec<&ServiceFacts> = view.services().into_iter().filter(thin).collect();
    let live_ready = sides.live.map_or(0, Side::ready_count);
    if services.is_empty() || live_ready == 0 {
        let sheltered = view.services().iter().any(|service| view.pin(service) == shared);
        let needs_more = draft.status.step.as_ref().is_some_and(|step| step.since.is_some() && step.weight > 50);
        return if sheltered && needs_more { Break(()) } else { Continue(()) };
    }
    if shared == Pin::Rotation {
        let all: Vec<&PodFacts> = sides.canary.ready().chain(sides.live.into_iter().flat_map(Side::ready)).collect();
        label(view, draft, &all)?;
    }
    let services = services.into_iter().filter(|service| view.pin(service) != shared).collect();
    move_services(view, draft, services, &shared);
    Break(())
}

/// Waits for canary pods, and says what keeps them.
pub fn await_pods(view: &View<'_>, draft: &mut Draft, release: &Release, canary: &Side<'_>, needed: i32) -> Flow {
    if let Some(deployment) = view.canary_deployment()
        && deployment.min_ready_seconds > 0
        && canary.ready_count() > canary.available_count(deployment.min_ready_seconds, view.now)
    {
        // Nothing changes in the cluster when a pod becomes available: look again once a second.
        draft.wake(after(view.now, Span::seconds(1)));
    }
    let trouble = canary.pods.iter().find_map(|pod| pod.trouble.as_ref().map(|trouble| format!("pod {}: {trouble}", pod.name)));
    Why::CanaryPods { needed, trouble, until: None }.within(release.policy.progress_deadline)
}
