//! What a client has seen.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::ErrorKind,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{exchange::Answer, now};

/// What kind of connection a request travelled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection of its own.
    New,
    /// The first request of a connection that is kept.
    Opened,
    /// A connection that had carried a request before. A failure here may be the race of two closings, which clients retry.
    Kept,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A complete answer.
    Status(u16),
    /// No connection: refused.
    Refused,
    /// No connection: no way to the address.
    Unreachable,
    /// The connection was reset under the request.
    Reset,
    /// The connection was closed before the answer was complete.
    Eof,
    /// No connection or no complete answer in time.
    Timeout,
    /// Something came that is not HTTP.
    Malformed,
    /// The request could not be sent for reasons of this machine.
    Local(ErrorKind),
}

impl Outcome {
    /// Whether no complete answer came.
    pub fn is_unanswered(&self) -> bool {
        !matches!(self, Self::Status(_))
    }

    /// Whether a user would have noticed: no answer, or a status of 400 and above.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Status(status) if *status < 400)
    }
}

impl From<&std::io::Error> for Outcome {
    fn from(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            ErrorKind::UnexpectedEof => Self::Eof,
            ErrorKind::TimedOut => Self::Timeout,
            other => Self::Local(other),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Reset => f.write_str("connection reset"),
            Self::Eof => f.write_str("closed before the answer"),
            Self::Timeout => f.write_str("timeout"),
            Self::Malformed => f.write_str("not HTTP"),
            Self::Local(kind) => write!(f, "not sent ({kind})"),
        }
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    /// When the schedule asked for it.
    pub due_at: Instant,
    /// When it was sent; much later than `due_at` means that this machine was too busy to keep the schedule.
    pub sent_at: Instant,
    /// From `sent_at`, connection included, to the end of the answer or of the attempt.
    pub latency: Duration,
    pub outcome: Outcome,
    /// `X-Version` of the answer.
    pub version: Option<String>,
    /// `X-Pod` of the answer.
    pub pod: Option<String>,
    /// The local address that it was sent from, where the plan names some.
    pub source: Option<IpAddr>,
}

impl Request {
    pub(super) fn ended(kind: Kind, due_at: Instant, sent_at: Instant, answer: Result<Answer, Outcome>) -> Self {
        let latency = now().saturating_duration_since(sent_at);
        match answer {
            Ok(Answer { status, version, pod, .. }) => {
                Self { kind, due_at, sent_at, latency, outcome: Outcome::Status(status), version, pod, source: None }
            }
            Err(outcome) => Self { kind, due_at, sent_at, latency, outcome, version: None, pod: None, source: None },
        }
    }

    /// When the answer, or its absence, was known.
    pub fn ended_at(&self) -> Instant {
        self.sent_at + self.latency
    }
}

/// Answers of each version in one interval, by `sent_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Time from the start of the client.
    pub from: Duration,
    /// Number of answers by version; requests without a version count as `-`.
    pub counts: BTreeMap<String, usize>,
}

/// Everything a client has seen, in the order in which the requests ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the client started.
    pub started_at: Instant,
    pub requests: Vec<Request>,
}

impl Report {
    pub(super) fn new(started_at: Instant) -> Self {
        Self { started_at, requests: Vec::new() }
    }

    pub(super) fn add(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Number of requests.
    pub fn total(&self) -> usize {
        self.requests.len()
    }

    /// Failed requests, those on reused connections excepted.
    pub fn failed(&self) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.kind != Kind::Kept && request.outcome.is_failure()).collect()
    }

    /// Failed requests on reused connections.
    pub fn failed_kept(&self) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.kind == Kind::Kept && request.outcome.is_failure()).collect()
    }

    /// The first `most` of these requests in words, one a line.
    pub fn describe(&self, requests: &[&Request], most: usize) -> String {
        let mut text = String::new();
        for request in requests.iter().take(most) {
            let at = request.sent_at.duration_since(self.started_at);
            let (version, pod) = (request.version.as_deref().unwrap_or("-"), request.pod.as_deref().unwrap_or("-"));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  +{:.3}s {:?} {} after {:.0?}, version {version}, pod {pod}",
                at.as_secs_f64(),
                request.kind,
                request.outcome,
                request.latency
            );
        }
        if requests.len() > most {
            let _ = writeln!(text, "  and {} more", requests.len() - most);
        }
        text
    }

    /// Answers on new connections by version, in windows of this length from the start; windows without an answer are left out.
    pub fn windows(&self, length: Duration) -> Vec<Window> {
        let mut windows: BTreeMap<u128, BTreeMap<String, usize>> = BTreeMap::new();
        for request in self.new_connections() {
            let window = request.sent_at.duration_since(self.started_at).as_nanos() / length.as_nanos().max(1);
            *windows.entry(window).or_default().entry(request.version.clone().unwrap_or_else(|| "-".into())).or_default() += 1;
        }
        let from = |window: u128| length * u32::try_from(window).unwrap_or(u32::MAX);
        windows.into_iter().map(|(window, counts)| Window { from: from(window), counts }).collect()
    }

    /// The last request sent on a new connection after this instant that this version answered.
    pub fn last_answer(&self, version: &str, after: Instant) -> Option<&Request> {
        self.answers(version).filter(|request| request.sent_at >= after).max_by_key(|request| request.sent_at)
    }

    /// The first request on a new connection that this version answered.
    pub fn first_answer(&self, version: &str) -> Option<&Request> {
        self.answers(version).min_by_key(|request| request.sent_at)
    }

    /// Share of each version in the answers to requests sent on new connections in this interval; empty if there were none.
    pub fn shares(&self, from: Instant, to: Instant) -> BTreeMap<String, f64> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for request in self.new_connections().filter(|request| (from..to).contains(&request.sent_at)) {
            if let Some(version) = &request.version {
                *counts.entry(version.clone()).or_default() += 1;
            }
        }
        let total = f64::from(counts.values().sum::<u32>());
        counts.into_iter().map(|(version, count)| (version, f64::from(count) / total)).collect()
    }

    /// The versions that answered each source on new connections, in the order of the requests; a version stands there again only after
    /// another one.
    pub fn versions_by_source(&self) -> BTreeMap<IpAddr, Vec<&str>> {
        let mut requests: Vec<&Request> = self.new_connections().collect();
        requests.sort_by_key(|request| request.sent_at);
        let mut seen: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        for (source, version) in requests.into_iter().filter_map(|request| Some((request.source?, request.version.as_deref()?))) {
            let versions = seen.entry(source).or_default();
            if versions.last() != Some(&version) {
                versions.push(version);
            }
        }
        seen
    }

    /// How late the latest request was sent: the trust that this report deserves.
    pub fn lateness(&self) -> Duration {
        let late = |request: &Request| request.sent_at.saturating_duration_since(request.due_at);
        self.requests.iter().filter(|request| request.kind == Kind::New).map(late).max().unwrap_or_default()
    }

    fn new_connections(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.kind == Kind::New)
    }

    fn answers(&self, version: &str) -> impl Iterator<Item = &Request> {
        self.new_connections().filter(move |request| request.version.as_deref() == Some(version))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.requests.iter().filter(|request| request.kind == Kind::Kept).count();
        let (failed, failed_kept) = (self.failed(), self.failed_kept());
        writeln!(
            f,
            "{} requests, {} failed; of them on reused connections {kept}, {} failed",
            self.total(),
            failed.len() + failed_kept.len(),
            failed_kept.len()
        )?;
        f.write_str(&self.describe(&failed, 20))?;
        f.write_str(&self.describe(&failed_kept, 20))
    }
}
