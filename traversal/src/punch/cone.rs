//! Test messages to the addresses that the server knows (M30): two cones, no NAT, an open port.

use std::time::Instant;

use super::engine::{Engine, REPEATS};
use super::{Ledger, Progress, PunchInput, PunchOrder, Puncher, Slot};
use crate::wire::message::{Facts, Method};

/// Both sides send from the game's own socket to where the server sees the other, again and again.
#[derive(Debug)]
pub(super) struct Cone {
    engine: Engine,
    due: Instant,
    tries: u32,
}

/// With the wait growing by half each time, more than ten seconds even on short paths.
const TRIES: u32 = 14;

impl Cone {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut cone = Self { engine, due: now, tries: 0 };
        cone.step(now);
        cone
    }

    fn step(&mut self, now: Instant) {
        if self.due > now || self.engine.holds_still(now) {
            return;
        }
        if self.tries >= TRIES {
            self.engine.set_exhausted();
            return;
        }
        let to = self.engine.peer;
        self.engine.test(now, 1, Slot::Main, to);
        if self.tries == 0 {
            self.engine.repeat(now, Slot::Main, to);
        }
        self.tries += 1;
        self.due = now + (self.engine.overdue() * self.tries).max(REPEATS[1]);
    }
}

impl Puncher for Cone {
    fn method(&self) -> Method {
        Method::Cone
    }

    fn handle(&mut self, now: Instant, input: PunchInput<'_>) {
        match input {
            PunchInput::Datagram { .. } => self.engine.heard(now),
            PunchInput::Facts(Facts::PeerPublic(addresses)) => {
                self.engine.peer_moved(addresses);
                (self.due, self.tries) = (now, 0);
            }
            _ => {}
        }
        self.step(now);
    }

    fn poll_order(&mut self, now: Instant, ledger: &mut Ledger<'_>) -> Option<PunchOrder> {
        self.engine.poll_order(now, ledger)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout((self.tries < TRIES).then_some(self.due))
    }

    fn progress(&self) -> Progress {
        self.engine.progress()
    }
}
