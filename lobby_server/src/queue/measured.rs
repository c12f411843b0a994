//! The queues by themselves, for the bench of this repository; no promise is made about it.

use std::time::Instant;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::nat::{Confidence, FilteringBehavior, MappingBehavior, NatProfile, PortAllocation};
use traversal_core::wire::message::QuickMatch;

use super::{Comer, QueueKey, Queues, Unit};
use crate::host_choice::HostCandidate;

/// Players wait, with nobody logged in.
#[derive(Debug, Default)]
pub struct WaitingPlayers {
    queues: Queues,
    rooms: u64,
}

impl WaitingPlayers {
    /// A player of this number comes to wait. Every fourth one has a NAT with random ports.
    pub fn enter(&mut self, now: Instant, number: u64, wanted: &QuickMatch) {
        let (mapping, allocation) = if number.is_multiple_of(4) {
            (MappingBehavior::AddressAndPortDependent, PortAllocation::Random)
        } else {
            (MappingBehavior::EndpointIndependent, PortAllocation::Preserving)
        };
        let filtering = FilteringBehavior::AddressAndPortDependent;
        let nat = NatProfile {
            mapping,
            filtering,
            allocation,
            confidence: Confidence::Full,
            ..NatProfile::UNKNOWN
        };
        let candidate = HostCandidate { nat, relay_only: false, rtt: None };
        let from = std::net::Ipv4Addr::from_bits(number as u32).into();
        let numbers = wanted.rules.numbers.iter().map(|number| number.value).collect();
        let first = Comer { player: player(number), from, nat: candidate, numbers };
        let unit = Unit { first, mates: Vec::new() };
        self.queues.enter(now, unit, (QueueKey::of("bench", 1, wanted), wanted));
    }

    /// Looks at a player; returns how many play, if there are enough whom it suits. They wait no longer.
    pub fn look(&mut self, now: Instant, number: u64) -> Option<usize> {
        self.gather(now, player(number))
    }

    /// Looks at those whose tolerance has widened by now, at most so many; returns how many were looked at, and how many of
    /// all play.
    pub fn look_at_due(&mut self, now: Instant, most: usize) -> (usize, usize) {
        let due = self.queues.take_due(now, most);
        let looked_at = due.len();
        (looked_at, due.into_iter().filter_map(|player| self.gather(now, player)).sum())
    }

    fn gather(&mut self, now: Instant, player: PlayerId) -> Option<usize> {
        self.rooms += 1;
        let group = self.queues.gather(now, player, RoomId(self.rooms))?;
        for player in &group.players {
            self.queues.matched(now, *player);
        }
        Some(group.players.len())
    }

    /// Returns how many wait.
    pub fn waiting(&self) -> usize {
        self.queues.len()
    }
}

fn player(number: u64) -> PlayerId {
    // As ids are hashes, they are in no order.
    let mixed = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    PlayerId(mixed.to_be_bytes())
}
