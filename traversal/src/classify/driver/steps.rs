//! What follows the burst: does a packet to the own external address come back in, and how fast do others take ports?

use std::time::{Duration, Instant};

use super::{BURST, Classifier, ClassifierOrder, TRIES};
use crate::nat::{MappingBehavior, PortAllocation};

/// More sockets, one after the other, for the rate at which other machines take ports.
const RATE_SOCKETS: u16 = 4;
/// Time between them: together a second, in which 5 ports a second can just be told from none.
const RATE_PERIOD: Duration = Duration::from_millis(250);

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

    fn wants_rate(&self) -> bool {
        let profile = self.profile();
        matches!(profile.allocation, PortAllocation::Sequential { .. })
            && profile.mapping != MappingBehavior::EndpointIndependent
    }

    pub(super) fn rate_step(&mut self, now: Instant) {
        if !self.burst_sent || self.rate_opened >= RATE_SOCKETS {
            return;
        }
        match self.rate_due {
            None if self.reports_settled() && self.wants_rate() => {
                self.rate_due = Some(self.start.max(now) + RATE_PERIOD);
            }
            Some(due) if due <= now => {
                let slot = BURST + self.rate_opened;
                self.rate_opened += 1;
                self.sockets.push(None);
                self.orders.push_back(ClassifierOrder::OpenSocket { slot });
                self.rate_due = (self.rate_opened < RATE_SOCKETS).then(|| now + RATE_PERIOD);
            }
            _ => {}
        }
    }
}
