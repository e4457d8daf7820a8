//! Whose the two sides of a story are: what there is before it begins, and how its versions are told apart.

use serde_json::{Value, json};

use stepgate::{
    api::{POD_TEMPLATE_HASH, rollout::DEFAULT_VERSION_LABEL},
    sim::sample,
};

/// Pods of the Deployment, or of the version that is live at first.
pub const SIZE: u32 = 4;

/// The Deployments of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// `hello`, and the canary that Stepgate makes.
    Managed,
    /// `hello-v1` and `hello-v2`, told apart by this label of their pods; the second one has so many of them at first.
    Declared { label: &'static str, spare: u32 },
}

impl Pair {
    /// The key of a Service's selector by which it is pinned to one side.
    pub fn key(self) -> &'static str {
        match self {
            Self::Managed => POD_TEMPLATE_HASH,
            Self::Declared { label, .. } => label,
        }
    }

    pub fn is_declared(self) -> bool {
        matches!(self, Self::Declared { .. })
    }

    /// Name of the Deployment that a version is in.
    pub fn deployment(self, version: &str) -> String {
        match self {
            Self::Managed => "hello".into(),
            Self::Declared { .. } => format!("hello-{version}"),
        }
    }

    /// What the Rollout says of it.
    pub fn workload(self) -> Value {
        match self {
            Self::Managed => json!({"deployment": "hello"}),
            Self::Declared { label, .. } => {
                let mut workload = json!({"versions": ["hello-v1", "hello-v2"], "live": "hello-v1"});
                if label != DEFAULT_VERSION_LABEL {
                    workload["versionLabel"] = label.into();
                }
                workload
            }
        }
    }

    /// The Deployments that there are at first.
    pub fn deployments(self) -> Vec<Value> {
        match self {
            Self::Managed => vec![sample::deployment("default", "hello", "v1", SIZE)],
            Self::Declared { label, spare } => {
                let version = |version: &str, replicas| {
                    let mut deployment = sample::deployment("default", &self.deployment(version), version, replicas);
                    let labels = json!({"app": "hello", label: version});
                    deployment["metadata"]["labels"] = json!({"app": "hello"});
                    deployment["spec"]["selector"]["matchLabels"].clone_from(&labels);
                    deployment["spec"]["template"]["metadata"]["labels"] = labels;
                    deployment
                };
                vec![version("v1", SIZE), version("v2", spare)]
            }
        }
    }

    /// The selector of the Services in Git.
    pub fn selector(self) -> Value {
        match self {
            Self::Managed => json!({"app": "hello"}),
            Self::Declared { .. } => self.selector_at_rest("v1"),
        }
    }

    /// The selector of the Services while a version is live and no release is under way.
    pub fn selector_at_rest(self, live: &str) -> Value {
        match self {
            Self::Managed => json!({"app": "hello"}),
            Self::Declared { label, .. } => json!({"app": "hello", label: live}),
        }
    }
}
