//! The bets against the canary, and what they have won.
//!
//! Twelve bets, each on another failure rate, share a purse with a reserve of cash. The mixture sees small regressions and outages
//! alike (Robbins 1970). At every tick a part of the reserve opens fresh bets, so that a regression which begins late is not held up
//! by what was lost in the healthy time before: the idea of Shiryaev and of e-detectors (Shin, Ramdas and Rinaldo 2023), kept inside a
//! single supermartingale, so that the error rate holds for the whole release and not only on average.

use serde::{Deserialize, Serialize};

use super::logs::{log_add, log_sum};
use super::tick::real;

/// As many rates, on a geometric grid: enough that the nearest one costs little, few enough to be stored with every check.
pub const BETS: usize = 12;
/// What the reserve stakes at the first tick: half, so that a canary that is broken from the start is rolled back after two ticks.
const STAKE_AT_START: f64 = 0.5;
/// What it stakes at the first tick with data of a step: most regressions begin with a change of load.
const STAKE_AT_STEP: f64 = 0.25;
/// What it stakes at tick t is 1/(t + LAG): little enough that the reserve lasts for hours, enough to see a late regression.
const LAG: u64 = 300;

/// One number a bet.
pub type PerBet = [f64; BETS];

/// The failure rates that are bet on, where `base` is allowed: geometric from `base` (excluded) to 95%, or half-way to 100% where that
/// is more.
pub fn rates(base: f64) -> PerBet {
    let (from, to) = (base.ln(), f64::midpoint(1.0, base).max(0.95).ln());
    std::array::from_fn(|bet| {
        let part = real(bet as u64 + 1) / real(BETS as u64);
        (from * (1.0 - part) + to * part).exp()
    })
}

/// The wealth of the bets. Everything is a natural logarithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Book {
    ticks: u64,
    log_reserve: f64,
    #[serde(with = "impossible")]
    log_bets: PerBet,
    new_step: bool,
}

impl Default for Book {
    fn default() -> Self {
        Book { ticks: 0, log_reserve: 0.0, log_bets: [f64::NEG_INFINITY; BETS], new_step: false }
    }
}

impl Book {
    /// The next tick with data is the first of a step.
    pub fn begin_step(&mut self) {
        self.new_step = true;
    }

    /// Takes in one tick with data: by what each bet's stake grows, as a logarithm.
    pub fn bet(&mut self, growth: &PerBet) {
        self.ticks += 1;
        let stake = match self.ticks {
            1 => STAKE_AT_START,
            _ if self.new_step => STAKE_AT_STEP,
            tick => 1.0 / real(tick.saturating_add(LAG)),
        };
        self.new_step = false;
        let fresh = self.log_reserve + stake.ln() - real(BETS as u64).ln();
        for (bet, growth) in self.log_bets.iter_mut().zip(growth) {
            *bet = log_add(*bet, fresh) + growth;
        }
        self.log_reserve += (-stake).ln_1p();
    }

    /// What the evidence against the canary is worth, as a logarithm; 0 at the start.
    pub fn log_wealth(&self) -> f64 {
        log_add(self.log_reserve, log_sum(&self.log_bets))
    }

    pub fn log_reserve(&self) -> f64 {
        self.log_reserve
    }

    pub fn log_bets(&self) -> &PerBet {
        &self.log_bets
    }

    /// Whether these are numbers that bets can lead to.
    pub(crate) fn is_sound(&self) -> bool {
        self.log_reserve <= 0.0 && self.log_reserve.is_finite() && self.log_bets.iter().all(|bet| !bet.is_nan() && *bet < f64::INFINITY)
    }
}

/// JSON has no infinity: an impossible bet, of which the logarithm is minus infinity, is `null`.
mod impossible {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{BETS, PerBet};

    pub fn serialize<S: Serializer>(bets: &PerBet, to: S) -> Result<S::Ok, S::Error> {
        bets.map(|bet| bet.is_finite().then_some(bet)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PerBet, D::Error> {
        Ok(<[Option<f64>; BETS]>::deserialize(from)?.map(|bet| bet.unwrap_or(f64::NEG_INFINITY)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_rise_from_above_the_limit_to_nearly_always() {
        for base in [1e-6, 0.01, 0.3, 0.93, 0.999_999] {
            let rates = rates(base);
            assert!(rates[0] > base && rates.windows(2).all(|pair| pair[0] < pair[1]), "{base}: {rates:?}");
            assert!(rates[BETS - 1] >= 0.95 - 1e-12 && rates[BETS - 1] < 1.0, "{base}: {rates:?}");
        }
    }

    #[test]
    fn a_bet_on_nothing_leaves_the_wealth_as_it_is() {
        let mut book = Book::default();
        for tick in 0..1000 {
            if tick % 100 == 0 {
                book.begin_step();
            }
            book.bet(&[0.0; BETS]);
            assert!(book.log_wealth().abs() < 1e-12, "{tick}: {book:?}");
        }
    }

    #[test]
    fn an_untouched_book_survives_its_record() -> Result<(), serde_json::Error> {
        let text = serde_json::to_string(&Book::default())?;
        assert_eq!(serde_json::from_str::<Book>(&text)?, Book::default(), "{text}");
        Ok(())
    }
}
