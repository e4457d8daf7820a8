//! `stepgate plan`: what a release would do, before anything runs. Offline, and by the very functions that the controller decides with.

use std::{path::PathBuf, time::Duration};

use anstyle::Style;
use anyhow::{bail, ensure};
use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::{
        PolicySpec, RolloutSpec, Span,
        policy::{Gate, Promotion, Step, When},
        rollout::PolicyKind,
    },
    core::{
        canary,
        service_split::{MANAGED, Pin, Split},
        traffic::HEADLESS_SETTLE,
    },
};

use super::{
    exit::Exit,
    lint::Schemas,
    manifest::{self, Manifest},
    output::{Data, Output, document},
    presets::PRESETS,
    text::{Cell, STRONG, WAITS, cell, counted, paint, table},
};

/// What `stepgate plan` takes.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// File with a Rollout or a policy, and the objects it names; `-` for the standard input. Presets need no file
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Replicas of the Deployment [default: those of its file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    replicas: Option<u16>,

    /// Print the plans as a list
    #[arg(short, long, value_name = "FORM")]
    output: Option<Data>,
}

/// What is to be released, and how.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Whose policy it is, for the heading.
    pub policy_of: String,
    pub deployment: String,
    pub services: Vec<String>,
    pub replicas: i32,
    pub policy: PolicySpec,
}

/// A release before it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub deployment: String,
    pub policy: String,
    pub replicas: i32,
    pub stages: Vec<Stage>,
    /// Objects that the release writes, and what in them.
    pub touches: Vec<String>,
    /// From the first client to the hand-over, when nothing waits; the time that pods need to start is not in it.
    pub shortest: Span,
    /// The same, when every wait takes as long as it may.
    pub longest: Span,
}

/// A part of a release that stays as it is for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// `prepare`, `1/4`, `bake`.
    pub name: String,
    /// What is asked for, in percent.
    pub weight: u8,
    /// What whole pods give, in percent of the connections.
    pub share: u8,
    pub canary: Pods,
    pub stable: Pods,
    /// What Stepgate adds to the selectors of the Services.
    pub selector: String,
    pub hold: Span,
}

/// Pods of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// That take clients.
    pub serving: i32,
    pub running: i32,
}

impl Plan {
    /// The release of a subject.
    pub fn of(subject: &Subject) -> Self {
        let Subject { policy_of, deployment, services: _, replicas, policy } = subject;
        let mut stages = vec![prepare(policy, *replicas)];
        stages.extend(steps(policy, *replicas));
        stages.extend((!policy.keep_previous.0.is_zero()).then(|| bake(policy, *replicas)));
        Self {
            deployment: deployment.clone(),
            policy: policy_of.clone(),
            replicas: *replicas,
            touches: touches(subject, &stages),
            stages,
            shortest: shortest(policy),
            longest: longest(policy),
        }
    }
}

fn prepare(policy: &PolicySpec, size: i32) -> Stage {
    let weight = policy.steps.first().map_or(100, |step| step.weight);
    let running = canary::size(policy, weight, canary::split(policy, weight, size), size);
    Stage {
        name: "prepare".to_owned(),
        weight: 0,
        share: 0,
        canary: Pods { serving: 0, running },
        stable: Pods { serving: size, running: size },
        selector: selector(&Pin::Side("<stable>".to_owned())),
        hold: Span::default(),
    }
}

fn steps(policy: &PolicySpec, size: i32) -> Vec<Stage> {
    let of = policy.steps.len();
    let mut running = 0;
    let stage = |(i, Step { weight, hold }): (usize, &Step)| {
        let split = canary::split(policy, *weight, size);
        // The canary only ever grows.
        running = canary::size(policy, *weight, split, size).max(running);
        let (canary, stable) = match split {
            Split::Counts { canary } => (canary, size),
            Split::Rotation { canary, stable } => (canary, stable),
            Split::All => (size, 0),
        };
        Stage {
            name: format!("{}/{of}", i + 1),
            weight: *weight,
            share: split.share(size),
            canary: Pods { serving: canary, running },
            stable: Pods { serving: stable, running: size },
            selector: selector(&split.pin("<canary>")),
            hold: *hold,
        }
    };
    policy.steps.iter().enumerate().map(stage).collect()
}

fn bake(policy: &PolicySpec, size: i32) -> Stage {
    Stage {
        name: "bake".to_owned(),
        weight: 100,
        share: 100,
        canary: Pods { serving: size, running: size },
        stable: Pods { serving: 0, running: size },
        selector: selector(&Pin::Side("<canary>".to_owned())),
        hold: policy.keep_previous,
    }
}

fn selector(pin: &Pin) -> String {
    MANAGED.entry(pin).map_or_else(|| "as their owner wrote it".to_owned(), |(key, value)| format!("{key}={value}"))
}

fn touches(subject: &Subject, stages: &[Stage]) -> Vec<String> {
    let Subject { policy_of: _, deployment, services, replicas, policy } = subject;
    let stem = canary::stem(deployment);
    let in_rotation = stages.iter().filter(|stage| stage.selector == selector(&Pin::Rotation));
    let in_rotation = in_rotation.map(|stage| stage.canary.serving + stage.stable.serving).max();
    let mut touches = vec![
        format!("Deployment {deployment}: paused for as long as the release lasts"),
        format!("Deployment {stem}-<revision>: made for the release, up to {}, and removed", counted_pods(*replicas)),
    ];
    touches.extend(services.iter().map(|service| format!("Service {service}: one key of its selector, given back at the end")));
    touches.extend(in_rotation.map(|pods| format!("up to {} at a time: label {}", counted_pods(pods), selector(&Pin::Rotation))));
    touches.push(match policy.promotion {
        Promotion::Adopt => {
            format!("at the end: the canary's ReplicaSet is handed to Deployment {deployment}, whose maxSurge is raised for that moment; no pod restarts")
        }
        Promotion::Roll => format!("at the end: Deployment {deployment} rolls out by itself, off the traffic path"),
    });
    touches
}

fn counted_pods(pods: i32) -> String {
    counted(usize::try_from(pods).unwrap_or_default(), "pod")
}

/// Whether an HTTP gate is asked at that moment: it can make the release wait.
fn asked(policy: &PolicySpec, when: When) -> impl Iterator<Item = &Gate> {
    policy.gates.iter().filter(move |gate| gate.http.is_some() && gate.when.contains(&when))
}

fn shortest(policy: &PolicySpec) -> Span {
    let steps: Duration = policy.steps.iter().map(|step| step.hold.0 + policy.settle.0).sum();
    let first_passes = asked(policy, When::BeforeTraffic).filter_map(|gate| gate.http.as_ref());
    let first_passes = first_passes.map(|http| http.period.0 * http.success_threshold.saturating_sub(1)).max();
    Span(first_passes.unwrap_or_default() + steps + policy.keep_previous.0)
}

/// Every wait is at most `progressDeadline`: one before the first client; one a step for pods and endpoints, and one more at its end where
/// a gate is asked; one after the bake where a gate is asked.
fn longest(policy: &PolicySpec) -> Span {
    let at_a_step = 1 + u32::from(asked(policy, When::DuringSteps).next().is_some());
    let after_bake = u32::from(asked(policy, When::DuringSteps).chain(asked(policy, When::BeforePromotion)).next().is_some());
    let steps = u32::try_from(policy.steps.len()).unwrap_or(u32::MAX);
    let waits = 1 + steps * at_a_step + after_bake;
    let holds: Duration = policy.steps.iter().map(|step| step.hold.0 + policy.settle.0).sum();
    Span(policy.progress_deadline.0 * waits + holds + policy.keep_previous.0)
}

/// A plan for people.
pub fn render(plan: &Plan) -> String {
    let Plan { deployment, policy, replicas, stages, touches, shortest, longest } = plan;
    let heading = paint(STRONG, &format!("Deployment {deployment}"));
    let size = counted(usize::try_from(*replicas).unwrap_or_default(), "replica");
    let mut rows =
        vec![["STAGE", "WEIGHT", "SHARE", "CANARY PODS", "STABLE PODS", "SELECTOR OF THE SERVICES", "HOLD"].map(Cell::from).to_vec()];
    rows.extend(stages.iter().map(row));
    let touches = touches.join("\n  ");
    format!(
        "{heading} ({size}), {policy}\n\n{}\nIt writes:\n  {touches}\n\nIt takes at least {shortest} and the time that pods need to start; at most {longest}, or it is rolled back or paused.\n",
        table("", &rows)
    )
}

fn row(stage: &Stage) -> Vec<Cell> {
    let Stage { name, weight, share, canary, stable, selector, hold } = stage;
    let pods = |Pods { serving, running }: &Pods| format!("{serving} of {running} serve");
    let hold = if hold.0.is_zero() { "until gates pass".to_owned() } else { hold.to_string() };
    let style = if share == weight { Style::new() } else { WAITS };
    let share = cell(style, format!("{share} %"));
    vec![
        cell(STRONG, name),
        format!("{weight} %").into(),
        share,
        pods(canary).into(),
        pods(stable).into(),
        selector.as_str().into(),
        hold.into(),
    ]
}

/// Plans the releases of all Rollouts in the files, or, where there is none, of all policies.
///
/// # Errors
/// When a file cannot be read, has an object that the API server would refuse, or lacks what the plan needs.
pub fn run(args: &PlanArgs, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let PlanArgs { files, replicas, output } = args;
    let manifests = manifest::read_all(files)?;
    let plans: Vec<Plan> = subjects(&manifests, *replicas)?.iter().map(Plan::of).collect();
    let text = match output {
        Some(form) => document(*form, &plans)?,
        None => plans.iter().map(render).collect::<Vec<_>>().join("\n"),
    };
    out.print(&text)?;
    Ok(Exit::Done)
}

/// What the manifests ask to be released.
///
/// # Errors
/// When one of them would be refused, or something that is needed is in none of them.
pub fn subjects(manifests: &[Manifest], replicas: Option<u16>) -> anyhow::Result<Vec<Subject>> {
    let schemas = Schemas::new()?;
    for manifest in manifests {
        if let Some(problem) = schemas.check(&manifest.object).first() {
            let place = manifest.place(&problem.path);
            bail!("{}:{}:{}: {problem}; stepgate lint finds all such problems", manifest.file, place.line, place.column);
        }
    }
    let of_kind = |kind: &'static str| manifests.iter().filter(move |manifest| manifest.kind() == kind);
    let rollouts: Vec<&Manifest> = of_kind("Rollout").collect();
    if !rollouts.is_empty() {
        return rollouts.into_iter().map(|rollout| of_rollout(rollout, manifests, replicas)).collect();
    }
    let policies: Vec<&Manifest> = of_kind("RolloutPolicy").chain(of_kind("ClusterRolloutPolicy")).collect();
    ensure!(!policies.is_empty(), "there is neither a Rollout nor a policy to plan with");
    policies.into_iter().map(|policy| of_policy(policy, manifests, replicas)).collect()
}

fn of_rollout(rollout: &Manifest, manifests: &[Manifest], asked: Option<u16>) -> anyhow::Result<Subject> {
    let spec: RolloutSpec = spec(&rollout.object)?;
    let Some(deployment) = spec.workload.deployment else {
        bail!(
            "Rollout {} moves clients between Deployments of yours (workload.versions); plan knows Rollouts of one Deployment only",
            rollout.name()
        );
    };
    let (policy_of, policy) = match (spec.policy, spec.policy_ref) {
        (Some(policy), _) => (format!("policy of Rollout {}", rollout.name()), policy),
        (None, Some(reference)) => {
            let kind = reference.kind.as_str();
            let Some(policy) = find_policy(reference.kind, &reference.name, manifests)? else {
                bail!("{kind} {} (policyRef of Rollout {}) is in none of the files; add its file with -f", reference.name, rollout.name());
            };
            (format!("{kind} {}", reference.name), policy)
        }
        (None, None) => bail!("Rollout {} has no policy", rollout.name()),
    };
    let found = manifests.iter().find(|manifest| manifest.kind() == "Deployment" && manifest.name() == deployment);
    let replicas = size(asked, found, &deployment)?;
    let headless = manifests.iter().any(|manifest| {
        manifest.kind() == "Service"
            && spec.services.iter().any(|service| service == manifest.name())
            && manifest.object["spec"]["clusterIP"] == "None"
    });
    let settle = if headless { policy.settle.max(HEADLESS_SETTLE) } else { policy.settle };
    Ok(Subject { policy_of, deployment, services: spec.services, replicas, policy: PolicySpec { settle, ..policy } })
}

fn of_policy(policy: &Manifest, manifests: &[Manifest], asked: Option<u16>) -> anyhow::Result<Subject> {
    let found = manifests.iter().find(|manifest| manifest.kind() == "Deployment");
    let deployment = found.map_or("NAME", Manifest::name).to_owned();
    let replicas = size(asked, found, &deployment)?;
    let policy_of = format!("{} {}", policy.kind(), policy.name());
    Ok(Subject { policy_of, deployment, services: vec!["NAME".to_owned()], replicas, policy: spec(&policy.object)? })
}

fn spec<T: DeserializeOwned>(object: &Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(object["spec"].clone())?)
}

fn find_policy(kind: PolicyKind, name: &str, manifests: &[Manifest]) -> anyhow::Result<Option<PolicySpec>> {
    if let Some(found) = manifests.iter().find(|manifest| manifest.kind() == kind.as_str() && manifest.name() == name) {
        return spec(&found.object).map(Some);
    }
    let preset = PRESETS.iter().find(|(preset, _)| kind == PolicyKind::ClusterRolloutPolicy && *preset == name);
    preset.map(|(_, text)| spec(&serde_saphyr::from_str::<Value>(text)?)).transpose()
}

fn size(asked: Option<u16>, deployment: Option<&Manifest>, name: &str) -> anyhow::Result<i32> {
    let stated = deployment.map(|deployment| deployment.object["spec"]["replicas"].as_i64().unwrap_or(1));
    match (asked, stated) {
        (Some(asked), _) => Ok(asked.into()),
        (None, Some(0)) => {
            bail!("Deployment {name} has 0 replicas, so there is nothing to release; plan for another size with --replicas N")
        }
        (None, Some(stated)) => Ok(i32::try_from(stated)?),
        (None, None) => bail!("Deployment {name} is in none of the files; say how many replicas it has with --replicas N"),
    }
}

#[cfg(test)]
mod tests {
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
spec: {replicas: 4}
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
          Deployment hello: paused for as long as the release lasts
          Deployment hello-<revision>: made for the release, up to 4 pods, and removed
          Service hello: one key of its selector, given back at the end
          up to 4 pods at a time: label stepgate.dev/rotation=in
          at the end: the canary's ReplicaSet is handed to Deployment hello, whose maxSurge is raised for that moment; no pod restarts

        It takes at least 9m8s and the time that pods need to start; at most 59m8s, or it is rolled back or paused.
        ");
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
          Deployment NAME: paused for as long as the release lasts
          Deployment NAME-<revision>: made for the release, up to 3 pods, and removed
          Service NAME: one key of its selector, given back at the end
          up to 4 pods at a time: label stepgate.dev/rotation=in
          at the end: Deployment NAME rolls out by itself, off the traffic path

        It takes at least 0s and the time that pods need to start; at most 30m, or it is rolled back or paused.
        ");
    }

    #[test]
    fn a_headless_service_settles_longer() {
        let headless = format!("{FILES}---\n{{apiVersion: v1, kind: Service, metadata: {{name: hello}}, spec: {{clusterIP: None}}}}\n");
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
            serde_saphyr::from_str(&format!("{{steps: [{{weight: 50, hold: 1m}}, {{weight: 100}}], settle: 0s, keepPrevious: 1m, progressDeadline: 10m, gates: {gates}}}")).unwrap()
        };
        let http = |when: &str| policy(&format!("[{{name: a, http: {{path: /, port: 80}}, when: [{when}]}}]"));
        for (policy, shortest_, longest_) in [
            (policy("[]"), "2m", "32m"),
            (policy("[{name: ready, readiness: {}}]"), "2m", "32m"),
            (http("BeforeTraffic"), "2m2s", "32m"),
            (http("DuringSteps"), "2m", "1h2m"),
            (http("BeforePromotion"), "2m", "42m"),
        ] {
            assert_eq!(
                (shortest(&policy).to_string().as_str(), longest(&policy).to_string().as_str()),
                (shortest_, longest_),
                "{policy:?}"
            );
        }
    }
}
