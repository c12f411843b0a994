//! Which external port a new mapping gets.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Proto;
use super::config::{Allocation, Fallback};

/// It holds the ports of one external address that are taken: a bit for each, since a busy NAT looks at many.
#[derive(Debug)]
struct Taken(Box<[u64; 1024]>);

impl Default for Taken {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Taken {
    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
    }

    fn set(&mut self, port: u16, taken: bool) {
        let word = &mut self.0[usize::from(port >> 6)];
        if taken {
            *word |= 1 << (port & 63);
        } else {
            *word &= !(1 << (port & 63));
        }
    }

    /// Tells whether no port of the range is left.
    fn is_full(&self, range: &RangeInclusive<u16>) -> bool {
        let (first, last) = (usize::from(range.start() >> 6), usize::from(range.end() >> 6));
        (first..=last).all(|word| {
            let mut wanted = u64::MAX;
            if word == first {
                wanted &= u64::MAX << (range.start() & 63);
            }
            if word == last {
                wanted &= u64::MAX >> (63 - (range.end() & 63));
            }
            self.0[word] & wanted == wanted
        })
    }
}

/// These are the external ports of a NAT.
#[derive(Debug, Default)]
pub(super) struct Ports {
    taken: HashMap<(Proto, IpAddr), Taken>,
    mappings: HashMap<(Proto, SocketAddr), u64>,
    /// What machines that are not part of the world have, and until when: in the order of the latter.
    foreign: VecDeque<(Duration, SocketAddr)>,
    cursors: HashMap<(Proto, IpAddr), u16>,
}

impl Ports {
    /// Returns the mapping that has a port.
    pub(super) fn mapping(&self, proto: Proto, external: SocketAddr) -> Option<u64> {
        self.mappings.get(&(proto, external)).copied()
    }

    pub(super) fn hold(&mut self, proto: Proto, external: SocketAddr, mapping: u64) {
        self.mappings.insert((proto, external), mapping);
        self.set(proto, external, true);
    }

    /// Machines that are not part of the world have it until then, which is no earlier than for any before.
    pub(super) fn hold_foreign(&mut self, external: SocketAddr, until: Duration) {
        self.foreign.push_back((until, external));
        self.set(Proto::Udp, external, true);
    }

    pub(super) fn free(&mut self, proto: Proto, external: SocketAddr) {
        self.mappings.remove(&(proto, external));
        self.set(proto, external, false);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, proto: Proto, external: SocketAddr, taken: bool) {
        self.taken.entry((proto, external.ip())).or_default().set(external.port(), taken);
    }

    /// Frees what foreign machines no longer use.
    fn pass(&mut self, now: Duration) {
        while let Some((until, external)) = self.foreign.front().copied() {
            if until > now {
                break;
            }
            self.foreign.pop_front();
            self.set(Proto::Udp, external, false);
        }
    }

    /// Chooses a free port as the NAT does.
    pub(super) fn choose(
        &mut self,
        rng: &mut ChaCha8Rng,
        allocation: Allocation,
        want: &Want,
    ) -> Option<u16> {
        match allocation {
            Allocation::Preserving(fallback) => {
                if !self.of(want).has(want.internal_port) {
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

    /// Returns what is taken of the address that a port is wanted of.
    fn of(&mut self, want: &Want) -> &Taken {
        self.pass(want.now);
        self.taken.entry((want.proto, want.ip)).or_default()
    }

    /// Draws a free port of the range; none where all are taken.
    pub(super) fn random(&mut self, rng: &mut ChaCha8Rng, want: &Want) -> Option<u16> {
        let taken = self.of(want);
        let fits = |port: u16| (!want.parity || port % 2 == want.internal_port % 2) && !taken.has(port);
        for _ in 0..64 {
            let port = rng.random_range(want.range.clone());
            if fits(port) {
                return Some(port);
            }
        }
        if taken.is_full(&want.range) {
            return None;
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
        let taken = self.of(want);
        if taken.is_full(&want.range) {
            return None;
        }
        // A step that shares a divisor with the range comes back to where it began before it has come by every port: then the
        // port beside it is next, so that the counter stays one.
        let round = length / gcd(length, i64::from(step).abs());
        for turn in 0..2 * length {
            if turn > 0 && turn % round == 0 {
                cursor = first + (cursor + 1 - first).rem_euclid(length);
            }
            cursor = first + (cursor + i64::from(step) - first).rem_euclid(length);
            let mut port = cursor as u16;
            // Parity is kept by taking the neighbour; the counter does not notice.
            if want.parity && port % 2 != want.internal_port % 2 {
                port ^= 1;
            }
            if want.range.contains(&port) && !taken.has(port) {
                self.cursors.insert((want.proto, want.ip), cursor as u16);
                return Some(port);
            }
        }
        // Of one parity none may be left.
        None
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// What a port is wanted for.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) now: Duration,
    pub(super) proto: Proto,
    /// The ports are those of this external address.
    pub(super) ip: IpAddr,
    pub(super) internal_port: u16,
    /// The port is chosen from this range of external ports.
    pub(super) range: RangeInclusive<u16>,
    /// With it set, the port keeps the internal port's parity.
    pub(super) parity: bool,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 1, 1));

    fn want(now: u64) -> Want {
        let range = 1000..=1999;
        Want {
            now: Duration::from_secs(now),
            proto: Proto::Udp,
            ip: IP,
            internal_port: 7,
            range,
            parity: false,
        }
    }

    #[test]
    fn a_counter_stays_one_when_its_step_shares_a_divisor_with_the_range() {
        // 64 and 1,000 have 8 in common: 125 ports a round.
        for step in [64, -64, 8, 500] {
            let (mut ports, mut rng) = (Ports::default(), ChaCha8Rng::seed_from_u64(1));
            let seen: Vec<i32> = (0..1000)
                .map(|_| {
                    let port = ports.choose(&mut rng, Allocation::Sequential(step), &want(0)).unwrap();
                    ports.hold_foreign(SocketAddr::new(IP, port), Duration::from_secs(9));
                    i32::from(port)
                })
                .collect();
            let jumps =
                seen.windows(2).filter(|pair| (pair[1] - pair[0] - step).rem_euclid(1000) != 0).count();
            assert!(jumps < gcd(1000, i64::from(step).abs()) as usize, "step {step}: {jumps} jumps");
        }
    }

    #[test]
    fn a_full_range_has_none_left_until_somebody_goes() {
        for allocation in [Allocation::Sequential(3), Allocation::Sequential(-64), Allocation::Random] {
            let (mut ports, mut rng) = (Ports::default(), ChaCha8Rng::seed_from_u64(1));
            for n in 0..1000 {
                let port = ports.choose(&mut rng, allocation, &want(0)).unwrap();
                assert!((1000..2000).contains(&port));
                ports.hold_foreign(SocketAddr::new(IP, port), Duration::from_secs(10 + n / 500));
            }
            assert_eq!(ports.choose(&mut rng, allocation, &want(9)), None, "{allocation:?}");
            let mut freed = 0;
            while let Some(port) = ports.choose(&mut rng, allocation, &want(10)) {
                ports.hold(Proto::Udp, SocketAddr::new(IP, port), freed);
                freed += 1;
            }
            assert_eq!(freed, 500, "{allocation:?}");
        }
    }
}
