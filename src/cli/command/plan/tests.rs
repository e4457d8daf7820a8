//! Plans as they are printed.

use super::*;

const FILES: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {deployment: hello}
  services: [hello]
  policyRef: {kind: ClusterRolloutPolicy, name: canary-quarters}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec: {replicas: 4, template: {metadata: {labels: {app: hello}}}}
";

/// Two versions of the user's own, of which one has no pods.
const VERSIONS: &str = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {versions: [hello-blue, hello-green], live: hello-blue}
  services: [hello]
  policyRef: {kind: ClusterRolloutPolicy, name: canary-quarters}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello-blue}
spec: {replicas: 4, selector: {matchLabels: {version: blue}}, template: {metadata: {labels: {app: hello, version: blue}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello-green}
spec: {replicas: 0, selector: {matchLabels: {version: green}}, template: {metadata: {labels: {app: hello, version: green}}}}
";

fn planned(text: &str, replicas: Option<u16>) -> anyhow::Result<String> {
    let subjects = subjects(&manifest::parse("hello.yaml", text)?, replicas)?;
    let plans: Vec<String> = subjects.iter().map(|subject| render(&Plan::of(subject))).collect();
    Ok(anstream::adapter::strip_str(&plans.join("\n")).to_string())
}

#[test]
fn a_rollout_with_a_preset_and_its_deployment() {
    insta::assert_snapshot!(planned(FILES, None).unwrap(), @r"
    Deployment hello (4 replicas), ClusterRolloutPolicy canary-quarters

    STAGE    WEIGHT  SHARE  CANARY PODS   STABLE PODS   SELECTOR OF THE SERVICES    HOLD
    prepare  0 %     0 %    0 of 1 serve  4 of 4 serve  pod-template-hash=<stable>  until gates pass
    1/4      25 %    20 %   1 of 1 serve  4 of 4 serve  as their owner wrote it     1m
    2/4      50 %    50 %   4 of 4 serve  4 of 4 serve  as their owner wrote it     1m
    3/4      75 %    75 %   3 of 4 serve  1 of 4 serve  stepgate.dev/rotation=in    1m
    4/4      100 %   100 %  4 of 4 serve  0 of 4 serve  pod-template-hash=<canary>  1m
    bake     100 %   100 %  4 of 4 serve  0 of 4 serve  pod-template-hash=<canary>  5m

    It writes:
      Deployment hello: paused, with the label stepgate.dev/held, for as long as the release lasts
      Deployment hello-<revision>: made for the release, up to 4 pods, and removed
      Service hello: one key of its selector, given back at the end
      up to 4 pods at a time: label stepgate.dev/rotation=in
      at the end: the canary's ReplicaSet is handed to Deployment hello, whose maxSurge is raised for that moment; no pod restarts

    It takes at least 9m8s and the time that pods need to start; at most 59m8s, or it is rolled back or paused.
    ");
}

#[test]
fn a_preview_is_written_too() {
    let preview = "  services: [hello]\n  preview: hello-next\n";
    let service =
        "---\n{apiVersion: v1, kind: Service, metadata: {name: hello-next}, spec: {selector: {app: hello}, ports: [{port: 8080}]}}\n";
    let lines = |text: &str| planned(text, None).unwrap().lines().filter(|line| line.contains("hello-next")).collect::<Vec<_>>().join("\n");
    let named = FILES
        .replace("  services: [hello]\n", preview)
        .replace("metadata: {name: hello}\nspec:\n  w", "metadata: {name: hello, namespace: shop}\nspec:\n  w");
    insta::assert_snapshot!(lines(&format!("{named}{service}")), @"  Service hello-next: one key of its selector, so that http://hello-next.shop:8080 reaches the new version before any client does, until the release ends");
    insta::assert_snapshot!(lines(&VERSIONS.replace("  services: [hello]\n", preview)), @"  Service hello-next: one key of its selector, so that http://hello-next reaches the new version before any client does, until the release ends");
}

#[test]
fn an_exact_split_rolled_at_the_end_for_another_size() {
    let policy = "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: exact}, spec: {steps: [{weight: 10}, {weight: 100}], \
        split: Exact, promotion: Roll, settle: 0s, keepPrevious: 0s}}";
    insta::assert_snapshot!(planned(policy, Some(3)).unwrap(), @r"
    Deployment NAME (3 replicas), RolloutPolicy exact

    STAGE    WEIGHT  SHARE  CANARY PODS   STABLE PODS   SELECTOR OF THE SERVICES    HOLD
    prepare  0 %     0 %    0 of 1 serve  3 of 3 serve  pod-template-hash=<stable>  until gates pass
    1/2      10 %    25 %   1 of 1 serve  3 of 3 serve  stepgate.dev/rotation=in    until gates pass
    2/2      100 %   100 %  3 of 3 serve  0 of 3 serve  pod-template-hash=<canary>  until gates pass

    It writes:
      Deployment NAME: paused, with the label stepgate.dev/held, for as long as the release lasts
      Deployment NAME-<revision>: made for the release, up to 3 pods, and removed
      Service NAME: one key of its selector, given back at the end
      up to 4 pods at a time: label stepgate.dev/rotation=in
      at the end: Deployment NAME rolls out by itself, while the canary stands in

    It takes at least 0s and the time that pods need to start; at most 30m, or it is rolled back or paused.
    ");
}

#[test]
fn clients_that_are_to_keep_their_version_have_all_pods_of_one_side() {
    let policy = "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: sticky}, spec: {steps: [{weight: 25}, {weight: 60}, {weight: 75}, {weight: 100}], \
        split: Exact, affinity: {clientIP: {timeout: 10m}}, settle: 0s, keepPrevious: 0s}}";
    insta::assert_snapshot!(planned(policy, Some(10)).unwrap(), @r"
    Deployment NAME (10 replicas), RolloutPolicy sticky

    STAGE    WEIGHT  SHARE  CANARY PODS     STABLE PODS     SELECTOR OF THE SERVICES    HOLD
    prepare  0 %     0 %    0 of 3 serve    10 of 10 serve  pod-template-hash=<stable>  until gates pass
    1/4      25 %    23 %   3 of 3 serve    10 of 10 serve  as their owner wrote it     until gates pass
    2/4      60 %    59 %   10 of 10 serve  7 of 10 serve   stepgate.dev/rotation=in    until gates pass
    3/4      75 %    77 %   10 of 10 serve  3 of 10 serve   stepgate.dev/rotation=in    until gates pass
    4/4      100 %   100 %  10 of 10 serve  0 of 10 serve   pod-template-hash=<canary>  until gates pass

    It writes:
      Deployment NAME: paused, with the label stepgate.dev/held, for as long as the release lasts
      Deployment NAME-<revision>: made for the release, up to 10 pods, and removed
      Service NAME: one key of its selector and its session affinity (ClientIP, 10m), given back at the end
      up to 17 pods at a time: label stepgate.dev/rotation=in
      at the end: the canary's ReplicaSet is handed to Deployment NAME, whose maxSurge is raised for that moment; no pod restarts

    It takes at least 0s and the time that pods need to start; at most 50m, or it is rolled back or paused.
    ");
}

/// The Rollout of [`FILES`] without Services, with this policy.
fn worker(policy: &str) -> String {
    let policy_of = "policyRef: {kind: ClusterRolloutPolicy, name: canary-quarters}";
    FILES.replace("services: [hello]", "services: []").replace(policy_of, policy)
}

#[test]
fn a_queue_worker_is_given_shares_of_its_pods() {
    let preset = worker("policyRef: {kind: ClusterRolloutPolicy, name: worker}");
    insta::assert_snapshot!(planned(&preset, None).unwrap(), @r"
    Deployment hello (4 replicas), ClusterRolloutPolicy worker

    STAGE  WEIGHT  SHARE  CANARY PODS  STABLE PODS  HOLD
    1/4    1 %     20 %   1 of 1 work  4 of 4 work  5m
    2/4    25 %    20 %   1 of 1 work  4 of 4 work  5m
    3/4    50 %    50 %   4 of 4 work  4 of 4 work  5m
    4/4    100 %   50 %   4 of 4 work  4 of 4 work  until gates pass

    It writes:
      Deployment hello: paused, with the label stepgate.dev/held, for as long as the release lasts
      Deployment hello-<revision>: made for the release, up to 4 pods, and removed
      at the end: the canary's ReplicaSet is handed to Deployment hello, whose maxSurge is raised for that moment; no pod restarts

    It takes at least 15m and the time that pods need to start; at most 1h5m, or it is rolled back or paused.
    ");
}

#[test]
fn a_queue_worker_waits_before_its_first_pod_only_where_somebody_is_asked() {
    let policy = "policy: {steps: [{weight: 50, hold: 1m}, {weight: 100}], keepPrevious: 2m, gates: [{name: qa, approval: {}}, \
        {name: healthz, http: {path: /, port: 80, period: 1m}}]}";
    insta::assert_snapshot!(planned(&worker(policy), Some(2)).unwrap(), @r"
    Deployment hello (2 replicas), policy of Rollout hello

    STAGE    WEIGHT  SHARE  CANARY PODS  STABLE PODS  HOLD
    prepare  0 %     0 %    0 of 0 work  2 of 2 work  until the approval of qa
    1/2      50 %    50 %   2 of 2 work  2 of 2 work  1m
    2/2      100 %   50 %   2 of 2 work  2 of 2 work  until gates pass
    bake     100 %   50 %   2 of 2 work  2 of 2 work  2m

    It writes:
      Deployment hello: paused, with the label stepgate.dev/held, for as long as the release lasts
      Deployment hello-<revision>: made for the release, up to 2 pods, and removed
      at the end: the canary's ReplicaSet is handed to Deployment hello, whose maxSurge is raised for that moment; no pod restarts

    It takes at least 3m and the time that pods need to start; at most 1h3m and the time that approvals take, or it is rolled back or paused.
    ");
}

#[test]
fn a_policy_that_needs_a_service_is_not_planned_without_one() {
    let refused = planned(&worker("policyRef: {kind: ClusterRolloutPolicy, name: canary-quarters}"), None).unwrap_err().to_string();
    assert!(refused.starts_with("hello.yaml:7:43: steps has weight 75, but without Services"), "{refused}");
}

#[test]
fn what_the_controller_would_refuse_is_not_planned() {
    let service = "---\n{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {selector: {app: web}}}\n";
    let refused = planned(&format!("{FILES}{service}"), None).unwrap_err().to_string();
    assert!(
        refused.starts_with("hello.yaml:6:14: Service hello (services) selects app=web, but the pods of Deployment hello have app=hello; "),
        "{refused}"
    );
    assert!(refused.ends_with("; stepgate lint finds all such problems"), "{refused}");
}

#[test]
fn a_version_of_the_users_own_takes_the_place_of_another() {
    insta::assert_snapshot!(planned(VERSIONS, None).unwrap(), @r"
    Deployment hello-green in the place of hello-blue (4 replicas), ClusterRolloutPolicy canary-quarters

    STAGE    WEIGHT  SHARE  CANARY PODS   STABLE PODS   SELECTOR OF THE SERVICES  HOLD
    prepare  0 %     0 %    0 of 1 serve  4 of 4 serve  version=blue              until gates pass
    1/4      25 %    20 %   1 of 1 serve  4 of 4 serve  without version           1m
    2/4      50 %    50 %   4 of 4 serve  4 of 4 serve  without version           1m
    3/4      75 %    75 %   3 of 4 serve  1 of 4 serve  stepgate.dev/rotation=in  1m
    4/4      100 %   100 %  4 of 4 serve  0 of 4 serve  version=green             1m
    bake     100 %   100 %  4 of 4 serve  0 of 4 serve  version=green             5m

    It writes:
      Deployment hello-green: scaled up from 0 to 4 pods
      Service hello: the key version of its selector, blue before and green after
      up to 4 pods at a time: label stepgate.dev/rotation=in
      at the end: the roles are swapped; nothing is written, and no pod restarts

    It takes at least 9m8s and the time that pods need to start; at most 59m8s, or it is rolled back or paused.
    ");
}

#[test]
fn a_version_that_runs_already_and_a_third_one_are_kept_apart_by_the_rotation_label() {
    let text = "\
apiVersion: stepgate.dev/v1alpha1
kind: Rollout
metadata: {name: hello}
spec:
  workload: {versions: [stable, canary, next], live: canary, versionLabel: track}
  services: [hello]
  policy: {steps: [{weight: 50}, {weight: 100}], settle: 0s, keepPrevious: 1m, idle: ScaleToZero}
---
{apiVersion: v1, kind: Service, metadata: {name: hello}, spec: {selector: {app: hello, track: a}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: stable}, spec: {replicas: 2, selector: {matchLabels: {track: a}}, template: {metadata: {labels: {app: hello, track: a}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: canary}, spec: {replicas: 2, selector: {matchLabels: {track: b}}, template: {metadata: {labels: {app: hello, track: b}}}}}
";
    insta::assert_snapshot!(planned(text, None).unwrap(), @r"
    Deployment canary in the place of stable (2 replicas), policy of Rollout hello

    STAGE    WEIGHT  SHARE  CANARY PODS   STABLE PODS   SELECTOR OF THE SERVICES  HOLD
    prepare  0 %     0 %    0 of 2 serve  2 of 2 serve  track=a                   until gates pass
    1/2      50 %    50 %   2 of 2 serve  2 of 2 serve  stepgate.dev/rotation=in  until gates pass
    2/2      100 %   100 %  2 of 2 serve  0 of 2 serve  track=b                   until gates pass
    bake     100 %   100 %  2 of 2 serve  0 of 2 serve  track=b                   1m

    It writes:
      Service hello: the key track of its selector, a before and b after
      up to 4 pods at a time: label stepgate.dev/rotation=in
      at the end: Deployment stable is scaled to 0

    It takes at least 1m and the time that pods need to start; at most 31m, or it is rolled back or paused.
    ");
}

#[test]
fn from_a_version_that_is_live_there_is_a_plan_to_every_other() {
    let to = |text: &str| -> Vec<(String, Option<String>)> {
        let subjects = subjects(&manifest::parse("hello.yaml", text).unwrap(), Some(2)).unwrap();
        subjects.iter().map(Plan::of).map(|plan| (plan.deployment, plan.version)).collect()
    };
    let pair = |from: &str, to: &str| (from.to_owned(), Some(to.to_owned()));
    let three = VERSIONS.replace("[hello-blue, hello-green]", "[hello-red, hello-blue, hello-green]");
    assert_eq!(to(&three), [pair("hello-blue", "hello-red"), pair("hello-blue", "hello-green")]);
    // What a Service names has the clients now.
    let named = format!(
        "{VERSIONS}---\n{{apiVersion: v1, kind: Service, metadata: {{name: hello}}, spec: {{selector: {{app: hello, version: green}}}}}}\n"
    );
    assert_eq!(to(&named), [pair("hello-green", "hello-blue")]);
}

#[test]
fn a_headless_service_settles_longer() {
    let headless = format!(
        "{FILES}---\n{{apiVersion: v1, kind: Service, metadata: {{name: hello}}, spec: {{clusterIP: None, selector: {{app: hello}}}}}}\n"
    );
    let settle = |text: &str| subjects(&manifest::parse("hello.yaml", text).unwrap(), None).unwrap()[0].policy.settle;
    assert_eq!((settle(FILES), settle(&headless)), (Span::seconds(2), Span::seconds(30)));
}

#[test]
fn what_is_missing_is_named() {
    for (text, replicas, sentence) in [
        (
            FILES.split("---").next().unwrap(),
            None,
            "Deployment hello is in none of the files; say how many replicas it has with --replicas N",
        ),
        (
            &FILES.replace("replicas: 4", "replicas: 0"),
            None,
            "Deployment hello has 0 replicas, so there is nothing to release; plan for another size with --replicas N",
        ),
        (
            &FILES.replace("canary-quarters", "mine"),
            None,
            "ClusterRolloutPolicy mine (policyRef of Rollout hello) is in none of the files; add its file with -f",
        ),
        (
            VERSIONS.rsplit_once("---").unwrap().0,
            None,
            "Deployment hello-green is in none of the files; say how many replicas it has with --replicas N",
        ),
        (
            &VERSIONS.replace("replicas: 4", "replicas: 0"),
            None,
            "Deployment hello-blue has 0 replicas, so there is nothing to release; plan for another size with --replicas N",
        ),
        ("{kind: Service}", Some(1), "there is neither a Rollout nor a policy to plan with"),
        (
            &FILES.replace("  services: [hello]\n", ""),
            Some(1),
            "hello.yaml:4:1: spec.services: Required value; stepgate lint finds all such problems",
        ),
    ] {
        assert_eq!(planned(text, replicas).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn every_gate_that_may_wait_makes_the_longest_time_longer() {
    let policy = |gates: &str| -> PolicySpec {
        serde_saphyr::from_str(&format!(
            "{{steps: [{{weight: 50, hold: 1m}}, {{weight: 100}}], settle: 0s, keepPrevious: 1m, progressDeadline: 10m, gates: {gates}}}"
        ))
        .unwrap()
    };
    let http = |when: &str| policy(&format!("[{{name: a, http: {{path: /, port: 80}}, when: [{when}]}}]"));
    for (policy, shortest_, longest_) in [
        (policy("[]"), "2m", "32m"),
        (policy("[{name: ready, readiness: {}}]"), "2m", "32m"),
        (http("BeforeTraffic"), "2m2s", "32m"),
        (http("DuringSteps"), "2m", "1h2m"),
        (http("BeforePromotion"), "2m", "42m"),
    ] {
        assert_eq!((shortest(&policy).to_string().as_str(), longest(&policy).to_string().as_str()), (shortest_, longest_), "{policy:?}");
    }
}

#[test]
fn what_somebody_has_to_approve_stands_where_it_is_asked_for() {
    let policy = "{apiVersion: stepgate.dev/v1alpha1, kind: RolloutPolicy, metadata: {name: asking}, spec: {steps: [{weight: 25, hold: 1m}, {weight: 100}], settle: 0s, \
        keepPrevious: 0s, gates: [{name: qa, approval: {}}, {name: sales, approval: {weight: 25}}, {name: end, approval: {}, when: [BeforePromotion]}]}}";
    let plan = planned(policy, Some(3)).unwrap();
    let holds: Vec<(&str, &str)> = plan
        .lines()
        .filter_map(|line| Some((line.split_once(' ')?.0, line.split("  ").last()?.trim())))
        .filter(|(stage, _)| ["prepare", "1/2", "2/2", "bake"].contains(stage))
        .collect();
    assert_eq!(
        holds,
        [
            ("prepare", "until the approval of qa"),
            ("1/2", "1m, and until the approval of sales"),
            ("2/2", "until gates pass"),
            ("bake", "until the approval of end")
        ]
    );
    assert!(plan.ends_with("at most 31m and the time that approvals take, or it is rolled back or paused.\n"), "{plan}");
}
