//! Every block of a page, in order, on the cluster: in a namespace of its own, with a controller of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kube::config::Kubeconfig;

use crate::{
    controller::{self, Cluster, Controller},
    kubectl::{Kubectl, cluster, unique},
    page::{Block, Kind, blocks},
};

/// The longest that one block may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A `kubectl` of which every write is a dry run: others work on this cluster, and `tests/installed` does the same for real.
const DRY_KUBECTL: &str = r#"#!/bin/sh
for word in "$@"; do
  case $word in
  apply | create | delete | patch | label | annotate | replace | scale | set | edit) exec KUBECTL "$@" --dry-run=server ;;
  esac
done
exec KUBECTL "$@"
"#;

/// The application of the first release, at rest.
const AT_REST: &str = "\
kubectl apply -f hello.yaml -f rollout.yaml
kubectl wait --for=jsonpath='{.status.phase}'=Healthy rollout/hello --timeout=60s
";

/// From there to a release of v2 that is held at 50 %.
const IN_A_RELEASE: &str = r#"
kubectl patch rollout hello --type merge -p '{"spec": {"policy": {"steps": [{"weight": 50, "hold": "1h"}, {"weight": 100}]}}}'
kubectl set image deployment/hello hello=stepgate.test/hello:v2
kubectl wait --for=jsonpath='{.status.traffic.routed}'=50 rollout/hello --timeout=60s
"#;

/// What there is before the first block of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// The files of the first release, and nothing applied.
    Files,
    /// The first release's application at rest.
    AtRest,
    /// The same in the middle of a release, with the controller dead.
    ControllerDead,
}

/// A reader at work.
pub struct Reader {
    namespace: String,
    admin: Kubectl,
    controller: Controller,
    /// Where files are saved, and the log of the controller is.
    folder: PathBuf,
}

impl Reader {
    pub fn new(page: &str, installed: &Cluster) -> Self {
        let (namespace, admin) = (unique(&format!("docs-{page}")), cluster().unwrap());
        admin.run(&["create", "namespace", &namespace]);
        let folder = controller::folder().join(&namespace);
        fs::create_dir_all(folder.join("dry")).unwrap();
        let mut kubeconfig = Kubeconfig::read_from(&installed.kubeconfig).unwrap();
        for context in kubeconfig.contexts.iter_mut().filter_map(|context| context.context.as_mut()) {
            context.namespace = Some(namespace.clone());
        }
        fs::write(folder.join("kubeconfig"), serde_json::to_string(&kubeconfig).unwrap()).unwrap();
        let reader = Self { controller: Controller::new(&installed.controller, &namespace, &folder), namespace, admin, folder };
        reader.write_dry_kubectl();
        reader
    }

    fn write_dry_kubectl(&self) {
        let which = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap();
        let kubectl = String::from_utf8(which.stdout).unwrap();
        let shim = self.folder.join("dry/kubectl");
        fs::write(&shim, DRY_KUBECTL.replace("KUBECTL", kubectl.trim())).unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts the controller.
    pub fn start(&mut self) {
        self.controller.start();
    }

    fn save(&self, block: &Block) {
        if let Some(file) = block.file() {
            fs::write(self.folder.join(file), &block.text).unwrap();
        }
    }

    fn do_block(&self, block: &Block) {
        match block.kind {
            Kind::Manifest => {
                self.save(block);
                fs::write(self.folder.join("block.yaml"), &block.text).unwrap();
                self.shell("kubectl apply --dry-run=server -f block.yaml", &block.at, Dry::No);
            }
            Kind::Shell => self.shell(&block.text, &block.at, Dry::No),
            Kind::ShellDryRun => {
                // What follows would take Stepgate out of the cluster, were it not for the other kubectl.
                let found = format!("test \"$(command -v kubectl)\" = '{}'", self.folder.join("dry/kubectl").display());
                self.shell(&format!("{found}\n{}", block.text), &block.at, Dry::Yes);
            }
        }
    }

    /// Runs commands as a reader's shell would, and ends with the first that fails.
    pub fn shell(&self, commands: &str, at: &str, dry: Dry) {
        let built = Path::new(env!("CARGO_BIN_EXE_stepgate")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = match dry {
            Dry::Yes => format!("{}:{}:{path}", self.folder.join("dry").display(), built.display()),
            Dry::No => format!("{}:{path}", built.display()),
        };
        let log = fs::File::create(self.folder.join("output")).unwrap();
        let mut child = Command::new("sh")
            .args(["-euc", commands])
            .current_dir(&self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let output = fs::read_to_string(self.folder.join("output")).unwrap();
        println!("{at} ({:.1?})\n{commands}{output}", start.elapsed());
        assert!(
            status.is_some_and(|status| status.success()),
            "{at}: {status:?}\n{commands}---- said\n{output}---- controller\n{}",
            self.controller.tail(30)
        );
    }

    /// Everything that the page has made goes, while its controller can still let go of it.
    pub fn leave(self) {
        self.admin.namespace(&self.namespace).run(&["delete", "rollouts.stepgate.dev", "--all", "--timeout=60s"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether writes are to be dry runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dry {
    Yes,
    No,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Whatever fails here must not hide why a test failed.
        let namespace = self.admin.namespace(&self.namespace);
        for rollout in ["hello", "worker"] {
            namespace.try_run(&["patch", "rollout", rollout, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
        }
        self.admin.try_run(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn read(page: &str, begin: Begin) {
    let Some(installed) = Cluster::from_env() else { return };
    let mut reader = Reader::new(page.trim_end_matches(".md"), &installed);
    for block in blocks("first-release.md") {
        reader.save(&block);
    }
    reader.start();
    if begin != Begin::Files {
        reader.shell(AT_REST, "before the page", Dry::No);
    }
    if begin == Begin::ControllerDead {
        reader.shell(IN_A_RELEASE, "before the page", Dry::No);
        reader.controller.kill9();
    }
    for block in blocks(page) {
        reader.do_block(&block);
    }
    reader.leave();
}

/// One test a page.
macro_rules! pages {
    ($($name:ident: $page:literal, $begin:ident;)*) => {
        $(#[test]
        fn $name() {
            read($page, Begin::$begin);
        })*

        /// The pages that are run.
        pub const PAGES: &[&str] = &[$($page),*];
    };
}

pages! {
    affinity: "affinity.md", AtRest;
    architecture: "architecture.md", Files;
    autoscalers: "autoscalers.md", AtRest;
    cli: "cli.md", AtRest;
    declared_pairs: "declared-pairs.md", Files;
    first_release: "first-release.md", Files;
    gates: "gates.md", AtRest;
    gitops: "gitops.md", AtRest;
    install: "install.md", Files;
    limits: "limits.md", Files;
    plain_service: "plain-service.md", AtRest;
    policies: "policies.md", AtRest;
    preview: "preview.md", AtRest;
    rollback: "rollback.md", AtRest;
    threat_model: "threat-model.md", Files;
    troubleshooting: "troubleshooting.md", AtRest;
    uninstall: "uninstall.md", ControllerDead;
    workers: "workers.md", Files;
}
