//! Which pin a Service has, which one it is to have at rest, and the write that changes it.

use std::collections::BTreeSet;

use crate::core::{
    decision::{action::Action, draft::Draft},
    facts::{
        labels::subset,
        pin::{Keys, MANAGED, Pin},
        pod::PodFacts,
        service::{ServiceFacts, SessionAffinity},
    },
    view::{
        View,
        declared::{Declared, Pair},
        side::Side,
    },
};

impl<'a> Pair<'a> {
    /// The selector keys that are Stepgate's.
    pub fn keys(self) -> Keys<'a> {
        match self {
            Self::Managed { .. } => MANAGED,
            Self::Declared(Declared { label, .. }) => Keys { side: label },
        }
    }
}

impl<'a> View<'a> {
    /// The selector keys that are Stepgate's.
    pub fn keys(&self) -> Keys<'a> {
        self.pair.keys()
    }

    /// The pin that is found in a Service's selector.
    pub fn pin(&self, service: &ServiceFacts) -> Pin {
        self.keys().pin(&service.selector)
    }

    /// What the Services are at rest: as their owner wrote them, or, for a declared pair, pinned to the live version.
    pub fn rest_pin(&self) -> Pin {
        match (self.pair, self.live()) {
            (Pair::Declared(_), Some(live)) => live.pin(),
            _ => Pin::Open,
        }
    }

    /// The pin to the live side that is on record.
    pub fn live_pin(&self) -> Option<Pin> {
        let stable = self.snapshot.status.stable.as_ref()?;
        match self.pair {
            Pair::Managed { .. } => Some(Pin::Side(stable.hash.clone())),
            Pair::Declared(_) => self.live().map(|live| live.pin()),
        }
    }

    /// The pin with which both sides serve and nobody else does.
    pub fn shared_pin(&self) -> Pin {
        if matches!(self.pair, Pair::Managed { .. }) {
            return Pin::Open;
        }
        let both: BTreeSet<&str> =
            [self.live(), self.canary()].iter().flatten().flat_map(|side| &side.pods).map(|pod| pod.uid.as_str()).collect();
        let strangers = |service: &ServiceFacts| {
            let selector = self.keys().owners(&service.selector);
            let alive = self.snapshot.pods.iter().filter(|pod| !pod.deleting() && !pod.finished);
            alive.filter(|pod| subset(&selector, &pod.labels)).any(|pod| !both.contains(pod.uid.as_str()))
        };
        if self.services().into_iter().any(strangers) { Pin::Rotation } else { Pin::Open }
    }

    /// Whether every Service that exists has this pin.
    pub fn all_pinned(&self, pin: &Pin) -> bool {
        self.services().iter().all(|service| self.pin(service) == *pin)
    }

    /// Pods, of either side, that a selector with this pin would give to clients of a Service.
    pub fn selected(&self, service: &ServiceFacts, pin: &Pin) -> Vec<&'a PodFacts> {
        let selector = self.keys().apply(pin, &service.selector);
        self.matching(&selector)
    }
}

impl Side<'_> {
    /// The pin that gives all clients to it.
    pub fn pin(&self) -> Pin {
        Pin::Side(self.value.to_owned())
    }
}

/// Writes a pin into a Service, and its session affinity where that is to be another one.
pub fn pin(view: &View<'_>, draft: &mut Draft, service: &ServiceFacts, to: &Pin, affinity: Option<SessionAffinity>) {
    let (from, side_key) = (view.pin(service), view.keys().side.to_owned());
    draft.act(Action::PinService { service: service.object(), side_key, from, to: to.clone(), affinity });
}
