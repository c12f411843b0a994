//! How long the server's loop takes for a turn: so long a datagram may wait for those before it.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// The longest turn is told of the last one to two of these times.
const WINDOW: Duration = Duration::from_secs(10);

/// These are the turns of the server's loop.
#[derive(Debug)]
pub(crate) struct Turns {
    histogram: Histogram,
    window: Instant,
    /// This is the longest turn of the present window, and of the one before.
    longest: [Duration; 2],
}

impl Turns {
    pub(crate) fn new(now: Instant) -> Self {
        Self { histogram: Histogram::of_turns(), window: now, longest: [Duration::ZERO; 2] }
    }

    /// A turn has ended at `now`. `late` is by how much it has begun after the time that it was due, if it was.
    pub(crate) fn note(&mut self, now: Instant, took: Duration, late: Option<Duration>) {
        self.advance(now);
        let lag = late.map_or(took, |late| late.max(took));
        self.histogram.observe(lag);
        self.longest[0] = self.longest[0].max(lag);
    }

    fn advance(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.window);
        if age >= WINDOW {
            let before = if age < 2 * WINDOW { self.longest[0] } else { Duration::ZERO };
            self.longest = [Duration::ZERO, before];
            self.window = now;
        }
    }

    /// Returns the longest turn of the last ten to twenty seconds.
    pub(crate) fn lag(&mut self, now: Instant) -> Duration {
        self.advance(now);
        self.longest[0].max(self.longest[1])
    }

    /// Gives all turns since the start, by how long they took.
    pub(crate) fn histogram(&self) -> &Histogram {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_told_for_ten_seconds_and_then_no_more() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let ms = Duration::from_millis;
        turns.note(start, ms(30), None);
        turns.note(start, ms(1), Some(ms(80)));
        turns.note(start + ms(9_000), ms(2), None);
        assert_eq!(turns.lag(start + ms(9_000)), ms(80), "it has begun late");
        turns.note(start + ms(11_000), ms(3), None);
        assert_eq!(turns.lag(start + ms(11_000)), ms(80));
        assert_eq!(turns.lag(start + ms(22_000)), ms(3));
        assert_eq!(turns.lag(start + ms(60_000)), Duration::ZERO);
        assert_eq!(turns.histogram().count(), 4);
    }
}
