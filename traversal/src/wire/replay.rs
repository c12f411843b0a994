//! A sliding window over the counters of authentic datagrams (RFC 4303 section 3.4.3).

/// So many counters are remembered below the highest: 256 punch sockets may deliver a burst in any order.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// This window tells whether a counter was seen. [`check`](Self::check) before the seal is opened, [`accept`](Self::accept) only
/// after it fitted.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// This is one above the highest counter accepted.
    next: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Returns whether this counter is neither seen nor too old to tell.
    pub fn check(&self, counter: u64) -> bool {
        if counter >= self.next {
            // The highest value is never used, so that `next` cannot overflow.
            return counter < u64::MAX;
        }
        self.next - counter <= WINDOW && self.seen[Self::word(counter)] & Self::bit(counter) == 0
    }

    /// Notes the counter of a datagram that is authentic.
    pub fn accept(&mut self, counter: u64) {
        if counter >= self.next {
            let fresh = (counter - self.next + 1).min(WINDOW);
            for skipped in counter + 1 - fresh..=counter {
                self.seen[Self::word(skipped)] &= !Self::bit(skipped);
            }
            self.next = counter + 1;
        }
        self.seen[Self::word(counter)] |= Self::bit(counter);
    }

    fn word(counter: u64) -> usize {
        (counter % WINDOW / 64) as usize
    }

    fn bit(counter: u64) -> u64 {
        1 << (counter % 64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The window does the same as a plain model: a set of all counters seen, and the window's width.
        #[test]
        fn same_as_a_set(counters in proptest::collection::vec(0u64..4000, 1..600)) {
            let mut window = ReplayWindow::default();
            let mut seen = BTreeSet::new();
            for counter in counters {
                let highest = seen.last().copied().unwrap_or(0);
                let expected = !seen.contains(&counter) && counter + WINDOW > highest;
                prop_assert_eq!(window.check(counter), expected, "counter {}", counter);
                if expected {
                    window.accept(counter);
                    seen.insert(counter);
                }
            }
        }
    }

    #[test]
    fn a_leap_to_the_end_does_not_overflow() {
        let mut window = ReplayWindow::default();
        assert!(!window.check(u64::MAX));
        assert!(window.check(u64::MAX - 1));
        window.accept(u64::MAX - 1);
        assert!(!window.check(u64::MAX - 1));
        assert!(!window.check(0));
    }
}
