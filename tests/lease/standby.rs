//! A controller that stands by: it sees everything, does nothing, and acts at once when it leads.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use stepgate::{
    api::{Rollout, status::Phase},
    clock::Clock,
    controller::run::{self, Options},
    lease::leadership::Leadership,
    sim::{Line, Setup, Sim, sample, server::admission::STEPGATE},
    vitals::{
        Vitals,
        metrics::{Metrics, Moment},
        pulse::Answers,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

struct Controller {
    line: Line,
    leads: watch::Sender<Leadership>,
    metrics: Metrics,
}

fn controller(sim: &Sim, seed: u64) -> Controller {
    let line = Line::new(seed);
    let (leads, leadership) = watch::channel(Leadership::Standby);
    let options = Options { namespace: None, instance: format!("c{seed}") };
    let vitals = Vitals::default();
    let metrics = vitals.metrics.clone();
    let (client, clock) = (sim.client_over(STEPGATE, &line), Clock::starting_at(sim.now()));
    tokio::spawn(async move { run::run(client, options, clock, leadership, vitals).await });
    Controller { line, leads, metrics }
}

impl Controller {
    fn lead(&self) {
        self.leads.send_replace(Leadership::Alone);
    }

    fn decisions(&self) -> String {
        let text = self.metrics.text(&Moment { answers: &Answers { reports: Vec::new(), silent: 0 }, leads: true }).unwrap();
        text.lines().find(|line| line.starts_with("stepgate_decisions_total")).unwrap().to_owned()
    }

    fn stand_by(&self) {
        self.leads.send_replace(Leadership::Standby);
    }
}

async fn hello(sim: &Sim) -> Client {
    let client = sim.client("alice");
    let deployment = sample::deployment("default", "hello", "v1", 2);
    Api::namespaced(client.clone(), "default")
        .create(&PostParams::default(), &object::<k8s_openapi::api::apps::v1::Deployment>(deployment))
        .await
        .unwrap();
    let service = sample::service("default", "hello");
    Api::namespaced(client.clone(), "default")
        .create(&PostParams::default(), &object::<k8s_openapi::api::core::v1::Service>(service))
        .await
        .unwrap();
    let rollout = json!({
        "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello"},
        "spec": {
            "workload": {"deployment": "hello"}, "services": ["hello"],
            "policy": {"steps": [{"weight": 50, "hold": "20s"}, {"weight": 100}], "keepPrevious": "0s"},
        },
    });
    rollouts(&client).create(&PostParams::default(), &object(rollout)).await.unwrap();
    client
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn rollouts(client: &Client) -> Api<Rollout> {
    Api::namespaced(client.clone(), "default")
}

async fn release(client: &Client, version: &str) {
    let patch = Patch::Strategic(json!({"spec": {"template": sample::template("hello", version)}}));
    Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client.clone(), "default")
        .patch("hello", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn phase_becomes(client: &Client, phase: Phase) {
    let start = Instant::now();
    loop {
        let now = rollouts(client).get("hello").await.unwrap().status.unwrap_or_default();
        if now.phase == Some(phase) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(300), "not {phase:?} but {now:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn writes_within(controller: &Controller, time: Duration) -> u64 {
    let before = controller.line.writes();
    sleep(time).await;
    controller.line.writes() - before
}

#[tokio::test(start_paused = true)]
async fn a_standby_writes_nothing_and_acts_at_once_when_it_leads() {
    let sim = Sim::new(&Setup::default());
    sim.spawn();
    let _client = hello(&sim).await;
    let standby = controller(&sim, 1);
    assert_eq!(writes_within(&standby, Duration::from_secs(60)).await, 0);
    standby.lead();
    assert!(writes_within(&standby, Duration::from_millis(50)).await > 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_no_reason_to_decide_again() {
    let sim = Sim::new(&Setup::default());
    sim.spawn();
    let client = hello(&sim).await;
    let leader = controller(&sim, 1);
    leader.lead();
    phase_becomes(&client, Phase::Healthy).await;
    // The admission policies are asked for a few times more.
    sleep(Duration::from_secs(30)).await;
    let before = leader.decisions();
    for _ in 0..60 {
        leader.leads.send_replace(Leadership::Until(Instant::now() + Duration::from_secs(2)));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(leader.decisions(), before);
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_before_leadership_was_lost_is_not_written_after_it() {
    let sim = Sim::new(&Setup::default());
    sim.spawn();
    let client = hello(&sim).await;
    let (a, b) = (controller(&sim, 1), controller(&sim, 2));
    a.lead();
    phase_becomes(&client, Phase::Healthy).await;
    release(&client, "v2").await;
    phase_becomes(&client, Phase::Progressing).await;
    // In the middle of a release the other one takes over and brings it to its end.
    a.stand_by();
    let before = a.line.writes();
    b.lead();
    phase_becomes(&client, Phase::Healthy).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(a.line.writes(), before, "nothing from a standby");
    // The first one comes back to a world that has moved on, and leaves it as it is.
    b.stand_by();
    let status = rollouts(&client).get("hello").await.unwrap().status.unwrap();
    a.lead();
    assert_eq!(writes_within(&a, Duration::from_secs(30)).await, 0, "{:?}", a.line.records().last());
    let after = rollouts(&client).get("hello").await.unwrap().status.unwrap();
    assert_eq!((after.phase, after.history.len(), after.stable), (status.phase, 1, status.stable));
}
