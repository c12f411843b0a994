//! Predicted ports on both sides (M24, S4), with measured steps.
//!
//! Each side that gets a new port for each destination sends a probe from a fresh socket, so that the server (and
//! through it the other side) knows the NAT's newest port. The S4 flow, when both are such: A (sending) is seen at
//! P. B (receiving) hears of it, is seen at Q, and in the same row sends one packet to P + n; B's NAT gives it
//! Q + 1. A hears of Q and sends n packets to Q + 1 from n sockets: one of them leaves by P + n, and the two meet.
//!
//! n depends on how many ports others take at A's NAT until A sends. Only A will know how long that was, so B sends
//! from a few sockets in a row, each for another guess of that time ([`AGES`]), and A picks the one that fits.
//! Where one side keeps its port, it only tries the next few ports of the other, which aims at that port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::tactic::Tactic;
use super::{PunchContext, Slot, step_of};
use crate::nat::{MappingBehavior, NatProfile};
use crate::ports::{UNKNOWN_RATE, advance, predicted_ports, prediction_width};
use crate::wire::message::{Facts, Method, Role};

/// From A's probe to A's packets: a round trip to the server on each side. Both sides count with these steps.
const AGES: [Duration; 4] = [
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(450),
    Duration::from_millis(1000),
];

/// How sure n is to be that the counter has not passed it by.
const SURE: f64 = 0.99;

/// Ports at the most: one row, half of what may leave in a second.
const WIDEST: u32 = 96;

/// Ports that this player's other methods may take meanwhile.
const OWN_NOISE: u32 = 2;

/// The spread of packets sent in a row, at the NAT.
const ROW_SPREAD: Duration = Duration::from_millis(20);

const ROUNDS: u8 = 20;

#[derive(Debug)]
pub(super) struct Prediction {
    engine: Engine,
    due: Option<Instant>,
    attempt: u8,
    probe: Option<Probe>,
    /// Sockets for packets to the other side. They serve again in the next round only where a new destination
    /// surely means a new port.
    pool: Vec<u16>,
    open: Vec<u16>,
    wanted: Option<Volley>,
    answered: Option<u8>,
}

/// The newest probe of this side.
#[derive(Clone, Copy, Debug)]
struct Probe {
    slot: u16,
    tag: u32,
    sent: Option<Instant>,
    seen: bool,
}

/// Packets that wait for their sockets.
#[derive(Clone, Debug)]
struct Volley {
    /// Send a newest probe first, in the same row, for this attempt.
    probe: Option<u8>,
    to: Vec<SocketAddr>,
}

/// n of M24 for one guess of the age: the same on both sides, since both know A's profile.
fn ports_ahead(nat: &NatProfile, age: Duration) -> u32 {
    // A rate measured over a second is known to within a few. Where it is unknown, n comes to about S4's 10.
    let rate = f64::from(nat.foreign_rate.unwrap_or(UNKNOWN_RATE).clamp(0.0, 1e4)) * 1.3 + 3.0;
    prediction_width(rate, age, SURE, WIDEST) + OWN_NOISE
}

impl Prediction {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut this = Self {
            engine,
            due: None,
            attempt: 0,
            probe: None,
            pool: Vec::new(),
            open: Vec::new(),
            wanted: None,
            answered: None,
        };
        this.next(now);
        this
    }

    fn own_fixed(&self) -> bool {
        PunchContext::hoped_fixed(&self.engine.context.own)
    }

    fn peer_fixed(&self) -> bool {
        PunchContext::hoped_fixed(&self.engine.context.peer)
    }

    fn next(&mut self, now: Instant) {
        if self.attempt >= ROUNDS {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        let to = self.engine.peer;
        match (self.own_fixed(), self.peer_fixed()) {
            (true, true) => {
                self.attempt += 1;
                self.engine.test(now, 1, Slot::Main, to);
                self.engine.repeat(now, Slot::Main, to);
                self.due = Some(now + self.engine.overdue() * u32::from(self.attempt.min(4)));
            }
            // Waits for the other side's newest port.
            (true, false) => self.due = None,
            (false, true) => {
                self.attempt += 1;
                self.volley(now, Volley { probe: Some(self.attempt), to: vec![to] });
                self.due = Some(now + self.engine.overdue() * 4);
            }
            (false, false) if self.engine.context.role == Role::Sending => {
                self.attempt += 1;
                self.volley(now, Volley { probe: Some(self.attempt), to: Vec::new() });
                self.due = Some(now + self.engine.overdue() * 4);
            }
            (false, false) => self.due = None,
        }
    }

    /// Gets the sockets, then sends all in a row.
    fn volley(&mut self, now: Instant, volley: Volley) {
        // A of S4 aims at another port each round, and B's counter has moved on by more than its packets: a new
        // port each time, if the NAT looks at ports at all. B's own destinations may come again.
        let reusable = self.engine.context.own.mapping == MappingBehavior::AddressAndPortDependent
            && self.engine.context.role == Role::Sending
            && !self.peer_fixed();
        if !reusable {
            for slot in std::mem::take(&mut self.pool) {
                self.engine.close(now, slot);
                self.open.retain(|s| *s != slot);
            }
        }
        if volley.probe.is_some() {
            if let Some(old) = self.probe.take() {
                self.engine.close(now, old.slot);
                self.open.retain(|s| *s != old.slot);
            }
            let slot = self.engine.open(now);
            self.probe = Some(Probe { slot, tag: 0, sent: None, seen: false });
        }
        while self.pool.len() < volley.to.len() {
            let slot = self.engine.open(now);
            self.pool.push(slot);
        }
        self.wanted = Some(volley);
        self.fire_when_open(now);
    }

    fn fire_when_open(&mut self, now: Instant) {
        let Some(volley) = &self.wanted else { return };
        let is_open = |slot: &u16| self.open.contains(slot);
        let probe_ready = match (volley.probe, &self.probe) {
            (Some(_), Some(probe)) => is_open(&probe.slot),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !probe_ready || !self.pool[..volley.to.len()].iter().all(is_open) {
            return;
        }
        let Some(volley) = self.wanted.take() else { return };
        let row = volley.to.len() as u32 + u32::from(volley.probe.is_some());
        if let (Some(attempt), Some(mut probe)) = (volley.probe, self.probe) {
            let purpose = self.engine.newest_purpose(attempt);
            probe.tag = self.engine.probe(now, row, probe.slot, self.engine.server, purpose);
            probe.sent = Some(now);
            self.probe = Some(probe);
            self.due = self.due.map(|_| now + self.engine.overdue());
        }
        for (i, (slot, to)) in self.pool.iter().zip(&volley.to).enumerate() {
            let row = if i == 0 && volley.probe.is_none() { row } else { 1 };
            self.engine.opener(now, row, self.attempt, Slot::Own(*slot), *to);
        }
        // These may get in just after the other side has sent its first one, which saves half a round trip. Where they
        // come too early and make its NAT clash, the bracketed bubble beside this has openers that never do.
        for (slot, to) in self.pool.iter().zip(&volley.to) {
            self.engine.repeat(now, Slot::Own(*slot), *to);
        }
    }

    /// The newest port of the other side.
    fn on_newest(&mut self, now: Instant, round: u16, newest: SocketAddr) {
        let Some(attempt) = self.engine.attempt_of(round) else { return };
        let context = self.engine.context.clone();
        if !context.is_peer(newest.ip()) {
            return;
        }
        let (ip, step) = (newest.ip(), step_of(&context.peer));
        let at = |port| SocketAddr::new(ip, port);
        let newer = self.answered.is_none_or(|a| attempt > a);
        if self.own_fixed() {
            // The other side's packet to our port left in one row with its probe.
            if newer {
                self.answered = Some(attempt);
                self.engine.clear();
                let count = ports_ahead(&context.peer, ROW_SPREAD).max(3);
                let ports: Vec<u16> = predicted_ports(newest.port(), step, count).collect();
                for (i, port) in ports.iter().enumerate() {
                    let row = if i == 0 { ports.len() as u32 } else { 1 };
                    self.engine.test(now, row, Slot::Main, at(*port));
                    self.engine.repeat(now, Slot::Main, at(*port));
                }
            }
        } else if context.role == Role::Sending {
            // A of S4: n packets to Q + 1 and so on.
            let (Some(probe), true) = (self.probe, attempt == self.attempt && newer) else { return };
            let Some(sent) = probe.sent else { return };
            self.answered = Some(attempt);
            let age = now.saturating_duration_since(sent);
            let guess = AGES.iter().position(|a| *a >= age).unwrap_or(AGES.len() - 1);
            let n = ports_ahead(&context.own, AGES[guess]);
            let to = at(advance(newest.port(), i64::from(step) * (1 + guess as i64)));
            self.engine.clear();
            self.volley(now, Volley { probe: None, to: vec![to; n as usize] });
            self.due = Some(now + self.engine.patience(2, self.attempt));
        } else if newer {
            // B of S4: one packet to P + n for each guess.
            self.answered = Some(attempt);
            let target = |age| {
                at(advance(newest.port(), i64::from(step) * i64::from(ports_ahead(&context.peer, age))))
            };
            let to = AGES.map(target).into();
            self.engine.clear();
            self.volley(now, Volley { probe: Some(attempt), to });
        }
    }
}

impl Tactic for Prediction {
    const METHOD: Method = Method::Prediction;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn drop_search(&mut self) {
        self.wanted = None;
    }

    fn on_probe_seen(&mut self, _now: Instant, tag: u32, _observed: SocketAddr) {
        if let Some(probe) = self.probe.as_mut().filter(|p| p.tag == tag) {
            probe.seen = true;
        }
    }

    fn on_socket(&mut self, now: Instant, slot: u16, open: bool) {
        if open {
            self.open.push(slot);
            self.fire_when_open(now);
        }
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        if let Facts::Newest { round, address } = facts {
            self.on_newest(now, *round, *address);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match &mut self.probe {
            // Our probe came through: the other side's answer needs a round trip or two more.
            Some(probe) if probe.seen && self.answered != Some(self.attempt) => {
                probe.seen = false;
                self.due = Some(now + self.engine.patience(3, self.attempt));
            }
            _ => self.next(now),
        }
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }
}
