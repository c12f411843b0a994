//! What a load generator counts: how often, how long, and what went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;

use crate::stats::quantile;

/// So many times of a kind are kept whole; of more, a fair sample.
const KEPT: usize = 1 << 18;
/// So many kinds of errors are told apart.
const ERRORS: usize = 64;

/// These are measured times of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    count: u64,
    most: f64,
    kept: Vec<f64>,
}

impl Times {
    pub(super) fn note(&mut self, rng: &mut ChaCha20Rng, time: Duration) {
        let ms = time.as_secs_f64() * 1e3;
        self.count += 1;
        self.most = self.most.max(ms);
        if self.kept.len() < KEPT {
            self.kept.push(ms);
        } else if let Some(place) = self.kept.get_mut(rng.random_range(0..self.count) as usize) {
            *place = ms;
        }
    }

    /// Takes those of another thread, too.
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.most = self.most.max(other.most);
        self.kept.extend(other.kept);
    }

    pub(super) fn told(mut self) -> Quantiles {
        let mut at = |share| quantile(&mut self.kept, share);
        let (p50, p99) = (at(0.5), at(0.99));
        Quantiles {
            count: self.count,
            p50_ms: p50,
            p99_ms: p99,
            most_ms: (self.count > 0).then_some(self.most),
        }
    }
}

/// This is how long something took, in milliseconds; no numbers where it never happened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    /// It happened so often.
    pub count: u64,
    /// Half of the times are below.
    pub p50_ms: Option<f64>,
    /// 99 of 100 are below.
    pub p99_ms: Option<f64>,
    /// The longest took so long.
    pub most_ms: Option<f64>,
}

/// This is what players do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Log in for the first time, before the measurement.
    FirstLogin,
    /// Log in anew.
    Login,
    /// Log in all at once with others, in the middle of the measurement.
    CrowdLogin,
    /// Ask for the rooms.
    List,
    /// From the request to the room.
    Join,
    /// From the request to the first path to the host.
    Path,
    /// Leave the room, which nobody answers to the player.
    Leave,
    /// From the wish for a quick match to its room.
    Match,
    /// From a text to a contact to the word that it has arrived.
    Chat,
    /// From one player of a pair over the relay to the other.
    Relay,
}

impl Act {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FirstLogin => "login before",
            Self::Login => "login",
            Self::CrowdLogin => "login in the crowd",
            Self::List => "list",
            Self::Join => "join",
            Self::Path => "path to the host",
            Self::Leave => "leave",
            Self::Match => "quick match",
            Self::Chat => "text to a contact",
            Self::Relay => "relayed datagram",
        }
    }
}

/// This is all that one thread has counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// How often each thing was begun.
    pub(super) begun: BTreeMap<Act, u64>,
    pub(super) times: BTreeMap<Act, Times>,
    pub(super) errors: BTreeMap<String, u64>,
    /// Things that were to be done while nobody had time for them.
    pub(super) skipped: u64,
    /// Sessions that were lost and not meant to end.
    pub(super) lost: u64,
    /// What went to the server and came from it.
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) received: u64,
    /// Datagrams that this machine's system did not take.
    pub(super) refused: u64,
    /// How late the generator itself was at what was due.
    pub(super) late: Times,
}

impl Tally {
    pub(super) fn begin(&mut self, act: Act) {
        *self.begun.entry(act).or_default() += 1;
    }

    pub(super) fn time(&mut self, rng: &mut ChaCha20Rng, act: Act, time: Duration) {
        self.times.entry(act).or_default().note(rng, time);
    }

    pub(super) fn error(&mut self, what: String) {
        if self.errors.len() < ERRORS || self.errors.contains_key(&what) {
            *self.errors.entry(what).or_default() += 1;
        } else {
            *self.errors.entry("others".into()).or_default() += 1;
        }
    }

    /// Forgets what was counted before the measurement, but for the logins.
    pub(super) fn start_measuring(&mut self) {
        let first = Act::FirstLogin;
        let (begun, times) = (self.begun.remove(&first), self.times.remove(&first));
        *self = Self::default();
        self.begun.extend(begun.map(|count| (first, count)));
        self.times.extend(times.map(|times| (first, times)));
    }

    /// Takes those of another thread, too.
    pub(super) fn add(&mut self, other: Self) {
        other.begun.into_iter().for_each(|(act, count)| *self.begun.entry(act).or_default() += count);
        other.times.into_iter().for_each(|(act, times)| self.times.entry(act).or_default().add(times));
        other.errors.into_iter().for_each(|(what, count)| *self.errors.entry(what).or_default() += count);
        self.skipped += other.skipped;
        self.lost += other.lost;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.refused += other.refused;
        self.late.add(other.late);
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn times_are_told_and_more_than_are_kept_are_a_sample() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut times = Times::default();
        assert!(times.clone().told().p50_ms.is_none());
        for n in 0..(KEPT as u64 * 2) {
            times.note(&mut rng, Duration::from_micros(n));
        }
        let told = times.told();
        assert_eq!(told.count, KEPT as u64 * 2);
        let middle = KEPT as f64 / 1e3;
        assert!((told.p50_ms.unwrap() / middle - 1.0).abs() < 0.02, "{told:?}");
        assert!((told.most_ms.unwrap() - 2.0 * middle).abs() < 0.01, "{told:?}");
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut tally = Tally::default();
        (0..1000).for_each(|n| tally.error(format!("error {n}")));
        assert_eq!(tally.errors.len(), ERRORS + 1);
        assert_eq!(tally.errors.values().sum::<u64>(), 1000);
    }
}
