//! `/healthz`, `/readyz` and `/metrics`, on plain HTTP for the kubelet and Prometheus.
//!
//! Guarantee: whoever else connects, and however often, the kubelet is answered. A connection has a second to send its request; of too many
//! connections the oldest one that has not sent its request goes first; each kind of question has room of its own, and the answer of the
//! loops to one question serves all that ask at the same time.
//! Assumption: a request of the kubelet arrives within milliseconds of its connection.
//! Caveat: nobody is asked who they are. Nothing here names an object, so what can be read is how many there are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};

use crate::{
    lease::leadership::Leadership,
    vitals::{
        Vitals,
        metrics::Moment,
        pulse::{Answers, State},
    },
};

/// How long a connection may take to send its request. The kubelet sends it at once.
const REQUEST: Duration = Duration::from_secs(1);
/// How long a connection may last in all, which is one request.
const CONNECTION: Duration = Duration::from_secs(5);
/// How many may be open at a time: anybody in the cluster can reach this port.
const CONNECTIONS: usize = 128;
/// How many may ask for `/readyz` and `/metrics` at a time; `/healthz` needs no room, because it waits for nothing of a tenant's.
const READINESS: usize = 16;
const SCRAPES: usize = 4;
/// How long an answer of all loops serves for others who ask.
const FRESH: Duration = Duration::from_millis(200);
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What can be asked for.
#[derive(Clone, Debug)]
pub struct Health {
    vitals: Vitals,
    leadership: watch::Receiver<Leadership>,
    readiness: Arc<Semaphore>,
    scrapes: Arc<Semaphore>,
    /// What the loops of the namespaces answered last, and when.
    answered: Arc<Mutex<Option<Answered>>>,
}

type Answered = (Instant, Arc<Answers>);

/// An open connection.
struct Connection {
    task: AbortHandle,
    has_asked: Arc<AtomicBool>,
}

impl Health {
    /// What this process answers.
    pub fn new(vitals: Vitals, leadership: watch::Receiver<Leadership>) -> Self {
        Self {
            vitals,
            leadership,
            readiness: Arc::new(Semaphore::new(READINESS)),
            scrapes: Arc::new(Semaphore::new(SCRAPES)),
            answered: Arc::default(),
        }
    }

    /// Serves until it is aborted.
    pub async fn serve(self, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        let mut open: VecDeque<Connection> = VecDeque::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    while tasks.try_join_next().is_some() {}
                    make_room(&mut open);
                    let has_asked = Arc::new(AtomicBool::new(false));
                    let task = tasks.spawn(timeout(CONNECTION, self.clone().connection(stream, Arc::clone(&has_asked))));
                    open.push_back(Connection { task, has_asked });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: asking again at once would not help.
                    tracing::warn!(%error, "a connection to the health port was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, has_asked: Arc<AtomicBool>) {
        let (this, has_asked) = (&self, &has_asked);
        let service = service_fn(|request| async move {
            has_asked.store(true, Ordering::Relaxed);
            Ok::<_, Infallible>(this.answer(&request).await)
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(REQUEST).keep_alive(false);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection to the health port broke");
        }
    }

    async fn answer<B: Body>(&self, request: &Request<B>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/healthz" => healthy(&self.vitals.process.ask().await),
            "/readyz" => match self.readiness.try_acquire() {
                Ok(_room) => ready(&self.vitals.process.ask().await, &*self.namespaces().await),
                Err(_) => busy(),
            },
            "/metrics" => match self.scrapes.try_acquire() {
                Ok(_room) => self.metrics().await,
                Err(_) => busy(),
            },
            _ => response(StatusCode::NOT_FOUND, PLAIN, "/healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    /// How the loops of the namespaces are. Who asks while others do gets the same answer.
    async fn namespaces(&self) -> Arc<Answers> {
        let mut answered = self.answered.lock().await;
        match &*answered {
            Some((at, answers)) if at.elapsed() < FRESH => Arc::clone(answers),
            _ => {
                let answers = Arc::new(self.vitals.pulse.ask().await);
                *answered = Some((Instant::now(), Arc::clone(&answers)));
                answers
            }
        }
    }

    async fn metrics(&self) -> Response<String> {
        let answers = self.namespaces().await;
        let leads = self.leadership.borrow().may_write();
        match self.vitals.metrics.text(&Moment { answers: &answers, leads }) {
            Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        }
    }
}

/// Forgets connections that have ended, and ends one if there are too many: the oldest that has not asked for anything yet, else the oldest.
fn make_room(open: &mut VecDeque<Connection>) {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() < CONNECTIONS {
        return;
    }
    let idle = open.iter().position(|connection| !connection.has_asked.load(Ordering::Relaxed)).unwrap_or_default();
    if let Some(connection) = open.remove(idle) {
        connection.task.abort();
    }
}

/// Whether this process works: its own loops turn, and none of its tasks has ended. A namespace that takes its time is no reason to end the
/// loops of all the others.
fn healthy(process: &Answers) -> Response<String> {
    let broken = process.reports.iter().filter_map(|report| match &report.state {
        State::Broken(why) => Some(format!("{}: {why}\n", report.who)),
        State::Ready | State::NotYet(_) | State::Late => None,
    });
    judged(&broken.chain(silent(process)).collect::<Vec<_>>())
}

/// Whether it could take over now: its own loops and those of the namespaces see what they need. Namespaces are counted and not named, as
/// anybody may ask; the log names them.
fn ready(process: &Answers, namespaces: &Answers) -> Response<String> {
    let waits = |state: &State| matches!(state, State::NotYet(_) | State::Broken(_));
    let own = process.reports.iter().filter_map(|report| match &report.state {
        State::Broken(why) | State::NotYet(why) => Some(format!("{}: {why}\n", report.who)),
        State::Ready | State::Late => None,
    });
    let waiting = namespaces.reports.iter().filter(|report| waits(&report.state)).count();
    let waiting = (waiting > 0).then(|| format!("{waiting} of {} namespaces have not been listed yet\n", namespaces.reports.len()));
    judged(&own.chain(silent(process)).chain(waiting).collect::<Vec<_>>())
}

fn silent(process: &Answers) -> Option<String> {
    (process.silent > 0).then(|| format!("{} of the controller's own loops do not answer\n", process.silent))
}

fn judged(complaints: &[String]) -> Response<String> {
    if complaints.is_empty() {
        response(StatusCode::OK, PLAIN, "ok\n".to_owned())
    } else {
        response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, complaints.concat())
    }
}

fn busy() -> Response<String> {
    response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "asked too often\n".to_owned())
}

fn response(status: StatusCode, content_type: HeaderValue, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::vitals::pulse::{Pulse, Report};

    /// A loop that is in that state.
    fn turning(pulse: &Pulse, who: &'static str, state: State) -> AbortHandle {
        let mut ear = pulse.listen();
        tokio::spawn(async move {
            loop {
                ear.asked().await.answer(Report { who: who.to_owned(), state: state.clone(), phases: Vec::new() });
            }
        })
        .abort_handle()
    }

    /// Serves, and gives the address.
    async fn serving(vitals: &Vitals) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_leads, leadership) = watch::channel(Leadership::Standby);
        tokio::spawn(Health::new(vitals.clone(), leadership).serve(listener));
        address
    }

    async fn asked(address: std::net::SocketAddr, method: Method, path: &str) -> (u16, String) {
        let client = crate::probe::http::client().unwrap();
        let response = client.request(method, format!("http://{address}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_kubelet_is_told_what_is_the_matter_with_the_process_and_nothing_of_its_tenants() {
        let waiting = || State::NotYet("Rollouts have not been listed yet".to_owned());
        let broken = || State::Broken("it has ended".to_owned());
        for (own, namespace, path, expected) in [
            (State::Ready, State::Ready, "/healthz", (200, "ok\n")),
            (State::Ready, State::Ready, "/readyz", (200, "ok\n")),
            (waiting(), State::Ready, "/healthz", (200, "ok\n")),
            (waiting(), State::Ready, "/readyz", (503, "controller: Rollouts have not been listed yet\n")),
            (broken(), State::Ready, "/healthz", (503, "controller: it has ended\n")),
            (State::Ready, waiting(), "/healthz", (200, "ok\n")),
            (State::Ready, waiting(), "/readyz", (503, "1 of 1 namespaces have not been listed yet\n")),
            (State::Ready, State::Late, "/readyz", (200, "ok\n")),
            (State::Ready, State::Ready, "/", (404, "/healthz, /readyz or /metrics\n")),
        ] {
            let vitals = Vitals::default();
            turning(&vitals.process, "controller", own.clone());
            turning(&vitals.pulse, "namespace shop", namespace.clone());
            let (code, text) = asked(serving(&vitals).await, Method::GET, path).await;
            assert_eq!((code, text.as_str()), expected, "{own:?} {namespace:?} {path}");
        }
    }

    #[tokio::test]
    async fn a_namespace_that_hangs_ends_nobody_and_is_counted() {
        let vitals = Vitals::default();
        turning(&vitals.process, "controller", State::Ready);
        let _hangs = vitals.pulse.listen();
        let address = serving(&vitals).await;
        assert_eq!(asked(address, Method::GET, "/healthz").await.0, 200);
        let (_, text) = asked(address, Method::GET, "/metrics").await;
        assert!(text.contains("stepgate_namespaces{state=\"Silent\"} 1\n"), "{text}");
    }

    #[tokio::test]
    async fn the_kubelet_is_answered_whatever_sits_on_the_port() {
        let vitals = Vitals::default();
        turning(&vitals.process, "controller", State::Ready);
        let address = serving(&vitals).await;
        // As many as one attacker's pod opens, each silent, and each opened again when it is closed.
        let sitters = (0..300).map(|_| {
            tokio::spawn(async move {
                while let Ok(mut stream) = TcpStream::connect(address).await {
                    let _ = stream.read(&mut [0; 1]).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        });
        let sitters: Vec<_> = sitters.collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        for round in 0..5 {
            let answer = timeout(Duration::from_secs(3), asked(address, Method::GET, "/healthz")).await;
            assert_eq!(answer.map(|(code, _)| code).ok(), Some(200), "round {round}");
        }
        sitters.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn metrics_can_be_scraped_and_nothing_can_be_written() {
        let address = serving(&Vitals::default()).await;
        let (code, text) = asked(address, Method::GET, "/metrics").await;
        assert!(code == 200 && text.contains("stepgate_leader 0\n") && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(asked(address, Method::POST, "/healthz").await.0, 405);
    }
}
