//! Kinds that definitions add. Their objects are stored as they are sent: what their schema and rules refuse is held to the real API server,
//! in `tests/api`.

use serde_json::Value;

use super::kinds::{Generation, Kind, Kinds, Scale};
use crate::sim::json;

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
            custom: true,
        });
    }
}
