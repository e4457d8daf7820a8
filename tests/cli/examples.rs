//! The folders of `examples/`, as they stand there: applied to the embedded cluster and released, and what a pipeline hears.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stepgate::{
    api::{Rollout, status::Phase},
    cli::{files::manifest, paper::exit::Exit},
};

use crate::desk::Desk;

/// The folders with manifests, each played by a test below.
const WALKS: [&str; 4] = ["blue-green", "declared-pair", "hello", "worker"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The manifests of a folder, in the order in which `kubectl apply -f FOLDER` takes them.
fn files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect();
    files.sort();
    files
}

/// A cluster with what the folder's manifests make, at rest under a controller.
async fn applied(name: &str) -> Desk {
    let desk = Desk::empty();
    for object in manifest::read_all(&files(name)).unwrap().into_iter().map(|manifest| manifest.object) {
        match object["kind"].as_str().unwrap() {
            "Deployment" => desk.create::<Deployment>(object).await,
            "Service" => desk.create::<Service>(object).await,
            "Rollout" => desk.create::<Rollout>(object).await,
            other => panic!("{name}: nobody makes a {other} here"),
        }
    }
    desk.start_controller();
    desk
}

async fn set_image(desk: &Desk, deployment: &str, image: &str) {
    let container = json!({"name": deployment, "image": format!("stepgate.test/hello:{image}")});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    let api: Api<Deployment> = Api::namespaced(desk.sim.client("alice"), "default");
    api.patch(deployment, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
}

async fn at_rest(desk: &Desk, rollout: &str) {
    for _ in 0..600 {
        let status = desk.rollouts().get(rollout).await.unwrap().status.unwrap_or_default();
        if status.phase == Some(Phase::Healthy) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{rollout} does not come to rest");
}

/// Images of the pods that are not ending.
async fn images(desk: &Desk) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(desk.sim.client("alice"), "default");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let alive = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    alive.filter_map(|pod| pod.spec.as_ref()?.containers.first()?.image.clone()).collect()
}

/// A new image of the Deployment is released, to its end.
async fn released(name: &str, deployment: &str, pods: usize) {
    let desk = applied(name).await;
    at_rest(&desk, deployment).await;
    set_image(&desk, deployment, "v2").await;
    let said = desk.run(&format!("wait {deployment} --for succeeded --timeout 1h")).await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    at_rest(&desk, deployment).await;
    assert_eq!(images(&desk).await, vec!["stepgate.test/hello:v2".to_owned(); pods]);
}

#[test]
fn every_folder_with_manifests_is_walked_through() {
    let folders = fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Those with a page in docs/systems are walked through on the real cluster, by tests/systems.
    let has_page = |name: &str| folder("").join(format!("../docs/systems/{name}.md")).exists();
    let found: BTreeSet<String> = folders.filter(|name| folder(name).is_dir() && !files(name).is_empty() && !has_page(name)).collect();
    assert_eq!(found, WALKS.map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn hello_is_released_by_quarters() {
    released("hello", "hello", 4).await;
}

#[tokio::test(start_paused = true)]
async fn blue_green_is_released_by_one_flip() {
    released("blue-green", "hello", 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_released_by_shares_of_its_pods() {
    released("worker", "worker", 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_declared_pair_swaps_its_roles() {
    let desk = applied("declared-pair").await;
    at_rest(&desk, "hello").await;
    let live = json!({"spec": {"workload": {"live": "hello-green"}}});
    desk.rollouts().patch("hello", &PatchParams::default(), &Patch::Merge(live)).await.unwrap();
    let said = desk.run("wait hello --for succeeded --timeout 1h").await;
    assert_eq!(said.exit, Ok(Exit::Done), "{}", said.text);
    let services: Api<Service> = Api::namespaced(desk.sim.client("alice"), "default");
    let selector = services.get("hello").await.unwrap().spec.unwrap().selector.unwrap();
    assert_eq!(selector["version"], "green");
}

/// `examples/ci/release` with a `kubectl` that writes down what it is asked, and a `stepgate` of which `wait` ends with this code.
fn pipeline(arguments: &[&str], code: i32) -> (Output, String) {
    let stubs = tempfile::tempdir().unwrap();
    let asked = stubs.path().join("asked");
    let stub = |name: &str, answer: &str| {
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\n{answer}\n", asked.display());
        let path = stubs.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    stub("kubectl", "case \"$*\" in *jsonpath*) echo app ;; esac");
    stub("stepgate", &format!("case $1 in wait) exit {code} ;; status) echo 'shop/hello  RolledBack' ;; esac"));
    let path = format!("{}:{}", stubs.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(folder("ci").join("release")).args(arguments).env("PATH", path).env("TIMEOUT", "20m").output().unwrap();
    (output, fs::read_to_string(&asked).unwrap_or_default())
}

#[test]
fn a_pipeline_ends_with_the_code_of_the_wait() {
    for code in [0, 1, 3] {
        let (output, asked) = pipeline(&["shop", "hello", "hello:v2"], code);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let mut expected = vec![
            "kubectl -n shop get deployment hello -o jsonpath={.spec.template.spec.containers[0].name}",
            "kubectl -n shop set image deployment/hello app=hello:v2",
            "stepgate wait hello -n shop --for=succeeded --timeout=20m",
        ];
        expected.extend((code != 0).then_some("stepgate status hello -n shop"));
        assert_eq!(asked.lines().collect::<Vec<_>>(), expected, "{code}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().contains("RolledBack"), code != 0, "{code}");
    }
}

#[test]
fn a_pipeline_waits_for_the_rollout_that_it_names_and_refuses_half_a_command() {
    let (_, asked) = pipeline(&["shop", "hello", "hello:v2", "web"], 0);
    assert!(asked.contains("stepgate wait web -n shop"), "{asked}");
    let (output, asked) = pipeline(&["shop", "hello"], 0);
    assert_eq!((output.status.code(), asked.as_str()), (Some(2), ""));
}

#[test]
fn what_the_pipeline_asks_for_is_what_the_program_takes() {
    use clap::Parser as _;
    let (_, asked) = pipeline(&["shop", "hello", "hello:v2"], 1);
    for command in asked.lines().filter(|line| line.starts_with("stepgate ")) {
        assert!(stepgate::cli::Cli::try_parse_from(command.split(' ')).is_ok(), "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn plan_and_lint_take_every_folder() {
    for name in WALKS {
        let files: Vec<String> = files(name).iter().map(|path| path.display().to_string()).collect();
        for command in ["lint", "plan"] {
            let said = Desk::bare().run(&format!("{command} -f {}", files.join(" "))).await;
            assert_eq!(said.exit, Ok(Exit::Done), "{command} of {name}: {}", said.text);
            // All that a Rollout names is in its folder.
            assert!(
                !said.text.contains("without Deployment") && !said.text.contains("without Service"),
                "{command} of {name}: {}",
                said.text
            );
        }
    }
}

/// What a manifest says of its policy is what the walk-through tells.
#[test]
fn the_policy_of_the_worker_is_the_shape_of_its_preset() {
    let rollout = manifest::read_all(&files("worker")).unwrap().into_iter().find(|manifest| manifest.kind() == "Rollout").unwrap().object;
    let (_, preset) = stepgate::cli::command::presets::PRESETS.iter().find(|(name, _)| *name == "worker").unwrap();
    let preset: Value = serde_saphyr::from_str(preset).unwrap();
    let ends = |policy: &Value| {
        let steps = policy["steps"].as_array().unwrap().clone();
        [steps.first().unwrap()["weight"].clone(), steps[steps.len() - 2]["weight"].clone(), steps.last().unwrap()["weight"].clone()]
    };
    assert_eq!(ends(&rollout["spec"]["policy"]), ends(&preset["spec"]));
}
