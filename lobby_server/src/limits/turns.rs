//! Turns for the ports of an address that asks for more than its rate: whoever floods from some ports does not keep the
//! other players of its household, or of the carrier's NAT that it is behind, from asking.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Ports that fall into one slot share its turns; a slot has 4 bytes. There are at most 2^16.
const SLOTS: usize = if cfg!(fuzzing) { 256 } else { 65_536 };
/// A port has a turn so often: players who are not answered ask again every half second or more seldom.
const TURN: Duration = Duration::from_millis(400);

/// See the module. Its memory is constant, and with a keyed hash nobody can choose whose slot it shares.
#[derive(Debug)]
pub(crate) struct PortTurns {
    key: [u8; 16],
    start: Instant,
    /// This says when each slot had its last turn, in turns since the start; zero: never.
    slots: Vec<u32>,
}

impl PortTurns {
    pub(crate) fn new(key: [u8; 16], now: Instant) -> Self {
        Self { key, start: now, slots: vec![0; SLOTS] }
    }

    /// Returns whether it is this one's turn; it is taken if so.
    pub(crate) fn take(&mut self, from: SocketAddr, now: Instant) -> bool {
        let ip = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let port = from.port().to_le_bytes();
        let digest =
            Sha256::new().chain_update(self.key).chain_update(ip.octets()).chain_update(port).finalize();
        let slot = usize::from(u16::from_le_bytes([digest[0], digest[1]])) % SLOTS;
        let turns = now.saturating_duration_since(self.start).as_millis() / TURN.as_millis();
        let turn = u32::try_from(turns + 1).unwrap_or(u32::MAX);
        let Some(last) = self.slots.get_mut(slot).filter(|last| **last < turn) else { return false };
        *last = turn;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_its_turn_beside_others_that_flood() {
        let start = Instant::now();
        let mut turns = PortTurns::new([7; 16], start);
        let at = |port| SocketAddr::from(([203, 0, 113, 1], port));
        let (mut flood, mut player) = (0, 0);
        for ms in 0..10_000u64 {
            let now = start + Duration::from_millis(ms);
            flood += (1000..1100).filter(|port| turns.take(at(*port), now)).count();
            player += usize::from(ms % 500 == 0 && turns.take(at(40_000), now));
        }
        assert_eq!(player, 20, "each time that it asks");
        // Two ports may share a slot.
        assert!((95 * 25..=100 * 25).contains(&flood), "once a turn: {flood}");
    }
}
