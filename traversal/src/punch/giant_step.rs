//! Baby-step/giant-step: both sides keep one socket, in the first round the game's own, and let their NATs count.
//!
//! Each side's newest port is made known. Then each packet to a new port of the other side takes the next own port.
//! The sending side aims one step further each time, the receiving side two: with eA and eB foreign ports taken
//! meanwhile, packet eA + 2 eB of the one and packet eA + eB of the other meet. Works while foreign ports come
//! slower than 0.41 per packet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::pace::{PACE, next_due};
use super::tactic::Tactic;
use super::{Slot, step_of};
use crate::method::{Method, Role};
use crate::ports::giant_step_port;
use crate::wire::message::{Ahead, Facts};

const ROUNDS: u8 = 12;

/// The first round has so many packets; later rounds go further.
const STEPS: u32 = 48;

/// No round goes further than so many packets.
const MOST_STEPS: u32 = 160;

#[derive(Debug)]
pub(super) struct GiantStep {
    engine: Engine,
    attempt: u8,
    probe: Option<Probe>,
    due: Option<Instant>,
    /// This pass is under way: it aims from where the other side was newest.
    pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    slot: u16,
    /// The probe carries this tag; there is none until it leaves, once its socket is open.
    tag: Option<u32>,
    seen: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    newest: SocketAddr,
    i: u32,
    steps: u32,
    /// The second time round no mapping is new: it only mends loss.
    again: bool,
    due: Instant,
}

impl GiantStep {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut this = Self { engine, attempt: 0, probe: None, due: None, pass: None };
        this.start_round(now, 1);
        this
    }

    fn start_round(&mut self, now: Instant, attempt: u8) {
        if attempt > ROUNDS {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        self.attempt = attempt;
        self.pass = None;
        self.engine.clear();
        if let Some(old) = self.probe.take() {
            self.engine.close(now, old.slot);
        }
        let slot = self.engine.open(now);
        self.probe = Some(Probe { slot, tag: None, seen: false });
        self.due = Some(now + self.engine.overdue() * 4);
    }

    fn steps(&self) -> u32 {
        (STEPS << (u32::from(self.attempt) - 1).min(4)).min(MOST_STEPS)
    }

    /// Returns how long a round's packets take: twice the steps, at this side's pace.
    fn pass_time(&self) -> Duration {
        PACE * self.steps() * 2
    }

    fn on_newest(&mut self, now: Instant, round: u16, newest: SocketAddr) {
        let Some(attempt) = self.engine.attempt_of(round) else { return };
        if !self.engine.context.is_peer(newest.ip()) || attempt < self.attempt || attempt > ROUNDS {
            return;
        }
        if attempt > self.attempt {
            // The other side has gone on to the next round; it knows our port of that round only if we do, too.
            self.start_round(now, attempt);
        }
        if self.pass.is_none() {
            self.pass = Some(Pass { newest, i: 0, steps: self.steps(), again: false, due: now });
            self.due = Some(now + self.pass_time() + self.engine.patience(3, self.attempt));
        }
        self.step(now);
    }

    fn step(&mut self, now: Instant) {
        // The own newest port must be known to the server before it is left behind.
        let asked = self.probe.is_some_and(|p| p.tag.is_some());
        while asked && self.pass.is_some_and(|pass| pass.due <= now) {
            self.next_step(now);
        }
    }

    fn next_step(&mut self, now: Instant) {
        let Some(pass) = &mut self.pass else { return };
        let stride = if self.engine.context.role == Role::Sending { 1 } else { 2 };
        let port = giant_step_port(pass.newest.port(), step_of(&self.engine.context.peer), stride, pass.i);
        let to = SocketAddr::new(pass.newest.ip(), port);
        pass.i += 1;
        pass.due = next_due(pass.due, now, PACE);
        if pass.i >= pass.steps {
            if pass.again {
                self.pass = None;
            } else {
                (pass.i, pass.again) = (0, true);
            }
        }
        // Destinations of an earlier round have their mappings already and would not count: a fresh socket then.
        let slot = match self.probe {
            Some(probe) if self.attempt > 1 => Slot::Own(probe.slot),
            _ => Slot::Main,
        };
        self.engine.test(now, 1, slot, to);
    }
}

impl Tactic for GiantStep {
    const METHOD: Method = Method::GiantStep;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn drop_search(&mut self) {
        self.pass = None;
    }

    fn on_probe_seen(&mut self, _now: Instant, tag: u32, _observed: SocketAddr) {
        if let Some(probe) = self.probe.as_mut().filter(|p| p.tag == Some(tag)) {
            probe.seen = true;
        }
    }

    fn on_socket(&mut self, now: Instant, slot: u16, port: Option<u16>) {
        let Some(mut probe) = self.probe.filter(|p| p.slot == slot && port.is_some()) else { return };
        probe.tag = Some(self.engine.newest_probe(now, 1, slot, self.attempt, Ahead::default()));
        self.probe = Some(probe);
        if self.pass.is_none() {
            self.due = Some(now + self.engine.overdue());
        }
        self.step(now);
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        if let Facts::Newest { round, address, .. } = facts {
            self.on_newest(now, *round, *address);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.step(now);
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match &mut self.probe {
            Some(probe) if probe.seen && self.pass.is_none() => {
                probe.seen = false;
                self.due = Some(now + self.engine.patience(3, self.attempt));
            }
            _ => self.start_round(now, self.attempt.saturating_add(1)),
        }
    }

    fn due(&self) -> Option<Instant> {
        let pass = self.pass.filter(|_| self.probe.is_some_and(|p| p.tag.is_some())).map(|p| p.due);
        [self.due, pass].into_iter().flatten().min()
    }
}
