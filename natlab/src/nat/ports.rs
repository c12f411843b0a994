//! Which external port a new mapping gets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Proto;
use super::config::{Allocation, Fallback};

/// Who has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A mapping of ours.
    Mapping(u64),
    /// A machine that is not part of the world, until then.
    Foreign(Duration),
}

/// The external ports of a NAT.
#[derive(Debug, Default)]
pub(super) struct Ports {
    holders: HashMap<(Proto, SocketAddr), Holder>,
    cursors: HashMap<(Proto, IpAddr), u16>,
}

impl Ports {
    pub(super) fn holder(&self, proto: Proto, external: SocketAddr) -> Option<Holder> {
        self.holders.get(&(proto, external)).copied()
    }

    pub(super) fn hold(&mut self, proto: Proto, external: SocketAddr, holder: Holder) {
        self.holders.insert((proto, external), holder);
    }

    pub(super) fn free(&mut self, proto: Proto, external: SocketAddr) {
        self.holders.remove(&(proto, external));
    }

    pub(super) fn clear(&mut self) {
        self.holders.clear();
        self.cursors.clear();
    }

    /// Drops what foreign machines no longer use.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.holders.retain(|_, holder| !matches!(holder, Holder::Foreign(until) if *until <= now));
    }

    fn is_free(&self, now: Duration, proto: Proto, external: SocketAddr) -> bool {
        match self.holders.get(&(proto, external)) {
            None => true,
            Some(Holder::Foreign(until)) => *until <= now,
            Some(Holder::Mapping(_)) => false,
        }
    }

    /// A free port as the NAT chooses it.
    pub(super) fn choose(
        &mut self,
        rng: &mut ChaCha8Rng,
        allocation: Allocation,
        want: &Want,
    ) -> Option<u16> {
        match allocation {
            Allocation::Preserving(fallback) => {
                if self.is_free(want.now, want.proto, SocketAddr::new(want.ip, want.internal_port)) {
                    return Some(want.internal_port);
                }
                match fallback {
                    Fallback::Random => self.random(rng, want),
                    Fallback::Sequential => self.next(rng, want, 1),
                }
            }
            Allocation::Sequential(step) => self.next(rng, want, step),
            Allocation::Random | Allocation::RandomInBlock(_) => self.random(rng, want),
        }
    }

    /// Any free port of the range.
    pub(super) fn random(&self, rng: &mut ChaCha8Rng, want: &Want) -> Option<u16> {
        let fits = |port: u16| {
            (!want.parity || port % 2 == want.internal_port % 2)
                && self.is_free(want.now, want.proto, SocketAddr::new(want.ip, port))
        };
        for _ in 0..64 {
            let port = rng.random_range(want.range.clone());
            if fits(port) {
                return Some(port);
            }
        }
        // Nearly full: look at all of them, from a random one on.
        let (first, last) = (u32::from(*want.range.start()), u32::from(*want.range.end()));
        let length = last - first + 1;
        let start = rng.random_range(0..length);
        (0..length).map(|offset| (first + (start + offset) % length) as u16).find(|port| fits(*port))
    }

    fn next(&mut self, rng: &mut ChaCha8Rng, want: &Want, step: i32) -> Option<u16> {
        let (first, last) = (i64::from(*want.range.start()), i64::from(*want.range.end()));
        let length = last - first + 1;
        let mut cursor = match self.cursors.get(&(want.proto, want.ip)) {
            Some(cursor) => i64::from(*cursor),
            None => rng.random_range(first..=last),
        };
        for _ in 0..2 * length {
            cursor = first + (cursor + i64::from(step) - first).rem_euclid(length);
            let mut port = cursor as u16;
            // Parity is kept by taking the neighbour; the counter does not notice.
            if want.parity && port % 2 != want.internal_port % 2 {
                port ^= 1;
            }
            if want.range.contains(&port)
                && self.is_free(want.now, want.proto, SocketAddr::new(want.ip, port))
            {
                self.cursors.insert((want.proto, want.ip), cursor as u16);
                return Some(port);
            }
        }
        // A step that divides the range does not come by every port.
        self.random(rng, want)
    }
}

/// What a port is wanted for.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) now: Duration,
    pub(super) proto: Proto,
    /// External address.
    pub(super) ip: IpAddr,
    pub(super) internal_port: u16,
    /// External ports to choose from.
    pub(super) range: RangeInclusive<u16>,
    /// Keep the internal port's parity.
    pub(super) parity: bool,
}
