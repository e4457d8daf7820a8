//! What is accepted and what is refused, as one table each.

use serde_json::{Value, json};

/// Specs of a policy that are accepted.
pub const POLICIES: &[&str] = &[
    "{steps: [{weight: 100}]}",
    "{steps: [{weight: 1, hold: 10m}, {weight: 99, hold: 1h30m}, {weight: 100, hold: 168h}]}",
    "{steps: [{weight: 25, hold: 0s}, {weight: 100, hold: 1m30s250ms}]}",
    "{steps: [{weight: 100}], gates: [{name: ready, readiness: {}}]}",
    "{steps: [{weight: 100}], gates: [{name: ready, readiness: {minReady: 75%}, when: [DuringSteps]}]}",
    "{steps: [{weight: 100}], gates: [{name: healthz, http: {path: /healthz, port: 8080}}]}",
    "{steps: [{weight: 100}], gates: [{name: healthz, http: {path: '/healthz?full=1', port: http, method: HEAD, period: 50ms, timeout: 10ms, failureThreshold: 1, successThreshold: 100, expectStatus: '200,204,300-399'}}]}",
    "{steps: [{weight: 100}], gates: [{name: a, http: {path: /a, port: 65535}}, {name: b, http: {path: /b, port: metrics-2}, when: [BeforeTraffic, DuringSteps, BeforePromotion]}]}",
    "{steps: [{weight: 50}, {weight: 100}], canaryReplicas: Full, split: Exact, promotion: Roll, keepPrevious: 0s, settle: 0s, progressDeadline: 1s, onFailure: Pause}",
    "{steps: [{weight: 100}], keepPrevious: 168h, settle: 5m, progressDeadline: 168h}",
    // Absent and null are the same.
    "{steps: [{weight: 100}], gates: [{name: ready, readiness: {}, http: null}]}",
];

/// Specs of a policy that are refused, and a part of the sentence that says why.
pub const REFUSED_POLICIES: &[(&str, &str)] = &[
    ("{}", "spec.steps: Required value"),
    ("{steps: []}", "should have at least 1 items"),
    (
        "{steps: [{weight: 50}]}",
        "steps: the last step must have weight 100, because a release ends with all clients on the new version; add {weight: 100}",
    ),
    (
        "{steps: [{weight: 50}, {weight: 25}, {weight: 100}]}",
        "steps: weights must rise from step to step, such as 25, 50, 75, 100; every weight may stand once",
    ),
    ("{steps: [{weight: 25}, {weight: 25}, {weight: 100}]}", "steps: weights must rise from step to step"),
    ("{steps: [{weight: 100}, {weight: 100}]}", "steps: weights must rise from step to step"),
    ("{steps: [{weight: 0}, {weight: 100}]}", "should be greater than or equal to 1"),
    ("{steps: [{weight: 101}]}", "should be less than or equal to 100"),
    ("{steps: [{weight: 33.5}, {weight: 100}]}", "must be of type integer"),
    ("{steps: [{weight: '100'}]}", "must be of type integer"),
    ("{steps: [{hold: 1m}, {weight: 100}]}", "spec.steps[0].weight: Required value"),
    ("{steps: [{weight: 100, hold: 5}]}", "must be of type string"),
    ("{steps: [{weight: 100, hold: ''}]}", "should be at least 2 chars long"),
    ("{steps: [{weight: 100, hold: '60'}]}", "should match '^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$'"),
    ("{steps: [{weight: 100, hold: 1m2h}]}", "should match '^([0-9]+h)?"),
    ("{steps: [{weight: 100, hold: -5s}]}", "should match '^([0-9]+h)?"),
    ("{steps: [{weight: 100, hold: 1.5h}]}", "should match '^([0-9]+h)?"),
    ("{steps: [{weight: 100, hold: 169h}]}", "hold: at most 168h (a week)"),
    ("{steps: [{weight: 100, hold: 99999999999999999999h}]}", "spec.steps[0].hold"),
    ("{steps: [{weight: 100, hold: 0000000000000000000000001s}]}", "may not be more than 24 bytes"),
    ("{steps: [{weight: 100}], gates: [{name: a}]}", "a gate is exactly one of readiness, http: set one of them"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, readiness: {}, http: {path: /, port: 80}}]}",
        "a gate is exactly one of readiness, http: set one of them",
    ),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80}}, {name: a, readiness: {}}]}",
        "gates: every gate needs a name of its own",
    ),
    (
        "{steps: [{weight: 100}], gates: [{name: a, readiness: {}}, {name: b, readiness: {}}]}",
        "gates: at most one readiness gate; it covers all canary pods",
    ),
    ("{steps: [{weight: 100}], gates: [{readiness: {}}]}", "spec.gates[0].name: Required value"),
    ("{steps: [{weight: 100}], gates: [{name: Ready, readiness: {}}]}", "should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"),
    ("{steps: [{weight: 100}], gates: [{name: '', readiness: {}}]}", "should be at least 1 chars long"),
    ("{steps: [{weight: 100}], gates: [{name: a, readiness: {minReady: 0%}}]}", "should match '^(100|[1-9][0-9]?)%$'"),
    ("{steps: [{weight: 100}], gates: [{name: a, readiness: {minReady: 101%}}]}", "should match '^(100|[1-9][0-9]?)%$'"),
    ("{steps: [{weight: 100}], gates: [{name: a, readiness: {minReady: 3}}]}", "must be of type string"),
    ("{steps: [{weight: 100}], gates: [{name: a, readiness: {}, when: []}]}", "should have at least 1 items"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, readiness: {}, when: [Always]}]}",
        r#"Unsupported value: "Always": supported values: "BeforeTraffic", "DuringSteps", "BeforePromotion""#,
    ),
    ("{steps: [{weight: 100}], gates: [{name: a, readiness: {}, when: [DuringSteps, DuringSteps]}]}", "when: every moment may stand once"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {port: 80}}]}", "spec.gates[0].http.path: Required value"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /}}]}", "spec.gates[0].http.port: Required value"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: healthz, port: 80}}]}", "path: must begin with a slash, such as /healthz"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: 'http://elsewhere.example/', port: 80}}]}",
        "path: must begin with a slash, such as /healthz",
    ),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 0}}]}", "http.port in body should be greater than or equal to 1"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 65536}}]}",
        "http.port in body should be less than or equal to 65535",
    ),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: '8080'}}]}", "http.port in body should match"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: HTTP}}]}", "http.port in body should match"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: a-name-that-is-too-long}}]}", "may not be more than 15 bytes"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: true}}]}", "must be of type"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, method: POST}}]}",
        r#"Unsupported value: "POST": supported values: "GET", "HEAD""#,
    ),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, period: 49ms}}]}", "period: between 50ms and 1h"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, period: 1h1s}}]}", "period: between 50ms and 1h"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, timeout: 0s}}]}", "timeout: between 10ms and 1m"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, timeout: 61s}}]}", "timeout: between 10ms and 1m"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, failureThreshold: 0}}]}",
        "should be greater than or equal to 1",
    ),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, failureThreshold: 101}}]}",
        "should be less than or equal to 100",
    ),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, successThreshold: 0}}]}",
        "should be greater than or equal to 1",
    ),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, expectStatus: 200-}}]}", "should match '^[1-5][0-9]{2}"),
    ("{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, expectStatus: '600'}}]}", "should match '^[1-5][0-9]{2}"),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, expectStatus: 399-200}}]}",
        "expectStatus: a range goes from the smaller to the larger status, such as 200-399",
    ),
    (
        "{steps: [{weight: 100}], gates: [{name: a, http: {path: /, port: 80, expectStatus: '204,399-200'}}]}",
        "expectStatus: a range goes from the smaller to the larger status",
    ),
    ("{steps: [{weight: 100}], canaryReplicas: Half}", r#"Unsupported value: "Half": supported values: "ByWeight", "Full""#),
    ("{steps: [{weight: 100}], split: Fair}", r#"Unsupported value: "Fair": supported values: "Resilient", "Exact""#),
    ("{steps: [{weight: 100}], promotion: Replace}", r#"Unsupported value: "Replace": supported values: "Adopt", "Roll""#),
    ("{steps: [{weight: 100}], onFailure: Ignore}", r#"Unsupported value: "Ignore": supported values: "Rollback", "Pause""#),
    ("{steps: [{weight: 100}], keepPrevious: 169h}", "keepPrevious: at most 168h (a week)"),
    ("{steps: [{weight: 100}], settle: 5m1s}", "settle: at most 5m"),
    ("{steps: [{weight: 100}], progressDeadline: 999ms}", "progressDeadline: between 1s and 168h"),
    ("{steps: [{weight: 100}], progressDeadline: 169h}", "progressDeadline: between 1s and 168h"),
    ("{steps: [{weight: 100}], keepPrevius: 5m}", r#"unknown field "spec.keepPrevius""#),
    ("{steps: [{weight: 100, wait: 5m}]}", r#"unknown field "spec.steps[0].wait""#),
];

/// Specs of a Rollout that are accepted.
pub const ROLLOUTS: &[&str] = &[
    "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}}",
    "{workload: {deployment: hello.v2}, services: [hello, hello-headless], unmanagedServices: [metrics], policyRef: {kind: ClusterRolloutPolicy, name: canary-quarters}}",
    "{workload: {deployment: hello, allowOverlap: true}, services: [hello], policy: {steps: [{weight: 100}]}, paused: true}",
    "{workload: {deployment: hello}, services: [hello], policy: {steps: [{weight: 100}]}, policyRef: null}",
    "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: a, action: Abort, revision: 3f9c1ab27d}}",
    "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: '2026-11-21T10:00:00Z-7f3a', action: PromoteFull, revision: 3f9c1ab27d, reason: looks good}}",
];

/// Specs of a Rollout that are refused, and a part of the sentence that says why.
pub const REFUSED_ROLLOUTS: &[(&str, &str)] = &[
    (
        "{workload: {deployment: hello}, services: [hello]}",
        "set exactly one of policyRef (the name of a policy) and policy (the policy itself)",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, policy: {steps: [{weight: 100}]}}",
        "set exactly one of policyRef",
    ),
    ("{workload: {deployment: hello}, services: [hello], policyRef: null, policy: null}", "set exactly one of policyRef"),
    ("{services: [hello], policyRef: {name: mine}}", "spec.workload: Required value"),
    ("{workload: {}, services: [hello], policyRef: {name: mine}}", "spec.workload.deployment: Required value"),
    ("{workload: {deployment: ''}, services: [hello], policyRef: {name: mine}}", "should be at least 1 chars long"),
    ("{workload: {deployment: Hello}, services: [hello], policyRef: {name: mine}}", "spec.workload.deployment in body should match"),
    ("{workload: {deployment: hello}, policyRef: {name: mine}}", "spec.services: Required value"),
    (
        "{workload: {deployment: hello}, services: [], policyRef: {name: mine}}",
        "services: name at least one Service whose clients are to be moved",
    ),
    ("{workload: {deployment: hello}, services: [hello, hello], policyRef: {name: mine}}", "services: every Service may stand once"),
    ("{workload: {deployment: hello}, services: hello, policyRef: {name: mine}}", "must be of type array"),
    ("{workload: {deployment: hello}, services: ['shop/hello'], policyRef: {name: mine}}", "spec.services[0] in body should match"),
    (
        "{workload: {deployment: hello}, services: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q], policyRef: {name: mine}}",
        "must have at most 16 items",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], unmanagedServices: [hello], policyRef: {name: mine}}",
        "a Service is either in services (its clients are moved) or in unmanagedServices (it may see both versions), not in both",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {kind: Policy, name: mine}}",
        r#"Unsupported value: "Policy": supported values: "RolloutPolicy", "ClusterRolloutPolicy""#,
    ),
    ("{workload: {deployment: hello}, services: [hello], policyRef: {kind: RolloutPolicy}}", "spec.policyRef.name: Required value"),
    ("{workload: {deployment: hello}, services: [hello], policyRef: {name: My Policy}}", "spec.policyRef.name in body should match"),
    ("{workload: {deployment: hello}, services: [hello], policy: {steps: [{weight: 50}]}}", "steps: the last step must have weight 100"),
    ("{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, paused: 'yes'}", "must be of type boolean"),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {action: Abort, revision: 3f9c1ab27d}}",
        "spec.request.id: Required value",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: a, revision: 3f9c1ab27d}}",
        "spec.request.action: Required value",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: a, action: Abort}}",
        "spec.request.revision: Required value",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: a, action: Rollback, revision: 3f9c1ab27d}}",
        r#"Unsupported value: "Rollback": supported values: "Promote", "PromoteFull", "Abort", "Retry""#,
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: a, action: Abort, revision: latest}}",
        "should match '^[0-9a-f]{10}$'",
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, request: {id: '', action: Abort, revision: 3f9c1ab27d}}",
        "should be at least 1 chars long",
    ),
    ("{workload: {deployment: hello}, service: hello, services: [hello], policyRef: {name: mine}}", r#"unknown field "spec.service""#),
    ("{workload: {deployment: hello, name: hello}, services: [hello], policyRef: {name: mine}}", r#"unknown field "spec.workload.name""#),
];

/// Changes of a Rollout: before, after, and what is said where it is refused.
pub const UPDATES: &[(&str, &str, Option<&str>)] = &[
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}}",
        "{workload: {deployment: other}, services: [hello], policyRef: {name: mine}}",
        Some("workload.deployment cannot be changed: make another Rollout for another Deployment"),
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}}",
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}, policy: {steps: [{weight: 100}]}}",
        Some("set exactly one of policyRef"),
    ),
    (
        "{workload: {deployment: hello}, services: [hello], policyRef: {name: mine}}",
        "{workload: {deployment: hello, allowOverlap: true}, services: [hello, other], policy: {steps: [{weight: 100}]}, paused: true}",
        None,
    ),
];

/// An object of one of our kinds from its spec in YAML.
pub fn object(kind: &str, spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    json!({ "apiVersion": "stepgate.dev/v1alpha1", "kind": kind, "metadata": { "name": "row" }, "spec": spec })
}

/// All rows that are accepted.
pub fn accepted() -> Vec<Value> {
    let policies = POLICIES.iter().map(|spec| object("RolloutPolicy", spec));
    policies.chain(ROLLOUTS.iter().map(|spec| object("Rollout", spec))).collect()
}

/// All rows that are refused, with what is said.
pub fn refused() -> Vec<(Value, &'static str)> {
    let policies = REFUSED_POLICIES.iter().map(|(spec, sentence)| (object("RolloutPolicy", spec), *sentence));
    policies.chain(REFUSED_ROLLOUTS.iter().map(|(spec, sentence)| (object("Rollout", spec), *sentence))).collect()
}
