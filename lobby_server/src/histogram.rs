//! Counts of times by how long they were, for the metrics and the status page.

use std::time::Duration;

/// Round trips, and what takes one or a few of them: 5 ms within a city to 5 s over a bad link.
const ROUND_TRIPS: &[f64] = &[0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0];
/// Connecting takes a few round trips, and 10 s at the most (`ServerConfig::plan_deadline`) where it is not tried again.
const CONNECTING: &[f64] = &[0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// Turns of the server's loop: tens of microseconds with one datagram, and seconds where something is wrong.
const TURNS: &[f64] =
    &[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// This counts times by how long they were.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last one counts what was longer than all.
    counts: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: Duration::ZERO }
    }

    /// Makes one for round trips, and for what takes a few of them.
    pub(crate) fn of_round_trips() -> Self {
        Self::new(ROUND_TRIPS)
    }

    /// Makes one for the time until two players are connected.
    pub(crate) fn of_connecting() -> Self {
        Self::new(CONNECTING)
    }

    /// Makes one for turns of the server's loop.
    pub(crate) fn of_turns() -> Self {
        Self::new(TURNS)
    }

    /// Counts one more.
    pub(crate) fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[index] += 1;
        self.sum = self.sum.saturating_add(time);
    }

    /// Returns how many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns all of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Gives the buckets, the short ones first: the upper bound in seconds, and how many were at most so long and longer
    /// than the bound before. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts.iter().copied())
    }

    /// Returns an upper bound of this part of all, from 0 to 1, in seconds; none where nothing was counted.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let all = self.count();
        let wanted = (all as f64 * part).ceil().max(1.0) as u64; // from 1 to `all`
        let mut so_far = 0;
        let found = self.buckets().find(|(_, count)| {
            so_far += count;
            so_far >= wanted
        });
        found.filter(|_| all > 0).map(|(bound, _)| bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::of_round_trips();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in [1, 5, 6, 40, 50, 9_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let filled: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.005, 2), (0.01, 1), (0.05, 2), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, Duration::from_millis(9_102)));
        assert_eq!(histogram.quantile(0.5), Some(0.01));
        assert_eq!(histogram.quantile(0.8), Some(0.05));
        assert_eq!(histogram.quantile(1.0), Some(f64::INFINITY));
    }

    #[test]
    fn bounds_grow() {
        for histogram in [Histogram::of_round_trips(), Histogram::of_connecting(), Histogram::of_turns()] {
            assert!(histogram.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
