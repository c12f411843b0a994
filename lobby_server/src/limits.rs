//! Rate limits with an injected clock and constant memory.
//!
//! Why not a crate: `governor` keeps one entry for each key it ever saw, which spoofed sources would fill; here
//! the number of buckets is fixed and a keyed hash picks one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// Events per second, in the long run.
    pub per_second: f64,
    /// Events at once.
    pub burst: f64,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once.
    pub const fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Takes `cost` tokens if they are there.
    pub(crate) fn take_many(&mut self, rate: Rate, now: Instant, cost: f64) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        if passed > Duration::ZERO {
            self.tokens = (self.tokens + passed.as_secs_f64() * rate.per_second).min(rate.burst);
            self.filled = now;
        }
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.take_many(rate, now, 1.0)
    }
}

/// The part of an address that one household has: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn prefix(ip: IpAddr) -> [u8; 9] {
    let mut key = [0; 9];
    match ip {
        IpAddr::V4(ip) => {
            key[0] = 4;
            key[1..5].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            key[0] = 6;
            key[1..9].copy_from_slice(&ip.octets()[..8]);
        }
    }
    key
}

/// Number of buckets of one [`PrefixLimiter`]: 24 bytes each, so 400 kB.
const BUCKETS: usize = 16_384;

/// A rate for each address prefix. Prefixes that fall into the same bucket share it: with a keyed hash nobody
/// can choose whose.
#[derive(Debug)]
pub(crate) struct PrefixLimiter {
    rate: Rate,
    key: [u8; 16],
    buckets: Vec<Bucket>,
}

impl PrefixLimiter {
    pub(crate) fn new(rate: Rate, key: [u8; 16], now: Instant) -> Self {
        Self { rate, key, buckets: vec![Bucket::full(rate, now); BUCKETS] }
    }

    /// Whether one more event from this address is within the rate; it is counted if so.
    pub(crate) fn allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        let rate = self.rate;
        self.bucket(ip).take(rate, now)
    }

    /// Whether one more event would be; nothing is counted.
    pub(crate) fn would_allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        let rate = self.rate;
        let mut copy = *self.bucket(ip);
        copy.take(rate, now)
    }

    fn bucket(&mut self, ip: IpAddr) -> &mut Bucket {
        let digest = Sha256::new().chain_update(self.key).chain_update(prefix(ip)).finalize();
        let index = u64::from_le_bytes([
            digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
        ]) as usize
            % BUCKETS;
        &mut self.buckets[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let now = Instant::now();
        let rate = Rate::new(2.0, 3.0);
        let mut bucket = Bucket::full(rate, now);
        assert_eq!((0..10).filter(|_| bucket.take(rate, now)).count(), 3);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| bucket.take(rate, later)).count(), 2);
        let much_later = now + Duration::from_secs(1000);
        assert_eq!((0..10).filter(|_| bucket.take(rate, much_later)).count(), 3);
        assert!(!bucket.take(rate, now), "a clock that goes back gives nothing");
    }

    #[test]
    fn prefixes_do_not_starve_each_other_but_a_slash_64_is_one() {
        let now = Instant::now();
        let mut limiter = PrefixLimiter::new(Rate::new(1.0, 5.0), [7; 16], now);
        let a: IpAddr = "203.0.113.1".parse().unwrap();
        let b: IpAddr = "203.0.113.2".parse().unwrap();
        assert_eq!((0..20).filter(|_| limiter.allow(a, now)).count(), 5);
        assert_eq!((0..20).filter(|_| limiter.allow(b, now)).count(), 5);
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let two: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        assert_eq!((0..20).filter(|_| limiter.allow(one, now)).count(), 5);
        assert_eq!((0..20).filter(|_| limiter.allow(two, now)).count(), 0);
    }
}
