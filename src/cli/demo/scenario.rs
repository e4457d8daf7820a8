//! What is played: a release, and how it has to end.

use clap::ValueEnum;
use serde::Serialize;

use crate::{api::status::Outcome, sim::stage};

/// A release of the demo.
#[derive(ValueEnum, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// A good version: goes from 25 % to 100 %, and its pods stay
    Good,
    /// Answers 500 from 50 % on: taken back
    Bad,
    /// Crashes at its start: gets no client
    Crash,
}

impl Scenario {
    /// What will happen, in one line.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Good => "a good version: goes from 25 % to 100 %, and its pods stay",
            Self::Bad => "answers 500 from 50 % on: its clients are taken back",
            Self::Crash => "crashes at its start: gets no client",
        }
    }

    /// What its version is called beside its number.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Crash => "crash",
        }
    }

    /// How the release has to end.
    pub fn expected(self) -> Outcome {
        match self {
            Self::Good => Outcome::Promoted,
            Self::Bad | Self::Crash => Outcome::RolledBack,
        }
    }

    /// The largest weight that it has to reach.
    pub fn reaches(self) -> u8 {
        match self {
            Self::Good => 100,
            Self::Bad => 50,
            Self::Crash => 0,
        }
    }

    /// Settings of the application that hold from this weight on, in percent.
    pub fn settings(self) -> (u8, &'static [(&'static str, &'static str)]) {
        match self {
            Self::Good => (0, &[]),
            Self::Bad => (50, &[("fail", "100"), ("health", "500")]),
            Self::Crash => (0, &[("crash", "true")]),
        }
    }
}

/// A scenario under the name of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub scenario: Scenario,
    pub version: String,
}

impl Release {
    /// The releases of these scenarios, one version after the other, from `v2` on.
    pub fn of(scenarios: &[Scenario]) -> Vec<Self> {
        scenarios.iter().zip(2..).map(|(scenario, number)| Self { scenario: *scenario, version: format!("v{number}") }).collect()
    }

    /// Its image.
    pub fn image(&self) -> String {
        stage::image(&self.version)
    }

    /// The command that begins it.
    pub fn command(&self) -> String {
        format!("kubectl set image deployment/{HELLO} {HELLO}={}", self.image(), HELLO = stage::HELLO)
    }
}
