//! The decisions of Stepgate's admission policies, as the policies of `policies/admission` take them, without CEL: of all but `right`,
//! because there are no rights to ask for here.
//!
//! They act for Rollouts that have a live version recorded and are not being deleted, in the namespace of the object, unless that has
//! opted out by its label `stepgate.dev/admission=disabled`.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{HANDOVER, HELD, HELD_BY_STEPGATE, POD_TEMPLATE_HASH, ROTATION, rollout::DEFAULT_VERSION_LABEL},
    sim::json,
};

use super::{
    ApiServer,
    call::{Call, Part},
    kinds::Kind,
    problem::Problem,
};

/// The user Stepgate writes as.
pub const STEPGATE: &str = "system:serviceaccount:stepgate-system:stepgate";
/// The user the Deployment controller writes as.
pub const DEPLOYMENT_CONTROLLER: &str = "system:serviceaccount:kube-system:deployment-controller";
/// The user the autoscaler writes as.
pub const AUTOSCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

/// The label by which a namespace opts out, with the value `disabled`.
const ADMISSION: &str = "stepgate.dev/admission";
/// The keys of a Service's selector that are Stepgate's; of a declared pair the version label too.
const OURS: [&str; 2] = [POD_TEMPLATE_HASH, ROTATION];

/// Which policies are installed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "six policies, each installed or not")]
pub struct Admission {
    pub pause: bool,
    pub pin: bool,
    pub floor: bool,
    pub held: bool,
    pub handover: bool,
    pub who: bool,
    /// The user that pause, pin, held and hand-over let through.
    pub stepgate: String,
}

impl Default for Admission {
    fn default() -> Self {
        Self { pause: true, pin: true, floor: true, held: true, handover: true, who: true, stepgate: STEPGATE.into() }
    }
}

impl Admission {
    /// A cluster without any of them.
    pub fn none() -> Self {
        Self { pause: false, pin: false, floor: false, held: false, handover: false, who: false, stepgate: STEPGATE.into() }
    }
}

/// The write under review.
pub(super) struct Review<'a> {
    pub call: &'a mut Call,
    pub kind: &'a Kind,
    pub part: Part,
    pub old: Option<&'a Value>,
}

/// The mutating policies.
pub(super) fn mutate(server: &ApiServer, review: &Review<'_>, object: &mut Value) {
    if has_opted_out(server, object) {
        return;
    }
    let installed = &server.admission;
    let user = review.call.user.as_str();
    let foreign = user != installed.stepgate;
    match (review.kind.resource().as_str(), review.part, review.old) {
        // Stepgate's own dry runs are treated like anybody's: by one, it finds out whether this policy is in effect.
        ("deployments.apps", Part::Whole, Some(old)) if installed.pause && (foreign || review.call.dry_run) => pause(server, old, object),
        ("deployments.apps", Part::Scale, Some(_)) if installed.floor && user == AUTOSCALER => floor(server, object),
        ("services", Part::Whole, Some(old)) if installed.pin && (foreign || review.call.dry_run) => pin(server, old, object),
        ("rollouts.stepgate.dev", Part::Whole, old) if installed.who => who(user, old, object),
        _ => {}
    }
}

/// The validating policies.
pub(super) fn validate(server: &ApiServer, review: &mut Review<'_>, object: &Value) -> Result<(), Problem> {
    let installed = &server.admission;
    let user = review.call.user.as_str();
    if review.kind.resource() != "deployments.apps"
        || review.part != Part::Whole
        || user == installed.stepgate
        || user == DEPLOYMENT_CONTROLLER
        || has_opted_out(server, object)
    {
        return Ok(());
    }
    let Some(old) = review.old else { return Ok(()) };
    let same = |path: &str| old.pointer(path) == object.pointer(path);
    if installed.handover && json::label(old, HANDOVER).is_some() && !(same("/spec/template") && same("/spec/strategy")) {
        let (namespace, name) = (json::namespace(object), json::name(object));
        let why = format!(
            "Stepgate is promoting Deployment {name}, which takes seconds: try again. If it does not end: kubectl -n {namespace} label deployment {name} {HANDOVER}-"
        );
        return Err(Problem::denied(review.kind, name, "stepgate-handover", &why));
    }
    if installed.held
        && json::flag(object, "/spec/paused")
        && json::label(object, HELD).is_some()
        && let Some(rollout) = of_deployment(server, object)
    {
        review.call.warnings.push(format!(
            "Validation failed for ValidatingAdmissionPolicy 'stepgate-held' with binding 'stepgate-held': Deployment {} is held (spec.paused) by Stepgate Rollout {}",
            json::name(object),
            json::name(&rollout),
        ));
    }
    Ok(())
}

fn has_opted_out(server: &ApiServer, object: &Value) -> bool {
    let home = server.get("namespaces", "", json::namespace(object));
    home.is_some_and(|home| json::label(home, ADMISSION) == Some("disabled"))
}

/// Rollouts of the namespace that may act: a live version is recorded, and no deletion has begun.
fn acting<'a>(server: &'a ApiServer, object: &'a Value) -> impl Iterator<Item = &'a Arc<Value>> {
    server
        .list("rollouts.stepgate.dev", json::namespace(object))
        .filter(|rollout| !json::deleting(rollout) && !json::text(rollout, "/status/stable/revision").is_empty())
}

fn of_deployment(server: &ApiServer, deployment: &Value) -> Option<Arc<Value>> {
    acting(server, deployment).find(|rollout| json::text(rollout, "/spec/workload/deployment") == json::name(deployment)).cloned()
}

/// Holds a Deployment in the very write that changes its template, and keeps it held.
fn pause(server: &ApiServer, old: &Value, new: &mut Value) {
    let changed = old.pointer("/spec/template") != new.pointer("/spec/template");
    let resumed = json::flag(old, "/spec/paused") && !json::flag(new, "/spec/paused");
    let held = json::label(old, HELD).is_some();
    let forgotten = held && json::label(new, HELD).is_none();
    if (changed || resumed || forgotten) && of_deployment(server, new).is_some() {
        // A pause that comes with the write, or was there before it, is its owner's.
        if held || !json::flag(new, "/spec/paused") {
            json::fields_mut(new, "/metadata/labels").insert(HELD.into(), HELD_BY_STEPGATE.into());
        }
        json::set(new, "/spec/paused", true);
    }
}

/// Keeps the selector keys that are Stepgate's as they are, neither removed, nor changed, nor added by others; and the session affinity.
fn pin(server: &ApiServer, old: &Value, new: &mut Value) {
    let (Some(before), Some(_)) = (json::fields(old, "/spec/selector"), json::fields(new, "/spec/selector")) else { return };
    let named = |rollout: &&Arc<Value>| {
        let name = json::name(new);
        json::items(rollout, "/spec/services").iter().any(|service| service == name) || json::text(rollout, "/spec/preview") == name
    };
    let Some(rollout) = acting(server, new).find(named).cloned() else { return };
    let declared = rollout.pointer("/spec/workload/versions").is_some();
    let label = match json::text(&rollout, "/spec/workload/versionLabel") {
        "" => DEFAULT_VERSION_LABEL,
        label => label,
    };
    for key in OURS.into_iter().chain(declared.then_some(label)) {
        let after = json::fields_mut(new, "/spec/selector");
        match before.get(key) {
            Some(value) => drop(after.insert(key.into(), value.clone())),
            None => drop(after.remove(key)),
        }
    }
    stick(&rollout, old, new);
}

/// Keeps the session affinity that the Rollout's status has on record as set for a release.
fn stick(rollout: &Value, old: &Value, new: &mut Value) {
    const SECONDS: &str = "/spec/sessionAffinityConfig/clientIP/timeoutSeconds";
    let is_set = |held: &Value| {
        held["service"] == json::name(old)
            && json::text(old, "/spec/sessionAffinity") == "ClientIP"
            && json::int(old, SECONDS) == json::int(held, "/timeoutSeconds")
    };
    if json::items(rollout, "/status/affinity").iter().any(is_set) {
        json::copy(old, new, "/spec/sessionAffinity");
        json::copy(old, new, "/spec/sessionAffinityConfig");
    }
}

/// Holds the autoscaler at the size the release began with.
fn floor(server: &ApiServer, new: &mut Value) {
    let live = |rollout: &Value| match json::text(rollout, "/spec/workload/deployment") {
        "" => json::text(rollout, "/status/stable/name").to_owned(),
        deployment => deployment.to_owned(),
    };
    let rollout = acting(server, new).find(|rollout| live(rollout) == json::name(new));
    let size = rollout.map_or(0, |rollout| json::int(rollout, "/status/release/size"));
    if size > json::int(new, "/spec/replicas") {
        json::set(new, "/spec/replicas", size);
    }
}

/// Stamps the user into a new request.
fn who(user: &str, old: Option<&Value>, new: &mut Value) {
    if json::fields(new, "/spec/request").is_none() {
        return;
    }
    let same = old.is_some_and(|old| old.pointer("/spec/request/id") == new.pointer("/spec/request/id"));
    match old.filter(|_| same) {
        Some(old) => json::copy(old, new, "/spec/request/by"),
        None => json::set(new, "/spec/request/by", user),
    }
}
