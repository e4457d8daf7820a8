//! The application in a pod: the `hello` of Stepgate's tests as a state machine. The same settings mean the same here and on a real cluster;
//! they come from the container's arguments (`--key=value`), then from its environment (upper case), and can be changed while it runs.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::sim::{clock::after, json, seed::Seed};

/// Images of the application that differ in more than their version, with what they are started with.
const IMAGES: [(&str, &[(&str, &str)]); 3] = [
    ("stepgate.test/hello:bad", &[("fail", "100"), ("health", "500")]),
    ("stepgate.test/hello:crash", &[("crash_after", "2s")]),
    ("stepgate.test/hello:unready", &[("ready", "never")]),
];
/// What cannot be changed once the application runs.
const AT_START: [&str; 3] = ["start_delay", "port", "tls_port"];

/// What can be chosen about the application.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub version: String,
    /// What `/ready` says; `Never` stays so.
    pub ready: Readiness,
    /// Percent of the answers to `/` that are 500.
    pub fail: f64,
    /// `fail` and `health` apply from here, counted from the start.
    pub fail_after: Duration,
    /// What `/healthz` says.
    pub health: Health,
    pub redirect_to: String,
    /// Every answer takes so long.
    pub slow: Duration,
    /// No connections on the application port.
    pub refuse: bool,
    /// The process ends at once.
    pub crash: bool,
    pub crash_after: Option<Duration>,
    /// From the process's start to its first connection.
    pub start_delay: Duration,
    /// From SIGTERM to the end of serving.
    pub lame_duck: Duration,
    /// SIGTERM does nothing.
    pub ignore_term: bool,
    pub port: u16,
    /// Where it answers the same by TLS.
    pub tls_port: Option<u16>,
    /// Where it can be told to behave otherwise: the container's port `control`, if there is one.
    pub control_port: Option<u16>,
}

/// What `/ready` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Unready,
    Never,
}

/// What `/healthz` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Status(u16),
    Redirect,
    Hang,
    /// 200, and a body without end.
    Endless,
    Refuse,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: "dev".into(),
            ready: Readiness::Ready,
            fail: 0.0,
            fail_after: Duration::ZERO,
            health: Health::Status(200),
            redirect_to: "/".into(),
            slow: Duration::ZERO,
            refuse: false,
            crash: false,
            crash_after: None,
            start_delay: Duration::ZERO,
            lame_duck: Duration::from_secs(3),
            ignore_term: false,
            port: 8080,
            tls_port: None,
            control_port: None,
        }
    }
}

impl Settings {
    /// The settings of a pod: of its first container. Unknown arguments and variables belong to other applications and change nothing.
    pub fn of_pod(pod: &Value) -> Self {
        let mut settings = Self::default();
        let container = pod.pointer("/spec/containers/0").unwrap_or(&Value::Null);
        let image = json::text(container, "/image");
        // An ordinary image says which version it is by its tag.
        if let Some((_, tag)) = image.rsplit('/').next().unwrap_or_default().split_once(':') {
            settings.version = tag.into();
        }
        for (key, value) in IMAGES.iter().filter(|(name, _)| *name == image).flat_map(|(_, given)| *given) {
            settings.set(key, value);
        }
        let number = |port: &Value| u16::try_from(json::int(port, "/containerPort")).ok().filter(|port| *port > 0);
        let ports = json::items(container, "/ports");
        settings.port = ports.first().and_then(number).unwrap_or(settings.port);
        settings.control_port = ports.iter().find(|port| json::text(port, "/name") == "control").and_then(number);
        for argument in json::items(container, "/args").iter().filter_map(Value::as_str) {
            if let Some((key, value)) = argument.strip_prefix("--").and_then(|argument| argument.split_once('=')) {
                settings.set(key, value);
            }
        }
        for variable in json::items(container, "/env") {
            settings.set(&json::text(variable, "/name").to_lowercase(), json::text(variable, "/value"));
        }
        settings
    }

    /// Changes one setting; false for a key or value that means nothing.
    pub fn set(&mut self, key: &str, value: &str) -> bool {
        let duration = || if value == "0" { Some(Duration::ZERO) } else { humantime::parse_duration(value).ok() };
        match key {
            "version" => value.clone_into(&mut self.version),
            "redirect_to" => value.clone_into(&mut self.redirect_to),
            "ready" if self.ready == Readiness::Never => return false,
            "ready" => return put(&mut self.ready, Readiness::parse(value)),
            "health" => return put(&mut self.health, Health::parse(value)),
            "fail" => return put(&mut self.fail, value.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))),
            "fail_after" => return put(&mut self.fail_after, duration()),
            "slow" => return put(&mut self.slow, duration()),
            "refuse" => return put(&mut self.refuse, value.parse().ok()),
            "crash" => return put(&mut self.crash, value.parse().ok()),
            "crash_after" => return put(&mut self.crash_after, duration().map(Some)),
            "start_delay" => return put(&mut self.start_delay, duration()),
            "lame_duck" => return put(&mut self.lame_duck, duration()),
            "ignore_term" => return put(&mut self.ignore_term, value.parse().ok()),
            "port" => return put(&mut self.port, value.parse().ok()),
            "tls_port" => return put(&mut self.tls_port, value.parse().ok().map(Some)),
            _ => return false,
        }
        true
    }
}

/// Takes over what could be read; true if it could.
fn put<T>(place: &mut T, value: Option<T>) -> bool {
    let read = value.is_some();
    if let Some(value) = value {
        *place = value;
    }
    read
}

impl Readiness {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" => Some(Self::Ready),
            "false" => Some(Self::Unready),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

impl Health {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "redirect" => Some(Self::Redirect),
            "hang" => Some(Self::Hang),
            "endless" => Some(Self::Endless),
            "refuse" => Some(Self::Refuse),
            status => status.parse::<u16>().ok().filter(|status| (200..600).contains(status)).map(Self::Status),
        }
    }
}

/// One run of the application.
#[derive(Clone, Debug)]
pub struct Process {
    pub settings: Settings,
    pub started: Timestamp,
    /// When SIGTERM reached it.
    pub terminated: Option<Timestamp>,
    /// Counted from here: `fail_after`, `crash_after`. The start, or the last change of one of them.
    armed: Timestamp,
    requests: u64,
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status, after a while.
    Status { code: u16, version: String, after: Duration },
    /// No connection, or one that is reset.
    Refused,
    /// A connection, and no answer.
    Hang,
}

impl Process {
    /// A process that starts now.
    pub fn start(settings: Settings, now: Timestamp) -> Self {
        Self { settings, started: now, terminated: None, armed: now, requests: 0 }
    }

    /// Changes one setting of the running process.
    pub fn set(&mut self, key: &str, value: &str, now: Timestamp) -> bool {
        if matches!(key, "fail_after" | "crash" | "crash_after") {
            self.armed = now;
        }
        self.settings.set(key, value)
    }

    /// Changes settings of the running process, all of them or, where one cannot be changed, none.
    pub fn set_all(&mut self, settings: &BTreeMap<String, String>, now: Timestamp) -> bool {
        let mut changed = self.clone();
        let all = settings.iter().all(|(key, value)| !AT_START.contains(&key.as_str()) && changed.set(key, value, now));
        if all {
            *self = changed;
        }
        all
    }

    /// When it ends by itself, if that is known.
    pub fn ends(&self) -> Option<Timestamp> {
        let crash = if self.settings.crash { Some(self.armed) } else { self.settings.crash_after.map(|length| after(self.armed, length)) };
        let drained = self.terminated.filter(|_| !self.settings.ignore_term).map(|at| after(at, self.settings.lame_duck));
        crash.into_iter().chain(drained).min()
    }

    /// Whether an end at this time is a crash rather than the end of a drain.
    pub fn is_crash(&self, end: Timestamp) -> bool {
        self.settings.crash || self.settings.crash_after.is_some_and(|length| after(self.armed, length) <= end)
    }

    /// Whether it takes connections.
    pub fn listens(&self, now: Timestamp) -> bool {
        !self.settings.refuse && now >= after(self.started, self.settings.start_delay) && self.ends().is_none_or(|end| now < end)
    }

    /// Whether `fail` and `health` apply.
    fn fails(&self, now: Timestamp) -> bool {
        now >= after(self.armed, self.settings.fail_after)
    }

    /// Percent of the requests to `/` that get no good answer.
    pub fn failing(&self, now: Timestamp) -> f64 {
        match (self.listens(now), self.fails(now)) {
            (false, _) => 100.0,
            (true, true) => self.settings.fail,
            (true, false) => 0.0,
        }
    }

    /// Answers a request. Which requests to `/` fail is drawn from `seed`.
    pub fn answer(&mut self, port: u16, path: &str, now: Timestamp, seed: &mut Seed) -> Answer {
        if !self.listens(now) || (port != self.settings.port && self.settings.tls_port != Some(port)) {
            return Answer::Refused;
        }
        let failing = self.fails(now);
        let path = path.split('?').next().unwrap_or_default();
        let status = |code, after| Answer::Status { code, version: self.settings.version.clone(), after };
        match path {
            "/ready" if self.settings.ready != Readiness::Ready || self.terminated.is_some() => status(503, Duration::ZERO),
            "/ready" => status(200, Duration::ZERO),
            "/healthz" => match self.settings.health {
                Health::Status(code) if failing => status(code, self.settings.slow),
                Health::Redirect if failing => status(302, self.settings.slow),
                Health::Hang if failing => Answer::Hang,
                Health::Refuse if failing => Answer::Refused,
                _ => status(200, self.settings.slow),
            },
            "/" => {
                self.requests += 1;
                let code = if failing && seed.chance(self.settings.fail) { 500 } else { 200 };
                Answer::Status { code, version: self.settings.version.clone(), after: self.settings.slow }
            }
            _ => status(404, Duration::ZERO),
        }
    }

    /// Whether the body of an answer has no end.
    pub fn is_endless(&self, path: &str, now: Timestamp) -> bool {
        path == "/healthz" && self.settings.health == Health::Endless && self.fails(now)
    }

    /// Requests to `/` so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }
}
