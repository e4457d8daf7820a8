//! What the manifests ask to be released, and how.

use anyhow::{bail, ensure};
use serde_json::Value;

use crate::{
    api::{
        PolicySpec, RolloutSpec, Span,
        policy::When,
        rollout::{DEFAULT_VERSION_LABEL, Workload},
    },
    cli::{
        governing::{self, Governing, spec},
        lint::Schemas,
        manifest::Manifest,
    },
    core::{
        canary,
        pair::{self, Sizes},
        preview,
        service_split::{Keys, MANAGED, Pin, Split},
        traffic::HEADLESS_SETTLE,
        worker,
    },
};

/// What is to be released, and how.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Whose policy it is, for the heading.
    pub policy_of: String,
    /// The Deployment whose pods have the clients before the release.
    pub deployment: String,
    pub canary: Canary,
    pub services: Vec<String>,
    pub preview: Option<Preview>,
    pub replicas: i32,
    pub policy: PolicySpec,
}

/// The Service that shows the version under release, and where that is.
#[derive(Clone, Debug)]
pub struct Preview {
    pub service: String,
    pub address: String,
}

/// Where the canary's pods come from.
#[derive(Clone, Debug)]
pub enum Canary {
    /// Stepgate makes a Deployment for them.
    Made,
    /// They are those of another Deployment of the user's.
    Version(Version),
}

/// A version of the user's own, and how it is told from the one that is live.
#[derive(Clone, Debug)]
pub struct Version {
    pub deployment: String,
    /// Pods that it asks for before the release.
    pub replicas: i32,
    pub label: String,
    /// What the pods of the live version have as that label, and what its own have.
    pub values: [String; 2],
    /// With what the two have clients together (see [`pair::split`]).
    pub shared: Pin,
}

impl Subject {
    /// How a weight is given, while the canary has so many pods.
    pub fn split(&self, weight: u8, running: i32) -> Split {
        let full = self.replicas;
        match &self.canary {
            Canary::Made => canary::split(&self.policy, weight, full),
            Canary::Version(version) => {
                pair::split(&self.policy, weight, Sizes { full, live: full, canary: running }, || version.shared.clone())
            }
        }
    }

    /// What the pods of the stable side and of the canary have as the side label.
    pub fn values(&self) -> [&str; 2] {
        match &self.canary {
            Canary::Made => ["<stable>", "<canary>"],
            Canary::Version(version) => version.values.each_ref().map(String::as_str),
        }
    }

    /// Whether it has no Services.
    pub fn is_worker(&self) -> bool {
        self.services.is_empty()
    }

    /// Pods of the stable side that take clients, or work, at the last weight. Without Services all of them do until the promotion.
    pub fn old_pods_at_100(&self) -> i32 {
        if self.is_worker() { self.replicas } else { 0 }
    }

    /// What a pin makes of the Services' selectors.
    pub fn selector(&self, pin: &Pin) -> String {
        if self.is_worker() {
            return String::new();
        }
        let (keys, open) = match &self.canary {
            Canary::Made => (MANAGED, "as their owner wrote it".to_owned()),
            Canary::Version(version) => (Keys { side: &version.label }, format!("without {}", version.label)),
        };
        keys.entry(pin).map_or(open, |(key, value)| format!("{key}={value}"))
    }

    /// Pods that the canary asks for before the release.
    pub fn running(&self) -> i32 {
        match &self.canary {
            Canary::Made => 0,
            Canary::Version(version) => version.replicas,
        }
    }
}

/// What the manifests ask to be released.
///
/// # Errors
/// When one of them would be refused, or something that is needed is in none of them.
pub fn subjects(manifests: &[Manifest], replicas: Option<u16>) -> anyhow::Result<Vec<Subject>> {
    let schemas = Schemas::new()?;
    for manifest in manifests {
        if let Some(problem) = schemas.check(&manifest.object).first() {
            let place = manifest.place(&problem.path);
            bail!("{}:{}:{}: {problem}; stepgate lint finds all such problems", manifest.file, place.line, place.column);
        }
    }
    let of_kind = |kind: &'static str| manifests.iter().filter(move |manifest| manifest.kind() == kind);
    let mut found = Vec::new();
    for rollout in of_kind("Rollout") {
        found.extend(of_rollout(rollout, manifests, replicas)?);
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let policies: Vec<&Manifest> = of_kind("RolloutPolicy").chain(of_kind("ClusterRolloutPolicy")).collect();
    ensure!(!policies.is_empty(), "there is neither a Rollout nor a policy to plan with");
    policies.into_iter().map(|policy| of_policy(policy, manifests, replicas)).collect()
}

/// The release of its Deployment; of a declared pair, those from the version that is live.
fn of_rollout(rollout: &Manifest, manifests: &[Manifest], asked: Option<u16>) -> anyhow::Result<Vec<Subject>> {
    let spec: RolloutSpec = spec(&rollout.object)?;
    let is_worker = spec.is_worker();
    let Governing { whose: policy_of, policy } = governing::of_rollout(rollout, manifests)?;
    if is_worker && let Some(what) = worker::needs_service(&policy) {
        bail!("{policy_of}: {what}");
    }
    let policy = if is_worker { without_services(policy) } else { policy };
    let preview = spec.preview.as_ref().map(|service| preview_of(service, rollout, manifests));
    let services = spec.services;
    let headless = of_services(&services, manifests).any(|service| service.object["spec"]["clusterIP"] == "None");
    let settle = if headless { policy.settle.max(HEADLESS_SETTLE) } else { policy.settle };
    let policy = PolicySpec { settle, ..policy };
    if let Some(deployment) = spec.workload.deployment.clone() {
        let replicas = size(asked, find_deployment(&deployment, manifests), &deployment)?;
        return Ok(vec![Subject { policy_of, deployment, canary: Canary::Made, services, preview, replicas, policy }]);
    }
    let versions = Versions { workload: &spec.workload, services: &services, manifests };
    let live = versions.live();
    let replicas = size(asked, find_deployment(live, manifests), live)?;
    let subject = |name: &str| -> anyhow::Result<Subject> {
        Ok(Subject {
            policy_of: policy_of.clone(),
            deployment: live.to_owned(),
            canary: Canary::Version(versions.version(name, live, asked)?),
            services: services.clone(),
            preview: preview.clone(),
            replicas,
            policy: policy.clone(),
        })
    };
    versions.next(live).into_iter().map(subject).collect()
}

/// What a policy comes to without Services: no node has to follow, and no gate is asked before there is a pod, which works at once.
fn without_services(mut policy: PolicySpec) -> PolicySpec {
    policy.settle = Span::default();
    for gate in policy.gates.iter_mut().filter(|gate| gate.http.is_some()) {
        gate.when.retain(|when| *when != When::BeforeTraffic);
    }
    policy
}

/// The versions of a declared pair, as far as the files tell.
struct Versions<'a> {
    workload: &'a Workload,
    services: &'a [String],
    manifests: &'a [Manifest],
}

impl<'a> Versions<'a> {
    fn label(&self) -> &'a str {
        self.workload.version_label.as_deref().unwrap_or(DEFAULT_VERSION_LABEL)
    }

    /// What the pods of a version have as that label; its name stands for it where it is in none of the files.
    fn value(&self, name: &str) -> String {
        let labels = find_deployment(name, self.manifests).and_then(|found| found.object.pointer("/spec/template/metadata/labels"));
        let value = labels.and_then(|labels| labels.get(self.label())).and_then(Value::as_str);
        value.map_or_else(|| format!("<{name}>"), str::to_owned)
    }

    /// The version that is live before the release: the one that a Service names, or else the one that `live` does.
    fn live(&self) -> &'a str {
        let label = self.label();
        let is_named = |name: &&String| {
            let value = self.value(name);
            of_services(self.services, self.manifests).any(|service| service.object["spec"]["selector"][label] == value)
        };
        self.workload.versions.iter().find(is_named).map_or(self.workload.name(), String::as_str)
    }

    /// Where a release goes from there: to the version that `live` names, or, where that has the clients already, to any other.
    fn next(&self, live: &str) -> Vec<&'a str> {
        let wanted = self.workload.name();
        if wanted != live {
            return vec![wanted];
        }
        self.workload.versions.iter().map(String::as_str).filter(|name| *name != live).collect()
    }

    fn version(&self, name: &str, live: &str, asked: Option<u16>) -> anyhow::Result<Version> {
        let replicas = find_deployment(name, self.manifests).map_or_else(|| size(asked, None, name), stated)?;
        // One that is in none of the files may run.
        let runs = |other: &String| find_deployment(other, self.manifests).is_none_or(|found| stated(found).is_ok_and(|pods| pods > 0));
        let is_third = self.workload.versions.iter().filter(|other| *other != name && *other != live).any(runs);
        Ok(Version {
            deployment: name.to_owned(),
            replicas,
            label: self.label().to_owned(),
            values: [self.value(live), self.value(name)],
            shared: if is_third { Pin::Rotation } else { Pin::Open },
        })
    }
}

fn of_policy(policy: &Manifest, manifests: &[Manifest], asked: Option<u16>) -> anyhow::Result<Subject> {
    let found = manifests.iter().find(|manifest| manifest.kind() == "Deployment");
    let deployment = found.map_or("NAME", Manifest::name).to_owned();
    let replicas = size(asked, found, &deployment)?;
    let Governing { whose: policy_of, policy } = governing::of_policy(policy)?;
    let services = vec!["NAME".to_owned()];
    Ok(Subject { policy_of, deployment, canary: Canary::Made, services, preview: None, replicas, policy })
}

fn find_deployment<'a>(name: &str, manifests: &'a [Manifest]) -> Option<&'a Manifest> {
    manifests.iter().find(|manifest| manifest.kind() == "Deployment" && manifest.name() == name)
}

/// The files' Services of these names.
fn of_services<'a>(names: &'a [String], manifests: &'a [Manifest]) -> impl Iterator<Item = &'a Manifest> {
    manifests.iter().filter(move |manifest| manifest.kind() == "Service" && names.iter().any(|name| name == manifest.name()))
}

/// The preview, with its port where its Service is in the files.
fn preview_of(service: &str, rollout: &Manifest, manifests: &[Manifest]) -> Preview {
    let namespace = rollout.object["metadata"]["namespace"].as_str().unwrap_or_default();
    let named = [service.to_owned()];
    let port = of_services(&named, manifests).find_map(|service| service.object.pointer("/spec/ports/0/port")?.as_i64());
    let port = port.and_then(|port| i32::try_from(port).ok());
    Preview { service: service.to_owned(), address: preview::address(service, namespace, port) }
}

/// The replicas of a Deployment's file.
fn stated(deployment: &Manifest) -> anyhow::Result<i32> {
    Ok(i32::try_from(deployment.object["spec"]["replicas"].as_i64().unwrap_or(1))?)
}

fn size(asked: Option<u16>, deployment: Option<&Manifest>, name: &str) -> anyhow::Result<i32> {
    match (asked, deployment.map(stated).transpose()?) {
        (Some(asked), _) => Ok(asked.into()),
        (None, Some(0)) => {
            bail!("Deployment {name} has 0 replicas, so there is nothing to release; plan for another size with --replicas N")
        }
        (None, Some(stated)) => Ok(stated),
        (None, None) => bail!("Deployment {name} is in none of the files; say how many replicas it has with --replicas N"),
    }
}
