//! Timeouts that follow the measured round trip.

use std::time::Duration;

/// Smoothed round trip and the time after which an answer is overdue (RFC 6298 section 2, with a floor that fits
/// one small datagram instead of TCP's second).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RttEstimate {
    measured: Option<(Duration, Duration)>,
}

impl RttEstimate {
    /// RFC 8489 section 6.2.1 (STUN): 500 ms while nothing is measured.
    pub const INITIAL: Duration = Duration::from_millis(500);
    /// Clock granularity and scheduling of an ordinary machine.
    pub const FLOOR: Duration = Duration::from_millis(20);

    /// With a round trip measured before, if there is one.
    pub fn new(rtt: Option<Duration>) -> Self {
        Self { measured: rtt.map(|rtt| (rtt, rtt / 4)) }
    }

    /// Takes one measured round trip in. Not for packets sent more than once (Karn's rule).
    pub fn sample(&mut self, rtt: Duration) {
        self.measured = Some(match self.measured {
            None => (rtt, rtt / 2),
            Some((smooth, spread)) => ((smooth * 7 + rtt) / 8, (spread * 3 + smooth.abs_diff(rtt)) / 4),
        });
    }

    /// The smoothed round trip.
    pub fn rtt(&self) -> Option<Duration> {
        self.measured.map(|(rtt, _)| rtt)
    }

    /// After how long an answer is overdue.
    pub fn overdue(&self) -> Duration {
        match self.measured {
            None => Self::INITIAL,
            Some((rtt, spread)) => rtt + (spread * 4).max(Self::FLOOR),
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
}
