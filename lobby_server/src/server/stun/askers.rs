//! Which ports have asked by themselves, and so may get answers to requests with RESPONSE-PORT.
//!
//! Who measures how long its NAT keeps a mapping (RFC 5780 section 4.6) asks from one socket, waits, and has the answer to a
//! second socket's request sent to the first one's port. The request has 28 bytes (`turnutils_natdiscovery -t`) and the answer
//! 32, so it would make a server send more than it gets. A port that has asked itself is no stranger: it gets as many answers
//! in this way as it has asked for.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Ports that fall into one slot push each other out; a slot has 12 bytes.
const SLOTS: usize = if cfg!(fuzzing) { 256 } else { 16_384 };
/// A port may be answered in the place of another for so long after it has asked: NATs keep mappings of UDP for minutes (RFC
/// 4787 section 4.3: two at least), and hardly any for an hour.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Of what a port has asked for, so many answers may still come by requests of other ports: a client sends a request up to
/// seven times (RFC 8489 section 6.2.1).
const MOST: u8 = 7;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// This tells ports apart that share the slot.
    tag: u32,
    /// The port has asked last so many seconds after the start.
    at: u32,
    /// It may get so many answers to requests of other ports.
    left: u8,
}

/// See the module. Its memory is constant, and with a keyed hash nobody can choose whose slot it shares.
#[derive(Debug)]
pub(super) struct Askers {
    key: [u8; 16],
    start: Instant,
    slots: Vec<Slot>,
}

impl Askers {
    pub(super) fn new(key: [u8; 16], now: Instant) -> Self {
        Self { key, start: now, slots: vec![Slot::default(); SLOTS] }
    }

    /// Notes that this port has asked, and was answered there.
    pub(super) fn note(&mut self, port: SocketAddr, now: Instant) {
        let (at, tag) = (self.seconds(now), self.tag(port));
        let slot = self.slot(tag);
        let tag = tag.0;
        let left = if slot.tag == tag { slot.left.saturating_add(1).min(MOST) } else { 1 };
        *slot = Slot { tag, at, left };
    }

    /// Returns whether this port may get the answer to another's request; it is counted if so.
    pub(super) fn take(&mut self, port: SocketAddr, now: Instant) -> bool {
        let (at, tag) = (self.seconds(now), self.tag(port));
        let slot = self.slot(tag);
        let is_fresh = u64::from(at.saturating_sub(slot.at)) < LIFETIME.as_secs();
        let allowed = slot.tag == tag.0 && is_fresh && slot.left > 0;
        if allowed {
            slot.left -= 1;
        }
        allowed
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.start).as_secs()).unwrap_or(u32::MAX)
    }

    /// Returns what tells a port from others, and which slot it has.
    fn tag(&self, port: SocketAddr) -> (u32, usize) {
        let ip = match port.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let digest = Sha256::new()
            .chain_update(b"askers")
            .chain_update(self.key)
            .chain_update(ip.octets())
            .chain_update(port.port().to_le_bytes())
            .finalize();
        let tag = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        (tag, usize::from(u16::from_le_bytes([digest[4], digest[5]])) % SLOTS)
    }

    fn slot(&mut self, (_, index): (u32, usize)) -> &mut Slot {
        &mut self.slots[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_gets_as_many_answers_of_others_as_it_has_asked_for_and_for_an_hour() {
        let now = Instant::now();
        let mut askers = Askers::new([7; 16], now);
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([203, 0, 113, 1], port)));
        assert!(!askers.take(a, now), "it has not asked");
        askers.note(a, now);
        assert!(!askers.take(b, now), "another has");
        assert!(askers.take(a, now));
        assert!(!askers.take(a, now), "once for each time");
        (0..100).for_each(|_| askers.note(a, now));
        assert_eq!((0..100).filter(|_| askers.take(a, now)).count(), usize::from(MOST));
        askers.note(a, now);
        assert!(!askers.take(a, now + LIFETIME), "too late");
        assert!(askers.take(a, now + LIFETIME - Duration::from_secs(1)));
    }

    #[test]
    fn however_many_ask_the_memory_is_the_same_and_nobody_gets_more() {
        let now = Instant::now();
        let mut askers = Askers::new([7; 16], now);
        let ports = || (1..=u16::MAX).map(|port| SocketAddr::from(([203, 0, 113, 1], port)));
        ports().for_each(|port| askers.note(port, now));
        assert_eq!(askers.slots.len(), SLOTS);
        let answered = ports().filter(|port| askers.take(*port, now)).count();
        assert!(answered <= SLOTS, "{answered}");
        assert!(!ports().any(|port| askers.take(port, now)));
    }
}
