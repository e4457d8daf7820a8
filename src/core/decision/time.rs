//! Times on record, and spans between them.

use jiff::{SignedDuration, Timestamp};

use crate::api::Span;

/// A time, so much later; saturating.
pub fn after(time: Timestamp, span: Span) -> Timestamp {
    SignedDuration::try_from(span.0).ok().and_then(|span| time.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}

/// A time on record, `most` where there is none, and at most that: what is later was written by a controller whose clock was ahead, and no
/// wait is to last longer because of it.
pub fn bounded(recorded: &mut Option<Timestamp>, most: Timestamp) -> Timestamp {
    let time = recorded.map_or(most, |time| time.min(most));
    *recorded = Some(time);
    time
}

/// How much later one time is than another, in the whole milliseconds that a status can tell; nothing if it is not.
pub fn elapsed(from: Timestamp, to: Timestamp) -> Span {
    Span::millis(to.duration_since(from).as_millis().try_into().unwrap_or_default())
}
