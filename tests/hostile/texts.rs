//! Texts: manifests, durations, selectors.

use proptest::{collection::vec, prelude::*, sample::select};
use stepgate::{
    api::Span,
    cli::{command::lint, files::manifest},
    visible,
};

use crate::{
    cases,
    mutation::{Edit, edit},
};

const MANIFESTS: &[&str] = &[
    include_str!("../../policies/canary-cautious.yaml"),
    include_str!("../../policies/blue-green.yaml"),
    include_str!("../../policies/worker.yaml"),
    RELEASED,
];

/// An application with its Rollout.
const RELEASED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: hello}, matchExpressions: [{key: tier, operator: NotIn, values: [batch]}]}
  template:
    metadata: {labels: {app: hello}}
    spec: {containers: [{name: hello, image: 'hello:v1', ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: hello, namespace: shop}
spec: {selector: {app: hello}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello, namespace: shop}
spec:
  workload: {deployment: hello}
  services: [hello]
  request: {id: one, action: Abort, revision: 3f9c1ab27d, reason: looks bad}
  policy:
    steps: [{weight: 25, hold: 1m30s}, {weight: 100}]
    gates: [{name: ready, readiness: {}}, {name: healthz, http: {path: /healthz, port: http, period: 250ms}}]
    keepPrevious: 5m
";

fn edited() -> impl Strategy<Value = String> {
    (select(MANIFESTS), vec(edit(), 0..12)).prop_map(|(text, edits): (&str, Vec<Edit>)| {
        let mut bytes = text.as_bytes().to_vec();
        for edit in &edits {
            edit.make(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn bytes() -> impl Strategy<Value = String> {
    vec(any::<u8>(), 0..2_000).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What lint says of a text, and its errors, are lines, each visible and not out of proportion to what was written.
fn told(text: &str) {
    let read = || match manifest::parse("file.yaml", text).and_then(|manifests| lint::found(&manifests)) {
        Ok(found) => found.lines.iter().map(ToString::to_string).collect(),
        Err(error) => vec![stepgate::cli::paper::output::causes(&error)],
    };
    // As much room as a program has: a test's own thread has a quarter of it.
    let lines: Vec<String> = std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, read).unwrap().join().expect("it panicked")
    });
    for line in &lines {
        assert_eq!(visible::screen(line), line.as_str());
        assert!(line.len() < 20_000 + 8 * text.len(), "{} bytes are said of {}", line.len(), text.len());
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_manifest_of_any_bytes_is_read_or_refused(text in bytes()) {
        told(&text);
    }

    #[test]
    fn a_manifest_with_anything_in_it_is_read_or_refused(text in edited()) {
        told(&text);
    }

    #[test]
    fn a_duration_is_read_as_it_is_printed_or_not_at_all(text in prop_oneof![any::<String>(), "[0-9]{0,25}[hms]{1,3}[0-9]{0,12}[hms]{0,3}"]) {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }
}
