//! What is asked: a request, and the place in the API that its path names.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    kinds::{Kind, Kinds, is_errand},
    problem::Problem,
    store::Key,
};

/// A request, stripped of its transport.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Media type of the body, without parameters.
    pub content_type: String,
    pub accept: String,
    /// Who asks.
    pub user: String,
    pub body: Vec<u8>,
}

impl Request {
    /// A request with the query still in the path.
    pub fn new(method: &str, path_and_query: &str, user: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        Self { method: method.into(), path: path.into(), query: parse_query(query), user: user.into(), ..Self::default() }
    }

    /// With a JSON body of this media type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: &Value) -> Self {
        self.content_type = content_type.into();
        self.body = body.to_string().into_bytes();
        self
    }

    /// A query parameter, `""` where it is missing.
    pub fn param(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether nothing is to be stored.
    pub fn dry_run(&self) -> bool {
        !self.param("dryRun").is_empty()
    }

    /// Whether this changes anything if it succeeds.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && !self.dry_run()
    }

    /// The body as JSON; YAML is taken where a server takes it.
    ///
    /// # Errors
    /// `UnsupportedMediaType` for a body that calls itself something else, `BadRequest` for what is neither.
    pub fn json(&self) -> Result<Value, Problem> {
        if !self.content_type.is_empty() && !self.content_type.ends_with("json") && !self.content_type.ends_with("yaml") {
            return Err(Problem::unsupported_media_type(&self.content_type));
        }
        let refused = |why: String| Problem::bad_request(format!("error decoding body: {why}"));
        if self.content_type.ends_with("yaml") {
            let text = std::str::from_utf8(&self.body).map_err(|error| refused(error.to_string()))?;
            return serde_saphyr::from_str(text).map_err(|error| refused(error.to_string()));
        }
        serde_json::from_slice(&self.body).map_err(|error| refused(error.to_string()))
    }
}

/// The parameters of a query; of several with one name, the last one counts.
pub fn parse_query(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Undoes percent encoding and `+`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                bytes.push(std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A resource, or one object of it, or a part of one.
#[derive(Clone, Debug)]
pub struct Target {
    pub kind: Arc<Kind>,
    /// `""`: all namespaces, or a kind of the cluster.
    pub namespace: String,
    /// `""`: the collection.
    pub name: String,
    /// `""`, `status`, `scale` or an errand.
    pub subresource: String,
}

impl Target {
    /// Reads `/api/v1/...` and `/apis/<group>/<version>/...`.
    ///
    /// # Errors
    /// `NotFound` for paths that name no resource.
    pub fn parse(kinds: &Kinds, path: &str) -> Result<Self, Problem> {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts[..] {
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => return Err(Problem::no_such_path()),
        };
        let (namespace, plural, rest) = match *rest {
            ["namespaces", namespace, plural, ref rest @ ..] if !matches!(plural, "status" | "finalize") => (namespace, plural, rest),
            [plural, ref rest @ ..] => ("", plural, rest),
            [] => return Err(Problem::no_such_path()),
        };
        let kind = kinds.find(group, plural).filter(|kind| kind.version == version).ok_or_else(Problem::no_such_path)?.clone();
        let (name, subresource) = match *rest {
            [] => ("", ""),
            [name] => (name, ""),
            [name, subresource] => (name, subresource),
            _ => return Err(Problem::no_such_path()),
        };
        if (!kind.namespaced && !namespace.is_empty()) || (kind.namespaced && namespace.is_empty() && !name.is_empty()) {
            return Err(Problem::no_such_path());
        }
        let known = match subresource {
            "" => true,
            "status" => kind.status,
            "scale" => kind.scale.is_some(),
            other => is_errand(&kind, other),
        };
        if !known {
            return Err(Problem::no_such_path());
        }
        Ok(Self { kind, namespace: namespace.into(), name: name.into(), subresource: subresource.into() })
    }

    /// Where the object is stored.
    pub fn key(&self) -> Key {
        Key::new(&self.kind.stored_as(), &self.namespace, &self.name)
    }
}
