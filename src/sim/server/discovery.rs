//! What the server says of itself: groups, resources, and as much OpenAPI as `kubectl apply` and `kubectl explain` ask for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::kinds::{Kind, Kinds};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of `/status` and `/scale`.
const PART_VERBS: [&str; 3] = ["get", "patch", "update"];

/// The answer for a path of discovery; nothing where the path is none.
pub(super) fn answer(kinds: &Kinds, path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        ["version"] => Some(json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "stepgate/sim" })),
        ["healthz" | "livez" | "readyz"] => Some("ok".into()),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        ["apis"] => {
            let groups: BTreeSet<&str> = kinds.all().map(|kind| kind.group.as_str()).filter(|group| !group.is_empty()).collect();
            let groups: Vec<Value> = groups.into_iter().map(|name| group(kinds, name)).collect();
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["apis", name] => kinds.all().any(|kind| kind.group == name).then(|| group(kinds, name)),
        ["api", version] => resources(kinds, version),
        ["apis", group, version] => resources(kinds, &format!("{group}/{version}")),
        // What kubectl looks into before it applies a `List`, which has no schema of its own. An empty document names no kind, and what is
        // named nowhere is left to the server.
        ["openapi", "v2"] => Some(Value::Null),
        ["openapi", "v3"] => {
            let versions: BTreeSet<String> = kinds.all().map(|kind| root(kind)).collect();
            let paths = versions.into_iter().map(|at| (at.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{at}") })));
            Some(json!({ "paths": paths.collect::<Map<_, _>>() }))
        }
        ["openapi", "v3", ref rest @ ..] => openapi(kinds, &rest.join("/")),
        _ => None,
    }
}

/// Where the resources of a kind's version are, without the slash at the beginning.
fn root(kind: &Kind) -> String {
    format!("{}/{}", if kind.group.is_empty() { "api" } else { "apis" }, kind.api_version())
}

fn group(kinds: &Kinds, name: &str) -> Value {
    let versions: BTreeMap<String, &str> =
        kinds.all().filter(|kind| kind.group == name).map(|kind| (kind.api_version(), kind.version.as_str())).collect();
    let versions: Vec<Value> = versions.into_iter().map(|(both, version)| json!({ "groupVersion": both, "version": version })).collect();
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions, "preferredVersion": versions.last() })
}

fn resources(kinds: &Kinds, api_version: &str) -> Option<Value> {
    let ours: Vec<&Kind> = kinds.all().map(|kind| &**kind).filter(|kind| kind.api_version() == api_version).collect();
    let resource = |kind: &&Kind| {
        let whole = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind, "verbs": VERBS,
            "shortNames": kind.short_names, "categories": kind.categories,
        });
        let part = |name: &str, of: &str| json!({ "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": of, "verbs": PART_VERBS });
        let mut all = vec![whole];
        if kind.status {
            all.push(part("status", &kind.kind));
        }
        if kind.scale.is_some() {
            let mut scale = part("scale", "Scale");
            scale["group"] = "autoscaling".into();
            scale["version"] = "v1".into();
            all.push(scale);
        }
        all
    };
    let resources: Vec<Value> = ours.iter().flat_map(resource).collect();
    (!ours.is_empty())
        .then(|| json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources }))
}

/// A document of OpenAPI v3: that every kind's patch takes `fieldValidation`, so that kubectl leaves the validation to the server, and the
/// schemas of the kinds that have one.
fn openapi(kinds: &Kinds, at: &str) -> Option<Value> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for kind in kinds.all().filter(|kind| root(kind) == at) {
        let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let space = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let operation = |parameters: Value| json!({ "x-kubernetes-group-version-kind": gvk, "parameters": parameters, "responses": {} });
        let field_validation = json!([{ "name": "fieldValidation", "in": "query", "schema": { "type": "string" } }]);
        paths.insert(
            format!("/{at}/{space}{}/{{name}}", kind.plural),
            json!({ "get": operation(json!([])), "patch": operation(field_validation) }),
        );
        if let Some(schema) = &kind.schema {
            let mut tree = schema.tree().clone();
            tree["x-kubernetes-group-version-kind"] = json!([gvk]);
            schemas.insert(format!("{}.{}.{}", kind.group, kind.version, kind.kind), tree);
        }
    }
    let info = json!({ "title": "Kubernetes", "version": "v1.36.3" });
    (!paths.is_empty()).then(|| json!({ "openapi": "3.0.0", "info": info, "paths": paths, "components": { "schemas": schemas } }))
}
