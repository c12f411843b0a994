//! What follows the burst: does a packet to the own external address come back in, and how fast do others take ports?

use std::time::{Duration, Instant};

use super::{BURST, Classifier, ClassifierOrder, TRIES};
use crate::nat::{MappingBehavior, PortAllocation};

/// Each later burst has so many sockets. They tell the rate at which other machines take ports, and the ports of a NAT
/// that are not told yet: at 15 % loss each way one of two is seen 92 times in 100.
const LATER_SOCKETS: u16 = 2;
/// So much time passes before each of them. The first one comes when the first burst is answered. 60 ms later a
/// counter by 64 has not gone round the port space even with 10,000 foreign ports a second, which tells how often it
/// has in the longer times; all together last long enough to tell 5 foreign ports a second from none. They are what
/// the ports are counted over, and wait for no answer, so they follow no round trip.
const LATER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(60), Duration::from_millis(700)];

/// This says where the later bursts stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LaterBursts {
    /// This says when the next one is to be sent.
    pub(super) due: Option<Instant>,
    opened: u16,
}

impl LaterBursts {
    /// Returns the burst that the first probe of a socket is part of.
    pub(super) fn number(self, slot: u16) -> u8 {
        // At most three.
        if slot < BURST { 0 } else { 1 + ((slot - BURST) / LATER_SOCKETS) as u8 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hairpin {
    NotYet,
    Asking { tries: u32, due: Instant },
    Told(bool),
}

impl Classifier {
    /// Two sockets send to each other's external address, so that both filters are open. Needs a mapping that
    /// is the same for every destination, else the addresses are not the right ones.
    pub(super) fn hairpin_step(&mut self, now: Instant) {
        let tries = match self.hairpin {
            Hairpin::Told(_) => return,
            Hairpin::NotYet => 0,
            Hairpin::Asking { due, .. } if due > now => return,
            Hairpin::Asking { tries, .. } => tries,
        };
        if tries >= TRIES {
            self.hairpin = Hairpin::Told(false);
            return;
        }
        let (Some(a), Some(b)) = (self.seen_at(1), self.seen_at(2)) else { return };
        let profile = self.profile();
        if profile.mapping != MappingBehavior::EndpointIndependent || profile.translated == Some(false) {
            // A later answer may have changed the mapping while this was being asked.
            self.hairpin = Hairpin::NotYet;
            return;
        }
        for (slot, to) in [(1, b), (2, a)] {
            self.orders.push_back(ClassifierOrder::Hairpin { slot, to, tag: u32::from(slot) });
        }
        // To the router and back is nearer than to the server and back.
        self.hairpin = Hairpin::Asking { tries: tries + 1, due: now + self.rtt.overdue() };
    }

    /// Returns whether the ports of new mappings matter, and how they come is not fully known.
    fn wants_bursts(&self) -> bool {
        let profile = self.profile();
        profile.mapping != MappingBehavior::EndpointIndependent
            && matches!(profile.allocation, PortAllocation::Sequential { .. } | PortAllocation::Unknown)
    }

    /// The first burst has been answered as far as it needs to be: all of it, or what tells mapping and counter.
    fn burst_told(&self) -> bool {
        let told = || {
            let profile = self.profile();
            matches!(
                profile.mapping,
                MappingBehavior::AddressDependent | MappingBehavior::AddressAndPortDependent
            ) && matches!(profile.allocation, PortAllocation::Sequential { .. })
        };
        self.reports_settled() || told()
    }

    pub(super) fn later_bursts(&mut self, now: Instant) {
        let sent = usize::from(self.later.opened / LATER_SOCKETS);
        if !self.burst_sent || sent >= LATER.len() {
            return;
        }
        match self.later.due {
            None if sent == 0 && self.burst_told() && self.wants_bursts() => self.open_burst(now),
            Some(due) if due <= now => self.open_burst(now),
            _ => {}
        }
    }

    fn open_burst(&mut self, now: Instant) {
        for _ in 0..LATER_SOCKETS {
            let slot = BURST + self.later.opened;
            self.later.opened += 1;
            self.sockets.push(None);
            self.orders.push_back(ClassifierOrder::OpenSocket { slot });
        }
        let next = LATER.get(usize::from(self.later.opened / LATER_SOCKETS));
        self.later.due = next.map(|later| now + *later);
    }

    /// Sends the burst that `slot` belongs to once all of its sockets are open, so that its packets leave back to
    /// back.
    pub(super) fn send_later_burst(&mut self, now: Instant, slot: u16) {
        let first = slot - (slot - BURST) % LATER_SOCKETS;
        let burst = first..first + LATER_SOCKETS;
        if burst.clone().all(|slot| self.sockets.get(usize::from(slot)).is_some_and(Option::is_some)) {
            for slot in burst {
                self.report(now, slot, 0);
            }
        }
    }
}
