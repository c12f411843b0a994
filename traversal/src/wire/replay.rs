//! A sliding window over the counters of authentic datagrams (RFC 4303 section 3.4.3).

/// So many counters are remembered below the highest: 256 punch sockets may deliver a burst in any order.
const WINDOW: u64 = 1024;
/// So many of them may be missing at a time; the oldest are given up for further ones.
const MISSING: usize = 256;

/// This window tells whether a counter was seen (RFC 4303, section 3.4.3). Call [`check`](Self::check) before a seal is opened,
/// and [`accept`](Self::accept) only after it fitted.
///
/// It knows what is missing: as a rule that is nothing, and then it takes no memory beside itself.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// This is one above the highest counter accepted.
    next: u64,
    /// These are below `next` and were not seen, from low to high. What lies between them was.
    #[expect(clippy::box_collection, reason = "there is none as a rule, and a server has very many windows")]
    missing: Option<Box<Vec<u64>>>,
}

impl ReplayWindow {
    /// Returns whether this counter is neither seen nor too old to tell.
    pub fn check(&self, counter: u64) -> bool {
        if counter >= self.next {
            // The highest value is never used, so that `next` cannot overflow.
            return counter < u64::MAX;
        }
        let missing = self.missing.as_ref().is_some_and(|missing| missing.binary_search(&counter).is_ok());
        missing && self.next - counter <= WINDOW
    }

    /// Notes the counter of a datagram that is authentic.
    pub fn accept(&mut self, counter: u64) {
        if counter == self.next && self.missing.is_none() {
            self.next += 1;
            return;
        }
        let mut missing = self.missing.take().unwrap_or_default();
        if counter >= self.next {
            // What falls out of a list that is full would be given up at once.
            missing.extend(self.next.max(counter.saturating_sub(MISSING as u64))..counter);
            self.next = counter + 1;
            let lost = missing.partition_point(|counter| self.next - counter > WINDOW);
            missing.drain(..lost.max(missing.len().saturating_sub(MISSING)));
        } else if let Ok(at) = missing.binary_search(&counter) {
            missing.remove(at);
        }
        self.missing = Some(missing).filter(|missing| !missing.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The window does the same as a plain model: a set of all counters seen, the window's width, and how many may
        /// be missing.
        #[test]
        fn same_as_a_set(counters in proptest::collection::vec(0u64..4000, 1..600)) {
            let mut window = ReplayWindow::default();
            let (mut seen, mut given_up) = (BTreeSet::new(), BTreeSet::new());
            for counter in counters {
                let highest = seen.last().copied().unwrap_or(0);
                let expected = !seen.contains(&counter)
                    && counter + WINDOW > highest
                    && !given_up.contains(&counter);
                prop_assert_eq!(window.check(counter), expected, "counter {}", counter);
                if expected {
                    window.accept(counter);
                    seen.insert(counter);
                    let highest = seen.last().copied().unwrap_or(0);
                    let missing = (0..highest).rev().filter(|other| !seen.contains(other) && !given_up.contains(other));
                    let too_many: Vec<u64> = missing.skip(MISSING).collect();
                    given_up.extend(too_many);
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
