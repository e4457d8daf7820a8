//! `stepgate demo` as a stranger runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test ends where it finds what must not be")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

fn stepgate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stepgate"))
}

#[test]
fn all_releases_go_as_told_and_no_request_fails() {
    let output = stepgate().args(["demo", "--fast", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let seen = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{seen}");
    let releases = report["releases"].as_array().unwrap();
    let outcomes: Vec<(&Value, &Value)> = releases.iter().map(|release| (&release["scenario"], &release["outcome"])).collect();
    let expected = [("good", "Promoted"), ("bad", "RolledBack"), ("crash", "RolledBack")].map(|(name, end)| (json!(name), json!(end)));
    assert_eq!(outcomes, expected.iter().map(|(name, end)| (name, end)).collect::<Vec<_>>(), "{seen}");
    assert_eq!((&report["asTold"], &report["failed"]), (&json!(true), &json!(0)), "{seen}");
    assert_eq!(releases[0]["keptPods"].as_array().map(Vec::len), Some(4), "{seen}");
    assert!(report["answers"]["v4"].is_null(), "{seen}");
    assert!(report["requests"].as_u64() > Some(1000), "{seen}");
}

#[test]
fn through_a_pipe_a_release_is_told_in_plain_lines() {
    let output = stepgate().args(["demo", "--fast", "--scenario", "good"]).env("TERM", "xterm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    for part in ["kubectl set image deployment/hello hello=stepgate.test/hello:v2", "promoted by adoption", "; 0 failed"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn an_interrupted_demo_ends_at_once_and_says_so() {
    let demo = stepgate().args(["demo", "--fast"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let interrupted = Instant::now();
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    let output = demo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
}
