//! The built controller as a child process.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio::time;

/// A controller that watches one namespace, unless it is told to watch all. It is killed when this is dropped.
pub struct Controller {
    kubeconfig: PathBuf,
    namespace: Option<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Controller {
    pub fn new(kubeconfig: &Path, namespace: &str, folder: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), namespace: Some(namespace.to_owned()), log: folder.join("controller.log"), child: None }
    }

    /// From its next start on.
    pub fn watch_all_namespaces(&mut self) {
        self.namespace = None;
    }

    /// Starts it; its log is appended to.
    pub fn start(&mut self) {
        let log = open(&self.log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepgate"));
        command.args(["controller", "--health-addr="]).env("KUBECONFIG", &self.kubeconfig);
        if let Some(namespace) = &self.namespace {
            command.args(["--watch-namespace", namespace]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("the built controller"));
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it had ended by itself, which the scenario will notice.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; returns its exit status.
    pub async fn sigterm(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running controller");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("the program `kill`");
        assert!(killed.success(), "the controller had ended before it was asked to");
        for _ in 0..100 {
            if let Some(status) = child.try_wait().expect("a child's status") {
                return status;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        let _ = child.kill();
        panic!("the controller did not end within 5 s of SIGTERM");
    }

    /// Whether it was started, and not ended since.
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child's status")
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the controller's log")
}
