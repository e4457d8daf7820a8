//! `stepgate demo`: releases on an embedded cluster, with real clients over real sockets, to look at.

pub mod observe;
pub mod paint;
pub mod report;
pub mod scenario;
pub mod scene;
pub mod screen;
pub mod serve;
pub mod view;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::{
    api::{
        PolicySpec, RolloutStatus, Span,
        status::{HistoryEntry, Phase},
    },
    probe::http,
    sim::{
        Http, Loopback, Setup, Sim, Sockets,
        cluster::Timing,
        load::{self, Load, Plan},
        stage::{FIRST, Manifests, Stage},
        timeline::{self, Moment},
    },
};

use super::paper::output::Output;

use self::{
    report::{Entry, Facts, Identity, Report},
    scenario::{Release, Scenario},
    scene::{Act, Event, PodState, Scene, Tally},
    screen::Screen,
    serve::Kubeconfig,
};

/// From one look at the cluster to the next.
const TICK: Duration = Duration::from_millis(100);
/// Requests a second.
const RATE: u32 = 200;
/// The longest that a release of the demo may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// The clients end by then in any case.
const LONGEST: Duration = Duration::from_secs(900);

/// What `stepgate demo` takes.
#[derive(Args, Debug, Default)]
pub struct DemoArgs {
    /// Play only this release; may be given more than once [default: good, bad, crash]
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    scenarios: Vec<Scenario>,

    /// Hold the weights for half a second only
    #[arg(long)]
    fast: bool,

    /// Print how it went as JSON, and nothing before
    #[arg(long)]
    json: bool,

    /// Let kubectl at the cluster, on a port of 127.0.0.1, until interrupted; plays what --scenario names, and nothing by itself
    #[arg(long, conflicts_with = "json")]
    serve: bool,

    /// With --serve: write the kubeconfig to this new file, and remove it in the end [default: a temporary file]
    #[arg(long, value_name = "FILE", requires = "serve")]
    kubeconfig: Option<PathBuf>,
}

/// Plays the releases and shows them.
///
/// # Errors
/// When something did not go as told, when this machine has no loopback addresses to give, or when it is interrupted.
pub async fn run(args: &DemoArgs, out: &mut Output<'_>) -> anyhow::Result<()> {
    let mut screen = if args.json { Screen::Silent } else { Screen::of_stdout() };
    let interrupted = crate::cli::signal::told_to_end()?;
    let done = tokio::select! {
        done = perform(args, &mut screen, out) => done,
        () = interrupted => if args.serve { Ok(()) } else { Err(anyhow!("interrupted; nothing is left of the embedded cluster")) },
    };
    screen.clear();
    done
}

/// Brings the cluster up, plays and judges; and stays, where it is to be served.
async fn perform(args: &DemoArgs, screen: &mut Screen, out: &mut Output<'_>) -> anyhow::Result<()> {
    let DemoArgs { scenarios, fast, json, serve, kubeconfig } = args;
    let all: &[Scenario] = if *serve { &[] } else { &[Scenario::Good, Scenario::Bad, Scenario::Crash] };
    let releases = Release::of(if scenarios.is_empty() { all } else { scenarios });
    let pace = if *fast { Pace::FAST } else { Pace::USUAL };
    let Stand { stage, loopback, mut tasks } = Stand::up(pace)?;
    // As long as this is there, its file is.
    let _kubeconfig = if *serve {
        let http = Http::bind(0).await.context("cannot take a port of 127.0.0.1")?;
        let kubeconfig = Kubeconfig::write(&http, kubeconfig.as_deref())?;
        out.print(&format!("{}\n", kubeconfig.invitation()))?;
        let sim = stage.sim.clone();
        tasks.spawn(async move { match http.run(sim).await {} });
        Some(kubeconfig)
    } else {
        None
    };
    let mut player = Player { stage, loopback, pace, screen, releases: &releases, load: None, began: Instant::now(), act: None };
    let story = async {
        if releases.is_empty() {
            player.come_up().await?;
            return player.stay().await;
        }
        let report = player.play().await?;
        player.screen.clear();
        if *json {
            out.print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        } else {
            out.print(&format!("\n{}", report::table(&report, screen::colours())))?;
        }
        if *serve {
            return player.stay().await;
        }
        ensure!(report.as_told, "not everything went as told");
        Ok(())
    };
    tokio::select! {
        done = story => done,
        Some(ended) = tasks.join_next() => Err(ended?),
    }
}

/// How fast the releases go.
#[derive(Clone, Copy, Debug)]
struct Pace {
    hold: Span,
    settle: Span,
    keep_previous: Span,
    period: Span,
    /// Long beside the start of a pod on a busy machine, short beside a spectator's patience.
    progress_deadline: Span,
    /// Between two releases.
    rest: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        hold: Span::millis(2500),
        settle: Span::seconds(1),
        keep_previous: Span::seconds(2),
        period: Span::millis(500),
        progress_deadline: Span::seconds(10),
        rest: Duration::from_millis(1500),
    };
    const FAST: Self = Self {
        hold: Span::millis(500),
        settle: Span::millis(300),
        keep_previous: Span::millis(500),
        period: Span::millis(250),
        progress_deadline: Span::seconds(6),
        rest: Duration::from_millis(300),
    };

    /// The policy of the example, at this pace.
    fn apply(self, policy: &mut PolicySpec) {
        let Self { hold, settle, keep_previous, period, progress_deadline, rest: _ } = self;
        policy.steps.iter_mut().for_each(|step| step.hold = hold);
        policy.gates.iter_mut().filter_map(|gate| gate.http.as_mut()).for_each(|http| http.period = period);
        policy.settle = settle;
        policy.keep_previous = keep_previous;
        policy.progress_deadline = progress_deadline;
    }
}

/// An embedded cluster on sockets, with a controller.
struct Stand {
    stage: Stage,
    loopback: Loopback,
    /// What keeps it going. None of them ends but by an error.
    tasks: JoinSet<anyhow::Error>,
}

impl Stand {
    fn up(pace: Pace) -> anyhow::Result<Self> {
        let loopback = Loopback::reserve()?;
        let ms = Duration::from_millis;
        let timing = Timing { start: (ms(700), ms(1100)), ..Timing::default() };
        let sim = Sim::new(&Setup { start: Timestamp::now(), timing, pod_network: loopback.pod_network(), ..Setup::default() });
        let mut tasks: JoinSet<anyhow::Error> = JoinSet::new();
        let moved = sim.clone();
        tasks.spawn(async move { match Sockets::run(moved).await {} });
        let stage = Stage::apply(sim, &manifests(&loopback, pace)?)?;
        let controller = stage.controller(Arc::new(http::Network::new()?));
        tasks.spawn(async move {
            controller.await;
            anyhow!("the controller has ended")
        });
        Ok(Self { stage, loopback, tasks })
    }
}

/// The objects of `examples/hello` on loopback addresses.
fn manifests(loopback: &Loopback, pace: Pace) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::of_example()?;
    let mut policy = manifests.policy()?;
    pace.apply(&mut policy);
    manifests.set_policy(&policy)?;
    manifests.listen_on(loopback.service());
    Ok(manifests)
}

struct Player<'a> {
    stage: Stage,
    loopback: Loopback,
    pace: Pace,
    screen: &'a mut Screen,
    releases: &'a [Release],
    load: Option<Load>,
    began: Instant,
    act: Option<Act>,
}

/// When a release went on, and what its pods were.
struct Record {
    from: Instant,
    to: Instant,
    history: Option<HistoryEntry>,
    tested: BTreeSet<Identity>,
    serving: BTreeSet<Identity>,
}

impl Player<'_> {
    /// Shows the cluster, with clients, for as long as somebody wants to see it.
    async fn stay(&mut self) -> anyhow::Result<()> {
        self.act = None;
        loop {
            self.begin_load();
            let started = Instant::now();
            while started.elapsed() < LONGEST {
                self.tick().await;
            }
        }
    }

    /// Clients from now on, and none of the requests of those before.
    fn begin_load(&mut self) {
        let plan = Plan { rate: f64::from(RATE), longest: LONGEST, most: usize::MAX, ..Plan::new(self.loopback.service()) };
        self.load = Some(Load::start(plan));
    }

    async fn play(&mut self) -> anyhow::Result<Report> {
        let size = self.come_up().await?;
        self.begin_load();
        self.rest().await;
        let mut records = Vec::new();
        for (index, release) in self.releases.iter().enumerate() {
            self.act =
                Some(Act { number: index + 1, of: self.releases.len(), command: release.command(), promise: release.scenario.promise() });
            records.push(self.release(release, size).await?);
            self.rest().await;
        }
        let Some(load) = self.load.take() else { bail!("there were no clients") };
        let requests = load.stop().await;
        self.stage.status();
        Ok(self.report(&records, &requests))
    }

    /// Until the first version serves; returns its number of pods.
    async fn come_up(&mut self) -> anyhow::Result<usize> {
        let started = Instant::now();
        loop {
            let status = self.tick().await;
            let serving = self.pods().iter().filter(|pod| pod.takes_clients).count();
            let size = status.stable.as_ref().and_then(|stable| usize::try_from(stable.replicas).ok());
            if let Some(size) = size.filter(|size| status.phase == Some(Phase::Healthy) && *size == serving) {
                return Ok(size);
            }
            ensure!(started.elapsed() < PATIENCE, "{FIRST} does not serve: {}", status.why);
        }
    }

    async fn rest(&mut self) {
        let started = Instant::now();
        while started.elapsed() < self.pace.rest {
            self.tick().await;
        }
    }

    /// Plays one release to its end.
    async fn release(&mut self, release: &Release, size: usize) -> anyhow::Result<Record> {
        let scene = self.scene();
        self.screen.begin(&scene);
        let (weight, settings) = release.scenario.settings();
        let mut settings = Some(settings);
        let mut tested = BTreeSet::new();
        let mut in_effect = 0;
        let from = Instant::now();
        self.stage.set_image(&release.image())?;
        loop {
            if in_effect >= weight {
                for (key, value) in settings.take().into_iter().flatten() {
                    self.stage.tell_version(&release.version, key, value);
                }
            }
            let status = self.tick().await;
            in_effect = timeline::weight_in_effect(in_effect, &status);
            if in_effect == 100 {
                tested = self.serving();
            }
            let history = status.history.last().filter(|entry| entry.images.contains(&release.image()));
            let staying = self.pods().iter().filter(|pod| pod.state != PodState::Ending).count();
            let ended = history.is_some() && status.release.is_none() && staying == size;
            if ended || from.elapsed() > PATIENCE {
                return Ok(Record { from, to: Instant::now(), history: history.cloned(), tested, serving: self.serving() });
            }
        }
    }

    /// Waits a moment, looks, shows, and says what the Rollout says.
    async fn tick(&mut self) -> RolloutStatus {
        tokio::time::sleep(TICK).await;
        let scene = self.scene();
        self.screen.show(&scene);
        scene.status
    }

    fn scene(&mut self) -> Scene {
        let status = self.stage.status();
        let pods = self.pods();
        let releases = self.releases;
        let report = self.load.as_mut().map(Load::report);
        let answers = report.map(observe::recent).unwrap_or_default();
        let tally = report.map(|report| report::tally(report, releases)).unwrap_or_default();
        let versions = observe::versions(&pods, &status, &answers);
        let events = self.events();
        let (now, elapsed) = (self.stage.sim.now(), self.began.elapsed());
        Scene { elapsed, rate: RATE, act: self.act.clone(), now, status, versions, events, tally }
    }

    fn events(&self) -> Vec<Event> {
        let event = |told: &timeline::Told| Event {
            elapsed: self.instant(told.at).saturating_duration_since(self.began),
            reason: told.reason.clone(),
            note: told.note.clone(),
            is_warning: told.is_warning,
        };
        self.stage.timeline.events.iter().map(event).collect()
    }

    fn pods(&self) -> Vec<observe::Found> {
        self.stage.sim.look(|world, _| observe::pods(world, self.loopback.service().port()))
    }

    fn serving(&self) -> BTreeSet<Identity> {
        self.pods().into_iter().filter(|pod| pod.takes_clients && pod.state == PodState::Ready).map(|pod| pod.identity).collect()
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.stage.sim.clock().instant(at).into_std()
    }

    fn report(&self, records: &[Record], seen: &load::Report) -> Report {
        let played = self.releases.iter().zip(records).map(|(release, record)| report::judge(self.facts(release, record, seen)));
        let releases: Vec<report::Played> = played.collect();
        let Tally { requests, bad: _, failed } = report::tally(seen, self.releases);
        Report {
            as_told: failed == 0 && releases.iter().all(|played| played.deviations.is_empty()),
            requests,
            failed,
            answers: report::answers(seen.requests.iter()),
            lateness: seen.lateness().as_secs_f64(),
            timeline: self.stage.timeline.moments.iter().map(|moment| self.entry(moment)).collect(),
            releases,
        }
    }

    fn facts<'r>(&self, release: &'r Release, record: &Record, seen: &'r load::Report) -> Facts<'r> {
        let Record { from, to, history, tested, serving } = record;
        let weights = timeline::weights(&self.stage.timeline.moments).into_iter();
        let starts: Vec<(Instant, u8)> = weights.map(|(at, weight)| (self.instant(at), weight)).collect();
        let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([*to]);
        let weights = starts
            .iter()
            .zip(ends)
            .filter(|((at, _), end)| at < to && end > from)
            .map(|((at, weight), end)| (*weight, end.min(*to).saturating_duration_since(*at.max(from))));
        Facts {
            release,
            history: history.clone(),
            length: to.duration_since(*from),
            weights: weights.collect(),
            requests: seen.requests.iter().filter(|request| (*from..*to).contains(&request.sent_at)).collect(),
            tested: tested.clone(),
            serving: serving.clone(),
        }
    }

    fn entry(&self, moment: &Moment) -> Entry {
        let Moment { at, status } = moment;
        Entry {
            at: self.instant(*at).saturating_duration_since(self.began).as_secs_f64(),
            phase: status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default(),
            desired: status.traffic.as_ref().map(|traffic| traffic.desired),
            routed: status.traffic.as_ref().and_then(|traffic| traffic.routed),
            why: status.why.clone(),
        }
    }
}
