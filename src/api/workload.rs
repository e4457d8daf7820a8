//! The workload of a Rollout: a Deployment, or several that are versions of each other.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The pod label that tells declared versions apart, where the Rollout names none.
pub const DEFAULT_VERSION_LABEL: &str = "version";

/// What is released: a Deployment, beside which Stepgate makes a canary, or two or more Deployments of yours, of which one is live.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.deployment) != has(self.versions)")
        .message("workload: set exactly one of deployment (Stepgate makes the canary) and versions (all versions are Deployments of yours)"),
    validation = Rule::new("has(self.versions) == has(self.live)")
        .message("workload: versions and live belong together: live is the one of versions whose pods are to have the clients"),
    validation = Rule::new("!has(self.versions) || !has(self.live) || self.live in self.versions")
        .message("workload.live: name one of workload.versions"),
    validation = Rule::new("has(self.versions) || !has(self.versionLabel)")
        .message("workload.versionLabel is for workload.versions only: the versions of one Deployment are told apart by pod-template-hash"),
    validation = Rule::new("has(self.deployment) == has(oldSelf.deployment)")
        .message("workload: deployment cannot be changed into versions, nor versions into deployment: make another Rollout"),
    validation = Rule::new("!has(self.versions) || !has(oldSelf.versions) || self.versions == oldSelf.versions")
        .message("workload.versions cannot be changed, only live can: make another Rollout for other Deployments"),
    validation = Rule::new("(has(self.versionLabel) ? self.versionLabel : 'version') == (has(oldSelf.versionLabel) ? oldSelf.versionLabel : 'version')")
        .message("workload.versionLabel cannot be changed: make another Rollout"),
)]
pub struct Workload {
    /// Name of the Deployment to release. It is yours, and stays yours: Stepgate adds a canary Deployment beside it for as long as a
    /// release lasts. Cannot be changed later. Exactly one of `deployment` and `versions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("workload.deployment cannot be changed: make another Rollout for another Deployment"))]
    pub deployment: Option<String>,

    /// Names of two or more Deployments of yours, told apart by `versionLabel`: one is live, the others wait. Stepgate moves clients
    /// between them, scales one up where it has too few pods to take over, and changes nothing else of them. Cannot be changed later.
    /// Exactly one of `deployment` and `versions`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 2, max = 8), inner(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("workload.versions: every Deployment may stand once"))]
    pub versions: Vec<String>,

    /// The one of `versions` whose pods are to have the clients. To change it is to start a release to that version; to change it back is
    /// to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub live: Option<String>,

    /// The pod label that tells the versions apart: every one of them has it in its template, each with another value. Stepgate keeps
    /// this key in the selectors of the Services, at rest too. Default: `version`. Cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = "^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self != 'pod-template-hash' && !self.startsWith('stepgate.dev/')")
        .message("workload.versionLabel: a label of your own, such as version or track"))]
    pub version_label: Option<String>,

    /// Set to true where two versions running at once are a decision: strategy Recreate, a ReadWriteOnce claim, a hostPort.
    #[serde(default)]
    pub allow_overlap: bool,
}

impl Workload {
    /// All Deployments that it names.
    pub fn deployments(&self) -> impl Iterator<Item = &str> {
        self.deployment.iter().chain(&self.versions).map(String::as_str)
    }

    /// The Deployment that is, or is to be, live.
    pub fn name(&self) -> &str {
        self.deployment.as_deref().or(self.live.as_deref()).unwrap_or_default()
    }
}
