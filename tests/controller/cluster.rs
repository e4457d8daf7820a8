//! The cluster under test: the way to it, and what `stepgate install` puts there once.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Where `stepgate install` puts the controller and its service account.
pub const SYSTEM: &str = "stepgate-system";

/// What a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reality {
    /// The programs of Kubernetes.
    Real,
    /// `stepgate::sim`, as `examples/embedded.rs` serves it.
    Embedded,
}

/// The cluster that `STEPGATE_KUBECONFIG` names, with everything installed but the controller.
#[derive(Clone)]
pub struct Cluster {
    pub kubeconfig: PathBuf,
    /// Access as the controller's service account.
    pub controller: PathBuf,
    pub reality: Reality,
}

impl Cluster {
    /// None, said aloud, if `STEPGATE_KUBECONFIG` is not set; on CI that is a failure. Installs what is missing, once for all tests of all
    /// processes.
    pub fn from_env() -> Option<Self> {
        static INSTALLED: OnceLock<Option<Cluster>> = OnceLock::new();
        let cluster = INSTALLED.get_or_init(|| Some(Self::install(PathBuf::from(std::env::var_os("STEPGATE_KUBECONFIG")?)))).clone();
        if cluster.is_none() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no cluster: set STEPGATE_KUBECONFIG");
            // Past the test runner's capture, which keeps what passing tests print to itself.
            writeln!(std::io::stderr(), "SKIPPED: no cluster (set STEPGATE_KUBECONFIG)").expect("a standard error");
        }
        cluster
    }

    fn install(kubeconfig: PathBuf) -> Self {
        let folder = folder();
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        let lock = File::create(folder.join("install.lock")).expect("a lock file");
        lock.lock().expect("the lock of the installation");
        let objects = stepgate(&["install", "--without-controller"]);
        let digest = format!("{:?}", Sha256::digest(&objects));
        let on = |args: &[&str], input: &[u8]| try_kubectl(&kubeconfig, args, input);
        let known =
            on(&["-n", SYSTEM, "get", "configmap", "e2e", "--ignore-not-found", "-o", "jsonpath={.data.digest}"], b"").unwrap_or_default();
        if known != digest {
            // Kinds first: the rest may speak of them, and an API server takes a moment to serve a new one.
            let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
            let crds = stepgate(&["crds"]);
            on(&apply, &crds).expect("the kinds");
            on(&["wait", "--for=condition=Established", "--timeout=30s", "-f", "-"], &crds).expect("the kinds to be served");
            on(&apply, &objects).expect("the installation");
            let record = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e2e", "namespace": SYSTEM}, "data": {"digest": digest}});
            on(&apply, record.to_string().as_bytes()).expect("the record of the installation");
        }
        let token =
            on(&["-n", SYSTEM, "create", "token", "stepgate", "--duration=8h"], b"").expect("a token of the controller's service account");
        let controller = folder.join(format!("controller-{}.conf", std::process::id()));
        write_kubeconfig(&kubeconfig, token.trim(), &controller);
        let version = on(&["get", "--raw", "/version"], b"").expect("the version of the API server");
        let reality = if version.contains("stepgate/sim") { Reality::Embedded } else { Reality::Real };
        Self { kubeconfig, controller, reality }
    }

    /// `kubectl` with the rights of the tests, in this namespace.
    ///
    /// # Errors
    /// What it printed, if it failed.
    pub fn kubectl(&self, namespace: &str, args: &[&str], input: &str) -> Result<String, String> {
        let args: Vec<&str> = ["-n", namespace].iter().chain(args).copied().collect();
        try_kubectl(&self.kubeconfig, &args, input.as_bytes())
    }

    /// A client with the rights of the tests, not of the controller.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("the kubeconfig of STEPGATE_KUBECONFIG");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a usable kubeconfig");
        Client::try_from(config).expect("a client")
    }
}

/// Where the tests keep files: logs of failures, kubeconfigs.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e")
}

/// The cluster's address and CA with another identity: the test kubeconfig's current context is the one that counts.
fn write_kubeconfig(from: &Path, token: &str, to: &Path) {
    let mut config = Kubeconfig::read_from(from).expect("the kubeconfig of STEPGATE_KUBECONFIG");
    for user in &mut config.auth_infos {
        user.auth_info = Some(serde_json::from_value(json!({"token": token})).expect("a token is an identity"));
    }
    let text = serde_json::to_string(&config).expect("a kubeconfig is JSON");
    fs::write(to, text).expect("the controller's kubeconfig");
}

fn stepgate(args: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_stepgate")).args(args).output().expect("the built binary");
    assert!(output.status.success(), "stepgate {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `kubectl` as the tests; `KUBECTL` names another one. What it printed is the error, if it failed.
fn try_kubectl(kubeconfig: &Path, args: &[&str], input: &[u8]) -> Result<String, String> {
    let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl (set KUBECTL where it is not on the PATH)");
    // A kubectl that has ended before it read everything says why on its standard error.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let output = child.wait_with_output().expect("kubectl's output");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
