//! Objects as the rows that `kubectl get` prints: name and age.

use serde_json::{Value, json};

use crate::sim::json;

/// One object as a Table.
pub fn of_one(object: &Value) -> Value {
    let version = json::text(object, "/metadata/resourceVersion");
    of_list(std::slice::from_ref(object), &json!({ "resourceVersion": version }))
}

/// Objects as a Table.
pub fn of_list(objects: &[Value], metadata: &Value) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let partial = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] });
            json!({ "cells": [json::name(object), json::text(object, "/metadata/creationTimestamp")], "object": partial })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "rows": rows,
        "columnDefinitions": [
            { "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0 },
            { "name": "Created At", "type": "date", "format": "", "description": "", "priority": 0 },
        ],
    })
}
