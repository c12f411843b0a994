//! Kinds of NATs, and which of them reach each other.

use std::collections::BTreeMap;

use traversal_core::nat::{NatProfile, PortAllocation};

use crate::host_choice::{HostCandidate, reached};

/// So many kinds are told apart. What counts of a profile makes fewer; the rest is taken for one of which nothing is known.
const MOST: usize = 512;

/// Players have few kinds of NATs: what a ticket keeps is a number, and what two kinds are to each other is worked out once.
#[derive(Debug, Default)]
pub(super) struct Classes {
    known: Vec<HostCandidate>,
    pairs: BTreeMap<(u16, u16), u8>,
}

impl Classes {
    /// Returns the number of a player's kind of NAT.
    pub(super) fn of(&mut self, player: &HostCandidate) -> u16 {
        let allocation = match player.nat.allocation {
            PortAllocation::Sequential { .. } => PortAllocation::Sequential { step: 1 },
            PortAllocation::RandomInBlock { .. } => PortAllocation::Random,
            other => other,
        };
        let NatProfile { mapping, filtering, translated, udp_blocked, confidence, .. } = player.nat;
        let nat = NatProfile {
            mapping,
            filtering,
            allocation,
            translated,
            udp_blocked,
            confidence,
            ..NatProfile::UNKNOWN
        };
        let same = |known: &HostCandidate| known.nat == nat && known.relay_only == player.relay_only;
        if let Some(class) = self.known.iter().position(same) {
            return class as u16;
        }
        if self.known.len() == MOST {
            return 0;
        }
        if self.known.is_empty() {
            self.known.push(HostCandidate { nat: NatProfile::UNKNOWN, relay_only: false, rtt: None });
            return self.of(player);
        }
        self.known.push(HostCandidate { nat, relay_only: player.relay_only, rtt: None });
        (self.known.len() - 1) as u16
    }

    /// Rates how well players of two kinds reach each other, see [`reached`].
    pub(super) fn reach(&mut self, one: u16, other: u16) -> u32 {
        let pair = (one.min(other), one.max(other));
        let known = &self.known;
        let rate = || match (known.get(usize::from(one)), known.get(usize::from(other))) {
            (Some(one), Some(other)) => reached(one, other) as u8,
            _ => 0,
        };
        u32::from(*self.pairs.entry(pair).or_insert_with(rate))
    }
}
