//! Test messages to the addresses that the server knows (M30): two cones, no NAT, an open port.

use std::time::Instant;

use super::Slot;
use super::engine::{Engine, REPEATS};
use super::tactic::Tactic;
use crate::method::Method;

/// Both sides send from the game's own socket to where the server sees the other, again and again.
#[derive(Debug)]
pub(super) struct Cone {
    engine: Engine,
    due: Instant,
    tries: u32,
}

/// The wait grows by a round trip each time: 105 of them in all, four seconds even where an answer is overdue after 40 ms.
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
        self.due = now + self.engine.patience(self.tries, 1).max(REPEATS[1]);
    }
}

impl Tactic for Cone {
    const METHOD: Method = Method::Cone;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn on_moved(&mut self, now: Instant) {
        (self.due, self.tries) = (now, 0);
        self.on_timeout(now);
    }

    fn on_timeout(&mut self, now: Instant) {
        self.step(now);
    }

    fn due(&self) -> Option<Instant> {
        (self.tries < TRIES).then_some(self.due)
    }
}
