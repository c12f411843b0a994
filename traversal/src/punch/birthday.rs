//! Random ports on one side: many sockets there, many destination ports here, until two agree by chance.
//!
//! The sending side is the one with the random ports: it opens sockets, and each sends a few packets to the other
//! side, so that answers get in. The receiving side tries ports from the game's own socket, each of them twice: the first
//! ones are tried before all sockets are open, and tries get lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::pace::{PACE, next_due};
use super::tactic::Tactic;
use super::{PunchContext, Slot};
use crate::method::{Method, Role};
use crate::nat::PortAllocation;
use crate::ports::{Birthday as Numbers, FIRST_PORT, PORT_SPACE, birthday};

#[derive(Debug)]
pub(super) struct Birthday {
    engine: Engine,
    numbers: Numbers,
    /// This is the first one of the ports that are tried, and how many there are.
    block: (u16, u32),
    /// Distance between successive tries; shares no divisor with the number of ports.
    stride: u32,
    next: u32,
    done: u32,
    /// So many tries in all.
    tries: u32,
    due: Option<Instant>,
    started: Instant,
}

/// Tries may take this share of an attempt's datagrams; the rest is for what runs beside them, and for answers.
const SHARE: (u32, u32) = (3, 4);

/// Returns where in the block the tries begin.
fn first_place(seed: u64, ports: u32) -> u32 {
    (seed as u32) % ports
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Returns the ports among which the random ones lie (the first, and how many), and how many sockets and tries that
/// takes.
fn plan_search(context: &PunchContext) -> ((u16, u32), Numbers) {
    let random = if context.role == Role::Sending { context.own } else { context.peer };
    let (block, known) = match random.allocation {
        PortAllocation::RandomInBlock { first, last } if first <= last => {
            let first = first.max(FIRST_PORT).min(last.max(FIRST_PORT));
            ((first, u32::from(last.max(FIRST_PORT) - first) + 1), true)
        }
        _ => ((FIRST_PORT, PORT_SPACE), false),
    };
    let caps = &context.caps;
    (block, birthday(known.then_some(block.1), caps.sockets_per_attempt, caps.targets_per_attempt))
}

impl Birthday {
    /// Returns how long it takes to try each port once.
    pub(super) fn time(context: &PunchContext) -> Duration {
        PACE * plan_search(context).1.probes
    }

    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let context = &engine.context;
        let sends = context.role == Role::Sending;
        let (block, numbers) = plan_search(context);
        // Any ports do as well as any others, if they differ; a long stride keeps clear of a firewall's idea of a
        // port scan only by chance, but costs nothing.
        let seed = context.seed;
        let mut stride = ((seed >> 32) as u32 % block.1) | 1;
        while gcd(stride, block.1) != 1 {
            stride += 2;
        }
        let next = first_place(seed, block.1);
        // Each port twice at least, and in a small block until all sockets have opened and have been tried.
        let most = context.caps.datagrams_per_attempt.saturating_mul(SHARE.0) / SHARE.1;
        let tries = numbers.probes * 2;
        let tries = tries.max(numbers.probes + numbers.sockets * 2).min(most).max(numbers.probes);
        let (done, due, started) = (0, Some(now), now);
        let mut this = Self { engine, numbers, block, stride, next, done, tries, due, started };
        if sends {
            for _ in 0..this.numbers.sockets {
                this.engine.open(now);
            }
            this.due = None;
        } else {
            this.step(now);
        }
        this
    }

    fn sends(&self) -> bool {
        self.engine.context.role == Role::Sending
    }

    fn step(&mut self, now: Instant) {
        if self.sends() {
            return;
        }
        while let Some(due) = self.due.filter(|due| *due <= now) {
            self.next_try(now, due);
        }
    }

    /// Makes the next try, which was due at `due`.
    fn next_try(&mut self, now: Instant, due: Instant) {
        if self.done >= self.tries {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        if self.done.is_multiple_of(self.numbers.probes.max(1)) {
            self.next = first_place(self.engine.context.seed, self.block.1);
        }
        // Inside the block by the remainder, so a port.
        let port = (u32::from(self.block.0) + self.next) as u16;
        self.next = (self.next + self.stride) % self.block.1;
        self.done += 1;
        let to = SocketAddr::new(self.engine.peer.ip(), port);
        self.engine.test(now, 1, Slot::Main, to);
        // The last ones need a round trip before it is sure that nothing comes of them.
        let last = self.done == self.tries;
        self.due = Some(if last { now + self.engine.patience(2, 1) } else { next_due(due, now, PACE) });
    }
}

impl Tactic for Birthday {
    const METHOD: Method = Method::Birthday;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn on_socket(&mut self, now: Instant, slot: u16, port: Option<u16>) {
        if port.is_some() {
            let to = self.engine.peer;
            self.engine.opener(now, 1, 1, Slot::Own(slot), to);
            // Once more when all have sent their first, for what was lost: where one packet in seven is lost (busy mobile
            // and satellite links), a seventh of the sockets would search for nothing.
            let sockets = PACE * self.numbers.sockets;
            self.engine.opener(now + sockets, 1, 1, Slot::Own(slot), to);
            // With a short TTL these may not have come as far as the own NAT. One that goes all the way is kept until the
            // other side has tried each port: a router that takes it for a connection of its own (Linux) would not let
            // the try through that leaves after it.
            if self.engine.opener_is_short(1, Slot::Own(slot)) {
                let tried = PACE * self.numbers.probes.max(self.numbers.sockets * 2) + self.engine.overdue();
                let at = self.started + tried + PACE * u32::from(slot);
                self.engine.opener(at, 1, 2, Slot::Own(slot), to);
            }
            self.done += 1;
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.step(now);
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_begin_anywhere_in_the_block_and_nowhere_else() {
        let places: std::collections::BTreeSet<u32> = (0..1_000).map(|seed| first_place(seed, 512)).collect();
        assert_eq!(places.len(), 512);
        assert_eq!(places.last(), Some(&511));
    }
}
