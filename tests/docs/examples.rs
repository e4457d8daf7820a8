//! The folders of `examples/`, walked through on the cluster as their comments say.

use crate::{
    controller::Cluster,
    page::folder,
    run::{Dry, Reader},
};

/// The application at rest under the Rollout of this name.
fn applied(rollout: &str) -> String {
    format!("kubectl apply -f .\nkubectl wait --for=jsonpath='{{.status.phase}}'=Healthy rollout/{rollout} --timeout=60s\n")
}

fn set_image(deployment: &str) -> String {
    format!("kubectl set image deployment/{deployment} {deployment}=stepgate.test/hello:v2\n")
}

fn walk(example: &str, commands: &str) {
    let Some(installed) = Cluster::from_env() else { return };
    let mut reader = Reader::new(&format!("example-{example}"), &installed);
    reader.start();
    let example = folder().join("../examples").join(example);
    reader.shell(&format!("cd '{}'\n{commands}", example.display()), &example.display().to_string(), Dry::No);
    reader.leave();
}

#[test]
fn hello() {
    let release = "kubectl wait --for=jsonpath='{.status.traffic.routed}'=20 rollout/hello --timeout=60s
stepgate promote hello --full
kubectl wait --for=jsonpath='{.status.traffic.routed}'=100 rollout/hello --timeout=60s
stepgate promote hello
kubectl wait --for=jsonpath='{.status.phase}'=Baking rollout/hello --timeout=60s
stepgate promote hello
stepgate wait hello --for succeeded --timeout 60s
";
    walk("hello", &[&applied("hello"), &set_image("hello"), release].concat());
}

#[test]
fn blue_green() {
    let release = "kubectl wait --for=jsonpath='{.status.phase}'=Baking rollout/hello --timeout=90s
stepgate abort hello
stepgate wait hello --for rolled-back --timeout 60s
";
    walk("blue-green", &[&applied("hello"), &set_image("hello"), release].concat());
}

#[test]
fn declared_pair() {
    let release = r#"kubectl patch rollout hello --type merge -p '{"spec": {"workload": {"live": "hello-green"}}}'
kubectl wait --for=jsonpath='{.status.phase}'=Baking rollout/hello --timeout=90s
stepgate promote hello
stepgate wait hello --for succeeded --timeout 60s
"#;
    walk("declared-pair", &[&applied("hello"), release].concat());
}

#[test]
fn worker() {
    let release = "kubectl wait --for=jsonpath='{.status.traffic.routed}'=20 rollout/worker --timeout=60s
stepgate promote worker --full
stepgate wait worker --for succeeded --timeout 90s
";
    walk("worker", &[&applied("worker"), &set_image("worker"), release].concat());
}

/// A good image, one that is not known in time, and one that never comes up.
#[test]
fn ci() {
    let commands = r#"namespace=$(kubectl config view --minify -o jsonpath='{..namespace}')
quick='{"spec": {"policy": {"steps": [{"weight": 50, "hold": "1s"}, {"weight": 100}], "keepPrevious": "0s", "progressDeadline": "60s"}}}'
cd ../hello
kubectl apply -f .
kubectl patch rollout hello --type merge -p "$quick"
kubectl wait --for=jsonpath='{.status.phase}'=Healthy rollout/hello --timeout=60s
cd ../ci
TIMEOUT=60s ./release "$namespace" hello stepgate.test/hello:v2
kubectl patch rollout hello --type merge -p '{"spec": {"policy": {"progressDeadline": "5s"}}}'
code=0; TIMEOUT=1s ./release "$namespace" hello stepgate.test/hello:unready || code=$?
test $code = 3
code=0; TIMEOUT=60s ./release "$namespace" hello stepgate.test/hello:unready || code=$?
test $code = 1
kubectl wait --for=jsonpath='{.status.stable.images[0]}'=stepgate.test/hello:v2 rollout/hello --timeout=10s
"#;
    walk("ci", commands);
}
