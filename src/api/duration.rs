//! Human durations (`90s`, `1m30s`, `250ms`) as the API writes them.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The form of a duration in the schema: hours, minutes, seconds and milliseconds, largest first, at least one of them. So many digits that
/// no sum of them is too large for the API server's own durations.
pub const PATTERN: &str = "^([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$";

/// The rule for a field: a duration between these two, with a sentence for whoever wrote something else.
pub fn between(field: &str, least: &str, most: &str) -> Rule {
    let rule =
        format!("self != '' && self.matches('{PATTERN}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')");
    let message = format!("{field}: a time from {least} to {most}, written like 90s, 1m30s or 250ms");
    Rule::new(rule).message(message.as_str())
}

/// A length of time, written for people: `1h`, `90s`, `1m30s`, `250ms`.
///
/// Printed in its shortest form, so that a value read and written again may change its text but never its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of whole milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (u64::from(millis), "ms")];
        if parts.iter().all(|(count, _)| *count == 0) {
            return f.write_str("0s");
        }
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{found:?} is not a duration: write hours, minutes, seconds and milliseconds, largest first, such as 90s, 1m30s or 250ms")]
pub struct NotADuration {
    found: String,
}

impl FromStr for Span {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let refused = || NotADuration { found: text.to_owned() };
        // humantime also takes days, weeks and words: the API does not, so that a text means the same to both.
        if text.contains(|c: char| !c.is_ascii_digit() && !matches!(c, 'h' | 'm' | 's')) {
            return Err(refused());
        }
        humantime::parse_duration(text).map(Span).map_err(|_| refused())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_printed_in_its_shortest_form_and_read_back() {
        for (text, shortest) in
            [("90s", "1m30s"), ("1m30s", "1m30s"), ("250ms", "250ms"), ("0s", "0s"), ("3600s", "1h"), ("1500ms", "1s500ms")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), shortest);
            assert_eq!(shortest.parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn what_the_schema_refuses_is_refused_here_too() {
        for text in ["", "5", "1d", "soon", "-1s", "1.5s", "5 s"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was taken");
        }
    }
}
