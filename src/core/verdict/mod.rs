//! A judge of a version under release, with stated error rates. Numbers only: no Kubernetes, no clock, no I/O.
//!
//! Every [`Tick`] of a few seconds is one small bet against the canary ([`book`]). The bet's wealth begins at 1. While the canary
//! keeps its limit, the wealth is a nonnegative supermartingale: the chance that it *ever* reaches `1/falseRollbackRate` is at most
//! `falseRollbackRate`, however often one looks (Ville 1939). So the judge may look at every tick and stop at any of them.
//! A second bet, the mirror image of the first, gives an upper bound of the failure rate, and with it the evidence for a promotion.
//!
//! | file | the question that it answers |
//! |---|---|
//! | [`limit`] | does the canary fail more often than a limit allows? Also latency: a slow request is a failed one |
//! | [`compare`] | does it fail more often than the stable version, by more than is allowed? |
//! | [`bounds`] | between what does the failure rate lie? |
//! | [`histogram`] | how many requests were slow, read from the buckets of a histogram |
//! | [`counters`] | how many requests and failures were there since the last look, read from counters that only grow |
//! | [`config`], [`engine`], `standing` | several checks, steps, no data; roll back, promote or wait |
//! | [`sentence`] | the verdict in words, with the numbers it rests on |
//!
//! **Guarantee.** A canary that keeps every limit is rolled back with a probability of at most `falseRollbackRate` in the whole
//! release. A canary that breaks its limit passes a step *on evidence* with a probability of at most `missedRegressionRate`.
//!
//! **Assumption.** Whatever happened before, the expected share of failures in the next tick of a good canary is within the limit.
//! Inside a tick failures may cluster as they like ([`Sampling::Bursty`]). Bad spells that last longer than a tick break the
//! assumption: a tick should be two to three times as long as the longest blip that is to be shrugged off.
//!
//! **Caveat.** The evidence is a betting score, not the probability that the canary is bad.
//!
//! ```
//! use std::time::Duration;
//! use stepgate::core::verdict::{Check, Config, Engine, Outcome, Rule, Ruling, Tick};
//!
//! let check = Check::new("success-rate", Rule::Limit { limit: 0.01 });
//! let mut engine = Engine::new(Config::new(vec![check]))?;
//! let interval = Duration::from_secs(5);
//! for _ in 0..2 {
//!     engine.observe(0, Outcome::One(Tick { total: 5, failed: 5, elapsed: interval }))?;
//!     engine.end_tick(interval);
//! }
//! assert_eq!(engine.ruling(), Ruling::RollBack);
//! assert_eq!(
//!     engine.verdict().to_string(),
//!     "Rolled back: 10 of 10 requests failed in 10 s (limit 1%). Evidence against the canary 707:1, rollback at 100:1; \
//!      a good canary gets here at most 1 time in 100."
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod book;
pub mod bounds;
pub mod compare;
pub mod config;
pub mod counters;
pub mod engine;
pub mod histogram;
pub mod limit;
pub mod logs;
pub mod sentence;
mod standing;
pub mod tick;

pub use config::{Check, Config, ConfigError, Counted, Fault, Rule};
pub use engine::{Engine, Misplaced};
pub use sentence::{Ruling, Verdict, Why};
pub use standing::Outcome;
pub use tick::{PairTick, Sampling, Tick};
