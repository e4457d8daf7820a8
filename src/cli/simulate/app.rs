//! The little language of `--app`: what the new version does wrong, and from when.

use std::{fmt, str::FromStr};

use crate::api::Span;

/// The version that is released.
pub const NEW: &str = "v2";

/// The grammar, for `--help`.
pub const GRAMMAR: &str = "\
What the new version does wrong:

  fails 5%        so many of its answers are 500, to clients and checks alike
  slow 2s         its answers take so long
  unready         its pods are not ready
  crashes         its processes end

and from when; from its start if nothing is said:

  from 2m         since the release began
  from 50%        since that weight is in effect

May be given more than once. Without it the new version is good.";

/// One thing that an application does.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    pub what: What,
    pub from: From,
}

/// What it does.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Percent of its answers that are 500.
    Fails(f64),
    Slow(Span),
    Unready,
    Crashes,
}

/// From when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum From {
    Start,
    After(Span),
    /// Since this weight, in percent, is in effect.
    Weight(u8),
}

/// A description that was not understood.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NotUnderstood {
    #[error("{found:?} is not understood: {expected} is expected here, as in \"fails 5% from 2m\"")]
    Word { found: String, expected: &'static str },
    #[error("the end comes too soon: {expected} is expected there, as in \"fails 5% from 2m\"")]
    Missing { expected: &'static str },
}

const WHAT: &str = "fails, slow, unready or crashes";
const SHARE: &str = "a share between 0% and 100%";
const LENGTH: &str = "a duration such as 2s or 1m30s";
const FROM: &str = "\"from\" or the end";
const MOMENT: &str = "a duration such as 2m or a weight such as 50%";
const END: &str = "the end";

impl FromStr for App {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let mut words = text.split_whitespace();
        let what = match word(&mut words, WHAT)? {
            "fails" => What::Fails(parse(word(&mut words, SHARE)?, SHARE, percent)?),
            "slow" => What::Slow(parse(word(&mut words, LENGTH)?, LENGTH, span)?),
            "unready" => What::Unready,
            "crashes" => What::Crashes,
            other => return Err(unexpected(other, WHAT)),
        };
        let from = match words.next() {
            None => From::Start,
            Some("from") => parse(word(&mut words, MOMENT)?, MOMENT, moment)?,
            Some(other) => return Err(unexpected(other, FROM)),
        };
        words.next().map_or(Ok(Self { what, from }), |more| Err(unexpected(more, END)))
    }
}

fn word<'a>(words: &mut impl Iterator<Item = &'a str>, expected: &'static str) -> Result<&'a str, NotUnderstood> {
    words.next().ok_or(NotUnderstood::Missing { expected })
}

fn unexpected(found: &str, expected: &'static str) -> NotUnderstood {
    NotUnderstood::Word { found: found.to_owned(), expected }
}

fn parse<T>(word: &str, expected: &'static str, read: fn(&str) -> Option<T>) -> Result<T, NotUnderstood> {
    read(word).ok_or_else(|| unexpected(word, expected))
}

fn percent(word: &str) -> Option<f64> {
    word.strip_suffix('%')?.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
}

fn span(word: &str) -> Option<Span> {
    word.parse().ok()
}

fn moment(word: &str) -> Option<From> {
    let weight = word.strip_suffix('%').and_then(|weight| weight.parse().ok()).filter(|weight| *weight <= 100);
    weight.map(From::Weight).or_else(|| span(word).map(From::After))
}

impl App {
    /// The setting of the embedded cluster's application that does this.
    pub fn setting(&self) -> (&'static str, String) {
        match &self.what {
            What::Fails(percent) => ("fail", percent.to_string()),
            What::Slow(length) => ("slow", length.to_string()),
            What::Unready => ("ready", "false".to_owned()),
            What::Crashes => ("crash", "true".to_owned()),
        }
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Fails(percent) => write!(f, "fails {percent}%")?,
            What::Slow(length) => write!(f, "slow {length}")?,
            What::Unready => f.write_str("unready")?,
            What::Crashes => f.write_str("crashes")?,
        }
        match self.from {
            From::Start => Ok(()),
            From::After(length) => write!(f, " from {length}"),
            From::Weight(weight) => write!(f, " from {weight}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_and_written_back() {
        for text in ["fails 5%", "fails 0.5% from 2m", "slow 2s from 50%", "unready from 1m30s", "crashes"] {
            assert_eq!(text.parse::<App>().unwrap().to_string(), text);
        }
        let app: App = "  fails  100%   from 50% ".parse().unwrap();
        assert_eq!(app, App { what: What::Fails(100.0), from: From::Weight(50) });
    }

    #[test]
    fn an_error_names_the_word_that_was_not_understood() {
        let wrong = [
            "",
            "fials 5%",
            "fails",
            "fails 5",
            "fails 101%",
            "fails 5% after 2m",
            "fails 5% from",
            "fails 5% from noon",
            "slow quickly",
            "crashes from 50% please",
        ];
        let told: Vec<String> = wrong.iter().map(|text| format!("{text:?}: {}", text.parse::<App>().unwrap_err())).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        "": the end comes too soon: fails, slow, unready or crashes is expected there, as in "fails 5% from 2m"
        "fials 5%": "fials" is not understood: fails, slow, unready or crashes is expected here, as in "fails 5% from 2m"
        "fails": the end comes too soon: a share between 0% and 100% is expected there, as in "fails 5% from 2m"
        "fails 5": "5" is not understood: a share between 0% and 100% is expected here, as in "fails 5% from 2m"
        "fails 101%": "101%" is not understood: a share between 0% and 100% is expected here, as in "fails 5% from 2m"
        "fails 5% after 2m": "after" is not understood: "from" or the end is expected here, as in "fails 5% from 2m"
        "fails 5% from": the end comes too soon: a duration such as 2m or a weight such as 50% is expected there, as in "fails 5% from 2m"
        "fails 5% from noon": "noon" is not understood: a duration such as 2m or a weight such as 50% is expected here, as in "fails 5% from 2m"
        "slow quickly": "quickly" is not understood: a duration such as 2s or 1m30s is expected here, as in "fails 5% from 2m"
        "crashes from 50% please": "please" is not understood: the end is expected here, as in "fails 5% from 2m"
        "#);
    }
}
