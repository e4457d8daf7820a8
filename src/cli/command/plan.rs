//! `stepgate plan`: what a release would do, before anything runs. Offline, and by the very functions that the controller decides with.

mod subject;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anstyle::Style;
use clap::Args;
use serde::Serialize;

use crate::{
    api::{
        PolicySpec, Span,
        policy::{ClientIpAffinity, Gate, Idle, Promotion, Step, When},
    },
    cli::{
        files::manifest,
        paper::{
            exit::Exit,
            ink::{Cell, STRONG, WAITS, cell, paint, table},
            output::{Data, Output, document},
        },
    },
    core::{
        facts::pin::Pin,
        gate::approval,
        share::percent,
        traffic::selectors::split::{self, Split},
        view::names,
    },
    show::text::counted,
};

pub use subject::{Canary, Preview, Subject, Version, subjects};

/// What `stepgate plan` takes.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// File with a Rollout or a policy, and the objects it names; `-` for the standard input. Presets need no file
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Replicas of the Deployment, or of the version that is live [default: those of its file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    replicas: Option<u16>,

    /// Print the plans as a list
    #[arg(short, long, value_name = "FORM")]
    output: Option<Data>,
}

/// A release before it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub deployment: String,
    /// The Deployment that takes its place, where all versions are the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
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
    /// What whole pods give, in percent of the connections; without Services, of the pods.
    pub share: u8,
    pub canary: Pods,
    pub stable: Pods,
    /// What Stepgate adds to the selectors of the Services; empty where there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    pub hold: Span,
    /// Gates that somebody has to approve before it ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<String>,
}

/// Pods of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// That take clients, or work.
    pub serving: i32,
    pub running: i32,
}

impl Plan {
    /// The release of a subject.
    pub fn of(subject: &Subject) -> Self {
        let Subject { policy_of, deployment, canary, services: _, preview: _, replicas, policy } = subject;
        let mut stages = vec![prepare(subject)];
        // The first step is the first pod, unless somebody has to say so.
        stages.retain(|stage| !subject.is_worker() || !stage.approvals.is_empty());
        stages.extend(steps(subject, running(&stages)));
        let baking = bake(subject, running(&stages));
        stages.push(baking);
        // A gate asks once.
        let mut known = BTreeSet::new();
        for stage in &mut stages {
            stage.approvals.retain(|gate| known.insert(gate.clone()));
        }
        if stages.last().is_some_and(|baking| baking.hold.0.is_zero() && baking.approvals.is_empty()) {
            stages.pop();
        }
        Self {
            deployment: deployment.clone(),
            version: match canary {
                Canary::Made => None,
                Canary::Version(version) => Some(version.deployment.clone()),
            },
            policy: policy_of.clone(),
            replicas: *replicas,
            touches: touches(subject, &stages),
            stages,
            shortest: shortest(policy),
            longest: longest(policy),
        }
    }
}

/// Pods of the canary after these stages.
fn running(stages: &[Stage]) -> i32 {
    stages.last().map_or(0, |stage| stage.canary.running)
}

fn prepare(subject: &Subject) -> Stage {
    let (policy, size, running) = (&subject.policy, subject.replicas, subject.running());
    let weight = policy.steps.first().map_or(100, |step| step.weight);
    let dark = if subject.is_worker() { 0 } else { split::size(policy, weight, subject.split(weight, running), size) };
    let running = dark.max(running);
    let [stable, _] = subject.values();
    Stage {
        name: "prepare".to_owned(),
        weight: 0,
        share: 0,
        canary: Pods { serving: 0, running },
        stable: Pods { serving: size, running: size },
        selector: subject.selector(&Pin::Side(stable.to_owned())),
        hold: Span::default(),
        approvals: approval::asked(policy, &[When::BeforeTraffic], 0),
    }
}

fn steps(subject: &Subject, mut running: i32) -> Vec<Stage> {
    let (policy, size, of) = (&subject.policy, subject.replicas, subject.policy.steps.len());
    let [_, value] = subject.values();
    let stage = |(i, Step { weight, hold }): (usize, &Step)| {
        let split = subject.split(*weight, running);
        // The canary only ever grows.
        running = split::size(policy, *weight, split, size).max(running);
        let (canary, stable) = match split {
            Split::Counts { canary } => (canary, size),
            Split::Rotation { canary, stable } => (canary, stable),
            Split::All => (running, subject.old_pods_at_100()),
        };
        Stage {
            name: format!("{}/{of}", i + 1),
            weight: *weight,
            share: percent(canary, canary + stable),
            canary: Pods { serving: canary, running },
            stable: Pods { serving: stable, running: size },
            selector: subject.selector(&split.pin(value)),
            hold: *hold,
            approvals: approval::asked(policy, &[When::DuringSteps], *weight),
        }
    };
    policy.steps.iter().enumerate().map(stage).collect()
}

fn bake(subject: &Subject, running: i32) -> Stage {
    let [_, canary] = subject.values();
    Stage {
        name: "bake".to_owned(),
        weight: 100,
        share: percent(running, running + subject.old_pods_at_100()),
        canary: Pods { serving: running, running },
        stable: Pods { serving: subject.old_pods_at_100(), running: subject.replicas },
        selector: subject.selector(&Pin::Side(canary.to_owned())),
        hold: subject.policy.keep_previous,
        approvals: approval::asked(&subject.policy, &[When::DuringSteps, When::BeforePromotion], 100),
    }
}

fn touches(subject: &Subject, stages: &[Stage]) -> Vec<String> {
    let rotation = subject.selector(&Pin::Rotation);
    let in_rotation = stages.iter().filter(|stage| !subject.is_worker() && stage.selector == rotation);
    let in_rotation = in_rotation.map(|stage| stage.canary.serving + stage.stable.serving).max();
    let (mut touches, at_the_end) = match &subject.canary {
        Canary::Made => (touches_of_managed(subject), end_of_managed(subject)),
        Canary::Version(version) => (touches_of_versions(subject, version, running(stages)), end_of_versions(subject)),
    };
    touches.extend(subject.preview.as_ref().map(preview));
    touches.extend(in_rotation.map(|pods| format!("up to {} at a time: label {rotation}", counted_pods(pods))));
    touches.push(format!("at the end: {at_the_end}"));
    touches
}

fn touches_of_managed(subject: &Subject) -> Vec<String> {
    let Subject { policy_of: _, deployment, canary: _, services, preview: _, replicas, policy } = subject;
    let stem = names::stem(deployment);
    let mut touches = vec![
        format!("Deployment {deployment}: paused, with the label stepgate.dev/held, for as long as the release lasts"),
        format!("Deployment {stem}-<revision>: made for the release, up to {}, and removed", counted_pods(*replicas)),
    ];
    let affinity = by_address(policy).map(|affinity| format!(" and {affinity}")).unwrap_or_default();
    touches.extend(services.iter().map(|service| format!("Service {service}: one key of its selector{affinity}, given back at the end")));
    touches
}

fn preview(preview: &Preview) -> String {
    let Preview { service, address } = preview;
    format!(
        "Service {service}: one key of its selector, so that {address} reaches the new version before any client does, until the release ends"
    )
}

/// What a release sets of a Service's session affinity.
fn by_address(policy: &PolicySpec) -> Option<String> {
    let ClientIpAffinity { timeout } = policy.affinity.as_ref()?.client_ip.as_ref()?;
    Some(format!("its session affinity (ClientIP, {timeout})"))
}

fn end_of_managed(subject: &Subject) -> String {
    let deployment = &subject.deployment;
    match subject.policy.promotion {
        Promotion::Adopt => {
            format!(
                "the canary's ReplicaSet is handed to Deployment {deployment}, whose maxSurge is raised for that moment; no pod restarts"
            )
        }
        Promotion::Roll => format!("Deployment {deployment} rolls out by itself, while the canary stands in"),
    }
}

fn touches_of_versions(subject: &Subject, version: &Version, running: i32) -> Vec<String> {
    let Version { deployment, replicas, label, values: [live, canary], shared: _ } = version;
    let raised = running > *replicas;
    let raised = raised.then(|| format!("Deployment {deployment}: scaled up from {replicas} to {}", counted_pods(running)));
    let affinity = by_address(&subject.policy).map(|affinity| format!("; {affinity}, given back at the end")).unwrap_or_default();
    let services = subject.services.iter();
    let services =
        services.map(|service| format!("Service {service}: the key {label} of its selector, {live} before and {canary} after{affinity}"));
    raised.into_iter().chain(services).collect()
}

fn end_of_versions(subject: &Subject) -> String {
    match subject.policy.idle {
        Idle::Keep => "the roles are swapped; nothing is written, and no pod restarts".to_owned(),
        Idle::ScaleToZero => format!("Deployment {} is scaled to 0", subject.deployment),
    }
}

fn counted_pods(pods: i32) -> String {
    counted(usize::try_from(pods).unwrap_or_default(), "pod")
}

/// The gates that ask pods at that moment: each can make the release wait.
fn asked(policy: &PolicySpec, when: When) -> impl Iterator<Item = &Gate> {
    policy.gates.iter().filter(move |gate| gate.pace().is_some() && gate.when.contains(&when))
}

fn shortest(policy: &PolicySpec) -> Span {
    let steps: Duration = policy.steps.iter().map(|step| step.hold.0 + policy.settle.0).sum();
    let first_passes = asked(policy, When::BeforeTraffic).filter_map(Gate::pace);
    let first_passes = first_passes.map(|pace| pace.period.0 * pace.success_threshold.saturating_sub(1)).max();
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
    let Plan { deployment, version, policy, replicas, stages, touches, shortest, longest } = plan;
    let heading = match version {
        Some(version) => format!("Deployment {version} in the place of {deployment}"),
        None => format!("Deployment {deployment}"),
    };
    let heading = paint(STRONG, &heading);
    let size = counted(usize::try_from(*replicas).unwrap_or_default(), "replica");
    let mut rows =
        vec![["STAGE", "WEIGHT", "SHARE", "CANARY PODS", "STABLE PODS", "SELECTOR OF THE SERVICES", "HOLD"].map(Cell::from).to_vec()];
    if stages.iter().all(|stage| stage.selector.is_empty()) {
        rows[0].remove(SELECTOR);
    }
    rows.extend(stages.iter().map(row));
    let touches = touches.join("\n  ");
    let asks = stages.iter().any(|stage| !stage.approvals.is_empty());
    let approvals = if asks { " and the time that approvals take" } else { "" };
    format!(
        "{heading} ({size}), {policy}\n\n{}\nIt writes:\n  {touches}\n\nIt takes at least {shortest} and the time that pods need to start; at most {longest}{approvals}, or it is rolled back or paused.\n",
        table("", &rows)
    )
}

/// The column of the selectors, which is left out where there are no Services.
const SELECTOR: usize = 5;

fn row(stage: &Stage) -> Vec<Cell> {
    let Stage { name, weight, share, canary, stable, selector, hold, approvals } = stage;
    let does = if selector.is_empty() { "work" } else { "serve" };
    let pods = |Pods { serving, running }: &Pods| format!("{serving} of {running} {does}");
    let hold = match (hold.0.is_zero(), approvals.as_slice()) {
        (true, []) => "until gates pass".to_owned(),
        (false, []) => hold.to_string(),
        (true, gates) => format!("until the approval of {}", gates.join(", ")),
        (false, gates) => format!("{hold}, and until the approval of {}", gates.join(", ")),
    };
    let style = if share == weight { Style::new() } else { WAITS };
    let share = cell(style, format!("{share} %"));
    let mut row = vec![
        cell(STRONG, name),
        format!("{weight} %").into(),
        share,
        pods(canary).into(),
        pods(stable).into(),
        selector.as_str().into(),
        hold.into(),
    ];
    if selector.is_empty() {
        row.remove(SELECTOR);
    }
    row
}

/// Plans the releases of all Rollouts in the files, or, where there is none, of all policies.
///
/// # Errors
/// When a file cannot be read, has an object that would be refused, or lacks what the plan needs.
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
