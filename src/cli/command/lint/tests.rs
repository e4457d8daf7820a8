//! Manifests, and what is found in them.

use crate::cli::paper::output::{Colours, Reader};

use super::*;

fn linted(text: &str) -> (anyhow::Result<Exit>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut printed = Vec::new();
    let exit = run(&LintArgs { files: vec![file.path().to_owned()] }, &mut Output::new(&mut printed, Reader::Program, Colours::Kept));
    (exit, String::from_utf8(printed).unwrap().replace(&file.path().display().to_string(), "hello.yaml"))
}

#[test]
fn what_is_found_is_said_with_its_place() {
    let (exit, printed) = linted(
        "apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata:
  name: hello
  lables: {}
spec:
  workload: {deployment: Hello}
  services: [hello]
  policy:
    steps:
    - {weight: 25, wait: 1m}
    - weight: '100'
---
apiVersion: stepgate.dev/v1alpha1
kind: RolloutPolicy
metadata: {name: half}
spec:
  steps: [{weight: 50}]
---
{apiVersion: v1, kind: Service, metadata: {name: hello}, anything: goes}
---
{apiVersion: stepgate.dev/v1, kind: Rollout, metadata: {name: newer}}
---
{apiVersion: stepgate.dev/v1alpha1, kind: Rolout, metadata: {}}
",
    );
    assert_eq!(exit.unwrap(), Exit::Otherwise);
    insta::assert_snapshot!(printed, @r#"
    hello.yaml:5:3: unknown field "metadata.lables"
    hello.yaml:7:14: spec.workload.deployment: Invalid value: "Hello": spec.workload.deployment in body should match '^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$'
    hello.yaml:11:20: unknown field "spec.policy.steps[0].wait"
    hello.yaml:12:7: spec.policy.steps[1].weight: Invalid value: "string": spec.policy.steps[1].weight in body must be of type integer: "string"
    hello.yaml:17:1: spec: Invalid value: steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}
    hello.yaml:22:2: no matches for version "stepgate.dev/v1"; the version is "stepgate.dev/v1alpha1"
    hello.yaml:24:37: no matches for kind "Rolout"; the kinds are ClusterRolloutPolicy, Rollout, RolloutPolicy
    7 problems in 4 objects
    "#);
}

#[test]
fn presets_have_nothing_to_object_to() {
    let text: Vec<&str> = crate::cli::command::presets::PRESETS.iter().map(|(_, text)| *text).collect();
    let (exit, printed) = linted(&text.join("---\n"));
    assert_eq!((exit.unwrap(), printed.as_str()), (Exit::Done, "nothing to object to in 4 objects\n"));
}

#[test]
fn a_file_without_an_object_of_ours_is_not_called_good() {
    let (exit, _) = linted("{apiVersion: v1, kind: Service}");
    assert!(exit.unwrap_err().to_string().starts_with("no object of group stepgate.dev in "));
}

const ROLLOUT: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {deployment: hello}
  services: [hello, hello-internal]
  policy:
    steps: [{weight: 100}]
    gates:
    - {name: healthz, http: {path: /healthz, port: http}}
";
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template: {metadata: {labels: {app: hello}}, spec: {containers: [{name: app, ports: [{name: http, containerPort: 8080}]}]}}
";
const SERVICES: &str = "\
{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {selector: {app: hello}}}
---
{apiVersion: v1, kind: Service, metadata: {name: hello-internal}, spec: {selector: {app: hello}}}
";
/// A text, what it becomes, and what is said then.
type Row<'a> = (&'a str, &'a str, &'a [&'a str]);

fn files(parts: &[&str]) -> String {
    parts.join("---\n")
}

/// Each change of the text brings these lines.
fn hold(text: &str, rows: &[Row<'_>]) {
    assert!(linted(text).1.starts_with("nothing to object to"), "{}", linted(text).1);
    for (is, becomes, said) in rows {
        assert!(text.contains(is), "{is}");
        let (exit, printed) = linted(&text.replacen(is, becomes, 1));
        let lines: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("hello.yaml:")).collect();
        assert_eq!(lines, *said, "{is} -> {becomes}");
        assert_eq!(exit.unwrap(), if said.is_empty() { Exit::Done } else { Exit::Otherwise }, "{becomes}");
    }
}

#[test]
fn what_the_controller_would_refuse_is_said_in_its_words_with_the_field_it_is_about() {
    let unlisted = "{apiVersion: v1, kind: Service, metadata: {name: metrics}, spec: {selector: {app: hello}}}\n---\n";
    let stranger =
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: batch}, spec: {template: {metadata: {labels: {app: hello}}}}}\n---\n";
    let rollout = "{apiVersion: stepgate.dev/v1alpha1, kind: Rollout, metadata: {name: first}, spec: {workload: {deployment: web}, services: [hello-internal], \
        policy: {steps: [{weight: 100}]}}}\n---\n";
    let before = |text: &str| format!("{text}apiVersion: apps/v1");
    hold(
        &files(&[ROLLOUT, DEPLOYMENT, SERVICES]),
        &[
            (
                "hello-internal}, spec: {selector: {app: hello}",
                "hello-internal}, spec: {selector: {app: web}",
                &[
                    "6:21: Service hello-internal (services) selects app=web, but the pods of Deployment hello have app=hello; correct its selector, or take it off the list",
                ],
            ),
            (
                "hello-internal}, spec: {selector: {app: hello}",
                "hello-internal}, spec: {type: ExternalName, externalName: elsewhere.example",
                &["6:21: Service hello-internal (services) is of type ExternalName, which has no endpoints to move; take it off the list"],
            ),
            ("  services: [hello, hello-internal]\n", "  services: [hello]\n  preview: hello-internal\n  unmanagedServices: []\n", &[]),
            (
                "  services: [hello, hello-internal]\n",
                "  services: [hello]\n",
                &[
                    "6:3: the pods of Deployment hello are also behind Service hello-internal, whose clients would see both versions unasked; add to services, or to unmanagedServices where that is meant",
                ],
            ),
            (
                "apiVersion: apps/v1",
                &before(unlisted),
                &[
                    "6:3: the pods of Deployment hello are also behind Service metrics, whose clients would see both versions unasked; add to services, or to unmanagedServices where that is meant",
                ],
            ),
            (
                "apiVersion: apps/v1",
                &before(stranger),
                &[
                    "6:14: Service hello (services) also selects pod batch-<pod>, not made by Deployment hello; narrow its selector, or relabel them",
                    "6:21: Service hello-internal (services) also selects pod batch-<pod>, not made by Deployment hello; narrow its selector, or relabel them",
                ],
            ),
            (
                "port: http}}",
                "port: web}}",
                &[
                    "10:46: gate healthz (http.port) names port \"web\", which no container of Deployment hello has; use a number or one of http",
                ],
            ),
            (
                "port: http}}",
                "port: http, period: 1h, successThreshold: 100}}",
                &[
                    "7:3: progressDeadline is 10m, but gate healthz (100 successes in a row, one every 1h) takes 99h at least, so no release could succeed; make it longer",
                ],
            ),
            (
                "  selector: {matchLabels",
                "  strategy: {type: Recreate}\n  selector: {matchLabels",
                &[
                    "5:14: Deployment hello has strategy Recreate, so two versions of it at once may not work; set workload.allowOverlap: true if they do",
                ],
            ),
            (
                "apiVersion: stepgate.dev/v1alpha1",
                &format!("{rollout}apiVersion: stepgate.dev/v1alpha1"),
                &[
                    "8:21: Rollout first is older and already has Service hello-internal; delete one of the two, or let them name different ones",
                ],
            ),
        ],
    );
}

/// The rules of the kind have said it of a policy that stands in the Rollout itself.
#[test]
fn a_policy_of_the_files_is_judged_where_the_rollout_names_it() {
    let policy = "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: mine}, spec: {steps: [{weight: 100}]}}\n";
    let (spec, _) = ROLLOUT.split_once("  policy:").unwrap();
    let rollout = format!("{spec}  policyRef: {{kind: RolloutPolicy, name: mine}}\n");
    let cookie = "affinity.cookie asks for what Services hello, hello-internal (services) cannot do: a plain Service gives out connections and sees no cookie in \
        them; set affinity.clientIP, which tells clients by their address";
    hold(
        &files(&[&rollout, DEPLOYMENT, SERVICES, policy]),
        &[
            ("[{weight: 100}]", "[{weight: 100}], affinity: {cookie: {name: version, maxAge: 1h}}", &[&format!("7:36: {cookie}")]),
            (
                "policyRef: {kind: RolloutPolicy",
                "policyRef: {kind: ClusterRolloutPolicy",
                &[
                    "7:43: ClusterRolloutPolicy mine (policyRef) does not exist; create it, or set policyRef.kind: RolloutPolicy if one of this namespace is meant",
                ],
            ),
            // There may be one in the cluster.
            ("name: mine}\n", "name: another}\n", &[]),
        ],
    );
    let cookie = "policy: {steps: [{weight: 100}], affinity: {cookie: {name: version, maxAge: 1h}}}";
    let (_, printed) = linted(&ROLLOUT.replace(&ROLLOUT[spec.len()..], &format!("  {cookie}\n")));
    assert_eq!(printed.matches("sees no cookie").count(), 1, "{printed}");
}

const VERSIONS: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {versions: [blue, green], live: blue}
  services: [hello]
  policy: {steps: [{weight: 100}]}
---
{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {selector: {app: hello, version: blue}}}
---
";

/// A version, told apart by its label.
fn version(name: &str) -> String {
    let labels = format!("{{app: hello, version: {name}}}");
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{selector: {{matchLabels: {labels}}}, \
         template: {{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]}}}}}}}}\n"
    )
}

#[test]
fn versions_that_are_no_pair_are_told_where_the_rollout_names_them() {
    let (blue, green) = (version("blue"), version("green"));
    let grey = format!("---\n{}", version("grey"));
    let text = format!("{VERSIONS}{blue}---\n{green}");
    hold(
        &text,
        &[
            (
                "template: {metadata: {labels: {app: hello, version: green}",
                "template: {metadata: {labels: {app: hello}",
                &[
                    "5:31: the template of Deployment green (workload.versions) has no label version (workload.versionLabel), so its pods cannot be told from the others'; add it to spec.template.metadata.labels",
                ],
            ),
            (
                "template: {metadata: {labels: {app: hello, version: green}",
                "template: {metadata: {labels: {app: hello, version: blue}",
                &[
                    "5:31: the pods of Deployments blue and green (workload.versions) both have version=blue (workload.versionLabel); give each version a value of its own",
                ],
            ),
            ("selector: {app: hello, version: blue}", "selector: {app: hello, version: grey}", &[]),
        ],
    );
    // Green is to be live, so that its ports count.
    let numbered = text.replace("version: blue}}}", "version: blue}, ports: [{port: 80, targetPort: 8080}]}}");
    let (_, printed) = linted(&numbered.replace("live: blue", "live: green").replacen("{containerPort: 8080", "{containerPort: 9090", 1));
    assert!(
        printed.starts_with("hello.yaml:5:31: the pods of Deployment blue have port 9090, but those of Deployment green have port 8080"),
        "{printed}"
    );
    let (_, printed) = linted(&format!("{}{grey}", text.replacen("version: blue", "version: grey", 1)));
    assert!(printed.starts_with("hello.yaml:6:14: Service hello (services) selects version=grey and has clients there"), "{printed}");
}

#[test]
fn what_is_in_none_of_the_files_is_not_held_against_a_rollout_but_said() {
    let live_green = VERSIONS.replace("live: blue", "live: green");
    let referring = VERSIONS.replace("policy: {steps: [{weight: 100}]}", "policyRef: {name: mine}");
    for (text, without) in [
        (files(&[ROLLOUT]), "Deployment hello, Service hello, Service hello-internal"),
        (files(&[ROLLOUT, DEPLOYMENT]), "Service hello, Service hello-internal"),
        (files(&[ROLLOUT, SERVICES]), "Deployment hello"),
        (files(&[VERSIONS]), "Deployment blue, Deployment green"),
        (files(&[VERSIONS, &version("blue")]), "Deployment green"),
        (files(&[&live_green, &version("blue")]), "Deployment green"),
        (files(&[&referring]), "Deployment blue, Deployment green, RolloutPolicy mine"),
    ] {
        let (exit, printed) = linted(&text);
        assert_eq!(printed, format!("nothing to object to in 1 object, as far as can be told without {without}\n"));
        assert_eq!(exit.unwrap(), Exit::Done);
    }
    // What is wrong with a Service by itself is wrong without the Deployment, too.
    let (_, printed) = linted(&files(&[ROLLOUT, &SERVICES.replace("hello}, spec: {", "hello}, spec: {publishNotReadyAddresses: true, ")]));
    assert!(printed.starts_with("hello.yaml:6:14: Service hello (services) has publishNotReadyAddresses: true"), "{printed}");
    assert!(printed.ends_with("1 problem in 1 object, as far as can be told without Deployment hello\n"), "{printed}");
}

#[test]
fn a_rollout_that_cannot_be_read_is_asked_nothing_more() {
    let wrong = files(&[ROLLOUT, DEPLOYMENT, &SERVICES.replace("app: hello", "app: web")]);
    let said = |text: &str| linted(text).1.matches("correct its selector").count();
    assert_eq!(
        (said(&wrong), said(&wrong.replace("metadata: {name: hello}\nspec:\n  w", "metadata: {name: hello, lable: {}}\nspec:\n  w"))),
        (2, 2)
    );
    assert_eq!(said(&wrong.replace("steps: [{weight: 100}]", "steps: [{weight: all}]")), 0);
}

#[test]
fn every_other_rollout_of_the_files_is_asked_too() {
    let second = ROLLOUT.replace("hello", "web");
    let (_, printed) = linted(&files(&[
        ROLLOUT,
        &second,
        &SERVICES.replace("selector: {app: hello}", "clusterIP: ''"),
        &SERVICES.replace("hello", "web").replace("selector: {app: web}", "clusterIP: ''"),
    ]));
    let lines: Vec<&str> = printed.lines().filter_map(|line| line.split_once(" has no selector").map(|(line, _)| line)).collect();
    assert_eq!(
        lines,
        [
            "hello.yaml:6:14: Service hello (services)",
            "hello.yaml:6:21: Service hello-internal (services)",
            "hello.yaml:17:14: Service web (services)",
            "hello.yaml:17:19: Service web-internal (services)",
        ]
    );
}

#[test]
fn what_stands_twice_is_no_rival_of_itself_and_is_told_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), files(&[ROLLOUT, SERVICES]).replace("selector: {app: hello}", "type: ExternalName")).unwrap();
    let twice = [file.path().to_owned(), file.path().to_owned()];
    let lines = |files: &[PathBuf]| found(&manifest::read_all(files).unwrap()).unwrap().lines;
    assert_eq!((lines(&twice[..1]).len(), lines(&twice)), (2, lines(&twice[..1])));
}

/// What is wrong for want of a Service is said as that alone.
#[test]
fn a_queue_worker_is_not_told_of_services_that_it_does_not_have() {
    let policy = "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: mine}, spec: {steps: [{weight: 50}, {weight: 100}], \
        affinity: {cookie: {name: version, maxAge: 1h}}}}\n";
    let (spec, _) = ROLLOUT.split_once("  services:").unwrap();
    let (_, printed) = linted(&files(&[&format!("{spec}  services: []\n  policyRef: {{name: mine}}\n"), policy]));
    assert!(printed.starts_with("hello.yaml:7:15: affinity is set, but without Services (services: []) there are no clients"), "{printed}");
    assert!(printed.contains("\n1 problem in 2 objects, "), "{printed}");
}
