//! Session affinity: for as long as a release lasts a client keeps the pod that it has, and with it its version.
//!
//! **Guarantee:** every Service gets back the session affinity that its owner gave it, whatever becomes of the release. Both values are on record
//! before the first write: the owner's and ours. Later they are compared with what the Service has. Our value: the owner's is restored. The
//! owner's value: nothing is to be done. Anything else: somebody changed it meanwhile, and it stays.
//!
//! **Assumption:** clients come from addresses of their own. Behind one proxy they all count as one client.
//!
//! **Caveat:** a write whose answer was lost may take effect up to a minute after the release; until then the record is kept (`LATE`).

use std::ops::ControlFlow::{Break, Continue};

use std::sync::Arc;

use crate::{
    api::{
        Span,
        policy::PolicySpec,
        status::{HeldAffinity, Release},
    },
    core::{
        decision::{
            action::Action,
            draft::Draft,
            time::after,
            wait::{Flow, Part},
        },
        facts::service::{ServiceFacts, SessionAffinity},
        share::nested,
        traffic::selectors::pins::pin,
        view::View,
        why::Why,
    },
};

/// The longest time that Kubernetes takes, in seconds.
const LONGEST: i32 = 86_400;

/// How late an answer may be that nobody waits for any more: the API server gives up a request after that time.
const LATE: Span = Span::seconds(60);

impl HeldAffinity {
    fn new(service: &str, owners: SessionAffinity, seconds: i32) -> Self {
        let owners_timeout_seconds = match owners {
            SessionAffinity::Off => None,
            SessionAffinity::ClientIp(seconds) => Some(seconds),
        };
        Self { service: service.to_owned(), timeout_seconds: seconds, owners_timeout_seconds }
    }

    /// What is set for the release.
    pub fn set(&self) -> SessionAffinity {
        SessionAffinity::ClientIp(self.timeout_seconds)
    }

    /// What the owner had.
    pub fn owners(&self) -> SessionAffinity {
        self.owners_timeout_seconds.map_or(SessionAffinity::Off, SessionAffinity::ClientIp)
    }
}

/// For how many seconds a policy wants clients to be known by their address; none where it does not.
pub fn seconds(policy: &PolicySpec) -> Option<i32> {
    let timeout = policy.affinity.as_ref()?.client_ip.as_ref()?.timeout.0;
    let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    Some(i32::try_from(seconds).unwrap_or(LONGEST).clamp(1, LONGEST))
}

/// What is to be on record of a Service, where it is to have another affinity than its owner's. One that lasts longer than what is asked
/// for is left alone, and so is what an earlier release has left behind, until it is given back.
pub fn record(service: &str, found: SessionAffinity, known: Option<&HeldAffinity>, asked: Option<i32>) -> Option<HeldAffinity> {
    if let Some(known) = known.filter(|known| known.set() == found) {
        return Some(known.clone());
    }
    asked.filter(|seconds| found < SessionAffinity::ClientIp(*seconds)).map(|seconds| HeldAffinity::new(service, found, seconds))
}

/// What is to be given back to a Service's owner: nothing where somebody has written it meanwhile.
pub fn lent_to(found: SessionAffinity, known: &HeldAffinity) -> Option<SessionAffinity> {
    (found == known.set()).then(|| known.owners())
}

/// What is to be on record for a release with this policy. A Service that was taken off the list stays there until it has its own back.
pub fn records(view: &View<'_>, known: &[HeldAffinity], policy: &PolicySpec) -> Vec<HeldAffinity> {
    let (listed, asked) = (view.services(), seconds(policy));
    let of = |service: &ServiceFacts| known.iter().find(|held| held.service == service.name);
    let records = listed.iter().filter_map(|service| record(&service.name, service.affinity, of(service), asked));
    let unlisted = view.snapshot.services.iter().filter(|service| !service.deleting && listed.iter().all(|one| one.name != service.name));
    records.chain(unlisted.filter_map(|service| record(&service.name, service.affinity, of(service), None))).collect()
}

/// Gives the Services the affinity that the policy asks for, once what they had is on record; called again, it does what is missing and
/// nothing else. Done means that they have it.
pub fn hold(view: &View<'_>, draft: &mut Draft, release: &Release) -> Flow {
    let records = records(view, &draft.status.affinity, &release.policy);
    let is_new = records.iter().any(|held| !draft.status.affinity.contains(held));
    draft.status.affinity = records;
    if is_new {
        return Why::Recording.until_answered();
    }
    let listed = view.services();
    for (service, owners) in lent(view, draft).into_iter().filter(|(service, _)| listed.iter().all(|one| one.name != service.name)) {
        pin(view, draft, service, &view.pin(service), Some(owners));
    }
    let services: Vec<(&ServiceFacts, SessionAffinity)> =
        listed.into_iter().filter_map(|service| Some((service, beside(view, draft, service)?))).collect();
    if services.is_empty() {
        return Continue(());
    }
    for (service, affinity) in &services {
        pin(view, draft, service, &view.pin(service), Some(*affinity));
    }
    Why::KeepingClients { services: services.iter().map(|(service, _)| service.name.clone()).collect() }
        .within(release.policy.progress_deadline)
}

/// What a Service's affinity becomes in the very write that pins it: that of the release, once it is on record; the owner's, where no
/// release is under way. On the way back it stays, because that waits for nothing, not for a record either.
pub fn beside(view: &View<'_>, draft: &Draft, service: &ServiceFacts) -> Option<SessionAffinity> {
    let held = draft.status.affinity.iter().find(|held| held.service == service.name)?;
    match &draft.status.release {
        None => lent_to(service.affinity, held),
        Some(release) if release.rollback.is_some() => None,
        Some(_) => {
            let on_record = view.is_recorded() && view.snapshot.status.affinity.contains(held);
            (on_record && service.affinity == held.owners()).then(|| held.set())
        }
    }
}

/// The Services that have what was set for a release, and what their owners had.
pub fn lent<'a>(view: &View<'a>, draft: &Draft) -> Vec<(&'a ServiceFacts, SessionAffinity)> {
    let owners = |service: &ServiceFacts| {
        let held = draft.status.affinity.iter().find(|held| held.service == service.name)?;
        lent_to(service.affinity, held)
    };
    let services = view.snapshot.services.iter().map(Arc::as_ref).filter(|service| !service.deleting);
    services.filter_map(|service| Some((service, owners(service)?))).collect()
}

/// Gives every Service its owner's affinity back, but for those that this decision writes already; called again, it does what is missing.
pub fn give_back(view: &View<'_>, draft: &mut Draft) -> Part {
    let lent = lent(view, draft);
    if lent.is_empty() {
        forget(view, draft);
        return Continue(());
    }
    for (service, owners) in lent {
        let is_written = |action: &Action| matches!(action, Action::PinService { service: other, .. } if other.name == service.name);
        if !draft.actions.iter().any(is_written) {
            pin(view, draft, service, &view.pin(service), Some(owners));
        }
    }
    Break(())
}

/// Every Service has its owner's affinity: what was on record of it goes, once no write of ours that nobody waits for any more can still
/// come after it.
fn forget(view: &View<'_>, draft: &mut Draft) {
    if draft.status.affinity.is_empty() || draft.status.release.is_some() {
        return;
    }
    let until = draft.status.history.last().map(|ended| after(ended.ended_at, LATE));
    match until.filter(|until| *until > view.now) {
        Some(until) => draft.wake(until),
        None => draft.status.affinity.clear(),
    }
}

/// The share of the clients from before the release that a weight has moved, in percent, as far as they have come back since: those whose
/// pods had to leave the rotation, step by step, evenly spread over the pods that were left in it. None without affinity.
pub fn moved(policy: &PolicySpec, weight: u8, size: i32) -> Option<u8> {
    /// A share of 1, in millionths.
    const ALL: i64 = 1_000_000;
    seconds(policy)?;
    if weight >= 100 {
        return Some(100);
    }
    let (mut kept, mut before) = (ALL, i64::from(size.max(1)));
    for step in policy.steps.iter().filter(|step| step.weight <= weight) {
        let (canary, stable) = nested(step.weight, size);
        let (canary, stable) = (i64::from(canary), i64::from(stable));
        let left = kept * (before - stable) / before;
        kept = kept - left + left * stable / (canary + stable);
        before = stable;
    }
    u8::try_from((ALL - kept + ALL / 200) / (ALL / 100)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        SessionAffinity::{ClientIp, Off},
        *,
    };
    use crate::core::tests::model::policy;

    fn held(seconds: i32, owners: Option<i32>) -> HeldAffinity {
        HeldAffinity { service: "hello".into(), timeout_seconds: seconds, owners_timeout_seconds: owners }
    }

    fn sticky(timeout: &str) -> PolicySpec {
        policy(json!({"steps": [{"weight": 100}], "affinity": {"clientIP": {"timeout": timeout}}}))
    }

    #[test]
    fn a_time_is_rounded_up_to_the_seconds_that_kubernetes_takes() {
        for (timeout, expected) in [("10m", 600), ("1s", 1), ("1s1ms", 2), ("24h", 86_400), ("10ms", 1), ("99h", 86_400)] {
            assert_eq!(seconds(&sticky(timeout)), Some(expected), "{timeout}");
        }
        assert_eq!(seconds(&policy(json!({"steps": [{"weight": 100}]}))), None);
    }

    #[test]
    fn what_the_owner_had_is_on_record_beside_what_is_set() {
        let none = None::<HeldAffinity>;
        for (found, known, asked, expected) in [
            (Off, none.clone(), Some(600), Some(held(600, None))),
            (ClientIp(60), none.clone(), Some(600), Some(held(600, Some(60)))),
            // As long, or longer: it is enough as it is.
            (ClientIp(600), none.clone(), Some(600), None),
            (ClientIp(10_800), none.clone(), Some(600), None),
            (Off, none, None, None),
            // As it was set.
            (ClientIp(600), Some(held(600, None)), Some(600), Some(held(600, None))),
            // Left behind by an earlier release: not the owner's.
            (ClientIp(600), Some(held(600, Some(60))), Some(900), Some(held(600, Some(60)))),
            (ClientIp(600), Some(held(600, None)), None, Some(held(600, None))),
            // Taken away by somebody who applies what the owner had.
            (Off, Some(held(600, None)), Some(600), Some(held(600, None))),
            // The owner has changed it meanwhile.
            (ClientIp(30), Some(held(600, None)), Some(600), Some(held(600, Some(30)))),
            (ClientIp(7_200), Some(held(600, None)), Some(600), None),
            (Off, Some(held(600, Some(60))), None, None),
        ] {
            assert_eq!(record("hello", found, known.as_ref(), asked), expected, "{found:?} {known:?} {asked:?}");
        }
    }

    #[test]
    fn only_what_was_set_is_given_back() {
        for (found, known, expected) in [
            (ClientIp(600), held(600, None), Some(Off)),
            (ClientIp(600), held(600, Some(60)), Some(ClientIp(60))),
            (Off, held(600, None), None),
            (ClientIp(30), held(600, None), None),
        ] {
            assert_eq!(lent_to(found, &known), expected, "{found:?} {known:?}");
        }
    }

    #[test]
    fn the_clients_from_before_move_with_their_pods() {
        const QUARTERS: &[u8] = &[25, 50, 75, 100];
        const TENTHS: &[u8] = &[60, 75, 90, 100];
        let steps = |weights: &[u8]| {
            let steps: Vec<_> = weights.iter().map(|weight| json!({"weight": weight})).collect();
            policy(json!({"steps": steps, "affinity": {"clientIP": {}}}))
        };
        for (weights, size, weight, percent) in [
            (QUARTERS, 4, 25, 0),
            (QUARTERS, 4, 50, 0),
            // Three of four pods leave, and one in five of their clients is given the fourth.
            (QUARTERS, 4, 75, 60),
            (QUARTERS, 4, 100, 100),
            (QUARTERS, 2, 75, 33),
            (QUARTERS, 1, 75, 0),
            (TENTHS, 10, 60, 18),
            (TENTHS, 10, 75, 54),
            (TENTHS, 10, 90, 82),
            (TENTHS, 10, 100, 100),
        ] {
            assert_eq!(moved(&steps(weights), weight, size), Some(percent), "{weight} % of {size}");
        }
    }
}
