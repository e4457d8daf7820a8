//! The table of requests and answers: `requests.yaml`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// All stories.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Where the resources are whose paths are written short.
    pub paths: BTreeMap<String, String>,
    /// Objects that bodies begin with.
    pub objects: BTreeMap<String, Value>,
    pub stories: Vec<Story>,
}

/// Requests that follow each other, and speak of objects that no other story does.
///
/// In all texts `<name>` is a name of the story's own, `<namespace>` that of the test, and `<...>` what an earlier answer had.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    pub story: String,
    pub requests: Vec<Row>,
}

/// A request and what is to be answered.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Method, path and query. A path that begins with a resource is one of the test's namespace.
    pub send: String,
    /// Media type of the body, where it is not JSON: `merge-patch` and the like, or written in full.
    #[serde(rename = "as")]
    pub media_type: Option<String>,
    /// The object that the body begins with.
    pub object: Option<String>,
    /// What is merged into it; without an object, the body.
    pub with: Option<Value>,
    /// A body that is no JSON.
    pub text: Option<String>,

    /// Status of the answer.
    pub code: Option<u16>,
    /// Reason of a refusal.
    pub reason: Option<String>,
    /// Reason and field of each cause, in the order of the alphabet.
    pub causes: Option<Vec<String>>,
    /// What stands where, as JSON pointers; `null` is nothing.
    #[serde(default)]
    pub has: BTreeMap<String, Value>,
    /// What does not stand there.
    #[serde(default)]
    pub not: BTreeMap<String, Value>,
    /// The names of a list's items.
    pub items: Option<Vec<String>>,
    /// Parts of the warnings; none for an answer without any.
    pub warns: Option<Vec<String>>,
    /// What a watch shows: type and name of each event, code and reason of an error.
    pub events: Option<Vec<String>>,
    /// What later requests may name, and where it stands.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// Whether it may take some time, or another try, until it is so.
    #[serde(default)]
    pub eventually: bool,
}

/// The table.
pub fn table() -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/requests.yaml");
    let value: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(value).unwrap()
}
