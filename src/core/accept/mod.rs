//! Whether a release may begin: what only the cluster can tell of a Rollout's Deployment, Services and policy.

pub mod pair;
pub mod policy;
pub mod rival;
pub mod service;
pub mod subject;
pub mod workload;

use crate::{
    api::policy::PolicySpec,
    core::{
        accept::{
            policy::{missing_policy, policy_problems},
            rival::rival,
            service::{preview_problem, services_missing, unlisted, unsuitable},
            subject::{one, sides},
            workload::{reserved_label, template_problem},
        },
        view::{View, declared::Pair},
        why::refusal::{Refusal, service::Named},
    },
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

fn versions_problem(view: &View<'_>, policy: Option<&PolicySpec>) -> Option<Refusal> {
    match view.pair {
        Pair::Managed { .. } => None,
        Pair::Declared(declared) => pair::refusal(view, declared, policy),
    }
}
