//! `stepgate simulate`: a policy against a described application, on the embedded cluster under virtual time.

pub mod app;
pub mod ledger;
pub mod policy;
pub mod story;

use std::{cell::RefCell, convert::Infallible, ops::ControlFlow, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use serde_json::json;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use crate::{
    api::{
        PolicySpec, RolloutStatus,
        policy::{Gate, GrpcGate, HttpGate, Port, Scheme},
        status::Phase,
    },
    core::decision::watch::Target,
    probe::http::{Answer, Ask},
    sim::{
        Setup, Sim,
        stage::{self, Manifests, Stage},
        timeline::{Timeline, weight_in_effect},
    },
};

use self::{
    app::{App, From, NEW},
    ledger::Ledger,
    story::{Story, Stretch},
};

/// The port of the application, whichever a gate asks for.
const PORT: u16 = 8080;
/// How much longer than its policy allows a release may take before it counts as one without an end.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Checks that are played at most, some seconds of a core: a policy that comes with a stranger's pull request is not to keep a pipeline busy.
const CHECKS: u128 = 5_000_000;

/// What `stepgate simulate` takes.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// File with a RolloutPolicy or a ClusterRolloutPolicy, or with a Rollout and the policy that it refers to; `-` for the standard input.
    /// Presets need no file. What asks for an approval counts as approved
    #[arg(short, long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Pods of the Deployment
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    replicas: u32,

    /// Requests a second that clients send, each on a connection of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// What the new version does wrong, such as "fails 5% from 2m"; see below
    #[arg(long, value_name = "WORDS", long_help = app::GRAMMAR)]
    app: Vec<App>,

    /// Another number is another draw of chance: which requests of `fails 5%` fail, how long pods take to start
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

/// Plays the policy, and tells how it went.
///
/// # Errors
/// When there is no valid policy in the files, it asks for more checks than are played, or the release does not end.
pub async fn run(args: SimulateArgs) -> anyhow::Result<String> {
    let mut policy = policy::read(&args.files)?;
    // Nobody is there who could be asked.
    policy.gates.retain(|gate| gate.approval.is_none());
    let checks = checks(&policy, args.replicas);
    ensure!(
        checks <= CHECKS,
        "the gates of this policy would check the pods about {checks} times during the holds and keepPrevious, and at most {CHECKS} checks are \
         played: lengthen the periods, shorten the holds, or play fewer pods (--replicas)"
    );
    // A clock that stands still belongs to a runtime of its own, and a runtime to a thread.
    let story = spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(play(&policy, &args))
    });
    Ok(story.await??.to_string())
}

/// What is looked at after each move of the cluster.
struct Watch {
    timeline: Timeline,
    /// The weight in effect.
    weight: u8,
    ledger: Option<Ledger>,
}

/// What is waited for.
#[derive(Clone, Debug, Default)]
struct News {
    status: RolloutStatus,
    weight: u8,
}

/// Plays one release from the new image to its end.
async fn play(policy: &PolicySpec, args: &SimulateArgs) -> anyhow::Result<Story> {
    let sim = Sim::new(&Setup { seed: args.seed, ..Setup::default() });
    let stage = Stage::apply(sim.clone(), &manifests(policy, args.replicas)?)?;
    let seen = RefCell::new(Watch { timeline: stage.timeline.clone(), weight: 0, ledger: None });
    let (teller, news) = watch::channel(News::default());
    let moved = sim.run_seen(|world, now| {
        let Watch { timeline, weight, ledger } = &mut *seen.borrow_mut();
        let known = timeline.moments.len();
        timeline.read(world.api.store());
        for moment in &timeline.moments[known..] {
            *weight = weight_in_effect(*weight, &moment.status);
            teller.send_replace(News { status: moment.status.clone(), weight: *weight });
        }
        if let Some(ledger) = ledger {
            ledger.look(world, now, *weight);
        }
        ControlFlow::<Infallible>::Continue(())
    });
    let told = tokio::select! {
        // Always in this order: which of two that are ready goes first must not be left to chance.
        biased;
        never = moved => match never {},
        () = stage.controller(Arc::new(Checks(sim.clone()))) => bail!("the controller has ended"),
        told = direct(&stage, &seen, news, policy, args) => told?,
    };
    let Watch { timeline, .. } = seen.into_inner();
    let Told { began, faults, stretches } = told;
    Ok(Story { replicas: args.replicas, rate: args.rate, apps: args.app.clone(), began, faults, timeline, stretches })
}

/// When the release began, when the application began to do what it does wrong, and what clients met.
struct Told {
    began: Timestamp,
    faults: Vec<(Timestamp, App)>,
    stretches: Vec<Stretch>,
}

/// What people and the application do.
async fn direct(
    stage: &Stage,
    seen: &RefCell<Watch>,
    mut news: watch::Receiver<News>,
    policy: &PolicySpec,
    args: &SimulateArgs,
) -> anyhow::Result<Told> {
    let serves = |news: &News| {
        let ready = news.status.stable.as_ref().map_or(0, |stable| stable.ready);
        news.status.phase == Some(Phase::Healthy) && u32::try_from(ready) == Ok(args.replicas)
    };
    within(PATIENCE, &mut news, serves).await.context("the first version does not come up")?;
    // Its endpoints reach the proxy a moment after the status.
    sleep(Duration::from_secs(5)).await;
    let began = stage.sim.now();
    let open = stage.sim.look(|world, now| Ledger::open(f64::from(args.rate), world, now));
    seen.borrow_mut().ledger = Some(open);
    let faults = RefCell::new(Vec::new());
    let all_faults = join_all(args.app.iter().map(async |app| {
        arrives(app.from, news.clone()).await;
        let (key, value) = app.setting();
        stage.tell_version(NEW, key, &value);
        faults.borrow_mut().push((stage.sim.now(), app.clone()));
    }));
    let end = async {
        stage.set_image(&stage::image(NEW))?;
        within(longest(policy), &mut news.clone(), |news| is_over(&news.status)).await.context("the release does not end")
    };
    let faults_and_more = async {
        all_faults.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        // First, so that what is wrong from the start is so before the start.
        () = faults_and_more => {}
        ended = end => ended?,
    }
    let stretches = seen.borrow_mut().ledger.take().map(|ledger| ledger.stretches).unwrap_or_default();
    // Events trail the status that they tell of.
    sleep(Duration::from_secs(1)).await;
    let faults = faults.borrow().clone();
    Ok(Told { began, faults, stretches })
}

/// Waits for the moment when an application begins to do what it does wrong.
async fn arrives(from: From, mut news: watch::Receiver<News>) {
    match from {
        From::Start => {}
        From::After(length) => sleep(length.0).await,
        // Cannot fail: the sender outlives the release.
        From::Weight(weight) => drop(news.wait_for(|news| news.weight >= weight).await),
    }
}

/// Waits until it is so; the error says what the Rollout waits for.
async fn within(longest: Duration, news: &mut watch::Receiver<News>, is_so: impl FnMut(&News) -> bool) -> anyhow::Result<()> {
    match tokio::time::timeout(longest, news.wait_for(is_so)).await.map(drop) {
        Ok(()) => Ok(()),
        Err(_) => bail!("{}", news.borrow().status.why),
    }
}

/// Whether the release has ended, or its canary is kept until somebody asks.
fn is_over(status: &RolloutStatus) -> bool {
    match &status.release {
        None => status.history.last().is_some_and(|entry| entry.images.contains(&stage::image(NEW))),
        Some(release) => {
            let paused = status.conditions.iter().any(|condition| condition.type_ == "Paused" && condition.status == "True");
            paused && release.rollback.is_some()
        }
    }
}

/// About how often gates check a pod in a release that goes well.
fn checks(policy: &PolicySpec, replicas: u32) -> u128 {
    let holds: Duration = policy.steps.iter().map(|step| step.hold.0).sum();
    let whole = holds + policy.keep_previous.0;
    let gates = policy.gates.iter().filter_map(Gate::pace);
    let rounds: u128 = gates.map(|pace| whole.as_millis() / pace.period.0.as_millis().max(1)).sum();
    rounds * u128::from(replicas)
}

/// All that the policy lets a release take, and more.
fn longest(policy: &PolicySpec) -> Duration {
    let steps = u32::try_from(policy.steps.len()).unwrap_or(u32::MAX);
    let holds: Duration = policy.steps.iter().map(|step| step.hold.0).sum();
    holds + policy.keep_previous.0 + (policy.progress_deadline.0 + policy.settle.0) * (steps + 2) + PATIENCE
}

/// The objects of `examples/hello` with this policy, and with every port that a gate asks for.
fn manifests(policy: &PolicySpec, replicas: u32) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::of_example()?;
    manifests.set_policy(policy)?;
    manifests.deployment["spec"]["replicas"] = replicas.into();
    let asked_for = policy.gates.iter().filter_map(Gate::pace).filter_map(|pace| match pace.port {
        Port::Name(name) => Some(name.as_str()),
        Port::Number(_) => None,
    });
    let mut names: Vec<&str> = std::iter::once("http").chain(asked_for).collect();
    names.sort_unstable_by_key(|name| (*name != "http", *name));
    names.dedup();
    let ports: Vec<_> = names.iter().zip(PORT..).map(|(name, port)| json!({"name": name, "containerPort": port})).collect();
    manifests.deployment["spec"]["template"]["spec"]["containers"][0]["ports"] = ports.into();
    Ok(manifests)
}

/// Checks that meet what clients meet, whatever they ask for.
struct Checks(Sim);

impl Ask for Checks {
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        let gate = HttpGate { path: "/".to_owned(), scheme: Scheme::Http, ..gate.clone() };
        let target = Target { port: PORT, ..target.clone() };
        Box::pin(async move { self.0.ask(&gate, &target).await })
    }

    fn grpc<'a>(&'a self, _: &'a GrpcGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        let target = Target { port: PORT, ..target.clone() };
        Box::pin(async move { self.0.health(&target, "/").await })
    }

    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer> {
        let target = Target { port: PORT, ..target.clone() };
        Box::pin(async move { self.0.connect(&target).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::policy::OnFailure;

    const POLICY: &str = "
        apiVersion: stepgate.dev/v1alpha1
        kind: RolloutPolicy
        metadata: {name: quarters}
        spec:
          steps: [{weight: 25, hold: 1m}, {weight: 50, hold: 1m}, {weight: 75, hold: 1m}, {weight: 100, hold: 1m}]
          gates: [{name: healthz, http: {path: /any/path, port: web, period: 1s}}]";

    async fn story(apps: &[&str], change: fn(&mut PolicySpec)) -> String {
        let mut policy = policy::parse(POLICY).unwrap();
        change(&mut policy);
        let app = apps.iter().map(|app| app.parse().unwrap()).collect();
        let args = SimulateArgs { files: Vec::new(), replicas: 4, rate: 100, app, seed: 1 };
        play(&policy, &args).await.unwrap().to_string()
    }

    #[test]
    fn a_policy_of_two_weeks_with_twenty_checks_a_second_is_not_played() {
        let with = |hold: &str, period: &str| {
            let text = POLICY.replace("hold: 1m}]", &format!("hold: {hold}}}]")).replace("period: 1s", &format!("period: {period}"));
            checks(&policy::parse(&text).unwrap(), 4)
        };
        assert!(with("168h", "50ms") > 5 * CHECKS);
        assert!(with("168h", "1s") < CHECKS && with("1h", "50ms") < CHECKS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_fails_from_a_weight_on_is_taken_back() {
        insta::assert_snapshot!(story(&["fails 100% from 50%"], |_| {}).await, @r#"
        4 pods, 100 requests a second; the new version: fails 100% from 50%

              0.0s  ReleaseStarted   releasing revision e7b8f6cbe6 (stepgate.test/hello:v2)
              2.7s  WeightConfirmed  25 % of the clients are on revision e7b8f6cbe6
           1m05.5s  WeightConfirmed  50 % of the clients are on revision e7b8f6cbe6
           1m05.5s  (fault)          fails 100% from 50%
           1m07.7s  GateFailed       gate healthz: 3 failures in a row on pod hello-e7b8f6-75f88ddfd7-zzd4s: status 500
           1m07.7s  RollbackStarted  taking revision e7b8f6cbe6 back: gate healthz: 3 failures in a row on pod hello-e7b8f6-75f88ddfd7-zzd4s: status 500
           1m10.4s  RolledBack       revision e7b8f6cbe6 is gone, all clients are on the old version: gate healthz: 3 failures in a row on pod hello-e7b8f6-75f88ddfd7-zzd4s: status 500

         weight  in effect   requests   to the new version   failed
            0 %       2.7s        273              0 (0 %)        0
           25 %    1m02.8s       6276          1263 (20 %)        0
           50 %       2.2s        221           111 (50 %)      111
            0 %       2.7s        267              1 (0 %)        1

        taken back after 1m07.7s: gate healthz: 3 failures in a row on pod hello-e7b8f6-75f88ddfd7-zzd4s: status 500
        noticed 2.2s after it began
        112 of 7037 requests would have failed
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rare_fault_that_three_checks_in_a_row_do_not_meet_is_promoted() {
        let story = story(&["fails 5% from 2m"], |_| {}).await;
        assert!(story.contains("Promoted") && story.contains("nothing was noticed"), "{story}");
        let last = story.lines().last().unwrap();
        let failed: u32 = last.split(' ').next().unwrap().parse().unwrap();
        // 5 % of what the new version got, from the second minute to the end.
        assert!((2_050..2_120).contains(&failed), "{story}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_version_costs_no_request_and_neither_does_one_that_never_comes_up() {
        assert!(story(&[], |_| {}).await.contains("\n0 of "));
        let crashing = story(&["crashes"], |policy| policy.on_failure = OnFailure::Pause).await;
        assert!(crashing.contains("no progress for 10m") && crashing.contains("\n0 of "), "{crashing}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_costs_what_the_endpoints_still_send_there() {
        let story = story(&["crashes from 75%"], |_| {}).await;
        assert!(story.contains("\n<1 of "), "{story}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_is_kept_for_debugging_is_the_end_of_the_story() {
        let kept = story(&["slow 3s from 25%"], |policy| policy.on_failure = OnFailure::Pause).await;
        assert!(kept.contains("no answer within 1s") && kept.contains("the canary is kept without clients"), "{kept}");
    }

    #[tokio::test(start_paused = true)]
    async fn equal_seeds_tell_equal_stories() {
        assert_eq!(story(&["unready from 75%"], |_| {}).await, story(&["unready from 75%"], |_| {}).await);
    }
}
