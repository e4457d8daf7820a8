//! Which field of a Rollout a refusal is about, for those who show it beside the text.

use crate::{
    api::{PolicySpec, RolloutSpec},
    core::why::refusal::{Contested, Refusal, pair::BadPair, pods::NeedsService, service::Named},
};

impl Refusal {
    /// The path of the field, such as `spec.services[1]`. What is wrong with a policy that has another author is about the field that names
    /// it; what is wrong with a field that has its default, about that field, though it is absent.
    pub fn field(&self, spec: &RolloutSpec) -> String {
        match self {
            Self::BadPair(bad) => of_pair(bad, spec),
            Self::NeedsService(what) => of_worker(what, spec),
            Self::VersionNotFound { .. } => "spec.workload.live".to_owned(),
            Self::PolicyNotFound { .. } => POLICY_NAME.to_owned(),
            Self::UnlistedService { .. } => "spec.services".to_owned(),
            Self::RivalRollout { rollout: _, object } => match object {
                Contested::Deployment(deployment) => of_deployment(deployment, spec),
                Contested::Service { service, named } => of_service(service, *named, spec),
            },
            Self::ServiceNotFound { services, named } => of_service(services.first().map_or("", String::as_str), *named, spec),
            Self::ServiceNotSelecting { service, named, .. }
            | Self::PortMissing { service, named, .. }
            | Self::ServiceUnsuitable { service, named, .. }
            | Self::SelectsStrangers { service, named, .. } => of_service(service, *named, spec),
            Self::DeploymentNotFound { deployment }
            | Self::ReservedLabel { deployment, .. }
            | Self::OverlapNotAllowed { deployment, .. }
            | Self::ReadinessGates { deployment, .. } => of_deployment(deployment, spec),
            Self::NameTaken { .. } => of_deployment(spec.workload.name(), spec),
            Self::CookieAffinity { .. } => of_policy(spec, |_| "affinity.cookie".to_owned()),
            Self::DeadlineTooShort { .. } => of_policy(spec, |_| "progressDeadline".to_owned()),
            Self::UnknownPort { gate, kind, .. } => of_policy(spec, |policy| of_gate(gate, &format!("{kind}.port"), policy)),
            Self::HostNetwork { gate, kind, .. } => of_policy(spec, |policy| of_gate(gate, kind, policy)),
        }
    }
}

/// The field that names a policy.
const POLICY_NAME: &str = "spec.policyRef.name";

fn of_pair(bad: &BadPair, spec: &RolloutSpec) -> String {
    match bad {
        BadPair::NoVersionLabel { deployment, .. } => of_deployment(deployment, spec),
        // The first of them is as good as any: it is the other one that is not like it.
        BadPair::SameVersion { deployments: [_, other], .. }
        | BadPair::SameSelector { deployments: [_, other] }
        | BadPair::PortsDiffer { deployments: [_, other], .. } => of_deployment(other, spec),
        BadPair::ServicesDisagree { .. } => "spec.services".to_owned(),
        BadPair::UnknownVersion { service, .. } => of_service(service, Named::Services, spec),
        BadPair::IdleUnguarded { .. } => of_policy(spec, |_| "idle".to_owned()),
    }
}

fn of_worker(what: &NeedsService, spec: &RolloutSpec) -> String {
    match what {
        NeedsService::Step { weight } => of_policy(spec, |policy| {
            let step = policy.steps.iter().position(|step| step.weight == *weight);
            step.map_or_else(|| "steps".to_owned(), |i| format!("steps[{i}].weight"))
        }),
        NeedsService::Affinity => of_policy(spec, |_| "affinity".to_owned()),
        NeedsService::ExactSplit => of_policy(spec, |_| "split".to_owned()),
        NeedsService::FullCanary => of_policy(spec, |_| "canaryReplicas".to_owned()),
        NeedsService::KeptCanary => of_policy(spec, |_| "onFailure".to_owned()),
        NeedsService::DarkGate { gate } => of_policy(spec, |policy| of_gate(gate, "when", policy)),
        NeedsService::Preview => "spec.preview".to_owned(),
    }
}

fn of_deployment(name: &str, spec: &RolloutSpec) -> String {
    let version = spec.workload.versions.iter().position(|version| version == name);
    version.map_or_else(|| "spec.workload.deployment".to_owned(), |i| format!("spec.workload.versions[{i}]"))
}

fn of_service(name: &str, named: Named, spec: &RolloutSpec) -> String {
    match (named, spec.services.iter().position(|service| service == name)) {
        (Named::Preview, _) => "spec.preview".to_owned(),
        (Named::Services, Some(i)) => format!("spec.services[{i}]"),
        (Named::Services, None) => "spec.services".to_owned(),
    }
}

/// A field of the policy, where that stands in the Rollout itself.
fn of_policy(spec: &RolloutSpec, field: impl Fn(&PolicySpec) -> String) -> String {
    spec.policy.as_ref().map_or_else(|| POLICY_NAME.to_owned(), |policy| format!("spec.policy.{}", field(policy)))
}

fn of_gate(name: &str, field: &str, policy: &PolicySpec) -> String {
    let gate = policy.gates.iter().position(|gate| gate.name == name);
    gate.map_or_else(|| "gates".to_owned(), |i| format!("gates[{i}].{field}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{Span, rollout::PolicyKind},
        core::why::refusal::{
            Reserved,
            service::{Mismatch, Unsuitable},
        },
    };

    fn spec(workload: &serde_json::Value, policy: &serde_json::Value) -> RolloutSpec {
        let mut spec = json!({"workload": workload, "services": ["hello", "hello-internal"], "preview": "hello-next"});
        json_patch::merge(&mut spec, policy);
        serde_json::from_value(spec).unwrap()
    }

    fn hello() -> String {
        "hello".to_owned()
    }

    fn service(named: Named) -> Refusal {
        Refusal::ServiceUnsuitable { service: "hello-internal".to_owned(), named, problem: Unsuitable::NoSelector }
    }

    #[test]
    fn what_is_named_wrongly_is_the_field_that_names_it() {
        let spec = spec(&json!({"deployment": "hello"}), &json!({"policyRef": {"name": "mine"}}));
        let rival = |object: Contested| Refusal::RivalRollout { rollout: hello(), object };
        let mismatch = Mismatch { wanted: Vec::new(), found: Vec::new() };
        for (refusal, field) in [
            (Refusal::DeploymentNotFound { deployment: hello() }, "spec.workload.deployment"),
            (Refusal::ReservedLabel { deployment: hello(), found: Reserved::InTemplate }, "spec.workload.deployment"),
            (Refusal::OverlapNotAllowed { deployment: hello(), because: String::new() }, "spec.workload.deployment"),
            (Refusal::ReadinessGates { deployment: hello(), condition: String::new() }, "spec.workload.deployment"),
            (Refusal::NameTaken { name: "hello-3f9c1a".to_owned() }, "spec.workload.deployment"),
            (rival(Contested::Deployment(hello())), "spec.workload.deployment"),
            (rival(Contested::Service { service: hello(), named: Named::Services }), "spec.services[0]"),
            (rival(Contested::Service { service: "hello-next".to_owned(), named: Named::Preview }), "spec.preview"),
            (Refusal::PolicyNotFound { kind: PolicyKind::RolloutPolicy, name: hello() }, "spec.policyRef.name"),
            (Refusal::UnlistedService { deployment: hello(), services: vec![hello()] }, "spec.services"),
            (Refusal::ServiceNotFound { services: vec!["hello-internal".to_owned()], named: Named::Services }, "spec.services[1]"),
            (service(Named::Services), "spec.services[1]"),
            (service(Named::Preview), "spec.preview"),
            (Refusal::ServiceNotSelecting { service: hello(), named: Named::Services, deployment: hello(), mismatch }, "spec.services[0]"),
            (Refusal::NeedsService(NeedsService::Preview), "spec.preview"),
            (Refusal::HostNetwork { gate: "healthz".to_owned(), kind: "http", deployment: hello() }, "spec.policyRef.name"),
        ] {
            assert_eq!(refusal.field(&spec), field, "{refusal}");
        }
    }

    #[test]
    fn what_is_wrong_with_its_own_policy_is_a_field_of_that() {
        let gate = json!({"name": "healthz", "http": {"path": "/", "port": "web"}});
        let policy = json!({"policy": {"steps": [{"weight": 25}, {"weight": 75}, {"weight": 100}], "gates": [{"name": "ready", "readiness": {}}, gate]}});
        let spec = spec(&json!({"deployment": "hello"}), &policy);
        let healthz = || "healthz".to_owned();
        for (refusal, field) in [
            (Refusal::NeedsService(NeedsService::Step { weight: 75 }), "spec.policy.steps[1].weight"),
            (Refusal::NeedsService(NeedsService::Affinity), "spec.policy.affinity"),
            (Refusal::NeedsService(NeedsService::ExactSplit), "spec.policy.split"),
            (Refusal::NeedsService(NeedsService::FullCanary), "spec.policy.canaryReplicas"),
            (Refusal::NeedsService(NeedsService::KeptCanary), "spec.policy.onFailure"),
            (Refusal::NeedsService(NeedsService::DarkGate { gate: healthz() }), "spec.policy.gates[1].when"),
            (Refusal::CookieAffinity { services: Vec::new() }, "spec.policy.affinity.cookie"),
            (
                Refusal::DeadlineTooShort { deadline: Span::seconds(1), what: String::new(), needs: Span::seconds(2) },
                "spec.policy.progressDeadline",
            ),
            (
                Refusal::UnknownPort { gate: healthz(), kind: "grpc", deployment: hello(), port: "web".to_owned(), known: Vec::new() },
                "spec.policy.gates[1].grpc.port",
            ),
            (Refusal::HostNetwork { gate: healthz(), kind: "http", deployment: hello() }, "spec.policy.gates[1].http"),
            (Refusal::BadPair(BadPair::IdleUnguarded { label: hello() }), "spec.policy.idle"),
        ] {
            assert_eq!(refusal.field(&spec), field, "{refusal}");
        }
    }

    #[test]
    fn a_version_is_the_place_of_its_name() {
        let spec = spec(&json!({"versions": ["blue", "green"], "live": "blue"}), &json!({"policyRef": {"name": "mine"}}));
        let deployments = || ["blue".to_owned(), "green".to_owned()];
        for (bad, field) in [
            (BadPair::NoVersionLabel { deployment: "blue".to_owned(), label: String::new() }, "spec.workload.versions[0]"),
            (BadPair::SameSelector { deployments: deployments() }, "spec.workload.versions[1]"),
            (BadPair::PortsDiffer { deployments: deployments(), ports: [String::new(), String::new()] }, "spec.workload.versions[1]"),
            (BadPair::ServicesDisagree { versions: deployments().to_vec(), label: String::new() }, "spec.services"),
            (
                BadPair::UnknownVersion {
                    service: "hello-internal".to_owned(),
                    label: String::new(),
                    value: String::new(),
                    known: Vec::new(),
                },
                "spec.services[1]",
            ),
        ] {
            assert_eq!(Refusal::BadPair(bad.clone()).field(&spec), field, "{bad}");
        }
        assert_eq!(Refusal::VersionNotFound { deployment: "blue".to_owned() }.field(&spec), "spec.workload.live");
    }
}
