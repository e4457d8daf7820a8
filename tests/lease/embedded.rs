//! The election itself, on the embedded cluster, in paused time.

use std::time::Duration;

use stepgate::{
    clock::Clock,
    lease::{election::Election, leadership::Leadership},
    sim::{
        Line, Setup, Sim,
        fault::{Fault, Rates},
    },
    vitals::Vitals,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

struct Elector {
    line: Line,
    leads: watch::Receiver<Leadership>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

fn elector(sim: &Sim, name: &str, line: Line) -> Elector {
    let Vitals { metrics, pulse, process: _ } = Vitals::default();
    let election =
        Election::new(sim.client_over(name, &line), "default", name.to_owned(), Clock::starting_at(sim.now()), metrics, pulse.listen());
    let (sender, leads) = watch::channel(Leadership::Standby);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        election.run(&sender, async { drop(stopped.await) }).await;
    });
    Elector { line, leads, stop: Some(stop), task }
}

impl Elector {
    fn leads(&self) -> bool {
        self.leads.borrow().may_write()
    }
}

fn cluster() -> Sim {
    let sim = Sim::new(&Setup::default());
    sim.spawn();
    sim
}

/// Virtual time until that one leads.
async fn until_it_leads(elector: &Elector) -> Duration {
    let start = Instant::now();
    while !elector.leads() {
        sleep(Duration::from_millis(1)).await;
        assert!(start.elapsed() < Duration::from_secs(60), "it never leads");
    }
    start.elapsed()
}

/// Two, of which the first one leads.
async fn two(sim: &Sim) -> (Elector, Elector) {
    let a = elector(sim, "a", Line::new(1));
    until_it_leads(&a).await;
    let b = elector(sim, "b", Line::new(2));
    sleep(Duration::from_millis(5_250)).await;
    assert!(a.leads() && !b.leads());
    (a, b)
}

fn between(elapsed: Duration, from: u64, to: u64) {
    assert!((Duration::from_millis(from)..Duration::from_millis(to)).contains(&elapsed), "{elapsed:?} is not in {from} to {to} ms");
}

#[tokio::test(start_paused = true)]
async fn where_there_never_was_a_lease_one_leads_after_its_duration() {
    let sim = cluster();
    between(until_it_leads(&elector(&sim, "a", Line::new(1))).await, 3_000, 3_100);
}

#[tokio::test(start_paused = true)]
async fn a_standby_leads_at_once_when_the_leader_is_told_to_end() {
    let sim = cluster();
    let (mut a, b) = two(&sim).await;
    a.stop.take().unwrap().send(()).unwrap();
    between(until_it_leads(&b).await, 0, 100);
    a.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_standby_leads_within_four_seconds_of_a_kill() {
    let sim = cluster();
    let (a, b) = two(&sim).await;
    a.task.abort();
    between(until_it_leads(&b).await, 1_900, 3_100);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_one_leads() {
    let sim = cluster();
    let (a, b) = two(&sim).await;
    a.line.cut();
    while a.leads() {
        assert!(!b.leads());
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(5)).await;
    assert_eq!(*a.leads.borrow(), Leadership::Standby, "told, not only true");
    between(until_it_leads(&b).await, 900, 2_100);
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_does_not_cost_the_lead() {
    let sim = cluster();
    let (a, _b) = two(&sim).await;
    for _ in 0..5 {
        a.line.plan(a.line.writes() + 1, Fault::LoseAnswer);
        for _ in 0..300 {
            sleep(Duration::from_millis(10)).await;
            assert!(a.leads());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_leader_writes_once_a_second_and_the_standby_nothing() {
    let sim = cluster();
    let (a, b) = two(&sim).await;
    a.line.clear_records();
    b.line.clear_records();
    sleep(Duration::from_secs(60)).await;
    assert!((59..=61).contains(&a.line.records().len()), "{}", a.line.records().len());
    assert!(b.line.records().is_empty());
}

// design §8.7
#[tokio::test(start_paused = true)]
async fn two_never_lead_at_once_on_a_bad_day() {
    for seed in 0..12 {
        let sim = cluster();
        let rates = Rates { longest_watch: Duration::from_secs(10), ..Rates::all(10.0) };
        let mut electors: Vec<Elector> =
            (0..3u64).map(|i| elector(&sim, &format!("e{i}"), Line::new(seed * 10 + i).with_rates(rates.clone()))).collect();
        let mut led = 0;
        for tick in 0..9_000u64 {
            sleep(Duration::from_millis(10)).await;
            let leaders = electors.iter().filter(|elector| elector.leads()).count();
            assert!(leaders <= 1, "seed {seed}, {} ms", tick * 10);
            led += leaders;
            // Now and then the leader is killed, or told to end; another one takes its place.
            if tick % 1_000 == 999 {
                let place = electors.iter().position(Elector::leads).unwrap_or(0);
                let next = elector(&sim, &format!("e{place}-{tick}"), Line::new(seed * 10 + tick).with_rates(rates.clone()));
                let mut old = std::mem::replace(&mut electors[place], next);
                if tick % 2_000 == 999 {
                    old.task.abort();
                } else {
                    old.stop.take().unwrap().send(()).unwrap();
                    old.task.await.unwrap();
                }
            }
        }
        assert!(led > 4_500, "seed {seed}: somebody led in {led} of 9000 moments only");
    }
}
