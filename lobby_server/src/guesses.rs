//! Wrong passwords for one room: how many more may be tried, and how many there were within the last minute.

use std::time::{Duration, Instant};

use crate::limits::{Bucket, Rate};

/// The last minute has so many slots.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(10);
/// The host is told of wrong passwords at most so often.
pub(crate) const TELLING: Duration = SLOT;

/// This counts wrong passwords of one room over the last minute.
#[derive(Debug)]
pub(crate) struct Guesses {
    left: Bucket,
    since: Instant,
    /// These count the guesses since `since`, in a ring; `newest` is the number of the newest slot.
    slots: [u16; SLOTS],
    newest: u64,
    told: Option<Instant>,
}

impl Guesses {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { left: Bucket::full(rate, now), since: now, slots: [0; SLOTS], newest: 0, told: None }
    }

    /// More were wrong than the rate allows.
    pub(crate) fn are_many(&mut self, rate: Rate, now: Instant) -> bool {
        self.left.left(rate, now) < 1.0
    }

    fn turn(&mut self, now: Instant) {
        let slot = now.saturating_duration_since(self.since).as_secs() / SLOT.as_secs();
        let passed = slot.saturating_sub(self.newest).min(SLOTS as u64);
        for n in 1..=passed {
            self.slots[((self.newest + n) % SLOTS as u64) as usize] = 0;
        }
        if passed == SLOTS as u64 {
            self.slots = [0; SLOTS];
        }
        self.newest = self.newest.max(slot);
    }

    /// One more was wrong.
    pub(crate) fn count(&mut self, rate: Rate, now: Instant) {
        self.left.take(rate, now);
        self.turn(now);
        let slot = &mut self.slots[(self.newest % SLOTS as u64) as usize];
        *slot = slot.saturating_add(1);
    }

    /// Returns how many were wrong within the last minute, give or take ten seconds.
    pub(crate) fn in_last_minute(&mut self, now: Instant) -> u16 {
        self.turn(now);
        self.slots.iter().fold(0, |sum, slot| sum.saturating_add(*slot))
    }

    /// Returns when the host may be told the next time.
    pub(crate) fn tell_at(&self, now: Instant) -> Instant {
        self.told.map_or(now, |told| (told + TELLING).max(now))
    }

    /// The host is told now.
    pub(crate) fn telling(&mut self, now: Instant) {
        self.told = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_counted_and_no_more() {
        let start = Instant::now();
        let rate = Rate::new(1.0, 30.0);
        let mut guesses = Guesses::new(rate, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..120 {
            guesses.count(rate, at(second));
            let expected = (second + 1).min(60);
            let counted = u64::from(guesses.in_last_minute(at(second)));
            assert!(counted <= expected && counted + 10 >= expected, "{second} s: {counted}");
        }
        // Those of the seconds 90 to 119, or without the ten in a slot that is half over.
        assert!((20..=30).contains(&guesses.in_last_minute(at(150))));
        assert_eq!(guesses.in_last_minute(at(10_000)), 0);
    }
}
