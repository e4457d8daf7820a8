//! Requests and failures since the last look, from counters that only grow.
//!
//! Counters are read raw and differenced here. A `rate(...[1m])` that is read more often than every minute counts a failure several
//! times, and extrapolates to numbers that nobody counted.
//!
//! | what is found | what it counts |
//! |---|---|
//! | a series that was there before | its increase |
//! | a value smaller than before: the process began anew | the value |
//! | a series that was not there at the last look, or of a pod that began after the counting did | its value: it began at 0 |
//! | any other series at the first look | nothing: what it counted before is not known to belong to the release |
//! | a series that is gone | nothing; its last value is kept, for a gap in the scrapes is no new beginning |
//! | a value that is no number, negative or infinite | nothing |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tick::{Tick, seconds};

/// A query that finds more series than this is refused: it does not name the pods of one release.
pub const MOST_SERIES: usize = 10_000;

/// One series of a counter, as it was read. Times are since any moment that is the same for all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels: what tells it from the others.
    pub name: String,
    pub value: f64,
    /// When its pod began, where that is known.
    pub born: Option<Duration>,
    /// When it was scraped, where that is known.
    pub scraped: Option<Duration>,
}

/// A query found more than [`MOST_SERIES`] series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query finds {0} series, more than {MOST_SERIES}: it must select the pods of one version")]
pub struct TooManySeries(pub usize);

/// The counter of requests and the counter of failures of one side, differenced into ticks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    #[serde(with = "seconds")]
    interval: Duration,
    #[serde(with = "seconds")]
    began: Duration,
    /// Whether there was a look that found requests: from then on a new series began at 0.
    based: bool,
    /// When the tick that is being counted began.
    #[serde(with = "seconds")]
    tick_began: Duration,
    total: Counter,
    failed: Counter,
}

/// One counter: the last value of each series, and what has been added since the last tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    series: BTreeMap<String, Last>,
    increase: f64,
    scrape_interval: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    value: f64,
    scraped: Option<f64>,
}

impl Counters {
    /// Counts from `now` on, in ticks of at least `interval`.
    pub fn new(interval: Duration, now: Duration) -> Self {
        Counters { interval, began: now, based: false, tick_began: now, total: Counter::default(), failed: Counter::default() }
    }

    /// Takes in one look at both counters. Gives a tick when one is full: as long as the interval, and as the scrapes are apart.
    ///
    /// # Errors
    /// The query finds more series than one version has; nothing is taken in.
    pub fn look(&mut self, now: Duration, total: &[Series], failed: &[Series]) -> Result<Option<Tick>, TooManySeries> {
        let most = self.total.known_with(total).max(self.failed.known_with(failed));
        if most > MOST_SERIES {
            return Err(TooManySeries(most));
        }
        self.total.take_in(total, self.began, self.based);
        self.failed.take_in(failed, self.began, self.based);
        if !self.based {
            self.based = !total.is_empty();
            self.tick_began = now;
            return Ok(None);
        }
        let elapsed = now.saturating_sub(self.tick_began);
        if elapsed < self.tick_length() {
            return Ok(None);
        }
        self.tick_began = now;
        Ok(Some(Tick::of(self.total.take(), self.failed.take(), elapsed)))
    }

    /// A tick is no shorter than the scrapes are apart: between two of them nothing is counted.
    pub fn tick_length(&self) -> Duration {
        let scrapes = self.total.scrape_interval.and_then(|apart| Duration::try_from_secs_f64(apart).ok());
        self.interval.max(scrapes.unwrap_or_default())
    }
}

impl Counter {
    /// How many series are known, also those that are gone, once `series` is taken in.
    fn known_with(&self, series: &[Series]) -> usize {
        self.series.len() + series.iter().filter(|series| !self.series.contains_key(&series.name)).count()
    }

    fn take_in(&mut self, series: &[Series], began: Duration, based: bool) {
        for Series { name, value, born, scraped } in series {
            if !value.is_finite() || *value < 0.0 {
                continue;
            }
            let last = Last { value: *value, scraped: scraped.map(|at| at.as_secs_f64()) };
            match self.series.insert(name.clone(), last) {
                Some(before) => {
                    self.increase += if *value < before.value { *value } else { value - before.value };
                    self.learn_scrape_interval(before.scraped, last.scraped);
                }
                None if born.map_or(based, |born| born >= began) => self.increase += value,
                None => {}
            }
        }
    }

    /// The shortest time between two scrapes of a series: a scrape that fails makes it longer only once.
    fn learn_scrape_interval(&mut self, before: Option<f64>, now: Option<f64>) {
        if let (Some(before), Some(now)) = (before, now)
            && now > before
        {
            let apart = now - before;
            self.scrape_interval = Some(self.scrape_interval.map_or(apart, |known| known.min(apart)));
        }
    }

    /// What was counted since the last tick. A remainder of a count is kept for the next one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite and not negative; beyond 2^64 it saturates")]
    fn take(&mut self) -> u64 {
        let whole = self.increase.floor();
        self.increase -= whole;
        whole as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn series(values: &[(&str, f64)]) -> Vec<Series> {
        values.iter().map(|(name, value)| Series { name: (*name).to_owned(), value: *value, born: None, scraped: None }).collect()
    }

    /// The series of both counters, as one look finds them.
    type Look<'a> = (&'a [(&'a str, f64)], &'a [(&'a str, f64)]);

    /// The ticks of looks every 5 s, as requests and failures.
    fn counted(looks: &[Look<'_>]) -> Vec<(u64, u64)> {
        let mut counters = Counters::new(at(5), at(0));
        let ticks = looks.iter().zip(1..).filter_map(|((total, failed), look)| {
            counters.look(at(5 * look), &series(total), &series(failed)).unwrap().map(|tick| (tick.total, tick.failed))
        });
        ticks.collect()
    }

    #[test]
    fn the_first_look_only_says_where_counting_begins() {
        assert_eq!(counted(&[(&[("a", 5000.0)], &[("a", 40.0)]), (&[("a", 5010.0)], &[("a", 41.0)])]), [(10, 1)]);
    }

    #[test]
    fn the_series_of_failures_is_born_with_the_first_one_and_counts_from_0() {
        assert_eq!(counted(&[(&[("a", 100.0)], &[]), (&[("a", 110.0)], &[]), (&[("a", 120.0)], &[("a", 3.0)])]), [(10, 0), (10, 3)]);
    }

    #[test]
    fn a_look_that_finds_nothing_is_no_beginning() {
        assert_eq!(counted(&[(&[], &[]), (&[("a", 5000.0)], &[("a", 40.0)]), (&[("a", 5010.0)], &[("a", 40.0)])]), [(10, 0)]);
    }

    #[test]
    fn a_counter_that_began_anew_counts_what_it_shows() {
        assert_eq!(
            counted(&[(&[("a", 100.0)], &[("a", 9.0)]), (&[("a", 7.0)], &[("a", 1.0)]), (&[("a", 9.0)], &[("a", 1.0)])]),
            [(7, 1), (2, 0)]
        );
    }

    #[test]
    fn a_gap_in_the_scrapes_loses_nothing_and_counts_nothing_twice() {
        let gone: Look<'_> = (&[], &[]);
        assert_eq!(counted(&[(&[("a", 100.0)], &[("a", 9.0)]), gone, gone, (&[("a", 130.0)], &[("a", 10.0)])]), [(0, 0), (0, 0), (30, 1)]);
    }

    #[test]
    fn what_is_no_count_counts_nothing() {
        let rubbish: &[(&str, f64)] = &[("a", f64::NAN), ("b", f64::INFINITY), ("c", -1.0), ("d", 4.0)];
        assert_eq!(counted(&[(&[("a", 1.0), ("d", 1.0)], &[]), (rubbish, &[]), (&[("a", 2.0), ("d", 4.0)], &[])]), [(3, 0), (1, 0)]);
    }

    #[test]
    fn a_pod_that_began_after_the_counting_counts_from_0_at_the_first_look_too() {
        let mut counters = Counters::new(at(5), at(100));
        let of = |name: &str, value, born| Series { name: name.to_owned(), value, born: Some(at(born)), scraped: None };
        assert_eq!(counters.look(at(110), &[of("new", 6.0, 104), of("old", 900.0, 50)], &[]), Ok(None));
        assert_eq!(
            counters.look(at(115), &[of("new", 8.0, 104), of("old", 901.0, 50), of("older", 70.0, 40)], &[]).unwrap().unwrap().total,
            9
        );
    }

    #[test]
    fn a_tick_is_as_long_as_the_scrapes_are_apart() {
        let mut counters = Counters::new(at(5), at(0));
        let scraped = |value, scraped| vec![Series { name: "a".to_owned(), value, born: None, scraped: Some(at(scraped)) }];
        let looks = [(5, 10.0, 3), (10, 10.0, 3), (15, 10.0, 3), (20, 40.0, 18), (25, 40.0, 18), (30, 40.0, 18), (35, 70.0, 33)];
        let ticks: Vec<_> = looks
            .into_iter()
            .filter_map(|(now, value, at_)| counters.look(at(now), &scraped(value, at_), &[]).unwrap())
            .map(|tick| (tick.total, tick.elapsed.as_secs()))
            .collect();
        assert_eq!(ticks, [(0, 5), (0, 5), (30, 15)]);
    }

    #[test]
    fn a_query_over_everything_is_refused() {
        let many: Vec<_> = (0..=MOST_SERIES).map(|pod| Series { name: pod.to_string(), value: 0.0, born: None, scraped: None }).collect();
        assert_eq!(Counters::new(at(5), at(0)).look(at(5), &many, &[]), Err(TooManySeries(MOST_SERIES + 1)));
    }
}
