//! The way back of traffic: every Service to the live side, waiting for nothing; then the time until everybody has followed.

use std::{collections::BTreeSet, ops::ControlFlow::Continue};

use crate::{
    api::{
        Span,
        status::{Release, Traffic},
    },
    core::{
        decision::{
            action::Action,
            draft::Draft,
            time::{after, bounded},
            wait::Flow,
        },
        facts::{pin::Pin, service::ServiceFacts},
        traffic::{
            establish::settle,
            pods,
            selectors::{
                affinity,
                write::{abandoned, move_services},
            },
        },
        view::{self, View, declared::Pair, lingering, side::Side},
        why::{Why, words::Load},
    },
};

/// How long kept-alive connections are given after a movement that was not caused by a failure.
const DRAIN: Span = Span::seconds(5);

/// Pins every Service to the live side: one write each, in this very decision. Not where the live side has no ready pod and the canary
/// has: clients are never moved to the worse side.
pub fn take_clients_back(view: &View<'_>, draft: &mut Draft, live: &Side<'_>, reason: &str) -> Flow {
    let target = live.pin();
    // Once the canary is on its way out the pins may come off again, and stay off.
    let managed = matches!(view.pair, Pair::Managed { .. });
    let canary_is_gone = managed && view.ours().next().is_none() && lingering(view).is_none();
    let is_back = |pin: Pin| pin == target || canary_is_gone && pin == view.rest_pin();
    let left = abandoned(view);
    let away: Vec<&ServiceFacts> = view.services().into_iter().chain(left).filter(|service| !is_back(view.pin(service))).collect();
    if away.is_empty() {
        return Continue(());
    }
    let others = away.iter().any(|service| !view.selected(service, &Pin::Open).is_empty());
    if live.ready_count() == 0 && others {
        return Why::BothSidesBad { reason: reason.to_owned() }.for_a_person();
    }
    move_services(view, draft, away, &target);
    Why::TakingBack { load: Load::Clients, reason: reason.to_owned() }.until_answered()
}

/// A live version of the user's own that was set to 0 after traffic had begun, by its owner or by an `idle: ScaleToZero` whose answer was
/// lost, gets its pods again: clients are on their way back to it. The pin goes out first all the same.
pub fn raise_live(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) {
    let declared = matches!(view.pair, Pair::Declared(_));
    if declared && release.traffic_since.is_some() && live.replicas == 0 && release.size > 0 {
        draft.act(Action::ScaleCanary { deployment: view.hello.object(), replicas: release.size });
    }
}

/// Waits until the endpoints show the live side only, and then for the time that nodes and, after a movement that no failure
/// caused, kept-alive connections are given.
pub fn settle_down(view: &View<'_>, draft: &mut Draft, release: &Release, live: &Side<'_>) -> Flow {
    if view.is_worker() {
        return pods::settle_down(view, draft, release);
    }
    let confirmed_at = release.rollback.as_ref().and_then(|rollback| rollback.confirmed_at);
    let kept: BTreeSet<&str> = live.pods.iter().map(|pod| pod.uid.as_str()).collect();
    let others = || view.snapshot.pods.iter().filter(|pod| pod.serves() && !kept.contains(pod.uid.as_str()));
    let elsewhere = |service: &&ServiceFacts| others().any(|pod| service.endpoints.contains(&pod.uid));
    let services: Vec<String> = view.services().iter().filter(|service| elsewhere(service)).map(|service| service.name.clone()).collect();
    if confirmed_at.is_none() && !services.is_empty() {
        return Why::Confirming { weight: 0, services }.until_answered();
    }
    // Without the Service that there was there is nothing to be seen.
    let routed = (!view.services().is_empty()).then_some(0);
    draft.status.traffic = Some(Traffic { desired: 0, routed, clients: routed.filter(|_| affinity::seconds(&release.policy).is_some()) });
    let rollback = draft.status.release.as_mut().and_then(|release| release.rollback.as_mut());
    let confirmed_at = rollback.map_or(view.now, |rollback| bounded(&mut rollback.confirmed_at, view.now));
    let drains = release.rollback.as_ref().is_some_and(|rollback| rollback.reason.drains());
    let until = after(confirmed_at, settle(view, release).max(if drains { DRAIN } else { Span::default() }));
    if view.now < until {
        return Why::Settling { weight: 0, until }.until(until);
    }
    Continue(())
}

/// That a canary which nobody needs any more is being removed.
pub fn removing(view: &View<'_>, reason: String) -> Why {
    match view.load() {
        Load::Work if view::is_at_work(view) => Why::TakingBack { load: Load::Work, reason },
        load => Why::RemovingCanary { load, reason },
    }
}
