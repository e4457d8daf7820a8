//! The program itself: its name, its exit codes, where it prints what.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};

/// Runs the program under a name: its exit code, what it printed, what it complained of.
pub fn run(name: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_stepgate")).arg0(name).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn what_is_no_command_line_ends_with_2_and_the_usage_of_the_name_it_was_called_by() {
    for (name, usage) in
        [("stepgate", "Usage: stepgate promote <NAME>"), ("/bin/kubectl-stepgate", "Usage: kubectl stepgate promote <NAME>")]
    {
        let (code, out, err) = run(name, &["promote"]);
        assert!(code == Some(2) && out.is_empty() && err.contains(usage), "{code:?} {out} {err}");
    }
}

#[test]
fn an_error_ends_with_1_and_stands_on_stderr() {
    let (code, out, err) = run("kubectl-stepgate", &["status", "--kubeconfig", "/nowhere"]);
    assert!(code == Some(1) && out.is_empty(), "{code:?} {out}");
    assert!(err.starts_with("kubectl stepgate: --kubeconfig /nowhere cannot be read: "), "{err}");
}

#[test]
fn what_was_found_ends_with_1_and_stands_on_stdout_without_colours() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let object =
        "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: half}, spec: {steps: [{weight: 50}, {weight: 100}]}}";
    std::fs::write(file.path(), object).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, out, err) = run("stepgate", &["plan", "--replicas", "2", "-f", path]);
    assert!(code == Some(0) && out.contains("RolloutPolicy half") && err.is_empty(), "{code:?} {out} {err}");
    assert!(!out.contains('\u{1b}'), "{out:?}");
    std::fs::write(file.path(), object.replace("50", "0")).unwrap();
    let (code, out, err) = run("stepgate", &["lint", "-f", path]);
    assert!(code == Some(1) && out.contains("should be greater than or equal to 1") && err.is_empty(), "{code:?} {out} {err}");
}

#[test]
fn what_several_files_tell_together_is_linted_in_the_file_of_the_rollout() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, object: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, object).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rollout = write(
        "rollout.yaml",
        "{apiVersion: stepgate.dev/v1alpha1, kind: Rollout, metadata: {name: hello}, spec: {workload: {deployment: hello}, services: [hello], policy: {steps: [{weight: 100}]}}}",
    );
    let service = write("service.yaml", "{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {ports: [{port: 80}]}}");
    let said = "1:126: Service hello (services) has no selector, so its clients cannot be moved by one; give it a selector, or take it off the list";
    let (code, out, err) = run("stepgate", &["lint", "-f", &service, &rollout]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert_eq!(out, format!("{rollout}:{said}\n1 problem in 1 object, as far as can be told without Deployment hello\n"));
    let (code, out, err) = run("stepgate", &["plan", "--replicas", "2", "-f", &service, &rollout]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, format!("stepgate: {rollout}:{said}; stepgate lint finds all such problems\n"));
}

#[test]
fn a_wait_that_is_no_command_line_ends_with_2() {
    for (args, complaint) in [
        (&["wait", "hello"][..], "--for <WHAT>"),
        (&["wait", "hello", "--for", "done"], "[possible values: succeeded, paused, rolled-back]"),
        (&["wait", "hello", "--for", "paused", "--timeout", "soon"], "invalid value 'soon'"),
    ] {
        let (code, out, err) = run("stepgate", args);
        assert!(code == Some(2) && out.is_empty() && err.contains(complaint), "{args:?}: {code:?} {out} {err}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    for args in [&["presets"][..], &["install"], &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_stepgate"))
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert!(status.code() == Some(0) && stderr.is_empty(), "{args:?}: {status:?} {}", String::from_utf8_lossy(&stderr));
    }
}
