//! Many bubbles and a port-assigning packet (M20-M22; S1 E4). One server address is enough.

use std::net::SocketAddr;
use std::time::Instant;

use super::Slot;
use super::engine::{Bracket, Engine};
use super::search::ReplySearch;
use super::tactic::Tactic;
use crate::nat::PortAllocation;
use crate::ports::{End, PortRange};
use crate::wire::message::{Facts, Method, Role};

/// Two sockets a round on each side.
const ROUNDS: u8 = 16;

/// Sockets of so many rounds stay open.
const KEPT: usize = 3;

/// Bubbles of one round; busy NATs give fewer than ten targets.
const MAX_TARGETS: usize = 48;

#[derive(Debug)]
pub(super) struct MultiBubble {
    engine: Engine,
    due: Option<Instant>,
    attempt: u8,
    rounds: Vec<Sockets>,
    search: Option<ReplySearch>,
}

/// `main` sends what the other side shall answer; `last` only the second probe.
#[derive(Clone, Debug)]
struct Sockets {
    attempt: u8,
    main: u16,
    last: u16,
    open: u8,
    targets: Vec<SocketAddr>,
}

impl MultiBubble {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut this = Self { engine, due: None, attempt: 0, rounds: Vec::new(), search: None };
        if !this.sends() {
            this.next(now);
        }
        this
    }

    fn sends(&self) -> bool {
        self.engine.context.role == Role::Sending
    }

    /// Receiving: the next port-assigning packet.
    fn next(&mut self, now: Instant) {
        if self.attempt >= ROUNDS {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        self.attempt += 1;
        let target = self.engine.peer;
        self.open_round(now, self.attempt, vec![target]);
        self.due = Some(now + self.engine.overdue() * 8);
    }

    fn open_round(&mut self, now: Instant, attempt: u8, targets: Vec<SocketAddr>) {
        let (main, last) = (self.engine.open(now), self.engine.open(now));
        self.rounds.push(Sockets { attempt, main, last, open: 0, targets });
        if self.rounds.len() > KEPT {
            let old = self.rounds.remove(0);
            self.engine.close(now, old.main);
            self.engine.close(now, old.last);
        }
    }

    /// Range probe, port-assigning packet or bubbles, range probe from a fresh socket: all back to back.
    fn send_round(&mut self, now: Instant, round: &Sockets) {
        let server = self.engine.server;
        let (first, second) =
            (self.engine.range_purpose(round.attempt, false), self.engine.range_purpose(round.attempt, true));
        let row = round.targets.len() as u32 + 2;
        let tag_first = self.engine.probe(now, row, round.main, server, first);
        for to in &round.targets {
            self.engine.opener(now, 1, round.attempt, Slot::Own(round.main), *to);
        }
        let tag_second = self.engine.probe(now, 1, round.last, server, second);
        for to in &round.targets {
            self.engine.repeat_opener(now, round.attempt, Slot::Own(round.main), *to);
        }
        let tags = [tag_first, tag_second];
        self.engine.brackets.push(Bracket { attempt: round.attempt, tags, seen: [None; 2] });
        if self.engine.brackets.len() > KEPT {
            self.engine.brackets.remove(0);
        }
        if !self.sends() {
            self.due = Some(now + self.engine.overdue());
        }
    }
}

impl Tactic for MultiBubble {
    const METHOD: Method = Method::MultiBubble;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn drop_search(&mut self) {
        self.search = None;
    }

    fn on_probe_seen(&mut self, now: Instant, tag: u32, observed: SocketAddr) {
        self.engine.probe_seen(now, tag, observed);
    }

    fn on_socket(&mut self, now: Instant, slot: u16, open: bool) {
        let Some(round) = self.rounds.iter_mut().find(|r| r.main == slot || r.last == slot) else { return };
        round.open += u8::from(open);
        if round.open == 2 && open {
            let round = round.clone();
            self.send_round(now, &round);
        }
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        let Facts::Range { round, ip, first, last, step } = facts else { return };
        let Some(attempt) = self.engine.attempt_of(*round) else { return };
        if !self.engine.context.is_peer(*ip) {
            return;
        }
        // The last probe left from a socket of its own, so its port is none of the candidates (M20, M21).
        // If nothing is left in between, the probes overtook each other: take it all.
        let range = PortRange::between((*first, End::Included), (*last, End::Excluded), *step)
            .filter(|_| !self.engine.context.peer_is_fixed())
            // A cone keeps the first probe's port (M20).
            .or_else(|| self.engine.context.peer_is_fixed().then(|| PortRange::single(*first)))
            .unwrap_or_else(|| PortRange::new(*first, *last, *step));
        // Where ports do not count, the two probes' sockets have nothing to do with each other, and the first one's port
        // is the best guess. It may stand at the far end of the range.
        let counts = matches!(self.engine.context.peer.allocation, PortAllocation::Sequential { .. });
        let guess = (!counts && range.iter().next() != Some(*first)).then_some(*first);
        if self.sends() {
            if attempt > self.attempt {
                self.attempt = attempt;
                let to = |port| SocketAddr::new(*ip, port);
                // Those set by hand come first (M9).
                let measured = guess.into_iter().chain(range.iter()).map(to);
                let targets = self.engine.set_targets().into_iter().chain(measured);
                let targets = targets.take(MAX_TARGETS).collect();
                self.engine.clear();
                self.open_round(now, attempt, targets);
            }
        } else if let Some(round) = self.rounds.iter().find(|r| r.attempt == attempt) {
            let slot = Slot::Own(round.main);
            self.engine.clear();
            if let Some(port) = guess {
                self.engine.test(now, 1, slot, SocketAddr::new(*ip, port));
                self.engine.repeat(now, slot, SocketAddr::new(*ip, port));
            }
            self.search = Some(ReplySearch::start(now, &mut self.engine, slot, *ip, range));
            self.due = Some(now + self.engine.patience(3, self.attempt));
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        if let Some(search) = &mut self.search {
            search.step(now, &mut self.engine);
        }
        if self.sends() || self.due.is_none_or(|due| due > now) {
            return;
        }
        match self.rounds.last_mut() {
            // The bracket stands; now the other side brackets its bubbles, and its range comes back: that takes
            // three more round trips.
            Some(round) if round.open == 2 && self.engine.bracket_complete() => {
                round.open = u8::MAX;
                self.due = Some(now + self.engine.patience(4, self.attempt));
            }
            _ => self.next(now),
        }
    }

    fn due(&self) -> Option<Instant> {
        let search = self.search.as_ref().and_then(|search| search.due(&self.engine));
        [self.due, search].into_iter().flatten().min()
    }

    fn searches(&self) -> bool {
        self.search.as_ref().is_some_and(ReplySearch::is_wide)
    }
}
