//! Rates for keys of any kind, in constant memory.

use std::time::Instant;

use sha2::{Digest, Sha256};

use super::{Bucket, Rate};

/// One [`KeyLimiter`] has so many buckets, of 24 bytes each: 98 kB. A fuzzer makes a new server for each execution.
const BUCKETS: usize = if cfg!(fuzzing) { 64 } else { 4_096 };

/// This is a rate for each key. Those that fall into the same bucket share it: with a keyed hash nobody can choose whose.
#[derive(Debug)]
pub(crate) struct KeyLimiter {
    rate: Rate,
    key: [u8; 16],
    buckets: Vec<Bucket>,
}

impl KeyLimiter {
    pub(crate) fn new(rate: Rate, key: [u8; 16], now: Instant) -> Self {
        Self { rate, key, buckets: vec![Bucket::of_any_rate(now); BUCKETS] }
    }

    /// Returns whether one more event of this key is within the rate; it is counted if so.
    pub(crate) fn allow(&mut self, of: &[u8], now: Instant) -> bool {
        let digest = Sha256::new().chain_update(self.key).chain_update(of).finalize();
        let index = usize::from(u16::from_le_bytes([digest[0], digest[1]])) % BUCKETS;
        let rate = self.rate;
        self.buckets[index].take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_key_has_a_rate_of_its_own() {
        let now = Instant::now();
        let mut limiter = KeyLimiter::new(Rate::new(0.5, 3.0), [7; 16], now);
        assert_eq!((0..9).filter(|_| limiter.allow(b"one", now)).count(), 3);
        assert_eq!((0..9).filter(|_| limiter.allow(b"two", now)).count(), 3);
        assert!(limiter.allow(b"one", now + Duration::from_secs(2)));
    }
}
