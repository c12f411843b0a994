//! An estimate of the server's clock, for what all members of a room are to see at the same moment.

use std::time::{Duration, Instant};

/// A quicker answer than this sample's replaces it at once, a slower one only when it is so old: two clocks drift apart by a
/// hundredth of a second in that time, at 100 parts in a million.
const OLD: Duration = Duration::from_secs(100);

/// This is the answer of the server about its clock that came most quickly.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The server's clock showed this, between the question and the answer.
    server_ms: u64,
    /// This lies in the middle between the two.
    middle: Instant,
    round_trip: Duration,
}

/// This tells what the server's clock shows. The server read it at some moment between the question and its answer, so the
/// estimate is wrong by half of that time at the most, however often either was sent again.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Option<Sample>);

impl ServerClock {
    /// Takes an answer that came at `now` to a question that was asked at `asked`.
    pub(super) fn sample(&mut self, asked: Instant, now: Instant, server_ms: u64) {
        let round_trip = now.saturating_duration_since(asked);
        let kept = self.0.filter(|known| {
            known.round_trip <= round_trip && now.saturating_duration_since(known.middle) < OLD
        });
        if kept.is_none() {
            self.0 = Some(Sample { server_ms, middle: asked + round_trip / 2, round_trip });
        }
    }

    /// Returns the own time at which the server's clock shows this; none while nothing is known of it.
    pub(super) fn local(&self, server_ms: u64) -> Option<Instant> {
        let Sample { server_ms: then, middle, .. } = self.0?;
        match server_ms.checked_sub(then) {
            Some(later) => middle.checked_add(Duration::from_millis(later)),
            None => middle.checked_sub(Duration::from_millis(then - server_ms)),
        }
    }

    /// Returns how far the estimate may be from the truth, besides the drift of the clocks.
    pub(super) fn exactness(&self) -> Option<Duration> {
        self.0.map(|sample| sample.round_trip / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_answer_counts_and_is_right_within_half_its_time() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = ServerClock::default();
        assert_eq!(clock.local(5), None);
        // The server is 1,000 ms ahead. The first answer took 300 ms, nearly all of it on the way back.
        clock.sample(start, start + ms(300), 1_020);
        assert_eq!(clock.exactness(), Some(ms(150)));
        let off = clock.local(3_000).unwrap().saturating_duration_since(start + ms(2_000));
        assert_eq!(off, ms(130));
        clock.sample(start + ms(400), start + ms(440), 1_415);
        assert_eq!(clock.exactness(), Some(ms(20)));
        assert_eq!(clock.local(3_000), Some(start + ms(2_005)));
        // A slow one changes nothing, until the quick one is old.
        clock.sample(start + ms(500), start + ms(900), 1_510);
        assert_eq!(clock.local(3_000), Some(start + ms(2_005)));
        let later = start + OLD + ms(500);
        clock.sample(later, later + ms(100), 1_000 + 100_500 + 50);
        assert_eq!(clock.exactness(), Some(ms(50)));
        assert_eq!(clock.local(102_000), Some(start + ms(101_000)));
    }
}
