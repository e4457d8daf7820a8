//! One change of weight, in its order: scale first and wait for available pods, labels, then the selectors, then the endpoints.

use jiff::Timestamp;

use crate::api::{
    ROTATION, Span,
    status::{Release, Traffic},
};

use super::{
    action::{Action, Reason, Rotation},
    affinity, canary,
    draft::{Draft, Progress, after, elapsed},
    gate::min_ready,
    replicas::share,
    service_split::{Pin, Split, percent},
    snapshot::{PodFacts, ServiceFacts, SessionAffinity},
    view::{Side, View, count},
    why::Why,
    worker::share_of_pods,
};

/// How old a direct read of the pods may be for clients to be sent to the canary on the strength of it.
const FRESH: Span = Span::seconds(2);
/// How long the deletion of a pod may take to reach the EndpointSlice controller, whose view of the pods trails that of the Services at
/// times. A selector that is widened before gives clients to pods that are ending, and the controller looks again only a second later.
const PARTING: Span = Span::millis(500);
/// Clients of a headless Service learn addresses from DNS, which they may keep for its usual time to live.
pub const HEADLESS_SETTLE: Span = Span::seconds(30);

/// The two sides of a release, while both are there.
#[derive(Clone, Copy)]
pub struct Sides<'a, 'b> {
    pub canary: &'b Side<'a>,
    pub live: Option<&'b Side<'a>>,
}

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
pub fn establish(view: &View<'_>, draft: &mut Draft, release: &Release, weight: u8, sides: Sides<'_, '_>) -> Progress {
    let desired = view.share(weight);
    let Some(deployment) = view.canary_deployment() else { return draft.wait(Why::ChangingWeight { weight: desired }) };
    let size = view.full_size();
    let split = view.split(&release.policy, weight);
    let asked = canary::size(&release.policy, weight, split, size);
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
        if shelter(view, draft, sides) == Progress::Waiting {
            let ready = sides.canary.ready_count();
            draft.deadline(release.policy.progress_deadline, view.now);
            return draft.wait(Why::Sheltering { ready, needed });
        }
        return await_pods(view, draft, release, sides.canary, needed);
    }

    let stands = stands(view, draft);
    if affinity::hold(view, draft, release) == Progress::Waiting {
        if stands {
            draft.notice(Reason::SelectorContested, "the session affinity of a Service is not what the policy asks for; setting it again");
        }
        draft.deadline(release.policy.progress_deadline, view.now);
        return Progress::Waiting;
    }
    let target = split.pin(sides.canary.value);
    if let Split::Rotation { canary, stable } = split
        && label(view, draft, &chosen(view, sides, canary.max(kept(release, weight, sides.canary)), stable)) == Progress::Waiting
    {
        draft.status.traffic = Some(Traffic { desired: weight, ..Traffic::default() });
        return draft.wait(Why::ChangingWeight { weight });
    }
    let to_move: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != target).collect();
    if !to_move.is_empty() {
        // Design §8.2: a write of ours never leaves a Service with fewer ready pods than the live side has, or than it could select.
        let enough = enough(view, sides);
        if to_move.iter().any(|service| count(view.selected(service, &target).iter()) < enough) {
            return await_pods(view, draft, release, sides.canary, view.hello.replicas);
        }
        if target == Pin::Open && see_off(view, draft) == Progress::Waiting {
            draft.deadline(release.policy.progress_deadline, view.now);
            return draft.wait(Why::ChangingWeight { weight });
        }
        if read_pods_first(view, draft) == Progress::Waiting {
            return Progress::Waiting;
        }
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
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::ChangingWeight { weight });
    }
    let unconfirmed = view.unconfirmed();
    if !unconfirmed.is_empty() {
        draft.deadline(release.policy.progress_deadline, view.now);
        return draft.wait(Why::Confirming { weight, services: unconfirmed });
    }
    if let Some(traffic) = &mut draft.status.traffic {
        traffic.clients = traffic.routed.and(affinity::moved(&release.policy, weight, size));
    }
    retire_labels(view, draft, split);
    Progress::Done
}

/// Makes sure that the pods were read from the API server itself a moment ago: a watch that has gone silent must not move a
/// release forward (design §8.6).
pub fn read_pods_first(view: &View<'_>, draft: &mut Draft) -> Progress {
    if view.snapshot.pods_read_at.is_some_and(|at| elapsed(at, view.now) <= FRESH) {
        return Progress::Done;
    }
    draft.act(Action::ReadPods);
    draft.wait(Why::Verifying)
}

/// Whether the step stands: held, and waiting for nothing. What is not as it was then, somebody else wrote. (After a shelter the clock of
/// the wait still runs.)
fn stands(view: &View<'_>, draft: &Draft) -> bool {
    let (was, is) = (view.snapshot.status.step.as_ref(), draft.status.step.as_ref());
    was.is_some_and(|was| was.since.is_some() && was.waiting_since.is_none() && is.is_some_and(|is| is.index == was.index))
}

/// Writes a pin into Services, and with it the session affinity that they are to have by now.
pub fn move_services(view: &View<'_>, draft: &mut Draft, services: Vec<&ServiceFacts>, to: &Pin) {
    for service in services {
        let affinity = affinity::beside(view, draft, service);
        pin(view, draft, service, to, affinity);
    }
}

/// Writes a pin into a Service, and its session affinity where that is to be another one.
pub fn pin(view: &View<'_>, draft: &mut Draft, service: &ServiceFacts, to: &Pin, affinity: Option<SessionAffinity>) {
    let (from, side_key) = (view.pin(service), view.keys().side.to_owned());
    draft.act(Action::PinService { service: service.object(), side_key, from, to: to.clone(), affinity });
}

/// Waits before a Service is opened until it is known everywhere that the pods which its pin has kept out are ending.
pub fn see_off(view: &View<'_>, draft: &mut Draft) -> Progress {
    let pinned = view.services().into_iter().any(|service| view.pin(service) != Pin::Open);
    let last = view.snapshot.pods.iter().filter(|pod| view.is_of_pair(pod)).filter_map(|pod| pod.deleting_since).max();
    let until = last.map(|last| after(last, PARTING)).filter(|until| pinned && *until > view.now);
    until.map_or(Progress::Done, |until| {
        draft.wake(until);
        Progress::Waiting
    })
}

/// Takes every Service to what it is at rest ([`View::rest_pin`]) and the rotation label off every pod, once the pods that have ended are
/// seen off where a Service is opened; waits while there was something to do.
pub fn open_all(view: &View<'_>, draft: &mut Draft) -> Progress {
    let opens = view.rest_pin() == Pin::Open;
    if opens && see_off(view, draft) == Progress::Waiting { Progress::Waiting } else { open_at_once(view, draft) }
}

/// The same without looking at the pods: for when those that a Service is pinned to are not there to serve.
pub fn open_at_once(view: &View<'_>, draft: &mut Draft) -> Progress {
    let rest = view.rest_pin();
    let pinned: Vec<&ServiceFacts> = view.services().into_iter().filter(|service| view.pin(service) != rest).collect();
    let labelled: Vec<&PodFacts> = view.in_rotation().filter(|pod| !pod.deleting()).collect();
    let lent = affinity::lent(view, draft);
    if pinned.is_empty() && labelled.is_empty() && lent.is_empty() {
        return affinity::give_back(view, draft);
    }
    for service in pinned {
        let owners = lent.iter().find(|(other, _)| other.name == service.name).map(|(_, owners)| *owners);
        pin(view, draft, service, &rest, owners);
    }
    affinity::give_back(view, draft);
    draft.actions.extend(labelled.into_iter().map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }));
    Progress::Waiting
}

/// The share of new connections that the canary gets, from the endpoints; none while a Service has no endpoint or its endpoints trail.
/// Without Services: its share of the pods.
pub fn routed(view: &View<'_>, sides: Sides<'_, '_>) -> Option<u8> {
    let (services, canary) = (view.services(), sides.canary);
    if view.is_worker() {
        return Some(share_of_pods(&[canary], sides.live));
    }
    if services.iter().any(|service| service.endpoints.is_empty() || !view.endpoints_follow(service)) {
        return None;
    }
    let of_canary = |service: &&ServiceFacts| count(service.endpoints.iter().filter(|uid| canary.pods.iter().any(|pod| pod.uid == **uid)));
    let all: i32 = services.iter().map(|service| count(service.endpoints.iter())).sum();
    Some(percent(services.iter().map(of_canary).sum(), all))
}

/// Ready pods below which no write of ours may leave a Service.
fn enough(view: &View<'_>, sides: Sides<'_, '_>) -> i32 {
    let selectable = sides.canary.ready_count() + sides.live.map_or(0, Side::ready_count);
    view.hello.replicas.min(selectable)
}

/// Pods of the canary that a weight takes clients from no more, where clients are to keep their version: also those that are more than the
/// split counts on, because somebody scaled in between.
fn kept(release: &Release, weight: u8, canary: &Side<'_>) -> i32 {
    match affinity::seconds(&release.policy) {
        None => 0,
        Some(_) if weight > 50 => canary.ready_count(),
        Some(_) => count(canary.ready().filter(|pod| pod.labels.contains_key(ROTATION))),
    }
}

/// The pods that carry the rotation label for a split: those that do already, then by name. Missing pods of one side are made up for by
/// those of the other, so that the capacity stays: a live side that is down blocks nothing.
fn chosen<'a>(view: &View<'a>, sides: Sides<'a, '_>, canary: i32, stable: i32) -> Vec<&'a PodFacts> {
    let enough = enough(view, sides);
    let mut pods = first(sides.canary, canary.max(enough - sides.live.map_or(0, Side::ready_count)));
    let stable = stable.max(enough - count(pods.iter()));
    pods.extend(sides.live.map(|live| first(live, stable)).unwrap_or_default());
    pods
}

fn first<'a>(side: &Side<'a>, number: i32) -> Vec<&'a PodFacts> {
    let mut ready: Vec<&PodFacts> = side.ready().collect();
    ready.sort_by_key(|pod| (!pod.labels.contains_key(ROTATION), &pod.name));
    ready.truncate(usize::try_from(number).unwrap_or(0));
    ready
}

/// Puts exactly these pods into rotation: the missing ones in first, then the others out, so that every moment in between has at
/// least as many as both ends. Until that is done the weight is not what it should be.
fn label(view: &View<'_>, draft: &mut Draft, chosen: &[&PodFacts]) -> Progress {
    // A step that is over in this very decision may have asked for labels to be taken off.
    draft.actions.retain(|action| !matches!(action, Action::LabelPod { rotation: Rotation::Out, .. }));
    let missing = chosen.iter().filter(|pod| !pod.labels.contains_key(ROTATION));
    let surplus = view.in_rotation().filter(|pod| !pod.deleting() && chosen.iter().all(|kept| kept.uid != pod.uid));
    let labels: Vec<Action> = missing
        .map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::In })
        .chain(surplus.map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }))
        .collect();
    if labels.is_empty() {
        return Progress::Done;
    }
    draft.actions.extend(labels);
    Progress::Waiting
}

/// Takes the rotation label off, where the split does not use it. Only after the selectors are confirmed.
fn retire_labels(view: &View<'_>, draft: &mut Draft, split: Split) {
    if !matches!(split, Split::Rotation { .. }) {
        draft.actions.extend(
            view.in_rotation().filter(|pod| !pod.deleting()).map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }),
        );
    }
}

/// Where canary pods were lost and the Services, as they are pinned now, select fewer ready pods than they should: lets both sides
/// serve until replacements are there. This is not a rollback, and is not taken for one: the pin is removed, not set to the live side.
fn shelter(view: &View<'_>, draft: &mut Draft, sides: Sides<'_, '_>) -> Progress {
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
        return if sheltered && needs_more { Progress::Waiting } else { Progress::Done };
    }
    if shared == Pin::Rotation {
        let all: Vec<&PodFacts> = sides.canary.ready().chain(sides.live.into_iter().flat_map(Side::ready)).collect();
        if label(view, draft, &all) == Progress::Waiting {
            return Progress::Waiting;
        }
    }
    let services = services.into_iter().filter(|service| view.pin(service) != shared).collect();
    move_services(view, draft, services, &shared);
    Progress::Waiting
}

/// Waits for canary pods, and says what keeps them.
pub fn await_pods(view: &View<'_>, draft: &mut Draft, release: &Release, canary: &Side<'_>, needed: i32) -> Progress {
    let until: Option<Timestamp> = draft.deadline(release.policy.progress_deadline, view.now);
    if let Some(deployment) = view.canary_deployment()
        && deployment.min_ready_seconds > 0
        && canary.ready_count() > canary.available_count(deployment.min_ready_seconds, view.now)
    {
        // Nothing changes in the cluster when a pod becomes available: look again once a second.
        draft.wake(after(view.now, Span::seconds(1)));
    }
    let trouble = canary.pods.iter().find_map(|pod| pod.trouble.as_ref().map(|trouble| format!("pod {}: {trouble}", pod.name)));
    draft.wait(Why::CanaryPods { needed, trouble, until })
}
