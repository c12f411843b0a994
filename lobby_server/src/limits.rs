//! Rate limits with an injected clock and constant memory.
//!
//! Why not a crate: `governor` keeps one entry for each key it ever saw, which spoofed sources would fill; here
//! the number of buckets is fixed and a keyed hash picks one.

mod counts;
mod recent;
mod turns;
mod waiting;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub(crate) use counts::Counts;
pub(crate) use recent::RecentLimiter;
pub(crate) use turns::PortTurns;
pub(crate) use waiting::Waiting;

/// This is a rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// So many events may come in a second, in the long run.
    pub per_second: f64,
    /// So many events may come at once.
    pub burst: f64,
}

impl Rate {
    /// Makes a rate of `per_second` in the long run and `burst` at once.
    pub const fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst }
    }
}

/// This is a token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Returns a full bucket, whatever the rate that it is used with.
    pub(crate) fn of_any_rate(now: Instant) -> Self {
        Self { tokens: f64::INFINITY, filled: now }
    }

    /// Returns the tokens that are there for this rate.
    pub(crate) fn left(&self, rate: Rate, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + passed * rate.per_second).min(rate.burst)
    }

    /// Takes `cost` tokens if they are there.
    pub(crate) fn take_many(&mut self, rate: Rate, now: Instant, cost: f64) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        if passed > Duration::ZERO {
            self.tokens += passed.as_secs_f64() * rate.per_second;
            self.filled = now;
        }
        self.tokens = self.tokens.min(rate.burst);
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// Returns how long it takes until there is a token again.
    pub(crate) fn wait(&self, rate: Rate, now: Instant) -> Duration {
        let missing = (1.0 - self.left(rate, now)).max(0.0);
        Duration::try_from_secs_f64(missing / rate.per_second).unwrap_or(Duration::MAX)
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.take_many(rate, now, 1.0)
    }
}

/// A prefix is a part of an address: how many bits of which family, and the bits.
pub(crate) type Prefix = [u8; 9];

/// These are the parts of an IPv6 address that one customer may have, each with how many times the share of a /64 it
/// has: homes get a /56 or a /48 (RIPE-690, section 4.2), of which one customer can use every /64. An IPv4 address is
/// one customer, or many behind a carrier's NAT.
const PARTS_V6: [(u8, usize); 3] = [(64, 1), (56, 2), (48, 4)];

/// Returns the parts of an address, from narrow to wide, each with how many times the share of the narrowest it has.
pub(crate) fn nested(ip: IpAddr) -> impl Iterator<Item = (Prefix, usize)> {
    let parts: &[(u8, usize)] = if ip.is_ipv4() { &[(32, 1)] } else { &PARTS_V6 };
    parts.iter().map(move |(bits, times)| (part(ip, *bits), *times))
}

/// Returns whether this address, or a wider part of it, has its share already among these; `limit` is that of the
/// narrowest.
pub(crate) fn is_full(ip: IpAddr, limit: usize, others: impl Iterator<Item = IpAddr> + Clone) -> bool {
    nested(ip).any(|(part, times)| {
        let inside = |other: &IpAddr| nested(*other).any(|(its_part, _)| its_part == part);
        others.clone().filter(inside).count() >= limit.saturating_mul(times)
    })
}

fn part(ip: IpAddr, bits: u8) -> Prefix {
    let mut key = [0; 9];
    key[0] = bits;
    match ip {
        IpAddr::V4(ip) => key[1..5].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => {
            let bytes = usize::from(bits / 8);
            key[1..=bytes].copy_from_slice(&ip.octets()[..bytes]);
        }
    }
    key
}

/// Returns the part that one customer has at the most: an IPv4 address, or the /48 of an IPv6 address.
pub(crate) fn widest(ip: IpAddr) -> Prefix {
    part(ip, if ip.is_ipv4() { 32 } else { 48 })
}

/// One [`PrefixLimiter`] has so many buckets, of 24 bytes each: 400 kB. A fuzzer makes a new server for each execution.
const BUCKETS: usize = if cfg!(fuzzing) { 256 } else { 16_384 };

/// This is a rate for each address, and for the wider parts of it that one customer may have. Those that fall into
/// the same bucket share it: with a keyed hash nobody can choose whose.
#[derive(Debug)]
pub(crate) struct PrefixLimiter {
    rate: Rate,
    key: [u8; 16],
    buckets: Vec<Bucket>,
}

impl PrefixLimiter {
    pub(crate) fn new(rate: Rate, key: [u8; 16], now: Instant) -> Self {
        Self { rate, key, buckets: vec![Bucket::of_any_rate(now); BUCKETS] }
    }

    /// Returns whether one more event from this address is within the rate; it is counted if so.
    pub(crate) fn allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        let allowed = self.would_allow(ip, now);
        if allowed {
            self.each(ip, |bucket, rate| bucket.take(rate, now));
        }
        allowed
    }

    /// Returns whether so many more events are within the rate; they are counted if so.
    pub(crate) fn allow_many(&mut self, ip: IpAddr, now: Instant, cost: f64) -> bool {
        let allowed = self.each(ip, |bucket, rate| bucket.left(rate, now) >= cost);
        if allowed {
            self.each(ip, |bucket, rate| bucket.take_many(rate, now, cost));
        }
        allowed
    }

    /// Returns whether one more event would be; nothing is counted.
    pub(crate) fn would_allow(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.each(ip, |bucket, rate| bucket.left(rate, now) >= 1.0)
    }

    /// Returns whether nothing was counted lately.
    pub(crate) fn is_unused(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.each(ip, |bucket, rate| bucket.left(rate, now) > rate.burst - 1.0)
    }

    fn each(&mut self, ip: IpAddr, mut take: impl FnMut(&mut Bucket, Rate) -> bool) -> bool {
        nested(ip).all(|(part, times)| {
            let times = times as f64;
            let rate = Rate::new(self.rate.per_second * times, self.rate.burst * times);
            take(self.bucket(part), rate)
        })
    }

    fn bucket(&mut self, part: Prefix) -> &mut Bucket {
        let digest = Sha256::new().chain_update(self.key).chain_update(part).finalize();
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
        // From 1,000 networks of one customer's /48 no more than four times the share of one.
        let many = (0..1000).map(|n| format!("2001:db8:7:{n:x}::1").parse::<IpAddr>().unwrap());
        assert_eq!(many.filter(|ip| limiter.allow(*ip, now)).count(), 4 * 5);
    }
}
