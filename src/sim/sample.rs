//! Objects to begin with: the `hello` application as a Deployment and its Service.

use serde_json::{Value, json};

/// A Deployment of `hello`: `/ready` probed every second, three seconds of serving after SIGTERM.
pub fn deployment(namespace: &str, name: &str, version: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": template(name, version),
        },
    })
}

/// The pod template of a version.
pub fn template(name: &str, version: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": name } },
        "spec": {
            "terminationGracePeriodSeconds": 10,
            "containers": [{
                "name": "app", "image": format!("hello:{version}"),
                "env": [{ "name": "VERSION", "value": version }],
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 1, "failureThreshold": 1 },
            }],
        },
    })
}

/// The same template with a setting of the application, such as `READY=never` or `FAIL=100`.
#[must_use]
pub fn with_env(mut template: Value, name: &str, value: &str) -> Value {
    if let Some(env) = template.pointer_mut("/spec/containers/0/env").and_then(Value::as_array_mut) {
        env.push(json!({ "name": name, "value": value }));
    }
    template
}

/// A Service on port 80 for the pods of `name`.
pub fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 80, "targetPort": "http" }] },
    })
}
