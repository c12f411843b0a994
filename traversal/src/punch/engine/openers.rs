//! Openers: tests that need only get out of the own NAT, and when they had better not get into the other one.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Engine, REPEATS};
use crate::method::Method;
use crate::nat::FilteringBehavior;
use crate::punch::{PunchOrder, Slot};
use crate::reach::reach;

impl Engine {
    /// Sends a test that need only get out of the own NAT, the first of `row` datagrams that belong together.
    ///
    /// Where it cannot get in on the other side anyway, it had better not get there: some NATs then give the other side's
    /// reply another port ("inbound-first clash"). Every second attempt does without: the own NATs may be farther away
    /// than the TTL reaches.
    pub(in crate::punch) fn opener(
        &mut self,
        at: Instant,
        row: u32,
        attempt: u8,
        slot: Slot,
        to: SocketAddr,
    ) {
        let ttl = self.opener_ttl(attempt, slot);
        self.push(at, row, PunchOrder::Test { slot, to, ttl });
    }

    /// Returns whether this opener dies on its way, past the own NAT.
    pub(in crate::punch) fn opener_is_short(&self, attempt: u8, slot: Slot) -> bool {
        self.opener_ttl(attempt, slot).is_some()
    }

    fn opener_ttl(&self, attempt: u8, slot: Slot) -> Option<u8> {
        let peer = &self.context.peer;
        if !reach(peer).mapping_is_hoped_fixed() || slot == Slot::Main {
            return None;
        }
        // A side with one port for everybody has sent the first one from its registered socket.
        let odd = (attempt % 2 == 1) != (self.method == Method::Bubble && self.context.own_is_fixed());
        let short = match peer.filtering {
            FilteringBehavior::AddressAndPortDependent => odd,
            // Guess and bubble run side by side, from different sockets. The guess hopes for an open filter, the bubble is
            // careful, so a clash spoils one of the two at the most.
            FilteringBehavior::Unknown => odd != (self.method == Method::Prediction),
            // The bubble itself may get in, and be answered.
            FilteringBehavior::AddressDependent | FilteringBehavior::EndpointIndependent => false,
        };
        self.context.first_ttl.filter(|_| short)
    }

    /// Sends the same opener again, a little later. One with a short TTL goes once more without, when the other side's reply
    /// is
    /// likely to have left: it gets in then, should the reply be lost.
    pub(in crate::punch) fn repeat_opener(&mut self, now: Instant, attempt: u8, slot: Slot, to: SocketAddr) {
        for later in REPEATS {
            self.opener(now + later, 1, attempt, slot, to);
        }
        if self.opener_ttl(attempt, slot).is_some() {
            self.test(now + self.patience(1, 1) * 3 / 2, 1, slot, to);
        }
    }
}
