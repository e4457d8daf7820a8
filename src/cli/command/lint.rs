//! `stepgate lint`: everything in manifests that the API server would refuse, and what the controller would, found without either and said
//! in their words.

mod refused;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use clap::Args;
use serde_json::Value;

use crate::api::API_VERSION;
use crate::{
    api::GROUP,
    cli::{
        files::manifest::{self, Manifest, Place},
        paper::{exit::Exit, output::Output},
    },
    schema::{Cause, Schema},
    show::text::counted,
    visible,
};

use super::crds;

pub use refused::{Told, told};

/// What `stepgate lint` takes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 nothing found, 1 something found (or an error), 2 usage.")]
pub struct LintArgs {
    /// File with Rollouts, policies, and the Deployments and Services that they name; `-` for the standard input
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

/// Something that would be refused.
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
        if api_version != API_VERSION {
            return vec![problem("apiVersion", format!("no matches for version {api_version:?}; the version is {API_VERSION:?}"))];
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

/// A problem, where it stands: `FILE:LINE:COLUMN: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub file: String,
    pub place: Place,
    pub message: String,
}

impl Line {
    fn of(manifest: &Manifest, Problem { path, message }: Problem) -> Self {
        Self { file: manifest.file.clone(), place: manifest.place(&path), message }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place: Place { line, column }, message } = self;
        write!(f, "{}:{line}:{column}: {}", visible::line(file), visible::line(message))
    }
}

/// What is found in manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of their places.
    pub lines: BTreeSet<Line>,
    /// What Rollouts name and no manifest has, such as `Service hello`.
    pub without: BTreeSet<String>,
}

/// Everything that would be refused of these manifests, had they been applied together.
///
/// # Errors
/// See [`Schemas::new`].
pub fn found(manifests: &[Manifest]) -> anyhow::Result<Found> {
    let schemas = Schemas::new()?;
    let mut found = Found::default();
    for manifest in manifests {
        found.lines.extend(schemas.check(&manifest.object).into_iter().map(|problem| Line::of(manifest, problem)));
        if manifest.api_version() == API_VERSION && manifest.kind() == "Rollout" {
            let Told { problems, without } = told(manifest, manifests);
            found.lines.extend(problems.into_iter().map(|problem| Line::of(manifest, problem)));
            found.without.extend(without);
        }
    }
    Ok(found)
}

/// Lints files. What is found is printed as `FILE:LINE:COLUMN: MESSAGE`, a line each.
///
/// # Errors
/// When a file cannot be read or is not YAML, or none of the files has an object of our kinds.
pub fn run(args: &LintArgs, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let LintArgs { files } = args;
    let manifests = manifest::read_all(files)?;
    let ours = manifests.iter().filter(|manifest| is_ours(&manifest.object)).count();
    if ours == 0 {
        anyhow::bail!(
            "no object of group {GROUP} in {}",
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    let Found { lines, without } = found(&manifests)?;
    for line in &lines {
        out.print(&format!("{line}\n"))?;
    }
    let verdict = if lines.is_empty() { "nothing to object to".to_owned() } else { counted(lines.len(), "problem") };
    out.print(&format!("{verdict} in {}{}\n", counted(ours, "object"), unseen(&without)))?;
    Ok(if lines.is_empty() { Exit::Done } else { Exit::Otherwise })
}

fn unseen(without: &BTreeSet<String>) -> String {
    if without.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = without.iter().map(String::as_str).collect();
    format!(", as far as can be told without {}", names.join(", "))
}
