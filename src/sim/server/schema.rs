//! Kinds that definitions add, and their schemas.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use super::kinds::{Column, Generation, Kind, Kinds, Scale};
use crate::{schema::Schema, sim::json};

/// Makes the kinds of a definition known.
pub(super) fn register(kinds: &mut Kinds, definition: &Value) {
    let text = |path: &str| json::text(definition, path).to_owned();
    let list = |path: &str| json::items(definition, path).iter().filter_map(Value::as_str).map(Into::into).collect();
    for version in json::items(definition, "/spec/versions").iter().filter(|version| json::flag(version, "/served")) {
        let scale = version.pointer("/subresources/scale").map(|scale| Scale {
            spec_replicas: json::text(scale, "/specReplicasPath").replace('.', "/"),
            status_replicas: json::text(scale, "/statusReplicasPath").replace('.', "/"),
        });
        kinds.register(Kind {
            group: text("/spec/group"),
            version: json::text(version, "/name").into(),
            plural: text("/spec/names/plural"),
            singular: text("/spec/names/singular"),
            kind: text("/spec/names/kind"),
            namespaced: text("/spec/scope") == "Namespaced",
            short_names: list("/spec/names/shortNames"),
            categories: list("/spec/names/categories"),
            status: version.pointer("/subresources/status").is_some(),
            scale,
            generation: Generation::Content,
            unconditional_update: false,
            columns: json::items(version, "/additionalPrinterColumns").iter().map(column).collect(),
            schema: Some(compiled(version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null))),
        });
    }
}

/// The schema, from memory where this process has compiled it before: rules take their time, and tests make clusters by the hundred.
fn compiled(tree: &Value) -> Arc<Schema> {
    static COMPILED: Mutex<BTreeMap<String, Arc<Schema>>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled.entry(tree.to_string()).or_insert_with(|| Arc::new(Schema::new(tree.clone()))).clone()
}

fn column(column: &Value) -> Column {
    let text = |path: &str| json::text(column, path).to_owned();
    Column { name: text("/name"), type_: text("/type"), path: text("/jsonPath"), priority: json::int(column, "/priority") }
}
