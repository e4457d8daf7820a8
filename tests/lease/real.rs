//! Two electors on a real API server. Times are asserted loosely, at ten times the design's, and said aloud.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use stepgate::{
    clock::Clock,
    lease::{
        election::{self, Election},
        leadership::Leadership,
    },
    vitals::Vitals,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    kubectl::{Kubectl, cluster, say, unique},
    line::{Line, Way},
};

/// How long the electors are watched.
const WATCHED: Duration = Duration::from_secs(20);

struct Elector {
    line: Line,
    leads: watch::Receiver<Leadership>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn elector(kubectl: &Kubectl, namespace: &str) -> Elector {
    let kubeconfig = Kubeconfig::read_from(kubectl.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.proxy_url = None;
    let (host, port) = (config.cluster_url.host().unwrap().to_owned(), config.cluster_url.port_u16().unwrap_or(443));
    let line = Line::to(format!("{host}:{port}")).await;
    config.cluster_url = format!("https://{}", line.address).parse().unwrap();
    config.tls_server_name.get_or_insert(host);
    let Vitals { metrics, pulse, process: _ } = Vitals::default();
    let clock = Clock::starting_at(Timestamp::now());
    let election =
        Election::new(Client::try_from(config).unwrap(), namespace, election::identity("elector"), clock, metrics, pulse.listen());
    let (sender, leads) = watch::channel(Leadership::Standby);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move { election.run(&sender, async { drop(stopped.await) }).await });
    Elector { line, leads, stop: Some(stop), task }
}

impl Elector {
    fn leads(&self) -> bool {
        self.leads.borrow().may_write()
    }
}

/// Which one leads, once one does.
async fn leader(electors: &[Elector]) -> usize {
    let start = Instant::now();
    loop {
        if let Some(leader) = electors.iter().position(Elector::leads) {
            return leader;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "nobody leads");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Time until the other one leads; at no moment both do.
async fn taken_over(electors: &[Elector; 2], from: usize) -> Duration {
    let start = Instant::now();
    while !electors[1 - from].leads() {
        sleep(Duration::from_millis(1)).await;
        assert!(start.elapsed() < Duration::from_secs(40), "the other one never leads");
    }
    assert!(!electors[from].leads(), "two lead");
    start.elapsed()
}

struct Namespace(Kubectl, String);

impl Namespace {
    fn new(kubectl: &Kubectl) -> Self {
        let name = unique("stepgate-lease");
        kubectl.run(&["create", "namespace", &name]);
        Self(kubectl.clone(), name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.try_run(&["delete", "namespace", &self.1, "--wait=false"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_at_any_time_while_leaders_are_cut_off_killed_and_told_to_end() {
    let Some(kubectl) = cluster() else { return };
    let namespace = Namespace::new(&kubectl);
    let mut electors = [elector(&kubectl, &namespace.1).await, elector(&kubectl, &namespace.1).await];
    let watched_since = Instant::now();
    leader(&electors).await;
    say(&format!("the first one leads after {:?}", watched_since.elapsed()));

    let mut round = 0;
    while watched_since.elapsed() < WATCHED || round < 3 {
        let from = leader(&electors).await;
        sleep(Duration::from_millis(1_300)).await;
        let (what, limit) = match round % 3 {
            0 => {
                electors[from].stop.take().unwrap().send(()).unwrap();
                ("told to end", Duration::from_secs(5))
            }
            1 => {
                electors[from].task.abort();
                ("killed", Duration::from_secs(40))
            }
            _ => {
                electors[from].line.set(Way::Silent);
                ("cut off", Duration::from_secs(40))
            }
        };
        let elapsed = taken_over(&electors, from).await;
        say(&format!("the leader was {what}: the other one leads after {elapsed:?}"));
        assert!(elapsed < limit, "{elapsed:?}");
        match round % 3 {
            // The line is mended: the old one stands by.
            2 => electors[from].line.set(Way::Open),
            _ => electors[from] = elector(&kubectl, &namespace.1).await,
        }
        for _ in 0..1_000 {
            sleep(Duration::from_millis(1)).await;
            assert!(!electors[from].leads(), "the old one leads again, beside the new one");
        }
        round += 1;
    }

    let lease = kubectl.namespace(&namespace.1).get(&["lease", "stepgate"]);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3);
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("elector_"), "{lease}");
    for elector in &mut electors {
        elector.stop.take().unwrap().send(()).unwrap();
        (&mut elector.task).await.unwrap();
    }
    let lease = kubectl.namespace(&namespace.1).get(&["lease", "stepgate"]);
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(), "{lease}");
}
