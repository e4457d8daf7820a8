//! Manifests: YAML or JSON files with one or several objects, and where in the file each field stands.

use std::{collections::BTreeMap, fmt, fs, io::Read, path::Path};

use anyhow::{Context, anyhow};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// A line and a column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file, as the user named it.
    pub file: String,
    /// The object. To the API server a field that is null is absent, so there is none.
    pub object: Value,
    places: BTreeMap<String, Place>,
}

impl Manifest {
    /// Where the field of that path stands, such as `spec.steps[0].weight`; where it is absent, the nearest one around it.
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            match (self.places.get(path), path.rfind(['.', '['])) {
                (Some(place), _) => return *place,
                (None, Some(end)) => path = &path[..end],
                (None, None) => return self.places.get("").copied().unwrap_or(Place { line: 1, column: 1 }),
            }
        }
    }

    /// The API version of the object; empty where it has none.
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    /// The kind of the object; empty where it has none.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// The name of the object; empty where it has none.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Whether the two may come to stand in one namespace: an object that names none goes where the others go that are applied with it.
    pub fn may_share_namespace(&self, other: &Self) -> bool {
        let namespace = |manifest: &Self| manifest.object["metadata"]["namespace"].as_str().map(str::to_owned);
        namespace(self).zip(namespace(other)).is_none_or(|(one, other)| one == other)
    }
}

/// All objects of the files, in their order; `-` is the standard input.
///
/// # Errors
/// When a file cannot be read or is not YAML, with the place.
pub fn read_all(files: &[std::path::PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for file in files {
        let name = file.display().to_string();
        manifests.extend(parse(&name, &text(file)?)?);
    }
    Ok(manifests)
}

fn text(file: &Path) -> anyhow::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("the standard input cannot be read")?;
    Ok(text)
}

/// The objects of one file.
///
/// # Errors
/// When it is not YAML, with the place.
pub fn parse(file: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let documents: Vec<Spanned<Node>> = serde_saphyr::from_multiple(text).map_err(|error| {
        let place = error.location().map(Place::from);
        let place = place.map(|Place { line, column }| format!(":{line}:{column}")).unwrap_or_default();
        anyhow!("{file}{place}: not YAML: {}", error.without_snippet())
    })?;
    let manifest = |document: Spanned<Node>| {
        let mut places = BTreeMap::new();
        let object = settle(document, "", &mut places);
        Manifest { file: file.to_owned(), object, places }
    };
    Ok(documents.into_iter().map(manifest).filter(|manifest| !manifest.object.is_null()).collect())
}

/// The object as its kind.
///
/// # Errors
/// When it is of another shape.
pub fn typed<T: de::DeserializeOwned>(manifest: &Manifest) -> anyhow::Result<T> {
    Ok(serde_json::from_value(manifest.object.clone())?)
}

/// Turns a node into its value and notes where it and everything in it stands.
fn settle(node: Spanned<Node>, path: &str, places: &mut BTreeMap<String, Place>) -> Value {
    places.entry(path.to_owned()).or_insert(node.referenced.into());
    match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => items.into_iter().enumerate().map(|(i, item)| settle(item, &format!("{path}[{i}]"), places)).collect(),
        Node::Object(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                places.insert(path.clone(), key.referenced.into());
                let value = settle(value, &path, places);
                if !value.is_null() {
                    object.insert(key.value, value);
                }
            }
            Value::Object(object)
        }
    }
}

/// YAML, with a place for everything.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(|number| Node::Scalar(number.into())).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
kind: Rollout
metadata: {name: hello}
spec:
  policy:
    steps:
    - weight: 25
      hold: 1m
    - {weight: 100}
    gates: null
---
---
kind: Service
";

    #[test]
    fn every_field_has_its_place_and_an_absent_one_that_of_what_should_have_it() {
        let manifests = parse("hello.yaml", TEXT).unwrap();
        assert_eq!(manifests.iter().map(Manifest::kind).collect::<Vec<_>>(), ["Rollout", "Service"]);
        let rollout = &manifests[0];
        for (path, line, column) in [
            ("spec.policy.steps[0].hold", 7, 7),
            ("spec.policy.steps[1].weight", 8, 8),
            ("spec.policy.steps[1].hold", 8, 7),
            ("spec.workload.deployment", 3, 1),
            ("metadata.name", 2, 12),
            ("status", 1, 1),
        ] {
            assert_eq!(rollout.place(path), Place { line, column }, "{path}");
        }
        assert_eq!(manifests[1].place("kind").line, 12);
    }

    #[test]
    fn a_field_that_is_null_is_absent() {
        assert!(parse("hello.yaml", TEXT).unwrap()[0].object["spec"]["policy"].get("gates").is_none());
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        let error = parse("hello.yaml", "spec:\n  steps: [\n").unwrap_err().to_string();
        assert!(error.starts_with("hello.yaml:") && error.contains(": not YAML: "), "{error}");
    }
}
