//! simulate: the policy of several files, played.

use std::fs;

use tempfile::TempDir;

use crate::binary::run;

const POLICY: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: halves}
spec:
  steps: [{weight: 50, hold: 1m}, {weight: 100, hold: 1m}]
  gates: [{name: healthz, http: {path: /healthz, port: http, period: 1s}}]
";
const ROLLOUT: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {deployment: hello}
  services: [hello]
  policyRef: {name: halves}
";

/// Plays what is in these files.
fn simulate(files: &[(&str, &str)], words: &[&str]) -> (Option<i32>, String, String) {
    let folder = TempDir::new().unwrap();
    let mut args = vec!["simulate".to_owned()];
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        args.extend(["-f".to_owned(), path.display().to_string()]);
    }
    args.extend(words.iter().map(ToString::to_string));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (code, out, err) = run("stepgate", &args);
    (code, out, err.replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_rollout_is_played_with_the_policy_that_its_reference_names() {
    let other = POLICY.replace("halves", "other").replace("weight: 50", "weight: 10");
    let files = [("other.yaml", other.as_str()), ("rollout.yaml", ROLLOUT), ("policy.yaml", POLICY)];
    let (code, out, err) = simulate(&files, &["--app", "fails 100% from 50%"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("taken_back", out);
}

#[test]
fn a_preset_needs_no_file() {
    let rollout = ROLLOUT.replace("{name: halves}", "{kind: ClusterRolloutPolicy, name: blue-green}");
    let (code, out, err) = simulate(&[("rollout.yaml", &rollout)], &["--replicas", "2"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    // A request more or less at the flip is a matter of a millisecond.
    let (told, counted) = out.split_once("\n\n weight").expect("a table");
    insta::assert_snapshot!("preset", told);
    assert!(counted.contains("\n0 of 72") && counted.ends_with(" requests would have failed\n"), "{counted}");
}

#[test]
fn what_is_wrong_is_named_with_its_field() {
    let broken = POLICY.replace("weight: 50", "weight: 0");
    for (files, sentence) in [
        (
            vec![("rollout.yaml", ROLLOUT)],
            "stepgate: RolloutPolicy halves (policyRef of Rollout hello) is in none of the files; add its file with -f\n",
        ),
        (
            vec![("rollout.yaml", ROLLOUT), ("policy.yaml", &broken)],
            "stepgate: policy.yaml:5:12: spec.steps[0].weight: Invalid value: 0: spec.steps[0].weight in body should be greater than or equal to 1\n",
        ),
    ] {
        let (code, out, err) = simulate(&files, &[]);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", sentence));
    }
}
