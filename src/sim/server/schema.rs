//! Kinds that definitions add, and their schemas.

use std::sync::Arc;

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
            unconditional_update: true,
            columns: json::items(version, "/additionalPrinterColumns").iter().map(column).collect(),
            schema: Some(Arc::new(Schema::new(version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default()))),
        });
    }
}

fn column(column: &Value) -> Column {
    let text = |path: &str| json::text(column, path).to_owned();
    Column { name: text("/name"), type_: text("/type"), path: text("/jsonPath"), priority: json::int(column, "/priority") }
}
