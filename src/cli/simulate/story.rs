//! How a simulated release went, as text. Pure.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::{api::status::Outcome, show::text::with_times, sim::timeline::Timeline};

use super::app::App;

/// Requests while one weight was in effect. Numbers are expected values: a share of clients times a share of answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    /// In percent.
    pub weight: u8,
    pub length: Duration,
    pub requests: f64,
    /// Those to the new version.
    pub moved: f64,
    /// Those without a good answer.
    pub failed: f64,
}

/// How a release went.
#[derive(Clone, Debug)]
pub struct Story {
    pub replicas: u32,
    /// Requests a second.
    pub rate: u32,
    pub apps: Vec<App>,
    /// When the new image came.
    pub began: Timestamp,
    /// When the application began to do what it does wrong.
    pub faults: Vec<(Timestamp, App)>,
    pub timeline: Timeline,
    pub stretches: Vec<Stretch>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replicas, rate, apps, .. } = self;
        let apps: Vec<String> = apps.iter().map(ToString::to_string).collect();
        let app = if apps.is_empty() { "is good".to_owned() } else { apps.join(", ") };
        writeln!(f, "{replicas} pods, {rate} requests a second; the new version: {app}\n")?;
        self.events(f)?;
        writeln!(f)?;
        self.table(f)?;
        writeln!(f)?;
        self.verdict(f)
    }
}

impl Story {
    fn events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.timeline.events.iter().filter(|told| told.at >= self.began);
        let told = told.map(|told| (told.at, told.reason.as_str(), self.since_begin_in(&told.note)));
        let faults = self.faults.iter().map(|(at, app)| (*at, "(fault)", app.to_string()));
        let mut lines: Vec<(Timestamp, &str, String)> = told.chain(faults).collect();
        lines.sort_by_key(|(at, ..)| *at);
        lines.iter().try_for_each(|(at, reason, note)| writeln!(f, "{:>10}  {reason:<16} {note}", self.since_begin(*at)))
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>7} {:>10} {:>10} {:>20} {:>8}", "weight", "in effect", "requests", "to the new version", "failed")?;
        self.stretches.iter().filter(|stretch| stretch.requests >= 0.5).try_for_each(|stretch| {
            let Stretch { weight, length, requests, moved, failed } = stretch;
            let new = format!("{moved:.0} ({:.0} %)", moved * 100.0 / requests);
            writeln!(f, "{:>7} {:>10} {requests:>10.0} {new:>20} {:>8}", format!("{weight} %"), text(*length), whole(*failed))
        })
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: f64 = self.stretches.iter().map(|stretch| stretch.requests).sum();
        let failed: f64 = self.stretches.iter().map(|stretch| stretch.failed).sum();
        let status = self.timeline.status().cloned().unwrap_or_default();
        let end = self.timeline.moments.last().map_or(self.began, |moment| moment.at);
        let back = self.timeline.events.iter().find(|told| told.reason == "RollbackStarted");
        let outcome = status.history.last().filter(|_| status.release.is_none()).map(|entry| entry.outcome);
        match (back, outcome) {
            (Some(back), _) => {
                let reason = back.note.split_once(": ").map_or(back.note.as_str(), |(_, reason)| reason);
                writeln!(f, "taken back after {}: {}", self.since_begin(back.at), self.since_begin_in(reason))?;
                if let Some((began, _)) = self.faults.iter().filter(|(at, _)| *at <= back.at).min_by_key(|(at, _)| *at) {
                    writeln!(f, "noticed {} after it began", text(length(*began, back.at)))?;
                }
                if status.release.is_some() {
                    writeln!(f, "the canary is kept without clients (onFailure: Pause)")?;
                }
            }
            (None, Some(Outcome::Promoted)) => {
                writeln!(
                    f,
                    "promoted after {}{}",
                    self.since_begin(end),
                    if self.faults.is_empty() { "" } else { "; nothing was noticed" }
                )?;
            }
            (None, outcome) => {
                let outcome = outcome.map_or_else(|| "without an outcome".to_owned(), |outcome| format!("as {outcome:?}"));
                writeln!(f, "ended after {} {outcome}", self.since_begin(end))?;
            }
        }
        writeln!(f, "{} of {requests:.0} requests would have failed", whole(failed))
    }

    /// A sentence whose times count from the begin: nobody knows what time it is in there.
    fn since_begin_in(&self, sentence: &str) -> String {
        with_times(sentence, |time| self.since_begin(time))
    }

    fn since_begin(&self, at: Timestamp) -> String {
        text(length(self.began, at))
    }
}

fn length(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// In whole requests; what is next to nothing is not nothing.
fn whole(requests: f64) -> String {
    if requests > 0.0 && requests < 0.5 { "<1".to_owned() } else { format!("{requests:.0}") }
}

/// `2.9s`, `1m06.2s`, `1h02m06.2s`.
fn text(length: Duration) -> String {
    let tenths = (length.as_millis() + 50) / 100;
    let (seconds, minutes, hours) = (tenths / 10 % 60, tenths / 600 % 60, tenths / 36000);
    let tenth = tenths % 10;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{tenth}s"),
        (0, _) => format!("{minutes}m{seconds:02}.{tenth}s"),
        _ => format!("{hours}h{minutes:02}m{seconds:02}.{tenth}s"),
    }
}
