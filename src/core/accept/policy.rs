//! The policy: what cannot work with this Deployment, whatever the cluster does.

use crate::{
    api::{
        Span,
        policy::{PolicySpec, When},
    },
    core::{
        accept::subject::{one, subject},
        traffic::pods,
        view::View,
        why::refusal::{
            Refusal,
            service::{Named, Unsuitable},
        },
    },
};

/// The name of the policy that does not exist.
pub fn missing_policy(view: &View<'_>) -> Option<Refusal> {
    let reference = view.snapshot.rollout.spec.policy_ref.as_ref()?;
    Some(Refusal::PolicyNotFound { kind: reference.kind, name: reference.name.clone() })
}

/// What cannot work with this Deployment, whatever the cluster does.
pub fn policy_problems<'a>(view: &'a View<'a>, policy: &'a PolicySpec) -> impl Iterator<Item = Refusal> + use<'a> {
    one(|| view.is_worker().then(|| pods::needs_service(policy)).flatten().map(Refusal::NeedsService))
        .chain(one(|| affinity_problem(view, policy)))
        .chain(one(|| deadline_problem(view, policy)))
        .chain(policy.gates.iter().filter_map(|gate| gate.kind()?.problem(&gate.name, subject(view))))
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
        .filter_map(|gate| gate.kind()?.least_time(&gate.name))
        .chain((min_ready > Span::default()).then(|| (min_ready, format!("minReadySeconds of Deployment {}", hello.name))))
        .max_by_key(|(needs, _)| *needs)
}
