//! A namespace of the cluster for one test.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kubectl::{Kubectl, cluster, eventually, unique};

/// It is deleted with everything in it when this is dropped.
pub struct Namespace {
    pub name: String,
    pub kubectl: Kubectl,
    admin: Kubectl,
}

impl Namespace {
    pub fn create(name: &str) -> Self {
        let (name, admin) = (unique(name), cluster().unwrap());
        admin.run(&["create", "namespace", &name]);
        Self { kubectl: admin.namespace(&name), admin, name }
    }

    /// Lets user `author` write Rollouts, and update the Deployment and the Service named `mine`.
    pub fn let_the_author_write_rollouts(&self) {
        let role = |name: &str, rest: &[&str]| drop(self.kubectl.run(&[&["create", "role", name], rest].concat()));
        role("rollouts", &["--verb=create,update", "--resource=rollouts.stepgate.dev"]);
        role("mine", &["--verb=update", "--resource=deployments.apps", "--resource=services", "--resource-name=mine"]);
        for role in ["rollouts", "mine"] {
            self.kubectl.run(&["create", "rolebinding", role, &format!("--role={role}"), "--user=author"]);
        }
        let author = self.kubectl.user("author");
        eventually("the author has his rights", || {
            author.try_run(&["auth", "can-i", "create", "rollouts.stepgate.dev"]).ok
                && author.try_run(&["auth", "can-i", "update", "services/mine"]).ok
        });
    }

    pub fn make(&self, objects: &[Value]) {
        self.kubectl.feed(&["create", "-f", "-"], &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
    }

    /// All objects of a kind, by name.
    pub fn all(&self, kind: &str) -> BTreeMap<String, Value> {
        let list = self.kubectl.get(&[kind]);
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(|object| (name(object), object.clone())).collect()
    }

    /// The versions of everything that the controller could write.
    pub fn versions(&self) -> BTreeMap<String, Value> {
        let kinds = "rollouts.stepgate.dev,deployments,replicasets,pods,services,events.events.k8s.io";
        let list = self.kubectl.get(&[kinds]);
        let version =
            |object: &Value| (format!("{} {}", object["kind"], object["metadata"]["name"]), object["metadata"]["resourceVersion"].clone());
        list["items"].as_array().unwrap().iter().map(version).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever fails here must not hide why a test failed.
        let rollouts = self.kubectl.try_run(&["get", "rollouts.stepgate.dev", "-o", "name"]).out;
        for rollout in rollouts.lines() {
            self.kubectl.try_run(&["patch", rollout, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
        }
        self.admin.try_run(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
