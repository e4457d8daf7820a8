//! A page, played in a namespace of its own, in a copy of its folder, with a controller of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kube::config::Kubeconfig;

use crate::{
    clients::{Clients, Seen, Target},
    controller::{self, Cluster, Controller},
    kubectl::{Kubectl, cluster, unique},
    page::{self, Block},
};

/// The longest that the commands of one block may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// How much of a page is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Without the section `By hand`, which ends as it began.
    WithStepgate,
    Whole,
}

/// Plays a page. Requests run from the end of its first section on; in no block may more of them fail than the page says.
pub fn play(name: &str, target: Target, part: Part) {
    let Some(installed) = Cluster::from_env() else { return };
    let text = page::text(name);
    let blocks: Vec<Block> = page::blocks(name, &text);
    let first = blocks[0].section.clone();
    let mut system = System::new(name, &installed);
    system.controller.start();
    let (mut clients, mut printed, mut total) = (None, Vec::new(), Seen::default());
    for block in blocks.into_iter().filter(|block| part == Part::Whole || block.section != "By hand") {
        if clients.is_none() && block.section != first {
            system.stand_in();
            clients = Some(Clients::start(target, &system.address(target.service)));
        }
        let mut output = system.shell(&block);
        if let Some(clients) = &clients {
            let seen = clients.take();
            println!("{seen}\n");
            let failed = seen.failed();
            assert!(failed <= block.may_fail, "{}: {failed} requests failed, at most {} may: {seen}", block.at, block.may_fail);
            output = system.worth_showing(&output) + &format!("{seen}\n");
            for (version, count) in seen.answers {
                *total.answers.entry(version).or_default() += count;
            }
            for (failure, count) in seen.failures {
                *total.failures.entry(failure).or_default() += count;
            }
        }
        printed.extend(block.transcript.map(|place| (place, output)));
    }
    crate::kubectl::say(&format!("{name}, {part:?}: {total}"));
    assert!(total.answers.len() > 1, "the requests met one version only: {total}");
    if part == Part::Whole && std::env::var_os("STEPGATE_TRANSCRIPT").is_some() {
        fs::write(page::file(name), page::with_transcripts(&text, &printed)).unwrap();
    }
    system.leave();
}

/// A folder of `examples/` on the cluster.
struct System {
    name: String,
    namespace: String,
    admin: Kubectl,
    controller: Controller,
    /// Kubeconfig, log of the controller, and the copy of the example.
    folder: PathBuf,
}

impl System {
    fn new(name: &str, installed: &Cluster) -> Self {
        let (namespace, admin) = (unique(&format!("systems-{name}")), cluster().unwrap());
        admin.run(&["create", "namespace", &namespace]);
        let folder = controller::folder().join(&namespace);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name), &folder.join("example"));
        let mut kubeconfig = Kubeconfig::read_from(&installed.kubeconfig).unwrap();
        for context in kubeconfig.contexts.iter_mut().filter_map(|context| context.context.as_mut()) {
            context.namespace = Some(namespace.clone());
        }
        fs::write(folder.join("kubeconfig"), serde_json::to_string(&kubeconfig).unwrap()).unwrap();
        let controller = Controller::new(&installed.controller, &namespace, &folder);
        Self { name: name.to_owned(), namespace, admin, controller, folder }
    }

    fn address(&self, service: &str) -> String {
        let path = "jsonpath={.spec.clusterIP}";
        self.admin.namespace(&self.namespace).run(&["get", "service", service, "-o", path]).out
    }

    /// What this test cluster has not, as a controller for an Ingress: from `tests/systems/NAME.yaml`, where there is such a file.
    fn stand_in(&self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/systems/{}.yaml", self.name));
        if file.exists() {
            let admin = self.admin.namespace(&self.namespace);
            admin.run(&["apply", "-f", file.to_str().unwrap()]);
            admin.run(&["rollout", "status", "deployment/ingress", "--timeout=120s"]);
        }
    }

    /// Runs a block as a reader's shell would, and ends with the first command that fails. What it printed.
    fn shell(&self, block: &Block) -> String {
        let built = Path::new(env!("CARGO_BIN_EXE_stepgate")).parent().unwrap();
        // Where `tests/systems/prepare` puts helm.
        let programs = std::env::var("CLUSTER_DIR").map(|cluster| format!("{cluster}/systems:")).unwrap_or_default();
        let log = fs::File::create(self.folder.join("output")).unwrap();
        let mut child = Command::new("sh")
            .args(["-euc", &block.commands])
            .current_dir(self.folder.join("example"))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("PATH", format!("{}:{programs}{}", built.display(), std::env::var("PATH").unwrap()))
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
        println!("{} ({:.1?})\n{}\n{output}", block.at, start.elapsed(), block.commands);
        assert!(status.is_some_and(|status| status.success()), "{}: {status:?}\n{}", block.at, self.controller.tail(30));
        output
    }

    /// What a command printed, without what it repeats while it waits, and without the name of the test's namespace.
    fn worth_showing(&self, output: &str) -> String {
        let lines = output.replace(&self.namespace, "default");
        lines
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && !line.starts_with("Waiting for "))
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Everything that the page has made goes, while its controller can still let go of it.
    fn leave(self) {
        self.admin.namespace(&self.namespace).run(&["delete", "rollouts.stepgate.dev", "--all", "--timeout=60s"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // It would put its finalizers back.
        self.controller.kill9();
        // Whatever fails here must not hide why a test failed.
        let namespace = self.admin.namespace(&self.namespace);
        let rollouts = namespace.try_run(&["get", "rollouts.stepgate.dev", "-o", "name"]).out;
        for rollout in rollouts.lines() {
            namespace.try_run(&["patch", rollout, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
        }
        self.admin.try_run(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(path, copied).unwrap();
        }
    }
}
