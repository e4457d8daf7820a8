//! The steps of a release, and how many pods and which share of a Service each has.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::{Span, between};

/// A weight, and how long to hold it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Share of the clients that the new version gets, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,

    /// How long to stay at this weight, counted from its confirmation. Default: go on as soon as the gates pass.
    #[serde(default)]
    #[x_kube(validation = between("hold", "0s", "168h"))]
    pub hold: Span,
}

/// How many canary pods a step of less than 100 % runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CanaryReplicas {
    #[default]
    ByWeight,
    Full,
}

/// How a plain Service is split.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SplitMode {
    #[default]
    Resilient,
    Exact,
}
