//! Rates for keys that nobody else can use up: each key has a bucket of its own, until that is full again.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Bucket, Rate};

/// This is a rate for each key. It remembers those that were used lately, so what makes new keys needs a limit of its own,
/// as logins have.
#[derive(Debug)]
pub(crate) struct RecentLimiter<K> {
    rate: Rate,
    buckets: BTreeMap<K, Bucket>,
    /// When each is looked at next: it is forgotten if it is full then.
    due: VecDeque<(Instant, K)>,
}

impl<K: Copy + Ord> RecentLimiter<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new(), due: VecDeque::new() }
    }

    /// Returns whether one more event of this key is within the rate; it is counted if so.
    pub(crate) fn allow(&mut self, key: K, now: Instant) -> bool {
        self.forget(now);
        let (rate, full_again) = (self.rate, now + self.full_again());
        let bucket = self.buckets.entry(key).or_insert_with(|| {
            self.due.push_back((full_again, key));
            Bucket::full(rate, now)
        });
        bucket.take(rate, now)
    }

    /// Returns how long an empty bucket takes to be full.
    fn full_again(&self) -> Duration {
        Duration::from_secs_f64(self.rate.burst / self.rate.per_second)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, key)) = self.due.pop_front_if(|(at, _)| *at <= now) {
            if self.buckets.get(&key).is_some_and(|bucket| bucket.left(self.rate, now) < self.rate.burst) {
                self.due.push_back((now + self.full_again(), key));
            } else {
                self.buckets.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(0.5, 3.0);

    #[test]
    fn each_key_has_a_rate_that_no_other_key_uses_up() {
        let now = Instant::now();
        let mut limiter = RecentLimiter::new(RATE);
        for key in 0..10_000 {
            assert_eq!((0..9).filter(|_| limiter.allow(key, now)).count(), 3);
        }
        assert!(limiter.allow(0, now + Duration::from_secs(2)));
        assert!(!limiter.allow(0, now + Duration::from_secs(2)));
    }

    #[test]
    fn who_was_not_there_for_a_while_is_forgotten_and_nobody_else() {
        let now = Instant::now();
        let mut limiter = RecentLimiter::new(RATE);
        for key in 0..1_000 {
            assert!(limiter.allow(key, now));
        }
        // One goes on, all the time.
        for second in 1..20 {
            limiter.allow(7, now + Duration::from_secs(second));
        }
        let later = now + Duration::from_secs(20);
        assert!(limiter.allow(2_000, later));
        assert_eq!(limiter.buckets.keys().copied().collect::<Vec<_>>(), [7, 2_000]);
        assert_eq!((0..9).filter(|_| limiter.allow(7, later)).count(), 1, "one in two seconds");
    }
}
