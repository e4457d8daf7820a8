//! What the manifests ask to be released, and how.

use anyhow::{bail, ensure};

use crate::{
    api::{PolicySpec, Span, policy::When},
    cli::{
        command::lint,
        files::{
            manifest::Manifest,
            policy::{self, Governing},
            world,
        },
    },
    core::{
        facts::{
            Snapshot,
            deployment::DeploymentFacts,
            pin::{Keys, MANAGED, Pin},
        },
        preview,
        traffic::{
            establish::HEADLESS_SETTLE,
            selectors::split::{self, Sizes, Split},
        },
        view::declared::{Declared, Pair},
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
    /// With what the two have clients together (see `core::traffic::selectors::split`).
    pub shared: Pin,
}

impl Subject {
    /// How a weight is given, while the canary has so many pods.
    pub fn split(&self, weight: u8, running: i32) -> Split {
        let full = self.replicas;
        match &self.canary {
            Canary::Made => split::managed(&self.policy, weight, full),
            Canary::Version(version) => {
                split::declared(&self.policy, weight, Sizes { full, live: full, canary: running }, || version.shared.clone())
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
    if let Some(problem) = lint::found(manifests)?.lines.first() {
        bail!("{problem}; stepgate lint finds all such problems");
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
    let snapshot = world::snapshot(rollout, manifests)?;
    let spec = &snapshot.rollout.spec;
    let Governing { whose: policy_of, policy } = policy::of_rollout(rollout, manifests)?;
    let policy = if spec.is_worker() { without_services(policy) } else { policy };
    let preview = spec.preview.as_ref().map(|service| preview_of(service, &snapshot));
    let services = spec.services.clone();
    let headless = snapshot.services.iter().any(|service| service.headless && services.contains(&service.name));
    let settle = if headless { policy.settle.max(HEADLESS_SETTLE) } else { policy.settle };
    let policy = PolicySpec { settle, ..policy };
    let pair = Pair::of(&spec.workload);
    let live = pair.live_name(&snapshot);
    let replicas = size(asked, world::find(live, &snapshot), live)?;
    let subject = |canary: Canary| Subject {
        policy_of: policy_of.clone(),
        deployment: live.to_owned(),
        canary,
        services: services.clone(),
        preview: preview.clone(),
        replicas,
        policy: policy.clone(),
    };
    let Pair::Declared(declared) = pair else { return Ok(vec![subject(Canary::Made)]) };
    let versions = Versions { declared, live, snapshot: &snapshot };
    versions.next().into_iter().map(|name| versions.version(name, asked).map(|version| subject(Canary::Version(version)))).collect()
}

/// What a policy comes to without Services: no node has to follow, and no gate is asked before there is a pod, which works at once.
fn without_services(mut policy: PolicySpec) -> PolicySpec {
    policy.settle = Span::default();
    for gate in policy.gates.iter_mut().filter(|gate| gate.pace().is_some()) {
        gate.when.retain(|when| *when != When::BeforeTraffic);
    }
    policy
}

/// The versions of a declared pair, as far as the files tell.
struct Versions<'a> {
    declared: Declared<'a>,
    /// The one that is live before the release.
    live: &'a str,
    snapshot: &'a Snapshot,
}

impl<'a> Versions<'a> {
    /// What the pods of a version have as the version label.
    fn value(&self, name: &str) -> String {
        let value = world::find(name, self.snapshot).and_then(|found| self.declared.value(found));
        value.map_or_else(|| world::unknown_version(name), str::to_owned)
    }

    /// Where a release goes from there: to the version that is to be live, or, where that has the clients already, to any other.
    fn next(&self) -> Vec<&'a str> {
        let Declared { versions, wanted, label: _ } = self.declared;
        if wanted != self.live {
            return vec![wanted];
        }
        versions.iter().map(String::as_str).filter(|name| *name != self.live).collect()
    }

    fn version(&self, name: &str, asked: Option<u16>) -> anyhow::Result<Version> {
        let replicas = world::find(name, self.snapshot).map_or_else(|| size(asked, None, name), |found| Ok(found.replicas))?;
        // One that is in none of the files may run.
        let runs = |other: &String| world::find(other, self.snapshot).is_none_or(|found| found.replicas > 0);
        let is_third = self.declared.versions.iter().filter(|other| *other != name && *other != self.live).any(runs);
        Ok(Version {
            deployment: name.to_owned(),
            replicas,
            label: self.declared.label.to_owned(),
            values: [self.value(self.live), self.value(name)],
            shared: if is_third { Pin::Rotation } else { Pin::Open },
        })
    }
}

fn of_policy(policy: &Manifest, manifests: &[Manifest], asked: Option<u16>) -> anyhow::Result<Subject> {
    let found = manifests.iter().find_map(world::deployment);
    let deployment = found.as_ref().map_or("NAME", |found| found.name.as_str()).to_owned();
    let replicas = size(asked, found.as_ref(), &deployment)?;
    let Governing { whose: policy_of, policy } = policy::of_policy(policy)?;
    let services = vec!["NAME".to_owned()];
    Ok(Subject { policy_of, deployment, canary: Canary::Made, services, preview: None, replicas, policy })
}

/// The preview, with its port where its Service is in the files.
fn preview_of(service: &str, snapshot: &Snapshot) -> Preview {
    let port = snapshot.services.iter().find(|known| known.name == service).and_then(|known| known.first_port());
    Preview { service: service.to_owned(), address: preview::address(service, &snapshot.rollout.namespace, port) }
}

fn size(asked: Option<u16>, deployment: Option<&DeploymentFacts>, name: &str) -> anyhow::Result<i32> {
    match (asked, deployment.map(|deployment| deployment.replicas)) {
        (Some(asked), _) => Ok(asked.into()),
        (None, Some(0)) => {
            bail!("Deployment {name} has 0 replicas, so there is nothing to release; plan for another size with --replicas N")
        }
        (None, Some(stated)) => Ok(stated),
        (None, None) => bail!("Deployment {name} is in none of the files; say how many replicas it has with --replicas N"),
    }
}
