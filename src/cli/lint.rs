//! `stepgate lint`: everything in manifests that the API server would refuse, found without one and said in its words.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::Args;
use kube::core::cel::Validator;
use regex::Regex;
use serde_json::{Map, Value};

use crate::api::GROUP;

use super::{
    crds,
    exit::Exit,
    manifest::{self, Manifest, Place},
    output::Output,
    text::counted,
};

/// The only version of the kinds.
const VERSION: &str = "v1alpha1";
/// What every object may have beside the fields of its kind.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// What the metadata of an object may have.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What `stepgate lint` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 nothing found, 1 something found (or an error), 2 usage.")]
pub struct LintArgs {
    /// File with Rollouts and policies, `-` for the standard input; objects of other kinds are passed over
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

/// Something that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.steps[0].weight`.
    pub path: String,
    /// What is wrong with it, with its path where the API server says that.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The schemas of the kinds, with their rules.
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// The schemas that `stepgate crds` prints.
    ///
    /// # Errors
    /// When a definition cannot be written as JSON, which would be a bug of ours.
    pub fn new() -> anyhow::Result<Self> {
        let schema = |definition: Value| {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
            (kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
        };
        let definitions = crds::definitions().into_iter().map(|(_, definition)| Ok(schema(serde_json::to_value(definition)?)));
        Ok(Self(definitions.collect::<Result<_, serde_json::Error>>()?))
    }

    /// The schema of a kind.
    pub fn get(&self, kind: &str) -> Option<&Value> {
        self.0.get(kind)
    }

    /// Everything that is wrong with an object of one of the kinds; nothing for those of other groups.
    ///
    /// As in the API server, the rules are asked only once the schema has nothing to object to.
    pub fn check(&self, object: &Value) -> Vec<Problem> {
        if !is_ours(object) {
            return Vec::new();
        }
        let (api_version, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let expected = format!("{GROUP}/{VERSION}");
        if api_version != expected {
            return vec![problem("apiVersion", format!("no matches for version {api_version:?}; the version is {expected:?}"))];
        }
        let Some(schema) = self.get(kind) else {
            let kinds: Vec<&str> = self.0.keys().map(String::as_str).collect();
            return vec![problem("kind", format!("no matches for kind {kind:?}; the kinds are {}", kinds.join(", ")))];
        };
        let mut problems = metadata(object);
        let mut spec = Vec::new();
        value(schema, object, "", &mut spec);
        let rules_apply = spec.iter().all(Problem::is_unknown_field);
        problems.append(&mut spec);
        if rules_apply {
            problems.extend(rules(schema, object));
        }
        problems
    }
}

/// Whether an object is of the group of our kinds.
pub fn is_ours(object: &Value) -> bool {
    object["apiVersion"].as_str().and_then(|version| version.split_once('/')).is_some_and(|(group, _)| group == GROUP)
}

fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem { path: path.to_owned(), message: message.into() }
}

impl Problem {
    fn is_unknown_field(&self) -> bool {
        self.message.starts_with("unknown field")
    }
}

fn unknown(path: &str) -> Problem {
    problem(path, format!("unknown field \"{path}\""))
}

fn metadata(object: &Value) -> Vec<Problem> {
    let empty = Map::new();
    let fields = object["metadata"].as_object().unwrap_or(&empty);
    let mut problems: Vec<Problem> = fields
        .keys()
        .filter(|field| !METADATA_FIELDS.contains(&field.as_str()))
        .map(|field| unknown(&format!("metadata.{field}")))
        .collect();
    if !fields.contains_key("name") && !fields.contains_key("generateName") {
        problems.push(problem("metadata.name", "metadata.name: Required value: name or generateName is required"));
    }
    problems
}

/// Holds a value against its schema.
fn value(schema: &Value, found: &Value, path: &str, problems: &mut Vec<Problem>) {
    let type_ = schema["type"].as_str().unwrap_or_default();
    if schema["x-kubernetes-int-or-string"] == true {
        if !found.is_i64() && !found.is_u64() && !found.is_string() {
            return problems.push(invalid(path, found, "must be of type integer or string"));
        }
    } else if !is_of(type_, found) {
        return problems.push(invalid(path, found, &format!("must be of type {type_}")));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(found)) {
        let allowed: Vec<String> = allowed.iter().filter(|value| !value.is_null()).map(Value::to_string).collect();
        problems.push(problem(path, format!("{path}: Unsupported value: {found}: supported values: {}", allowed.join(", "))));
    }
    match found {
        Value::Object(fields) => object(schema, fields, path, problems),
        Value::Array(items) => list(schema, items, found, path, problems),
        Value::String(text) => string(schema, text, found, path, problems),
        Value::Number(number) => range(schema, number.as_f64().unwrap_or_default(), found, path, problems),
        Value::Null | Value::Bool(_) => {}
    }
}

fn is_of(type_: &str, found: &Value) -> bool {
    match type_ {
        "object" => found.is_object(),
        "array" => found.is_array(),
        "string" => found.is_string(),
        "boolean" => found.is_boolean(),
        "integer" => found.is_i64() || found.is_u64(),
        "number" => found.is_number(),
        _ => true,
    }
}

fn invalid(path: &str, found: &Value, why: &str) -> Problem {
    let shown = match found {
        Value::Object(_) => "\"object\"".to_owned(),
        Value::Array(_) => "\"array\"".to_owned(),
        scalar => scalar.to_string(),
    };
    problem(path, format!("{path}: Invalid value: {shown}: {path} in body {why}"))
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    let inside = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for missing in required.filter(|field| !fields.contains_key(*field)) {
        problems.push(problem(&inside(missing), format!("{}: Required value", inside(missing))));
    }
    for (field, found) in fields {
        match (schema["properties"].get(field), schema.get("additionalProperties")) {
            (Some(known), _) | (None, Some(known)) => value(known, found, &inside(field), problems),
            (None, None) if path.is_empty() && OBJECT_FIELDS.contains(&field.as_str()) => {}
            (None, None) if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            // The metadata of an object have no schema of their own.
            (None, None) if path == "metadata" => {}
            (None, None) => problems.push(unknown(&inside(field))),
        }
    }
}

fn list(schema: &Value, items: &[Value], found: &Value, path: &str, problems: &mut Vec<Problem>) {
    let count = items.len();
    if let Some(least) = limit(schema, "minItems").filter(|least| count < *least) {
        problems.push(invalid(path, found, &format!("should have at least {least} items")));
    }
    if let Some(most) = limit(schema, "maxItems").filter(|most| count > *most) {
        problems.push(problem(path, format!("{path}: Too many: {count}: must have at most {most} items")));
    }
    for (i, item) in items.iter().enumerate() {
        value(&schema["items"], item, &format!("{path}[{i}]"), problems);
    }
}

fn limit(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|limit| usize::try_from(limit).ok())
}

fn string(schema: &Value, text: &str, found: &Value, path: &str, problems: &mut Vec<Problem>) {
    let length = text.chars().count();
    if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
        problems.push(invalid(path, found, &format!("should be at least {least} chars long")));
    }
    if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
        problems.push(problem(path, format!("{path}: Too long: may not be more than {most} bytes")));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
    {
        problems.push(invalid(path, found, &format!("should match '{pattern}'")));
    }
}

fn range(schema: &Value, number: f64, found: &Value, path: &str, problems: &mut Vec<Problem>) {
    let bound = |key: &str| schema[key].as_f64();
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        problems.push(invalid(path, found, &format!("should be greater than or equal to {least}")));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        problems.push(invalid(path, found, &format!("should be less than or equal to {most}")));
    }
}

/// What the rules of a schema, evaluated as the API server does, say to an object.
fn rules(schema: &Value, object: &Value) -> Vec<Problem> {
    let errors = Validator::new().validate(schema, object, None).err().map(kube::core::cel::ValidationErrors::into_vec);
    errors.into_iter().flatten().map(|error| problem(&error.field_path, format!("{}: {}", error.field_path, error.message))).collect()
}

/// Lints files. What is found is printed as `FILE:LINE:COLUMN: MESSAGE`, a line each.
///
/// # Errors
/// When a file cannot be read or is not YAML, or none of the files has an object of our kinds.
pub fn run(args: &LintArgs, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let LintArgs { files } = args;
    let manifests = manifest::read_all(files)?;
    let ours: Vec<&Manifest> = manifests.iter().filter(|manifest| is_ours(&manifest.object)).collect();
    if ours.is_empty() {
        anyhow::bail!(
            "no object of group {GROUP} in {}",
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    let schemas = Schemas::new()?;
    let mut lines: Vec<(String, Place, String)> = Vec::new();
    for manifest in &ours {
        let found = schemas.check(&manifest.object);
        lines.extend(found.into_iter().map(|problem| (manifest.file.clone(), manifest.place(&problem.path), problem.message)));
    }
    lines.sort();
    for (file, Place { line, column }, message) in &lines {
        out.print(&format!("{file}:{line}:{column}: {message}\n"))?;
    }
    let objects = counted(ours.len(), "object");
    if lines.is_empty() {
        out.print(&format!("nothing to object to in {objects}\n"))?;
        return Ok(Exit::Done);
    }
    out.print(&format!("{} in {objects}\n", counted(lines.len(), "problem")))?;
    Ok(Exit::Otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Reader;

    fn linted(text: &str) -> (anyhow::Result<Exit>, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut printed = Vec::new();
        let exit = run(&LintArgs { files: vec![file.path().to_owned()] }, &mut Output::new(&mut printed, Reader::Program));
        (exit, String::from_utf8(printed).unwrap().replace(&file.path().display().to_string(), "hello.yaml"))
    }

    #[test]
    fn what_is_found_is_said_with_its_place() {
        let (exit, printed) = linted(
            "apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata:
  name: hello
  lables: {}
spec:
  workload: {deployment: Hello}
  services: [hello]
  policy:
    steps:
    - {weight: 25, wait: 1m}
    - weight: '100'
---
apiVersion: stepgate.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: half}
spec:
  steps: [{weight: 50}]
---
{apiVersion: v1, kind: Service, metadata: {name: hello}, anything: goes}
---
{apiVersion: stepgate.dev/v1, kind: Rollout, metadata: {name: newer}}
---
{apiVersion: stepgate.dev/v1alpha1, kind: Rolout, metadata: {}}
",
        );
        assert_eq!(exit.unwrap(), Exit::Otherwise);
        insta::assert_snapshot!(printed, @r#"
        hello.yaml:5:3: unknown field "metadata.lables"
        hello.yaml:7:14: spec.workload.deployment: Invalid value: "Hello": spec.workload.deployment in body should match '^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$'
        hello.yaml:11:20: unknown field "spec.policy.steps[0].wait"
        hello.yaml:12:7: spec.policy.steps[1].weight: Invalid value: "100": spec.policy.steps[1].weight in body must be of type integer
        hello.yaml:17:1: spec: steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
        hello.yaml:22:2: no matches for version "stepgate.dev/v1"; the version is "stepgate.dev/v1alpha1"
        hello.yaml:24:37: no matches for kind "Rolout"; the kinds are ClusterRolloutPolicy, Rollout, RolloutPolicy
        7 problems in 4 objects
        "#);
    }

    #[test]
    fn presets_have_nothing_to_object_to() {
        let text: Vec<&str> = crate::cli::presets::PRESETS.iter().map(|(_, text)| *text).collect();
        let (exit, printed) = linted(&text.join("---\n"));
        assert_eq!((exit.unwrap(), printed.as_str()), (Exit::Done, "nothing to object to in 3 objects\n"));
    }

    #[test]
    fn a_file_without_an_object_of_ours_is_not_called_good() {
        let (exit, _) = linted("{apiVersion: v1, kind: Service}");
        assert!(exit.unwrap_err().to_string().starts_with("no object of group stepgate.dev in "));
    }
}
