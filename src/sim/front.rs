//! The embedded cluster as a `kube::Client`: no socket, no thread, and paused time is cluster time.

use std::{
    convert::Infallible,
    future::pending,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;
use tokio::{sync::watch as signal, task::JoinHandle, time::sleep_until};

use super::{
    clock::Clock,
    fault::{Fault, Line, WatchFate},
    server::{
        Reply,
        problem::Problem,
        request::{Request, Target},
        watch::{Next, Watch},
    },
    world::{Setup, World},
};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// An empty message of any type.
const NOTHING: &str = "application/octet-stream";
/// Bytes of the largest body that is read, as in a real server.
const LARGEST_BODY: usize = 3 << 20;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Error>>;

/// A handle on one embedded cluster. Clones share it.
#[derive(Clone, Debug)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    clock: Clock,
    changed: Arc<signal::Sender<u64>>,
}

/// The connection broke before an answer came.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by peer (a fault of the simulation)")]
struct Reset;

impl Sim {
    /// A cluster that begins now. Needs a tokio runtime with time; nothing in the cluster moves until [`Sim::spawn`] or [`Sim::run`].
    pub fn new(setup: &Setup) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(setup))),
            clock: Clock::starting_at(setup.start),
            changed: Arc::new(signal::Sender::new(0)),
        }
    }

    /// The time in the cluster.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Looks at the cluster or changes it by hand, at one moment. Watches and controllers hear of it.
    pub fn with<R>(&self, act: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        let result = act(&mut self.lock(), self.now());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Looks at the cluster, or visits it as a client would: nobody hears of it, so nothing may be changed but what clients change.
    pub fn look<R>(&self, look: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        look(&mut self.lock(), self.now())
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the cluster, for ever.
    pub async fn run(&self) {
        match self.run_seen(|_, _| ControlFlow::<Infallible>::Continue(())).await {}
    }

    /// The same, and shows the cluster after each move, before anybody hears of it; until `see` breaks off.
    ///
    /// Between two calls nothing moves but what requests to the API server change, which no client of an application sees before the
    /// next call.
    pub async fn run_seen<B>(&self, mut see: impl FnMut(&World, Timestamp) -> ControlFlow<B>) -> B {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let next = {
                let mut world = self.lock();
                let before = world.api.version();
                let now = self.now();
                let next = world.step(now);
                if let ControlFlow::Break(end) = see(&world, now) {
                    return end;
                }
                if world.api.version() != before {
                    self.changed.send_modify(|count| *count += 1);
                    changes.borrow_and_update();
                }
                next
            };
            wait(&mut changes, next.map(|at| self.clock.instant(at))).await;
        }
    }

    /// Moves the cluster in a task of its own, until the handle is aborted or the runtime ends.
    pub fn spawn(&self) -> JoinHandle<()> {
        let sim = self.clone();
        tokio::spawn(async move { sim.run().await })
    }

    /// A client of this user, over a line without faults.
    pub fn client(&self, user: &str) -> kube::Client {
        self.client_over(user, &Line::new(super::seed::hash(user.as_bytes())))
    }

    /// A client of this user over this line.
    pub fn client_over(&self, user: &str, line: &Line) -> kube::Client {
        let (sim, line, user) = (self.clone(), line.clone(), user.to_owned());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (sim, line, user) = (sim.clone(), line.clone(), user.clone());
            async move { sim.serve(request, &user, line).await }
        });
        kube::Client::new(service, "default")
    }

    /// Answers a request of this user, or of the one whom it says it is for, or whose token it brings: everybody may do everything here.
    pub(super) async fn serve<B>(&self, request: http::Request<B>, user: &str, line: Line) -> Result<Answer, Error>
    where
        B: http_body::Body<Error: Into<Error>>,
    {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return refusal(&Problem::too_large(LARGEST_BODY)),
            Err(error) => return Err(error),
        };
        let header = |name: HeaderName| {
            parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (impersonated, authorization) = (header(HeaderName::from_static("impersonate-user")), header(header::AUTHORIZATION));
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let user = [impersonated.as_str(), token].into_iter().find(|name| !name.is_empty()).unwrap_or(user);
        let mut request = Request::new(parts.method.as_str(), parts.uri.path_and_query().map_or("/", |path| path.as_str()), user);
        header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().clone_into(&mut request.content_type);
        request.accept = header(header::ACCEPT);
        request.body = body.to_vec();
        self.ask(&request, line).await
    }

    /// Sends a request over a line: latency, faults, records.
    async fn ask(&self, request: &Request, line: Line) -> Result<Answer, Error> {
        alive(&line).await;
        let fate = line.request(self.now(), request);
        tokio::time::sleep(fate.before).await;
        alive(&line).await;
        let reply = match &fate.fault {
            Some(Fault::CrashBefore) => {
                line.cut();
                pending().await
            }
            Some(Fault::Refuse(problem)) => Err(problem.clone()),
            fault => Ok(self.with(|world, now| {
                if *fault == Some(Fault::Conflict) {
                    touch(world, now, request);
                }
                world.handle(now, request)
            })),
        };
        let reply = match fate.fault {
            Some(Fault::CrashAfter) => {
                line.cut();
                pending().await
            }
            Some(Fault::LoseAnswer) => {
                tokio::time::sleep(fate.after).await;
                return Err(Reset.into());
            }
            Some(Fault::AnswerInstead(problem)) => Err(problem),
            _ => reply,
        };
        tokio::time::sleep(fate.after).await;
        alive(&line).await;
        match reply {
            Ok(Reply::Answer { code, warnings, body }) => {
                line.answered(fate.record, code);
                answer(code, &warnings, &body)
            }
            Ok(Reply::Watch(watch)) => {
                line.answered(fate.record, 200);
                Ok(Response::builder().header(header::CONTENT_TYPE, JSON).body(self.stream(*watch, line))?)
            }
            Err(problem) => {
                line.answered(fate.record, problem.code);
                refusal(&problem)
            }
        }
    }

    fn stream(&self, mut watch: Watch, line: Line) -> UnsyncBoxBody<Bytes, Error> {
        let WatchFate { lag, cut } = line.watch(self.now());
        watch.lag = lag;
        let reader = Reader { sim: self.clone(), changes: self.changed.subscribe(), cuts: line.subscribe(), line, watch, cut, over: false };
        StreamBody::new(stream::unfold(reader, Reader::next)).boxed_unsync()
    }
}

/// Never returns for a client that has been cut off.
async fn alive(line: &Line) {
    if line.is_cut() {
        pending::<()>().await;
    }
}

/// Until something changes, or until then.
async fn wait(changes: &mut signal::Receiver<u64>, until: Option<tokio::time::Instant>) {
    let timer = async {
        match until {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        // Cannot fail: whoever waits holds the sender too.
        _ = changes.changed() => {}
        () = timer => {}
    }
}

/// Writes the object of a request as it is, so that its version is another one.
fn touch(world: &mut World, now: Timestamp, request: &Request) {
    if let Ok(target) = Target::parse(world.api.kinds(), &request.path) {
        world.api.touch(now, &target.key());
    }
}

fn refusal(problem: &Problem) -> Result<Answer, Error> {
    answer(problem.code, &[], &problem.status())
}

fn answer(code: u16, warnings: &[String], body: &Value) -> Result<Answer, Error> {
    let (media_type, body) = match body {
        Value::Null => (NOTHING, String::new()),
        Value::String(text) => (TEXT, text.clone()),
        body => (JSON, body.to_string()),
    };
    let mut response = Response::builder().status(code).header(header::CONTENT_TYPE, media_type);
    for warning in warnings {
        response = response.header(header::WARNING, format!("299 - {warning:?}"));
    }
    if code == Problem::too_many_requests().code {
        response = response.header(header::RETRY_AFTER, "1");
    }
    Ok(response.body(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync())?)
}

/// The body of a watch.
struct Reader {
    sim: Sim,
    changes: signal::Receiver<u64>,
    cuts: signal::Receiver<bool>,
    line: Line,
    watch: Watch,
    cut: Option<(Timestamp, bool)>,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Error>, Self)> {
        if self.over {
            return None;
        }
        loop {
            alive(&self.line).await;
            self.changes.borrow_and_update();
            self.cuts.borrow_and_update();
            let now = self.sim.now();
            if let Some((_, clean)) = self.cut.filter(|(at, _)| *at <= now) {
                self.over = true;
                return if clean { None } else { Some((Err(Reset.into()), self)) };
            }
            let shown = self.line.frozen().map_or(now, |frozen| frozen.min(now));
            self.watch.frozen_bookmarks = shown < now;
            let next = self.watch.next(&self.sim.lock().api, shown);
            let until = match next {
                Next::Event(event) => {
                    let line = Bytes::from(format!("{event}\n"));
                    return Some((Ok(Frame::data(line)), self));
                }
                Next::End => return None,
                Next::Wait(at) if shown < now => at.max(now + jiff::SignedDuration::from_secs(3600)),
                Next::Wait(at) => at,
            };
            let until = self.cut.map_or(until, |(cut, _)| until.min(cut));
            let Self { sim, changes, cuts, .. } = &mut self;
            tokio::select! {
                biased;
                _ = cuts.changed() => {}
                () = wait(changes, Some(sim.clock.instant(until))) => {}
            }
        }
    }
}
