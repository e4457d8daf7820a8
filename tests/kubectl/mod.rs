//! kubectl against the cluster of `STEPGATE_KUBECONFIG`: what a user types, and what a user sees.

// Each test target uses a part of it.
#![allow(dead_code)]

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The service account of the controller.
pub const STEPGATE: &str = "system:serviceaccount:stepgate-system:stepgate";

/// kubectl, speaking to the cluster under test as one of its users.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: OsString,
    flags: Vec<String>,
}

/// What kubectl answered.
#[derive(Debug)]
pub struct Answer {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

/// kubectl as the cluster's admin; nothing, said aloud, where there is no cluster. On CI a missing cluster is a failure.
pub fn cluster() -> Option<Kubectl> {
    let Some(kubeconfig) = env::var_os("STEPGATE_KUBECONFIG") else {
        assert!(env::var("CI").as_deref() != Ok("true"), "no cluster: set STEPGATE_KUBECONFIG");
        say("SKIPPED: no cluster (set STEPGATE_KUBECONFIG)");
        return None;
    };
    Some(Kubectl { kubeconfig, flags: Vec::new() })
}

/// Past the test runner's capture, which keeps what passing tests print to itself.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

impl Kubectl {
    /// kubectl with this kubeconfig, for any cluster.
    pub fn of(kubeconfig: impl Into<OsString>) -> Self {
        Self { kubeconfig: kubeconfig.into(), flags: Vec::new() }
    }

    fn with(&self, flags: &[&str]) -> Self {
        let mut other = self.clone();
        other.flags.extend(flags.iter().map(ToString::to_string));
        other
    }

    /// The same, as another user.
    pub fn user(&self, name: &str) -> Self {
        self.with(&["--as", name])
    }

    /// The same, in a namespace.
    pub fn namespace(&self, name: &str) -> Self {
        self.with(&["-n", name])
    }

    /// kubectl, about to be run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("STEPGATE_KUBECTL").unwrap_or_else(|| "kubectl".into()));
        command.env("KUBECONFIG", &self.kubeconfig).args(args).args(&self.flags);
        command
    }

    /// Runs kubectl, with a text on its standard input.
    pub fn pipe(&self, args: &[&str], input: &str) -> Answer {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl cannot be run; name it in STEPGATE_KUBECTL");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs kubectl, whatever comes of it.
    pub fn try_run(&self, args: &[&str]) -> Answer {
        self.pipe(args, "")
    }

    /// Runs kubectl, which has to succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Answer {
        let answer = self.try_run(args);
        assert!(answer.ok, "kubectl {args:?}: {}", answer.err);
        answer
    }

    /// Runs kubectl with a text on its standard input, which has to succeed.
    #[track_caller]
    pub fn feed(&self, args: &[&str], input: &str) -> Answer {
        let answer = self.pipe(args, input);
        assert!(answer.ok, "kubectl {args:?}: {}\n{input}", answer.err);
        answer
    }

    /// An object, or a list of them.
    #[track_caller]
    pub fn get(&self, args: &[&str]) -> Value {
        let answer = self.run(&[&["get", "-o", "json"], args].concat());
        serde_json::from_str(&answer.out).unwrap()
    }

    /// The environment for a script that calls kubectl itself.
    pub fn kubeconfig(&self) -> &OsString {
        &self.kubeconfig
    }
}

/// Waits until something is so, for half a minute.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A name that no other run has.
pub fn unique(name: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{:x}-{:x}", std::process::id(), nanos % 0xfff_ffff)
}

/// Applies the kinds and waits for them. Server-side, so that it does not matter who has applied them before.
pub fn apply_kinds(kubectl: &Kubectl) {
    kubectl.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &stepgate::cli::command::crds::stream().unwrap());
    for (name, _) in stepgate::cli::command::crds::definitions() {
        kubectl.run(&["wait", "--for=condition=Established", &format!("crd/{name}.stepgate.dev"), "--timeout=30s"]);
    }
}
