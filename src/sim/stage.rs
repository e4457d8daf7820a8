//! What `demo` and `simulate` play on: `hello` of `examples/hello` on an embedded cluster, and a Rollout for it.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    api::{PolicySpec, RolloutStatus},
    clock::Clock,
    controller::run::{self, Options},
    lease::leadership::Leadership,
    probe::http::Asker,
    sim::{
        Sim,
        cluster::Id,
        json as at,
        server::{Reply, admission::STEPGATE, request::Request},
        timeline::Timeline,
    },
    vitals::Vitals,
};

/// Namespace of everything.
pub const NAMESPACE: &str = "default";
/// Name of the Deployment, of its Service, of its container and of the Rollout.
pub const HELLO: &str = "hello";
/// The version that serves before the first release.
pub const FIRST: &str = "v1";
/// Port of the Service of `examples/hello`.
pub const SERVICE_PORT: u16 = 80;
/// Who writes what people write.
const SOMEBODY: &str = "somebody";

/// The objects of `examples/hello`.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub deployment: Value,
    pub service: Value,
    pub rollout: Value,
}

impl Manifests {
    /// As they are in the example.
    ///
    /// # Errors
    /// When the example is not YAML, which would be a bug of ours.
    pub fn of_example() -> anyhow::Result<Self> {
        let read = |text| serde_saphyr::from_str(text).context("examples/hello");
        Ok(Self {
            deployment: read(include_str!("../../examples/hello/deployment.yaml"))?,
            service: read(include_str!("../../examples/hello/service.yaml"))?,
            rollout: read(include_str!("../../examples/hello/rollout.yaml"))?,
        })
    }

    /// The policy of the Rollout.
    ///
    /// # Errors
    /// When it is none.
    pub fn policy(&self) -> anyhow::Result<PolicySpec> {
        Ok(serde_json::from_value(self.rollout["spec"]["policy"].clone())?)
    }

    /// Gives the Service this address, and Service and pods its port. The control port is left out: another process may have it.
    pub fn listen_on(&mut self, address: SocketAddr) {
        let port = address.port();
        self.service["spec"]["clusterIP"] = address.ip().to_string().into();
        self.service["spec"]["ports"] = json!([{"name": "http", "port": port, "targetPort": "http"}]);
        self.deployment["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": port}]);
    }

    /// Gives the Rollout this policy.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which would be a bug of ours.
    pub fn set_policy(&mut self, policy: &PolicySpec) -> anyhow::Result<()> {
        self.rollout["spec"]["policy"] = serde_json::to_value(policy)?;
        Ok(())
    }
}

/// An embedded cluster that somebody moves, and the Rollout on it.
#[derive(Debug)]
pub struct Stage {
    pub sim: Sim,
    pub timeline: Timeline,
}

impl Stage {
    /// Applies the manifests.
    ///
    /// # Errors
    /// When the cluster refuses one of them, in its words.
    pub fn apply(sim: Sim, manifests: &Manifests) -> anyhow::Result<Self> {
        let timeline = sim.look(|world, _| Timeline::new(Id::new(NAMESPACE, HELLO), world.api.store()));
        let this = Self { sim, timeline };
        let Manifests { deployment, service, rollout } = manifests;
        for (resource, object) in [("apps/v1", deployment), ("v1", service), ("stepgate.dev/v1alpha1", rollout)] {
            let collection = format!("{}s", at::text(object, "/kind").to_lowercase());
            let group = if resource == "v1" { "api" } else { "apis" };
            this.ask("POST", &format!("/{group}/{resource}/namespaces/{NAMESPACE}/{collection}"), "application/json", object)?;
        }
        Ok(this)
    }

    /// Runs the controller, with the requests of HTTP gates sent by `asker`, until this future is dropped.
    pub fn controller(&self, asker: Asker) -> impl Future<Output = ()> + Send + use<> {
        let sim = self.sim.clone();
        async move {
            let (_leads, leadership) = watch::channel(Leadership::Alone);
            let options = Options { namespace: None, instance: "stepgate".to_owned() };
            let clock = Clock::starting_at(sim.now());
            run::run_asking(sim.client(STEPGATE), asker, options, clock, leadership, Vitals::default()).await;
        }
    }

    /// `kubectl set image deployment/hello hello=IMAGE`.
    ///
    /// # Errors
    /// When the cluster refuses it, in its words.
    pub fn set_image(&self, image: &str) -> anyhow::Result<()> {
        let container = json!({"name": HELLO, "image": image});
        self.ask(
            "PATCH",
            &format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{HELLO}"),
            "application/strategic-merge-patch+json",
            &json!({"spec": {"template": {"spec": {"containers": [container]}}}}),
        )
    }

    /// Changes a setting of the application in every pod of a version, those to come included.
    pub fn tell_version(&self, version: &str, key: &str, value: &str) {
        self.sim.with(|world, now| world.tell_version(now, version, key, value));
    }

    /// Catches up with what the Rollout says, and returns its status.
    pub fn status(&mut self) -> RolloutStatus {
        let Self { sim, timeline } = self;
        sim.look(|world, _| timeline.read(world.api.store()));
        timeline.status().cloned().unwrap_or_default()
    }

    fn ask(&self, method: &str, path: &str, content_type: &str, body: &Value) -> anyhow::Result<()> {
        let request = Request::new(method, path, SOMEBODY).with_body(content_type, body);
        match self.sim.with(|world, now| world.handle(now, &request)) {
            Reply::Answer { code, body, .. } if code >= 300 => bail!("{method} {path}: {}", at::text(&body, "/message")),
            _ => Ok(()),
        }
    }
}

/// The Service that clients ask.
pub fn service() -> Id {
    Id::new(NAMESPACE, HELLO)
}

/// The image of a version, as in `examples/hello`.
pub fn image(version: &str) -> String {
    format!("stepgate.test/hello:{version}")
}
