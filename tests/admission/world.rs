//! A namespace with a Deployment, a Service and the Rollout that names them, under all policies.

use std::{process::Command, sync::OnceLock, thread, time::Duration};

use serde_json::{Value, json};

use crate::kubectl::{Answer, Kubectl, STEPGATE, cluster, eventually, unique};

/// The policies see a Rollout through a watch: within 70 ms, as far as was seen.
const WATCHED: Duration = Duration::from_millis(500);

/// Two templates that differ.
pub const V1: &str = "stepgate.test/hello:v1";
pub const V2: &str = "stepgate.test/hello:v2";

/// What a test works with.
pub struct World {
    /// The cluster's admin, in the namespace.
    pub user: Kubectl,
    /// The controller's account, in the namespace.
    pub stepgate: Kubectl,
    /// The same as `user`, in no namespace.
    pub admin: Kubectl,
    pub namespace: String,
}

/// What `stepgate` prints.
pub fn stepgate(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stepgate")).args(args).output().unwrap();
    assert!(output.status.success(), "stepgate {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Kinds, rights and policies, once a run. They stay: others may work on the same cluster.
fn install(admin: &Kubectl) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        admin.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &stepgate(&["install", "--without-controller"]));
        crate::kubectl::apply_kinds(admin);
    });
}

impl World {
    /// Everything at rest: hello runs v1, three of it, and the Rollout has it recorded as the live version.
    pub fn at_rest(test: &str) -> Option<Self> {
        let world = Self::bare(test, &[])?;
        world.set_status(&json!({ "phase": "Healthy", "stable": { "revision": "1111111111", "hash": "h1", "ready": 3, "replicas": 3 } }));
        // In a fresh cluster the policies themselves take seconds to come into effect.
        eventually("the pause policy is in effect", || world.pauses_in_a_dry_run());
        eventually("the pin policy is in effect", || {
            let dry = world.user.run(&["patch", "service", "hello", "--dry-run=server", "-o", "json", "--type=merge", "-p", PIN]);
            !dry.out.contains("h1")
        });
        Some(world)
    }

    /// The same, with a Rollout that has no status, in a namespace with labels.
    pub fn bare(test: &str, labels: &[&str]) -> Option<Self> {
        let admin = cluster()?;
        install(&admin);
        let namespace = unique(&format!("stepgate-{test}"));
        admin.run(&["create", "namespace", &namespace]);
        if !labels.is_empty() {
            admin.run(&[&["label", "namespace", &namespace], labels].concat());
        }
        let user = admin.namespace(&namespace);
        let world = Self { stepgate: user.user(STEPGATE), user, admin, namespace };
        for object in [deployment("hello", V1), service("hello"), rollout("hello", "hello", &["hello"])] {
            world.user.feed(&["apply", "-f", "-"], &object.to_string());
        }
        eventually("the controller manager has seen hello", || {
            let hello = world.hello();
            hello["status"]["observedGeneration"] == hello["metadata"]["generation"]
        });
        Some(world)
    }

    pub fn hello(&self) -> Value {
        self.user.get(&["deployment", "hello"])
    }

    pub fn paused(&self) -> bool {
        self.hello()["spec"]["paused"] == true
    }

    pub fn selector(&self) -> Value {
        self.user.get(&["service", "hello"])["spec"]["selector"].clone()
    }

    /// Replaces parts of the Rollout's status, and waits until the policies have seen it.
    pub fn set_status(&self, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        self.user.run(&["patch", "rollout", "hello", "--subresource=status", "--type=merge", "-p", &patch]);
        thread::sleep(WATCHED);
    }

    /// The status of a release at its second step, canary revision 2222222222.
    pub fn in_release(&self) {
        self.set_status(&json!({
            "phase": "Progressing",
            "canary": { "revision": "2222222222", "ready": 3, "replicas": 3 },
            "release": {
                "revision": "2222222222", "startedAt": "2026-01-01T00:00:00Z", "size": 3,
                "policy": { "steps": [{ "weight": 50 }, { "weight": 100 }] },
            },
            "step": { "index": 1, "of": 2, "display": "1/2", "weight": 50 },
        }));
    }

    /// The Rollout on its way out, kept by its finalizer as if the controller were dead.
    pub fn terminating(&self) {
        self.user.run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"metadata": {"finalizers": ["stepgate.dev/rollout"]}}"#]);
        self.user.run(&["delete", "rollout", "hello", "--wait=false"]);
        thread::sleep(WATCHED);
    }

    /// How the controller finds out whether the pause policy is in effect: a change of the template that is never stored.
    pub fn pauses_in_a_dry_run(&self) -> bool {
        let answer = self.stepgate.run(&["patch", "deployment", "hello", "--dry-run=server", "-o", "json", "--type=merge", "-p", ANNOTATE]);
        serde_json::from_str::<Value>(&answer.out).unwrap()["spec"]["paused"] == true
    }

    /// Writes hello as the Deployment controller does, which replaces the whole object; again where the real one was faster.
    pub fn as_deployment_controller(&self, change: impl Fn(&mut Value)) -> Answer {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/hello", self.namespace);
        let controller = self.user.user("system:serviceaccount:kube-system:deployment-controller");
        for _ in 0..10 {
            let mut hello = self.hello();
            change(&mut hello);
            let answer = controller.pipe(&["replace", "--raw", &path, "-f", "-"], &hello.to_string());
            if !answer.err.contains("(Conflict)") {
                assert!(answer.ok, "{}", answer.err);
                return answer;
            }
        }
        panic!("hello was written by somebody else ten times in a row");
    }

    /// Takes hello back to v1 and unpauses it in one write, as the controller: no pod is touched.
    pub fn reset(&self) {
        let template = &deployment("hello", V1)["spec"]["template"];
        let patch = json!([
            { "op": "replace", "path": "/spec/template", "value": template },
            { "op": "add", "path": "/spec/paused", "value": false },
        ]);
        self.stepgate.run(&["patch", "deployment", "hello", "--type=json", "-p", &patch.to_string()]);
        assert!(!self.paused());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Without the finalizer that some tests set; whatever fails here must not hide why a test failed.
        self.user.try_run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
        self.admin.try_run(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// A change of the template that changes no container.
pub const ANNOTATE: &str = r#"{"spec": {"template": {"metadata": {"annotations": {"example.com/probe": "1"}}}}}"#;
/// A pin of a Service.
pub const PIN: &str = r#"{"spec": {"selector": {"pod-template-hash": "h1"}}}"#;

pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                // Not asked to be ready, nor to run: these tests are about writes.
                "spec": { "containers": [{ "name": "hello", "image": image }], "terminationGracePeriodSeconds": 0 },
            },
        },
    })
}

pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": "hello" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    })
}

pub fn rollout(name: &str, deployment: &str, services: &[&str]) -> Value {
    json!({
        "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": { "name": name },
        "spec": { "workload": { "deployment": deployment }, "services": services, "policy": { "steps": [{ "weight": 50 }, { "weight": 100 }] } },
    })
}

/// Sets a field of a manifest.
pub fn with(mut manifest: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    manifest.pointer_mut(parent).unwrap()[field] = value.into();
    manifest
}

/// Every way to write a whole manifest.
pub const WHOLE: [(&str, &[&str]); 3] = [
    ("apply", &["apply", "-f", "-"]),
    ("server-side apply", &["apply", "--server-side", "--force-conflicts", "-f", "-"]),
    ("replace", &["replace", "-f", "-"]),
];

/// Whether an answer carries the warning about a held Deployment.
pub fn warned(answer: &Answer) -> bool {
    answer.err.contains("Warning:") && answer.err.contains("is held (spec.paused) by Stepgate Rollout")
}
