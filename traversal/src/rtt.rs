//! Timeouts that follow the measured round trip.

use std::time::Duration;

/// This is the smoothed round trip, with the time after which an answer is overdue (RFC 6298 section 2, with a floor
/// that fits one small datagram instead of TCP's second). Every wait of the core that is about the network is a
/// multiple of this.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RttEstimate {
    measured: Option<(Duration, Duration)>,
}

impl RttEstimate {
    /// This is assumed while nothing is measured: 500 ms, as in RFC 8489 section 6.2.1 (STUN).
    pub const INITIAL: Duration = Duration::from_millis(500);
    /// No wait is shorter than this: it covers clock granularity and scheduling of an ordinary machine.
    pub const FLOOR: Duration = Duration::from_millis(20);

    /// Returns an estimate of which one round trip is known; its spread is taken to be a quarter of it until more is
    /// measured.
    pub fn of(rtt: Duration) -> Self {
        Self::with_spread(rtt, rtt / 4)
    }

    /// An estimate whose round trip and spread were measured elsewhere.
    pub fn with_spread(rtt: Duration, spread: Duration) -> Self {
        Self { measured: Some((rtt, spread)) }
    }

    /// Takes one measured round trip in. Not for packets sent more than once (Karn's rule).
    pub fn sample(&mut self, rtt: Duration) {
        *self = match self.measured {
            // One round trip of patience at first, where TCP takes two: a repeated datagram costs little.
            None => Self::of(rtt),
            Some((smooth, spread)) => {
                Self::with_spread((smooth * 7 + rtt) / 8, (spread * 3 + smooth.abs_diff(rtt)) / 4)
            }
        };
    }

    /// Returns the smoothed round trip; none while nothing was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.measured.map(|(rtt, _)| rtt)
    }

    /// Returns how far round trips lie from the smoothed one, on average (RFC 6298 calls it RTTVAR).
    pub fn spread(&self) -> Option<Duration> {
        self.measured.map(|(_, spread)| spread)
    }

    /// Returns after how long an answer is overdue.
    pub fn overdue(&self) -> Duration {
        match self.measured {
            None => Self::INITIAL,
            Some((rtt, spread)) => rtt + (spread * 4).max(Self::FLOOR),
        }
    }

    /// Returns the same for what has been sent this many times before (RFC 6298 section 5.5, but every second time
    /// only: where many packets are lost, the next one shall not wait for long).
    pub fn overdue_after(&self, repeats: u32) -> Duration {
        self.overdue() * 2u32.saturating_pow(repeats / 2).min(8)
    }

    /// Returns a wait that was made for usual networks, or this many times the time of an answer where this one takes
    /// longer.
    pub fn at_least(&self, usual: Duration, answers: u32) -> Duration {
        match self.measured {
            None => usual,
            Some(_) => usual.max(self.overdue() * answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_is_measured() {
        let mut rtt = RttEstimate::default();
        assert_eq!(rtt.overdue(), RttEstimate::INITIAL);
        for _ in 0..50 {
            rtt.sample(Duration::from_millis(100));
        }
        assert_eq!(rtt.rtt(), Some(Duration::from_millis(100)));
        assert!(rtt.overdue() <= Duration::from_millis(125));
        rtt.sample(Duration::from_millis(300));
        assert!(rtt.overdue() > Duration::from_millis(200), "jitter makes it patient");
    }

    #[test]
    fn usual_waits_grow_on_long_ways_only() {
        let usual = Duration::from_secs(2);
        let after = |ms| {
            let mut rtt = RttEstimate::default();
            rtt.sample(Duration::from_millis(ms));
            rtt.at_least(usual, 2)
        };
        assert_eq!(RttEstimate::default().at_least(usual, 2), usual);
        assert_eq!((after(20), after(400)), (usual, usual));
        assert_eq!(after(1200), Duration::from_millis(4800), "two answers, each overdue after 2.4 s");
    }

    #[test]
    fn what_is_repeated_waits_longer_but_not_for_ever() {
        let mut rtt = RttEstimate::default();
        rtt.sample(Duration::from_millis(200));
        let waits: Vec<u128> = (0..12).map(|repeats| rtt.overdue_after(repeats).as_millis()).collect();
        assert_eq!(waits, [400, 400, 800, 800, 1600, 1600, 3200, 3200, 3200, 3200, 3200, 3200]);
    }
}
