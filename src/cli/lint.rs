//! `stepgate lint`: everything in manifests that the API server would refuse, found without one and said in its words.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use clap::Args;
use serde_json::Value;

use crate::{
    api::GROUP,
    schema::{Cause, Schema},
};

use super::{
    crds,
    exit::Exit,
    manifest::{self, Manifest, Place},
    output::Output,
    text::counted,
};

/// The only version of the kinds.
const VERSION: &str = "v1alpha1";

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
pub struct Schemas(BTreeMap<String, Schema>);

impl Schemas {
    /// The schemas that `stepgate crds` prints.
    ///
    /// # Errors
    /// When a definition cannot be written as JSON, which would be a bug of ours.
    pub fn new() -> anyhow::Result<Self> {
        let schema = |definition: Value| {
            let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
            (kind, Schema::new(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()))
        };
        let definitions = crds::definitions().into_iter().map(|(_, definition)| Ok(schema(serde_json::to_value(definition)?)));
        Ok(Self(definitions.collect::<Result<_, serde_json::Error>>()?))
    }

    /// Everything that is wrong with an object of one of the kinds; nothing for those of other groups.
    pub fn check(&self, object: &Value) -> Vec<Problem> {
        if !is_ours(object) {
            return Vec::new();
        }
        let (api_version, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let expected = format!("{GROUP}/{VERSION}");
        if api_version != expected {
            return vec![problem("apiVersion", format!("no matches for version {api_version:?}; the version is {expected:?}"))];
        }
        let Some(schema) = self.0.get(kind) else {
            let kinds: Vec<&str> = self.0.keys().map(String::as_str).collect();
            return vec![problem("kind", format!("no matches for kind {kind:?}; the kinds are {}", kinds.join(", ")))];
        };
        let unknown = schema.unknown(object).into_iter().map(|path| problem(&path, format!("unknown field \"{path}\"")));
        let mut problems: Vec<Problem> = unknown.collect();
        let metadata = &object["metadata"];
        if metadata.get("name").is_none() && metadata.get("generateName").is_none() {
            problems.push(problem("metadata.name", "metadata.name: Required value: name or generateName is required"));
        }
        let mut stored = object.clone();
        schema.complete(&mut stored);
        let refusals = schema.refusals(&stored, None).into_iter().filter(Cause::is_about_a_field);
        problems.extend(refusals.map(|Cause { field, message, .. }| problem(&field, format!("{field}: {message}"))));
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
    use crate::cli::output::{Colours, Reader};

    fn linted(text: &str) -> (anyhow::Result<Exit>, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut printed = Vec::new();
        let exit = run(&LintArgs { files: vec![file.path().to_owned()] }, &mut Output::new(&mut printed, Reader::Program, Colours::Kept));
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
        hello.yaml:12:7: spec.policy.steps[1].weight: Invalid value: "string": spec.policy.steps[1].weight in body must be of type integer: "string"
        hello.yaml:17:1: spec: Invalid value: steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
        hello.yaml:22:2: no matches for version "stepgate.dev/v1"; the version is "stepgate.dev/v1alpha1"
        hello.yaml:24:37: no matches for kind "Rolout"; the kinds are ClusterRolloutPolicy, Rollout, RolloutPolicy
        7 problems in 4 objects
        "#);
    }

    #[test]
    fn presets_have_nothing_to_object_to() {
        let text: Vec<&str> = crate::cli::presets::PRESETS.iter().map(|(_, text)| *text).collect();
        let (exit, printed) = linted(&text.join("---\n"));
        assert_eq!((exit.unwrap(), printed.as_str()), (Exit::Done, "nothing to object to in 4 objects\n"));
    }

    #[test]
    fn a_file_without_an_object_of_ours_is_not_called_good() {
        let (exit, _) = linted("{apiVersion: v1, kind: Service}");
        assert!(exit.unwrap_err().to_string().starts_with("no object of group stepgate.dev in "));
    }
}
