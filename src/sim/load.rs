//! An open-loop HTTP client: it sends by the clock, whatever becomes of the answers, and forgets no request.
//!
//! A client that waits for an answer before it sends the next request hides an outage: the worse the service, the fewer requests see
//! it. This one keeps its schedule. Each request of the schedule travels on a connection of its own, because a plain Service decides
//! per connection; a number of kept-alive connections can run beside them and are counted apart.

mod exchange;
mod report;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

pub use report::{Kind, Outcome, Report, Request, Window};

/// What a client sends, to whom, how often and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the connections go.
    pub target: SocketAddr,
    /// `Host` header.
    pub host: String,
    /// Path of the requests, with its query if any.
    pub path: String,
    /// Requests a second, each on a new connection; 0 for none.
    pub rate: f64,
    /// Connections that are kept open from one request to the next.
    pub keep_alive: KeepAlive,
    /// Local addresses to send from, in turn; empty leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// How long a request may take, connection included. At most `rate` times this many requests are under way at once.
    pub timeout: Duration,
    /// The client ends by itself after this time.
    pub longest: Duration,
    /// The client ends by itself after this many requests.
    pub most: usize,
}

/// Connections that are kept open from one request to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAlive {
    /// Number of connections.
    pub connections: usize,
    /// Requests a second on each of them.
    pub rate: f64,
}

impl Plan {
    /// 50 requests a second for `/`, on new connections only, each with 5 seconds' patience, for at most 3 minutes.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            host: target.to_string(),
            path: "/".into(),
            rate: 50.0,
            keep_alive: KeepAlive::default(),
            sources: Vec::new(),
            timeout: Duration::from_secs(5),
            longest: Duration::from_secs(180),
            most: 100_000,
        }
    }

    /// The local address of the request, or of the kept connection, with this number.
    fn source(&self, number: usize) -> Option<IpAddr> {
        self.sources.get(number % self.sources.len().max(1)).copied()
    }
}

/// A running client.
///
/// Its requests are collected as they end; [`Load::report`] may be asked for at any time. Dropping it ends it and loses what it saw.
#[derive(Debug)]
pub struct Load {
    ended: mpsc::UnboundedReceiver<Request>,
    report: Report,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts sending. Must be called within a tokio runtime.
    pub fn start(plan: Plan) -> Self {
        let (requests, ended) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let report = Report::new(now());
        tokio::spawn(send_all(Arc::new(plan), requests, stopped));
        Self { ended, report, stop }
    }

    /// What has ended so far. Requests still under way are missing.
    pub fn report(&mut self) -> &Report {
        while let Ok(request) = self.ended.try_recv() {
            self.report.add(request);
        }
        &self.report
    }

    /// Sends no more, waits for what is under way (at most the plan's timeout) and returns everything.
    pub async fn stop(mut self) -> Report {
        self.stop.send_replace(true);
        while let Some(request) = self.ended.recv().await {
            self.report.add(request);
        }
        self.report
    }
}

/// Runs the schedule and the kept-alive connections until the plan's bounds or a stop.
async fn send_all(plan: Arc<Plan>, requests: mpsc::UnboundedSender<Request>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    for number in 0..plan.keep_alive.connections {
        connections.spawn(keep_alive(plan.clone(), number, requests.clone(), stopped.clone()));
    }
    if plan.rate > 0.0 {
        let mut clock = clock(plan.rate);
        let end = time::sleep(plan.longest);
        tokio::pin!(end);
        for number in 0..plan.most {
            let due = tokio::select! {
                due = clock.tick() => due,
                () = &mut end => break,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            let (plan, requests) = (plan.clone(), requests.clone());
            tokio::spawn(async move {
                // Nobody is left to count it if this fails.
                let _ = requests.send(once(&plan, number, due.into_std()).await);
            });
        }
    }
    while connections.join_next().await.is_some() {}
}

/// The clock of all that this client records.
fn now() -> Instant {
    time::Instant::now().into_std()
}

fn clock(rate: f64) -> time::Interval {
    let mut clock = time::interval(Duration::from_secs_f64(1.0 / rate));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    clock
}

/// One request on a connection of its own.
async fn once(plan: &Plan, number: usize, due: Instant) -> Request {
    let sent_at = now();
    let exchange = async {
        let mut stream = connect(plan, number).await?;
        exchange::exchange(&mut stream, plan, exchange::Then::Close).await
    };
    let answer = time::timeout(plan.timeout, exchange).await.unwrap_or(Err(Outcome::Timeout));
    Request { source: plan.source(number), ..Request::ended(Kind::New, due, sent_at, answer) }
}

/// Requests on one connection, one after the other, each when it is due or when the one before has ended.
async fn keep_alive(plan: Arc<Plan>, number: usize, requests: mpsc::UnboundedSender<Request>, mut stopped: watch::Receiver<bool>) {
    let mut clock = clock(plan.keep_alive.rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = time::sleep(plan.longest);
    tokio::pin!(end);
    let mut open: Option<TcpStream> = None;
    loop {
        let due = tokio::select! {
            due = clock.tick() => due,
            () = &mut end => return,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let sent_at = now();
        let kept = open.take().filter(exchange::is_idle);
        let kind = if kept.is_some() { Kind::Kept } else { Kind::Opened };
        let exchange = async {
            let mut stream = match kept {
                Some(stream) => stream,
                None => connect(&plan, number).await?,
            };
            let answer = exchange::exchange(&mut stream, &plan, exchange::Then::Keep).await?;
            Ok((answer, stream))
        };
        let answer = match time::timeout(plan.timeout, exchange).await.unwrap_or(Err(Outcome::Timeout)) {
            Ok((answer, stream)) => {
                open = answer.reusable.then_some(stream);
                Ok(answer)
            }
            Err(outcome) => Err(outcome),
        };
        let request = Request { source: plan.source(number), ..Request::ended(kind, due.into_std(), sent_at, answer) };
        if requests.send(request).is_err() {
            return;
        }
    }
}

async fn connect(plan: &Plan, number: usize) -> Result<TcpStream, Outcome> {
    let failed = |error: std::io::Error| Outcome::from(&error);
    let Some(source) = plan.source(number) else {
        return TcpStream::connect(plan.target).await.map_err(failed);
    };
    let socket = if plan.target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.bind(SocketAddr::new(source, 0)).map_err(failed)?;
    socket.connect(plan.target).await.map_err(failed)
}
