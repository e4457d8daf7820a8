//! What kubectl shows of the kinds: warnings, columns, explanations.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepgate::cli::command::crds;

use crate::kubectl::{Answer, Kubectl, apply_kinds, cluster, unique};

/// An object of one of our kinds from its spec in YAML.
fn object(kind: &str, spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    json!({ "apiVersion": "stepgate.dev/v1alpha1", "kind": kind, "metadata": { "name": "row" }, "spec": spec })
}

/// The warnings of an apply, but for kubectl's own about an object that somebody has made in another way before.
fn warnings(answer: &Answer) -> Vec<&str> {
    answer.err.lines().filter(|line| !line.contains("last-applied-configuration")).collect()
}

fn namespace(kubectl: &Kubectl) -> (String, Kubectl) {
    let name = unique("stepgate-api");
    kubectl.run(&["create", "namespace", &name]);
    let inside = kubectl.namespace(&name);
    (name, inside)
}

#[test]
fn the_kinds_apply_without_a_warning_from_either_side() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let text = crds::stream().unwrap();
    for args in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        let answer = kubectl.feed(args, &text);
        assert_eq!(warnings(&answer), Vec::<&str>::new());
    }
    for (name, _) in crds::definitions() {
        let definition = kubectl.get(&["crd", &format!("{name}.stepgate.dev")]);
        let condition = |kind: &str| {
            let conditions = definition["status"]["conditions"].as_array().unwrap();
            conditions.iter().find(|c| c["type"] == kind).map(|c| c["status"].as_str().unwrap().to_owned())
        };
        assert_eq!(condition("Established").as_deref(), Some("True"));
        assert_ne!(condition("NonStructuralSchema").as_deref(), Some("True"));
    }
}

#[test]
fn kubectl_explains_every_field_of_a_rollout() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let workload = kubectl.run(&["explain", "rollout.spec.workload"]).out;
    for part in [
        "What is released.",
        "deployment",
        "versions",
        "live",
        "Name of the Deployment to release.",
        "allowOverlap",
        "strategy",
        "ReadWriteOnce",
    ] {
        assert!(workload.contains(part), "{part:?} is not in {workload}");
    }
    let gate = kubectl.run(&["explain", "rolloutpolicy.spec.gates.http"]).out;
    assert!(gate.contains("An HTTP request to every ready canary pod") && gate.contains("failureThreshold"), "{gate}");
    assert!(!kubectl.run(&["explain", "rollout.spec", "--recursive"]).out.contains("<empty>"));
}

#[test]
fn the_columns_tell_where_a_rollout_stands() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let (name, kubectl) = namespace(&kubectl);
    kubectl.feed(
        &["create", "-f", "-"],
        &object("Rollout", "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}}").to_string(),
    );
    let status = r#"{"status": {"phase": "Progressing", "why": "holding for 20 s", "stable": {"revision": "aaaaaaaaaa", "ready": 4, "replicas": 4},
        "canary": {"revision": "bbbbbbbbbb", "ready": 1, "replicas": 1}, "traffic": {"desired": 25},
        "step": {"index": 1, "of": 4, "display": "1/4", "weight": 25}}}"#;
    kubectl.run(&["patch", "sgr", "row", "--subresource=status", "--type=merge", "-p", status]);
    let table = kubectl.run(&["get", "sgr", "-o", "wide"]).out;
    let columns = |line: usize| table.lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown: BTreeMap<_, _> = columns(0).into_iter().zip(columns(1)).collect();
    let expected =
        [("NAME", "row"), ("PHASE", "Progressing"), ("STEP", "1/4"), ("WEIGHT", "25"), ("STABLE", "aaaaaaaaaa"), ("CANARY", "bbbbbbbbbb")];
    for (column, value) in expected {
        assert_eq!(shown.get(column).map(String::as_str), Some(value), "{table}");
    }
    assert!(table.contains("holding for 20 s"), "{table}");
    assert!(!kubectl.run(&["get", "sgr"]).out.contains("WHY"));
    assert!(kubectl.run(&["get", "stepgate"]).out.contains("/row "), "the category");
    kubectl.run(&["delete", "namespace", &name, "--wait=false"]);
}

#[test]
fn the_columns_of_a_policy_show_how_it_begins_and_ends() {
    let Some(kubectl) = cluster() else { return };
    apply_kinds(&kubectl);
    let (name, kubectl) = namespace(&kubectl);
    kubectl.feed(&["create", "-f", "-"], &object("RolloutPolicy", "{steps: [{weight: 25}, {weight: 100}]}").to_string());
    let table = kubectl.run(&["get", "sgp"]).out;
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["row", "25", "Adopt"], "{table}");
    kubectl.run(&["delete", "namespace", &name, "--wait=false"]);
}
