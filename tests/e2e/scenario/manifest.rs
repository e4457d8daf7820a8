//! The manifests of `examples/hello`, with what the scenario wants otherwise.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::world::{HELLO, VERSION};

/// What the user of a scenario has in Git.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub deployment: Value,
    /// Those that stand in its place, where the versions are Deployments of the user's own.
    pub versions: Vec<Value>,
    /// Null where there is none.
    pub service: Value,
    pub rollout: Value,
    /// What the scenario has besides.
    pub others: Vec<Value>,
}

/// Releases in seconds: the shape of the example's policy with shorter times.
fn quick_policy() -> Value {
    let steps = [25, 50, 75, 100].map(|weight| json!({"weight": weight, "hold": "500ms"}));
    json!({
        "steps": steps,
        "gates": [
            {"name": "ready", "readiness": {"minReady": "100%"}},
            {"name": "healthz", "http": {
                "path": "/healthz", "port": "http", "period": "250ms", "timeout": "1s", "failureThreshold": 3, "successThreshold": 2,
            }},
        ],
        "settle": "500ms",
        "keepPrevious": "1s",
        "progressDeadline": "30s",
    })
}

impl Manifests {
    /// The examples with a quick policy.
    pub fn quick() -> Self {
        let mut manifests = Self {
            deployment: example("deployment"),
            versions: Vec::new(),
            service: example("service"),
            rollout: example("rollout"),
            others: Vec::new(),
        };
        manifests.rollout["spec"]["policy"] = quick_policy();
        // Without it a container gets a two-thousandth of a core while the tests beside it want all of them.
        manifests.container()["resources"] = json!({"requests": {"cpu": "20m"}});
        // On a machine that is busy with other tests a good pod may take longer than the second that a kubelet gives it by default.
        manifests.container()["readinessProbe"]["timeoutSeconds"] = json!(5);
        manifests
    }

    pub fn set_image(&mut self, image: &str) {
        self.container()["image"] = json!(format!("stepgate.test/hello:{image}"));
    }

    /// Environment variables of the application, all of them.
    pub fn set_env(&mut self, env: &BTreeMap<String, String>) {
        self.container()["env"] = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }

    /// No Service, and a Rollout that says so.
    pub fn work(&mut self) {
        self.service = Value::Null;
        self.rollout["spec"]["services"] = json!([]);
    }

    /// A copy of the Deployment, as it is now, for each of these versions, by name and image. The first one is live, and the Service says
    /// so.
    pub fn declare(&mut self, versions: &[(&str, &str)]) {
        self.versions = versions.iter().map(|(name, image)| self.version(name, image)).collect();
        let names: Vec<String> = versions.iter().map(|(name, _)| format!("{HELLO}-{name}")).collect();
        self.rollout["spec"]["workload"] = json!({"versions": names, "live": names[0]});
        self.service["spec"]["selector"][VERSION] = json!(versions[0].0);
    }

    fn version(&self, name: &str, image: &str) -> Value {
        let mut version = self.clone();
        version.set_image(image);
        let mut version = version.deployment;
        version["metadata"]["name"] = json!(format!("{HELLO}-{name}"));
        version["spec"]["selector"]["matchLabels"][VERSION] = json!(name);
        version["spec"]["template"]["metadata"]["labels"][VERSION] = json!(name);
        version
    }

    /// All of them as one list.
    pub fn all(&self) -> Value {
        let mut items = self.workloads();
        items.extend(&self.others);
        items.push(&self.rollout);
        list(&items)
    }

    /// What a `GitOps` tool applies again and again.
    pub fn application(&self) -> Value {
        list(&self.workloads())
    }

    /// Deployments and Service.
    fn workloads(&self) -> Vec<&Value> {
        let mut workloads: Vec<&Value> = self.versions.iter().collect();
        if workloads.is_empty() {
            workloads.push(&self.deployment);
        }
        workloads.extend(Some(&self.service).filter(|service| !service.is_null()));
        workloads
    }

    fn container(&mut self) -> &mut Value {
        &mut self.deployment["spec"]["template"]["spec"]["containers"][0]
    }
}

fn list(items: &[&Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/hello/{name}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
