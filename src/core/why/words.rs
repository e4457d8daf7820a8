//! Words that several sentences share: names, times, people, and the load that is shared out.

use std::fmt;

use jiff::Timestamp;

use crate::api::{
    rollout::{Request, RequestAction},
    status::RequestRecord,
};

/// What is shared out between the two sides: the clients of Services, or, where there are none, work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Clients,
    Work,
}

/// What is asked for, for people.
pub fn what(action: RequestAction, revision: &str, to: &str) -> String {
    let to = if to.is_empty() { String::new() } else { format!(" to revision {to}") };
    format!("{action:?} of revision {revision}{to}")
}

/// Why a revision is taken back that somebody has asked to take back.
pub fn reason(request: &Request) -> String {
    let by = if request.action == RequestAction::Undo { "undone by request" } else { "aborted by request" };
    if request.reason.is_empty() { by.to_owned() } else { format!("{by}: {}", request.reason) }
}

/// Whether it was carried out.
pub fn is_done(record: &RequestRecord) -> bool {
    record.outcome.starts_with("done")
}

/// Who asked, for people. A name that no policy was seen to stamp is what the client has written there.
pub fn who(by: &str, verified: Option<bool>) -> String {
    match (by, verified) {
        ("", _) => "someone".to_owned(),
        (by, Some(true)) => by.to_owned(),
        (by, Some(false) | None) => format!("{by} (unverified)"),
    }
}

/// ` (until TIME)`, or nothing.
pub struct Until<'a>(pub &'a Option<Timestamp>);

impl fmt::Display for Until<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |until| write!(f, ", until {} at the latest", second(until)))
    }
}

/// A time to come, to the second: `2026-11-21T10:00:01Z`. Rounded up, so that it is not over before it is.
pub fn second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second() + i64::from(time.subsec_nanosecond() > 0)).unwrap_or(time)
}

/// `Service a`, or `Services a, b`.
pub struct Names<'a>(pub &'a str, pub &'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.0, if self.1.len() == 1 { "" } else { "s" }, self.1.join(", "))
    }
}
