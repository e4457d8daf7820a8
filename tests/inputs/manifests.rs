//! The table of manifests.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

/// All rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifests {
    pub accepted: Vec<Object>,
    pub refused: Vec<Refused>,
}

/// An object, by the spec of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Object {
    Policy(Value),
    Rollout(Value),
}

/// An object, or a change of one, that is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The spec that was there before; none for a creation.
    pub before: Option<Value>,
    /// Who writes it; the cluster's admin where nobody is named.
    #[serde(rename = "as")]
    pub author: Option<String>,
    policy: Option<Value>,
    rollout: Option<Value>,
    /// Everything that the author is told, but for the API server's remark that it checked no further.
    pub says: Vec<Line>,
}

/// Who says what.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The schema: types, ranges, patterns.
    Schema(String),
    /// A rule of the schema, in words of ours.
    Rule(String),
    /// The strict reading that kubectl asks for: fields that there are not.
    Strict(String),
    /// An admission policy.
    Admission(String),
}

impl Line {
    pub fn text(&self) -> &str {
        match self {
            Self::Schema(text) | Self::Rule(text) | Self::Strict(text) | Self::Admission(text) => text,
        }
    }
}

impl Object {
    pub fn manifest(&self) -> Value {
        match self {
            Self::Policy(spec) => manifest("RolloutPolicy", spec),
            Self::Rollout(spec) => manifest("Rollout", spec),
        }
    }
}

impl Refused {
    pub fn manifest(&self) -> Value {
        match (&self.policy, &self.rollout) {
            (Some(spec), None) => manifest("RolloutPolicy", spec),
            (None, Some(spec)) => manifest("Rollout", spec),
            _ => panic!("a row is one of policy and rollout: {:?} {:?}", self.policy, self.rollout),
        }
    }

    /// What was there before, for a change.
    pub fn manifest_before(&self) -> Option<Value> {
        self.before.as_ref().map(|spec| manifest("Rollout", spec))
    }
}

fn manifest(kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "stepgate.dev/v1alpha1", "kind": kind, "metadata": { "name": "row" }, "spec": spec })
}

/// The table.
pub fn manifests() -> Manifests {
    read("manifests.yaml")
}

/// A table of this folder.
pub fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let value: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{name}: {error}"))
}
