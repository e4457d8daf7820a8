//! Requests by the clock, over TLS too: each on a connection of its own, none is tried twice, and every one is counted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::{Client, Config, client::Body};
use tokio::{
    runtime::Runtime,
    time::{self, MissedTickBehavior},
};

/// Requests a second.
pub const RATE: u32 = 25;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub service: &'static str,
    pub scheme: &'static str,
    pub port: u16,
    pub path: &'static str,
}

/// What a number of requests met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Answers by version.
    pub answers: BTreeMap<String, usize>,
    /// Requests that failed, by what they met.
    pub failures: BTreeMap<String, usize>,
}

impl Seen {
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    fn add(&mut self, met: Result<String, String>) {
        let count = match met {
            Ok(version) => self.answers.entry(version),
            Err(failure) => self.failures.entry(failure),
        };
        *count.or_default() += 1;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.answers.values().sum::<usize>() + self.failed();
        write!(f, "{total} requests meanwhile:")?;
        for (version, count) in &self.answers {
            write!(f, " {count} answered by {version},")?;
        }
        write!(f, " {} failed", self.failed())?;
        let failures: Vec<String> = self.failures.iter().map(|(failure, count)| format!("{count} {failure}")).collect();
        if failures.is_empty() { Ok(()) } else { write!(f, " ({})", failures.join(", ")) }
    }
}

/// Clients that ask until they are dropped.
pub struct Clients {
    ledger: Arc<Mutex<Ledger>>,
    _runtime: Runtime,
}

/// What requests met, and how many are under way; the requests that were sent since the last count are apart from those before.
#[derive(Debug, Default)]
struct Ledger {
    count: usize,
    under_way: BTreeMap<usize, usize>,
    seen: BTreeMap<usize, Seen>,
}

impl Clients {
    /// Clients of this address, once it has answered: a proxy may take a moment to hear of the first pods.
    pub fn start(target: Target, address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let url = format!("{}://{address}:{}", target.scheme, target.port);
        runtime.block_on(async {
            let client = client(&url);
            let answers = async {
                while ask(&client, target.path).await.is_err() {
                    time::sleep(Duration::from_millis(200)).await;
                }
            };
            time::timeout(Duration::from_secs(30), answers).await.unwrap_or_else(|_| panic!("{url} does not answer"));
            tokio::spawn(ask_by_the_clock(client, target.path, ledger.clone()));
        });
        Self { ledger, _runtime: runtime }
    }

    /// What the requests met that were sent since this was asked before; those under way are waited for.
    pub fn take(&self) -> Seen {
        let count = {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.count += 1;
            ledger.count - 1
        };
        loop {
            {
                let mut ledger = self.ledger.lock().unwrap();
                if ledger.under_way.get(&count).is_none_or(|number| *number == 0) {
                    return ledger.seen.remove(&count).unwrap_or_default();
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn client(url: &str) -> Client {
    let mut config = Config::new(url.parse().unwrap());
    // The certificate is one that somebody made for himself.
    config.accept_invalid_certs = true;
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn ask_by_the_clock(client: Client, path: &'static str, ledger: Arc<Mutex<Ledger>>) {
    let mut clock = time::interval(Duration::from_secs(1) / RATE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        clock.tick().await;
        let (client, ledger) = (client.clone(), ledger.clone());
        let count = {
            let mut ledger = ledger.lock().unwrap();
            let count = ledger.count;
            *ledger.under_way.entry(count).or_default() += 1;
            count
        };
        tokio::spawn(async move {
            let met = ask(&client, path).await;
            let mut ledger = ledger.lock().unwrap();
            ledger.seen.entry(count).or_default().add(met);
            ledger.under_way.entry(count).and_modify(|number| *number -= 1);
        });
    }
}

/// The version that answered, or what became of the request.
async fn ask(client: &Client, path: &str) -> Result<String, String> {
    let request = Request::get(path).header("Connection", "close").body(Body::empty()).unwrap();
    let exchange = async {
        let answer = client.send(request).await.map_err(|error| format!("without an answer: {error}"))?;
        let (head, body) = answer.into_parts();
        body.collect().await.map_err(|error| format!("without an end: {error}"))?;
        let version = head.headers.get("X-Version").and_then(|version| version.to_str().ok()).unwrap_or("nobody").to_owned();
        if head.status == StatusCode::OK { Ok(version) } else { Err(format!("{} from {version}", head.status.as_u16())) }
    };
    time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("without an answer in time".into()))
}
