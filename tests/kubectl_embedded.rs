//! `stepgate demo --serve`, as its guest sees it: a real kubectl on the embedded cluster.
//!
//! Without kubectl (`STEPGATE_KUBECTL`, else `kubectl`) nothing is tested, which is said aloud; on CI that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

#[path = "kubectl/mod.rs"]
mod kubectl;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use kubectl::{Kubectl, eventually, say};
use serde_json::Value;
use tempfile::TempDir;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
/// A policy under which a release takes seconds.
const POLICY: &str = "
apiVersion: stepgate.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: quick}
spec:
  steps: [{weight: 50, hold: 200ms}, {weight: 100, hold: 200ms}]
  settle: 0s
  keepPrevious: 200ms
";
const ROLLOUT: &str = "
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {deployment: hello}
  services: [hello]
  policyRef: {name: quick}
";

/// A served demo; ended with this.
struct Demo {
    child: Child,
    kubectl: Kubectl,
    _home: TempDir,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A test that has failed has more to say than this.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

impl Demo {
    /// Starts one and waits until its Rollout is healthy.
    fn start() -> Option<Self> {
        let kubectl = env::var_os("STEPGATE_KUBECTL").unwrap_or_else(|| "kubectl".into());
        if Command::new(kubectl).args(["version", "--client"]).output().is_err() {
            assert!(env::var("CI").as_deref() != Ok("true"), "no kubectl: name it in STEPGATE_KUBECTL");
            say("SKIPPED: no kubectl (name it in STEPGATE_KUBECTL)");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        let child = Command::new(env!("CARGO_BIN_EXE_stepgate"))
            .args(["demo", "--serve", "--fast", "--kubeconfig"])
            .arg(&kubeconfig)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let demo = Self { child, kubectl: Kubectl::of(kubeconfig.clone()), _home: home };
        eventually("the kubeconfig is written", || fs::metadata(&kubeconfig).is_ok_and(|file| file.len() > 0));
        demo.kubectl.run(&["wait", "--for=jsonpath={.status.phase}=Healthy", "rollout/hello", "--timeout=60s"]);
        Some(demo)
    }
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn what_is_there_can_be_read_in_every_form() {
    let Some(demo) = Demo::start() else { return };
    let Demo { kubectl, .. } = &demo;
    let table = kubectl.run(&["get", "rollouts"]).out;
    let [header, row] = &table.lines().map(words).collect::<Vec<_>>()[..] else { panic!("{table}") };
    assert_eq!(header[..], ["NAME", "PHASE", "STEP", "WEIGHT", "STABLE", "CANARY", "AGE"]);
    assert_eq!(row[..2], ["hello", "Healthy"]);
    assert!(kubectl.run(&["get", "sgr", "-o", "wide"]).out.contains("serves all clients"), "the wide table says why");
    let deployment = kubectl.run(&["get", "deployment", "hello", "-o", "wide"]).out;
    assert_eq!(words(&deployment)[..9], ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR", "hello"]);
    assert!(deployment.contains("4/4") && deployment.contains("app=hello"), "{deployment}");
    assert_eq!(kubectl.run(&["get", "pods", "-l", "app=hello", "--no-headers"]).out.lines().count(), 4);
    assert!(kubectl.run(&["get", "all"]).out.contains("replicaset.apps/hello-"), "categories are known");
    let yaml = kubectl.run(&["get", "rollout", "hello", "-o", "yaml"]).out;
    assert!(yaml.contains("kind: Rollout") && yaml.contains("phase: Healthy"), "{yaml}");
    let described = kubectl.run(&["describe", "deployment", "hello"]).out;
    assert!(described.contains("4 desired | 4 updated | 4 total | 4 available"), "{described}");
    assert!(kubectl.run(&["describe", "rollout", "hello"]).out.contains("Phase:"), "a custom kind can be described");
    assert!(kubectl.run(&["explain", "rollout.spec.services"]).out.contains("The Services whose clients are moved"));
    assert!(kubectl.run(&["rollout", "status", "deployment/hello", "--timeout=10s"]).out.contains("successfully rolled out"));
}

#[test]
fn a_watch_shows_what_changes_when_it_changes() {
    let Some(demo) = Demo::start() else { return };
    let mut watch = demo.kubectl.command(&["get", "service", "hello", "-w", "-L", "tier"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().ends_with("TIER"));
    assert!(lines.next().unwrap().starts_with("hello "));
    demo.kubectl.run(&["label", "service", "hello", "tier=front"]);
    assert!(lines.next().unwrap().ends_with("front"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn the_example_is_applied_released_changed_and_deleted() {
    let Some(demo) = Demo::start() else { return };
    let cluster = &demo.kubectl;
    cluster.feed(&["create", "-f", "-"], "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let kubectl = &cluster.namespace("shop");
    let (deployment, service) = (format!("{EXAMPLE}/deployment.yaml"), format!("{EXAMPLE}/service.yaml"));
    let created = kubectl.run(&["apply", "-f", &deployment, "-f", &service]).out;
    assert_eq!(created, "deployment.apps/hello created\nservice/hello created\n");
    assert!(kubectl.feed(&["apply", "-f", "-"], &format!("{POLICY}---{ROLLOUT}")).out.contains("rollout.stepgate.dev/hello created"));
    let again = kubectl.run(&["apply", "-f", &deployment, "-f", &service]);
    assert_eq!((again.out.as_str(), again.err.as_str()), ("deployment.apps/hello unchanged\nservice/hello unchanged\n", ""));
    kubectl.run(&["rollout", "status", "deployment/hello", "--timeout=30s"]);
    kubectl.run(&["wait", "--for=jsonpath={.status.phase}=Healthy", "rollout/hello", "--timeout=30s"]);

    kubectl.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    assert!(kubectl.get(&["deployment", "hello"])["spec"]["paused"] == true, "the admission policy holds the new template");
    kubectl.run(&["wait", "--for=jsonpath={.status.stable.images[0]}=stepgate.test/hello:v2", "rollout/hello", "--timeout=60s"]);
    kubectl.run(&["wait", "--for=jsonpath={.status.phase}=Healthy", "rollout/hello", "--timeout=30s"]);
    kubectl.run(&["rollout", "status", "deployment/hello", "--timeout=30s"]);
    assert!(kubectl.run(&["get", "events"]).out.contains("Promoted"), "Events are told");

    kubectl.run(&["scale", "deployment/hello", "--replicas=3"]);
    kubectl.run(&["patch", "deployment", "hello", "--type=merge", "-p", r#"{"metadata":{"labels":{"by":"merge"}}}"#]);
    kubectl.run(&["patch", "deployment", "hello", "--type=json", "-p", r#"[{"op":"add","path":"/metadata/labels/json","value":"too"}]"#]);
    kubectl.run(&[
        "patch",
        "deployment",
        "hello",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello","imagePullPolicy":"Always"}]}}}}"#,
        "--dry-run=server",
    ]);
    let object = kubectl.get(&["deployment", "hello"]);
    assert_eq!(
        (&object["spec"]["replicas"], &object["metadata"]["labels"]["by"], &object["metadata"]["labels"]["json"]),
        (&3.into(), &"merge".into(), &"too".into())
    );
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent", "a dry run stores nothing");

    kubectl.run(&["delete", "rollout", "hello", "--timeout=30s"]);
    kubectl.run(&["delete", "-f", &deployment, "-f", &service, "--timeout=30s"]);
    eventually("the pods are collected", || kubectl.get(&["pods"])["items"].as_array().is_some_and(Vec::is_empty));
    cluster.run(&["delete", "namespace", "shop", "--timeout=30s"]);
}

#[test]
fn server_side_apply_keeps_what_others_own_and_names_them() {
    let Some(demo) = Demo::start() else { return };
    let cluster = &demo.kubectl;
    cluster.feed(&["create", "-f", "-"], "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let kubectl = &cluster.namespace("shop");
    let files = ["-f", &format!("{EXAMPLE}/deployment.yaml"), "-f", &format!("{EXAMPLE}/service.yaml")];
    let apply = |flags: &[&str]| kubectl.try_run(&[&["apply", "--server-side"], flags, &files].concat());
    assert_eq!(apply(&[]).out, "deployment.apps/hello serverside-applied\nservice/hello serverside-applied\n");
    kubectl.run(&["set", "env", "deployment/hello", "COLOUR=blue"]);
    kubectl.run(&["set", "image", "deployment/hello", "hello=stepgate.test/hello:v2"]);
    let refused = apply(&[]);
    let said =
        r#"Apply failed with 1 conflict: conflict with "kubectl-set" using apps/v1: .spec.template.spec.containers[name="hello"].image"#;
    assert!(!refused.ok && refused.err.contains(said), "{}", refused.err);
    assert!(apply(&["--force-conflicts"]).ok);
    let container = |deployment: Value| deployment["spec"]["template"]["spec"]["containers"][0].clone();
    let stored = container(kubectl.get(&["deployment", "hello"]));
    assert_eq!((&stored["image"], &stored["env"][0]["value"]), (&"stepgate.test/hello:v1".into(), &"blue".into()));
    let owners = kubectl.get(&["deployment", "hello", "--show-managed-fields"])["metadata"]["managedFields"].to_string();
    assert!(owners.contains(r#""manager":"kubectl","operation":"Apply""#), "{owners}");
}

#[test]
fn what_is_wrong_is_refused_in_the_words_of_a_real_server() {
    let Some(demo) = Demo::start() else { return };
    let Demo { kubectl, .. } = &demo;
    let refused = |manifest: &str| {
        let answer = kubectl.pipe(&["apply", "-f", "-"], manifest);
        assert!(!answer.ok, "taken: {manifest}");
        answer.err
    };
    assert_eq!(
        refused(&POLICY.replace("100", "90")),
        "The RolloutPolicy \"quick\" is invalid: spec: Invalid value: steps: the last step must have weight 100, because a release ends with \
         all clients on the new version; add {weight: 100}\n"
    );
    assert!(
        refused(&POLICY.replace("hold: 200ms", "hold: 5"))
            .contains(r#"* spec.steps[0].hold: Invalid value: "integer": spec.steps[0].hold in body must be of type string: "integer""#)
    );
    assert!(
        refused(&ROLLOUT.replace("services", "servces").replace("name: hello", "name: other")).contains(
            r#"Rollout in version "v1alpha1" cannot be handled as a Rollout: strict decoding error: unknown field "spec.servces""#
        )
    );
    assert!(refused("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: []}}").contains(r#"unknown field "spec.prots""#));
    let patch = |patch: &str| kubectl.try_run(&["patch", "rollout", "hello", "--type=merge", "-p", patch]);
    assert_eq!(patch(r#"{"spec":{"psued":true}}"#).err, "Warning: unknown field \"spec.psued\"\n");
    assert!(patch(r#"{"spec":{"workload":{"deployment":"other"}}}"#).err.contains("workload.deployment cannot be changed"));
    assert!(kubectl.try_run(&["get", "rollout", "nobody"]).err.contains(r#"rollouts.stepgate.dev "nobody" not found"#));
}
