//! One example of everything that `status.why` and condition `Accepted` can say.
//!
//! The matches below name every variant, so that the compiler asks for a place of a new one, and a test for its example.

use std::collections::BTreeSet;

use jiff::Timestamp;
use stepgate::{
    api::{Span, rollout::PolicyKind},
    core::{
        facts::port::{ServicePort, TargetPort},
        why::{
            Why,
            refusal::{
                Contested, Refusal, Reserved,
                pair::BadPair,
                pods::NeedsService,
                service::{Lacking, Mismatch, Named, Unsuitable},
            },
            stage::{AdoptionStage, AdoptionWait, RollStage},
            words::Load,
        },
    },
};

fn time() -> Timestamp {
    "2026-11-21T10:05:00Z".parse().unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Examples of [`Why`], but for the refusals.
pub fn whys() -> Vec<Why> {
    let (hello, revision, reason) = (|| "hello".to_owned(), || "3f9c1ab27d".to_owned(), || "REASON".to_owned());
    let waits = [
        AdoptionWait::DeploymentObserved,
        AdoptionWait::SameSize,
        AdoptionWait::StableAvailable,
        AdoptionWait::CanaryAvailable,
        AdoptionWait::ServicesPinned,
    ];
    let stages = [
        AdoptionStage::Recording,
        AdoptionStage::Preparing,
        AdoptionStage::HandingOver,
        AdoptionStage::Draining,
        AdoptionStage::Counting,
        AdoptionStage::Parting,
        AdoptionStage::GivingBack,
    ];
    let rolls = [
        RollStage::Unpausing,
        RollStage::Rolling,
        RollStage::FinishingFirst,
        RollStage::MovingServices,
        RollStage::Draining,
        RollStage::RemovingCanary,
    ];
    let mut all = vec![
        Why::Serving { load: Load::Clients, revision: revision() },
        Why::Serving { load: Load::Work, revision: revision() },
        Why::NativeRollout { deployment: hello() },
        Why::NativeRolloutStuck { deployment: hello() },
        Why::LiveVersionGone { deployment: hello(), hash: "5d4f8c7b9d".into() },
        Why::AtZero { deployment: hello(), revision: revision() },
        Why::LiveVersionLost { deployment: hello(), revision: revision() },
        Why::Recording,
        Why::Beginning { canary: "hello-3f9c1a".into() },
        Why::Pausing { deployment: hello() },
        Why::Restoring { deployment: hello() },
        Why::Pinning { services: names(&["hello"]) },
        Why::KeepingClients { services: names(&["hello"]) },
        Why::CreatingCanary { name: "hello-3f9c1a".into() },
        Why::CanaryBeingRemoved { name: "hello-3f9c1a".into() },
        Why::CanaryPods { needed: 4, trouble: None, until: Some(time()) },
        Why::Gates { names: names(&["healthz"]), until: Some(time()) },
        Why::Connecting {
            service: hello(),
            port: "http (80)".into(),
            pod: "hello-3f9c1a-1".into(),
            number: 9090,
            last: Some("Connection refused (os error 111)".into()),
            until: Some(time()),
        },
        Why::Verifying,
        Why::ChangingWeight { weight: 25 },
        Why::Confirming { weight: 25, services: names(&["hello"]) },
        Why::Settling { weight: 25, until: time() },
        Why::Holding { weight: 25, until: time() },
        Why::ApprovalAwaited { gates: names(&["sign-off"]), revision: revision(), weight: 25 },
        Why::PausedBySpec { weight: 25 },
        Why::PausedByOwner { deployment: hello(), namespace: "shop".into(), pending: Some(revision()) },
        Why::PausedByOwner { deployment: hello(), namespace: "shop".into(), pending: None },
        Why::Sheltering { ready: 3, needed: 4 },
        Why::Baking { load: Load::Clients, until: time() },
        Why::Baking { load: Load::Work, until: time() },
        Why::Swapping { previous: "hello-blue".into() },
        Why::TakingBack { load: Load::Clients, reason: reason() },
        Why::TakingBack { load: Load::Work, reason: reason() },
        Why::BothSidesBad { reason: reason() },
        Why::RemovingCanary { load: Load::Clients, reason: reason() },
        Why::RemovingCanary { load: Load::Work, reason: reason() },
        Why::KeptForDebugging { reason: reason() },
        Why::Held { revision: revision(), reason: reason() },
        Why::Deleting,
        Why::WorkloadGoing { deployment: hello() },
    ];
    all.extend(waits.map(Why::AdoptionAwaits));
    all.extend(stages.map(Why::Adopting));
    all.extend(rolls.map(Why::Rolling));
    all
}

/// Examples of [`Refusal`].
pub fn refusals() -> Vec<Refusal> {
    let (hello, gate) = (|| "hello".to_owned(), || "healthz".to_owned());
    let unsuitable = [
        Unsuitable::NoSelector,
        Unsuitable::OnlyOurKey { key: "version".into() },
        Unsuitable::ExternalName,
        Unsuitable::PublishNotReady,
        Unsuitable::LocalTraffic { field: "internalTrafficPolicy" },
        Unsuitable::ReservedKey { found: "pod-template-hash=5d4f8c7b9d".into() },
        Unsuitable::HeadlessAffinity,
    ];
    let (label, both) = (|| "version".to_owned(), || ["hello-blue".to_owned(), "hello-green".to_owned()]);
    let bad_pairs = [
        BadPair::NoVersionLabel { deployment: "hello-green".into(), label: label() },
        BadPair::SameVersion { deployments: both(), label: label(), value: "blue".into() },
        BadPair::SameSelector { deployments: both() },
        BadPair::PortsDiffer { deployments: both(), ports: ["port 8080".into(), "port 9090".into()] },
        BadPair::ServicesDisagree { versions: both().to_vec(), label: label() },
        BadPair::UnknownVersion {
            service: hello(),
            label: label(),
            value: "grey".into(),
            known: names(&["version=blue", "version=green"]),
        },
        BadPair::IdleUnguarded { label: label() },
    ];
    let mut all = vec![
        Refusal::DeploymentNotFound { deployment: hello() },
        Refusal::VersionNotFound { deployment: "hello-green".into() },
        Refusal::PolicyNotFound { kind: PolicyKind::RolloutPolicy, name: "careful".into() },
        Refusal::PolicyNotFound { kind: PolicyKind::ClusterRolloutPolicy, name: "careful".into() },
        Refusal::RivalRollout { rollout: "older".into(), object: Contested::Deployment(hello()) },
        Refusal::ReservedLabel { deployment: hello(), found: Reserved::OnDeployment },
        Refusal::ReservedLabel { deployment: hello(), found: Reserved::InTemplate },
        Refusal::ServiceNotFound { services: names(&["hello"]), named: Named::Services },
        Refusal::ServiceNotFound { services: names(&["hello-next"]), named: Named::Preview },
        Refusal::UnlistedService { deployment: hello(), services: names(&["metrics"]) },
        Refusal::ServiceNotSelecting {
            service: hello(),
            named: Named::Services,
            deployment: hello(),
            mismatch: Mismatch { wanted: names(&["app=website"]), found: names(&["app=hello"]) },
        },
        Refusal::PortMissing {
            service: hello(),
            named: Named::Services,
            port: ServicePort { name: "http".into(), port: 80, protocol: "TCP".into(), target: TargetPort::Name("http".into()) },
            deployment: hello(),
            lacking: Lacking::Template,
            known: names(&["web"]),
        },
        Refusal::SelectsStrangers { service: hello(), named: Named::Services, deployment: hello(), pods: names(&["debug"]) },
        Refusal::OverlapNotAllowed { deployment: hello(), because: "has strategy Recreate".into() },
        Refusal::CookieAffinity { services: names(&["hello"]) },
        Refusal::DeadlineTooShort {
            deadline: Span::seconds(600),
            what: "minReadySeconds of Deployment hello".into(),
            needs: Span::seconds(900),
        },
        Refusal::UnknownPort { gate: gate(), kind: "http", deployment: hello(), port: "web".into(), known: names(&["http"]) },
        Refusal::HostNetwork { gate: gate(), kind: "http", deployment: hello() },
        Refusal::ReadinessGates { deployment: hello(), condition: "target-health.example/hello".into() },
        Refusal::NameTaken { name: "hello-3f9c1a".into() },
    ];
    let need_services = [
        NeedsService::Step { weight: 75 },
        NeedsService::Affinity,
        NeedsService::ExactSplit,
        NeedsService::FullCanary,
        NeedsService::KeptCanary,
        NeedsService::DarkGate { gate: gate() },
        NeedsService::Preview,
    ];
    all.extend(need_services.map(Refusal::NeedsService));
    all.extend(bad_pairs.map(Refusal::BadPair));
    all.extend(unsuitable.map(|problem| Refusal::ServiceUnsuitable { service: hello(), named: Named::Services, problem }));
    all
}

/// The place of each variant.
fn place(why: &Why) -> usize {
    match why {
        Why::Serving { load: Load::Clients, .. } => 0,
        Why::NativeRollout { .. } => 1,
        Why::NativeRolloutStuck { .. } => 2,
        Why::LiveVersionGone { .. } => 3,
        Why::Recording => 4,
        Why::Beginning { .. } => 5,
        Why::Pausing { .. } => 6,
        Why::Restoring { .. } => 7,
        Why::Pinning { .. } => 8,
        Why::CreatingCanary { .. } => 9,
        Why::CanaryBeingRemoved { .. } => 10,
        Why::CanaryPods { .. } => 11,
        Why::Gates { .. } => 12,
        Why::Verifying => 13,
        Why::ChangingWeight { .. } => 14,
        Why::Confirming { .. } => 15,
        Why::Settling { .. } => 16,
        Why::Holding { .. } => 17,
        Why::PausedBySpec { .. } => 18,
        Why::Sheltering { .. } => 19,
        Why::PausedByOwner { .. } => 56,
        Why::Baking { load: Load::Clients, .. } => 20,
        Why::TakingBack { load: Load::Clients, .. } => 21,
        Why::BothSidesBad { .. } => 22,
        Why::RemovingCanary { load: Load::Clients, .. } => 23,
        Why::KeptForDebugging { .. } => 24,
        Why::Held { .. } => 25,
        Why::Deleting => 26,
        Why::WorkloadGoing { .. } => 27,
        Why::AdoptionAwaits(wait) => match wait {
            AdoptionWait::DeploymentObserved => 28,
            AdoptionWait::SameSize => 29,
            AdoptionWait::StableAvailable => 30,
            AdoptionWait::CanaryAvailable => 31,
            AdoptionWait::ServicesPinned => 32,
        },
        Why::Adopting(stage) => match stage {
            AdoptionStage::Recording => 33,
            AdoptionStage::Preparing => 34,
            AdoptionStage::HandingOver => 35,
            AdoptionStage::Draining => 36,
            AdoptionStage::Counting => 37,
            AdoptionStage::Parting => 38,
            AdoptionStage::GivingBack => 39,
        },
        Why::Rolling(stage) => match stage {
            RollStage::Unpausing => 40,
            RollStage::Rolling => 41,
            RollStage::FinishingFirst => 42,
            RollStage::MovingServices => 43,
            RollStage::Draining => 44,
            RollStage::RemovingCanary => 45,
        },
        Why::Swapping { .. } => 46,
        Why::KeepingClients { .. } => 47,
        Why::ApprovalAwaited { .. } => 48,
        Why::Serving { load: Load::Work, .. } => 49,
        Why::Baking { load: Load::Work, .. } => 50,
        Why::TakingBack { load: Load::Work, .. } => 51,
        Why::RemovingCanary { load: Load::Work, .. } => 52,
        Why::Connecting { .. } => 53,
        Why::AtZero { .. } => 54,
        Why::LiveVersionLost { .. } => 55,
        Why::Refused(refusal) => 57 + place_of_refusal(refusal),
    }
}

/// The same of refusals.
fn place_of_refusal(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::DeploymentNotFound { .. } => 0,
        Refusal::PolicyNotFound { kind: PolicyKind::RolloutPolicy, .. } => 1,
        Refusal::PolicyNotFound { kind: PolicyKind::ClusterRolloutPolicy, .. } => 2,
        Refusal::RivalRollout { .. } => 3,
        Refusal::ReservedLabel { found: Reserved::OnDeployment, .. } => 4,
        Refusal::ReservedLabel { found: Reserved::InTemplate, .. } => 5,
        Refusal::ServiceNotFound { .. } => 6,
        Refusal::UnlistedService { .. } => 7,
        Refusal::ServiceNotSelecting { .. } => 8,
        Refusal::PortMissing { .. } => 39,
        Refusal::SelectsStrangers { .. } => 9,
        Refusal::OverlapNotAllowed { .. } => 10,
        Refusal::DeadlineTooShort { .. } => 11,
        Refusal::UnknownPort { .. } => 12,
        Refusal::HostNetwork { .. } => 13,
        Refusal::ReadinessGates { .. } => 14,
        Refusal::NameTaken { .. } => 15,
        Refusal::ServiceUnsuitable { problem, .. } => match problem {
            Unsuitable::NoSelector => 16,
            Unsuitable::ExternalName => 17,
            Unsuitable::PublishNotReady => 18,
            Unsuitable::LocalTraffic { .. } => 19,
            Unsuitable::ReservedKey { .. } => 20,
            Unsuitable::OnlyOurKey { .. } => 29,
            Unsuitable::HeadlessAffinity => 31,
        },
        Refusal::VersionNotFound { .. } => 21,
        Refusal::CookieAffinity { .. } => 30,
        Refusal::NeedsService(what) => match what {
            NeedsService::Step { .. } => 32,
            NeedsService::Affinity => 33,
            NeedsService::ExactSplit => 34,
            NeedsService::FullCanary => 35,
            NeedsService::KeptCanary => 36,
            NeedsService::DarkGate { .. } => 37,
            NeedsService::Preview => 38,
        },
        Refusal::BadPair(bad) => match bad {
            BadPair::NoVersionLabel { .. } => 22,
            BadPair::SameVersion { .. } => 23,
            BadPair::SameSelector { .. } => 24,
            BadPair::PortsDiffer { .. } => 25,
            BadPair::ServicesDisagree { .. } => 26,
            BadPair::UnknownVersion { .. } => 27,
            BadPair::IdleUnguarded { .. } => 28,
        },
    }
}

#[test]
fn offline_every_variant_has_an_example() {
    let found: BTreeSet<usize> = whys().into_iter().chain(refusals().into_iter().map(Why::Refused)).map(|why| place(&why)).collect();
    assert_eq!(found, (0..97).collect());
}
