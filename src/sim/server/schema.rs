//! Kinds that definitions add: their schema, completed, pruned and checked.

use std::sync::Arc;

use serde_json::Value;

use super::{
    kinds::{Generation, Kind, Kinds, Scale},
    problem::Problem,
};
use crate::sim::json;

/// What a definition says about one version of its kind.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// `openAPIV3Schema`.
    pub open_api: Value,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Value>,
}

impl Schema {
    /// Prunes, defaults and validates an object.
    ///
    /// # Errors
    /// `Invalid` with one cause per violation.
    pub(super) fn complete(&self, _kind: &Arc<Kind>, _old: Option<&Value>, object: &mut Value) -> Result<(), Problem> {
        json::drop_nulls(object);
        Ok(())
    }
}

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
            custom: Some(Arc::new(Schema {
                open_api: version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default(),
                columns: json::items(version, "/additionalPrinterColumns").to_vec(),
            })),
        });
    }
}
