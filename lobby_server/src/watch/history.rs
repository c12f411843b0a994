//! The last hour, for the charts of the status page.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::Kernel;
use super::process::Process;
use crate::status::Status;

/// A sample is taken so often.
pub(crate) const PERIOD: Duration = Duration::from_secs(10);
/// So many samples are kept: an hour of them.
const KEPT: usize = 360;

/// This is how the server was at one time, and what happened since the sample before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// It was taken so many seconds after the server's start.
    pub(crate) at_s: u64,
    pub(crate) sessions: usize,
    pub(crate) rooms: usize,
    pub(crate) matches_per_minute: f64,
    /// So many matches got a direct path since the sample before, were relayed, or failed.
    pub(crate) direct: u64,
    pub(crate) relayed: u64,
    pub(crate) failed: u64,
    pub(crate) relay_bytes_per_s: f64,
    pub(crate) kernel_drops: u64,
    pub(crate) refused: u64,
    pub(crate) lag_ms: f64,
    /// This part of one processor was used.
    pub(crate) cpu: f64,
}

/// These are counts at the time of a sample, from which the next one is made.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    at: Duration,
    matches: u64,
    outcomes: [u64; 3],
    relayed_bytes: u64,
    kernel_drops: u64,
    refused: u64,
    cpu_seconds: f64,
}

/// This is the last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    last: Option<Counts>,
}

impl History {
    /// Returns when the next sample is due, after the server's start.
    pub(super) fn due(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last.at + PERIOD)
    }

    /// Takes a sample. The first one has nothing to compare with, and is none.
    pub(super) fn take(&mut self, status: &Status, kernel: Option<Kernel>, process: Option<Process>) {
        let numbers = &status.games;
        let sum = |of: fn(&crate::GameNumbers) -> u64| numbers.iter().map(of).sum::<u64>();
        let counts = Counts {
            at: status.uptime,
            matches: status.counters.matches,
            outcomes: [sum(|game| game.direct), sum(|game| game.relayed), sum(|game| game.failed)],
            relayed_bytes: status.counters.relayed_bytes,
            kernel_drops: kernel.map_or(0, |kernel| kernel.drops),
            refused: status.counters.refusals.iter().map(|(_, count)| count).sum(),
            cpu_seconds: process.map_or(0.0, |process| process.cpu_seconds),
        };
        let Some(before) = self.last.replace(counts) else { return };
        let seconds = counts.at.saturating_sub(before.at).as_secs_f64().max(0.001);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let [direct, relayed, failed] =
            [0, 1, 2].map(|kind| since(counts.outcomes[kind], before.outcomes[kind]));
        if self.samples.len() >= KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at_s: counts.at.as_secs(),
            sessions: status.gauges.sessions,
            rooms: status.gauges.rooms,
            matches_per_minute: since(counts.matches, before.matches) as f64 * 60.0 / seconds,
            direct,
            relayed,
            failed,
            relay_bytes_per_s: since(counts.relayed_bytes, before.relayed_bytes) as f64 / seconds,
            kernel_drops: since(counts.kernel_drops, before.kernel_drops),
            refused: since(counts.refused, before.refused),
            lag_ms: status.lag.as_secs_f64() * 1000.0,
            cpu: ((counts.cpu_seconds - before.cpu_seconds) / seconds).max(0.0),
        });
    }

    /// Gives the samples of the last hour, the oldest first.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.samples.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_leaves_an_hour_of_samples_with_what_happened_since_the_one_before() {
        let mut history = History::default();
        let mut status = Status::for_tests();
        for n in 0..8_640 {
            status.uptime = PERIOD * n;
            assert!(history.due() <= status.uptime);
            status.counters.matches += 3;
            status.counters.relayed_bytes += 50_000;
            status.games[0].relayed += 2;
            let kernel = Kernel { drops: u64::from(n) * 7, waiting: 0 };
            let process = Process { cpu_seconds: f64::from(n) * 5.0, ..Process::default() };
            history.take(&status, Some(kernel), Some(process));
        }
        let samples: Vec<Sample> = history.samples().collect();
        assert_eq!(samples.len(), KEPT);
        assert_eq!(samples[KEPT - 1].at_s - samples[0].at_s, 3_590);
        let last = samples[KEPT - 1];
        assert_eq!((last.matches_per_minute, last.relay_bytes_per_s), (18.0, 5_000.0));
        assert_eq!((last.direct, last.relayed, last.kernel_drops, last.cpu), (0, 2, 7, 0.5));
    }
}
