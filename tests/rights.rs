//! The controller's rights, held against what it asked for: none was missing, and none is there for nothing. `tests/run` runs this last, on
//! the audit log of everything before; `STEPGATE_AUDIT` names the file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![allow(clippy::disallowed_methods, reason = "the test runner speaks through the environment")]

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Write},
    process::Command,
};

use serde_json::Value;

/// The account that `stepgate install` makes.
const ACCOUNT: &str = "system:serviceaccount:stepgate-system:stepgate";

/// API group, resource (with subresource), verb.
type Right = (String, String, String);

/// Rights that a good run may never use: what is read again after a conflict, which is nothing to be counted upon; and what no request is
/// for, but an API server may ask about where an ownerReference blocks its owner's deletion.
fn is_for_bad_days((_, resource, verb): &Right) -> bool {
    let read_again = verb == "get" && ["rollouts", "replicasets", "services", "pods"].contains(&resource.as_str());
    read_again || (resource == "deployments/finalizers" && verb == "update")
}

/// What `stepgate install` gives to the controller: the roles of its name.
fn granted() -> BTreeSet<Right> {
    let output = Command::new(env!("CARGO_BIN_EXE_stepgate")).args(["install", "--without-policies"]).output().expect("the built binary");
    let stream = String::from_utf8(output.stdout).expect("YAML is text");
    let objects = stream.split("\n---\n").map(|part| serde_saphyr::from_str::<Value>(part).expect("an object"));
    let roles = objects.filter(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        matches!(kind, "Role" | "ClusterRole") && object["metadata"]["name"] == "stepgate"
    });
    let lines: Vec<Value> = roles.flat_map(|role| role["rules"].as_array().expect("rules").clone()).collect();
    let words = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().expect("a list").iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in &lines {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                rights.extend(words(rule, "verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    assert!(rights.len() > 20, "the roles were not found: {rights:?}");
    rights
}

/// What the account asked for, and whether it was forbidden.
fn asked(line: &str) -> Option<(Right, bool)> {
    let event: Value = serde_json::from_str(line).expect("a line of the audit log is JSON");
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text("/user/username") != ACCOUNT || text("/objectRef/resource").is_empty() {
        return None;
    }
    let resource = match text("/objectRef/subresource") {
        subresource if subresource.is_empty() => text("/objectRef/resource"),
        subresource => format!("{}/{subresource}", text("/objectRef/resource")),
    };
    let forbidden = text("/annotations/authorization.k8s.io~1decision") == "forbid";
    Some(((text("/objectRef/apiGroup"), resource, text("/verb")), forbidden))
}

#[test]
fn are_all_used_and_none_is_missing() {
    let Some(path) = std::env::var_os("STEPGATE_AUDIT") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no audit log: set STEPGATE_AUDIT");
        writeln!(std::io::stderr(), "SKIPPED: no audit log (set STEPGATE_AUDIT)").expect("a standard error");
        return;
    };
    let log = BufReader::new(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let (mut used, mut forbidden) = (BTreeSet::new(), BTreeSet::new());
    for line in log.lines() {
        if let Some((right, was_forbidden)) = asked(&line.expect("a line")) {
            if was_forbidden {
                forbidden.insert(right)
            } else {
                used.insert(right)
            };
        }
    }
    assert!(forbidden.is_empty(), "asked for, and not allowed: {forbidden:#?}");
    let unused: Vec<Right> = granted().into_iter().filter(|right| !used.contains(right) && !is_for_bad_days(right)).collect();
    assert!(unused.is_empty(), "allowed, and never asked for: {unused:#?}");
}
