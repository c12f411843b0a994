//! Many bubbles and a port-assigning packet (M20-M22; S1 E4). One server address is enough.

use std::net::SocketAddr;
use std::time::Instant;

use super::engine::{Bracket, Engine};
use super::search::ReplySearch;
use super::stage::RoundStage;
use super::tactic::Tactic;
use super::{Ports, Slot};
use crate::method::{Method, Role};
use crate::nat::{MappingBehavior, PortAllocation};
use crate::ports::{End, FIRST_PORT, PortRange};
use crate::wire::message::{Facts, MAX_KEPT_PORTS};

/// So many rounds take two sockets each on each side.
const ROUNDS: u8 = 16;

/// Sockets of so many rounds stay open.
const KEPT: usize = 3;

/// One round has so many bubbles at the most; busy NATs give fewer than ten targets.
const MAX_TARGETS: usize = 48;

#[derive(Debug)]
pub(super) struct MultiBubble {
    engine: Engine,
    due: Option<Instant>,
    attempt: u8,
    rounds: Vec<MultiRound>,
    search: Option<ReplySearch>,
}

/// This is one round: the socket `main` sends what the other side shall answer, `last` only the second probe.
#[derive(Clone, Debug)]
struct MultiRound {
    attempt: u8,
    main: u16,
    last: u16,
    stage: RoundStage,
    /// The local ports of the two sockets, 0 until they are open.
    ports: [u16; 2],
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

    /// Sends the next port-assigning packet of a receiving side.
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
        let stage = RoundStage::Opening { missing: 2 };
        self.rounds.push(MultiRound { attempt, main, last, stage, ports: [0; 2], targets });
        if self.rounds.len() > KEPT {
            let old = self.rounds.remove(0);
            self.engine.close(now, old.main);
            self.engine.close(now, old.last);
        }
    }

    /// Returns the other side's ports of a round: the likeliest, if it is not the range's first, and the range.
    fn ports_of_round(&self, first: u16, last: u16, step: i32) -> (Option<u16>, PortRange) {
        // The last probe left from a socket of its own, so its port is none of the candidates (M20, M21).
        // If nothing is left in between, the probes overtook each other: take it all.
        let range = PortRange::between((first, End::Included), (last, End::Excluded), step)
            .filter(|_| !self.engine.context.peer_is_fixed())
            // A cone keeps the first probe's port (M20).
            .or_else(|| self.engine.context.peer_is_fixed().then(|| PortRange::single(first)))
            .unwrap_or_else(|| PortRange::new(first, last, step));
        // Where ports do not count, the two probes' sockets have nothing to do with each other, and the first one's port
        // is the best guess. It may stand at the far end of the range.
        let counts = matches!(self.engine.context.peer.allocation, PortAllocation::Sequential { .. });
        let guess = (!counts && range.iter().next() != Some(first)).then_some(first);
        (guess, range)
    }

    /// Where the NAT keeps the port of a fresh socket's first destination there is nothing to measure, and a probe would take
    /// the port away: what is sent leaves by the sockets' own ports.
    fn send_kept(&mut self, now: Instant, round: &MultiRound) {
        let by_port = self.engine.context.own.mapping == MappingBehavior::AddressAndPortDependent;
        let slots = [round.main, if by_port { round.last } else { round.main }];
        let most = if by_port { slots.len() } else { MAX_TARGETS };
        for (i, to) in round.targets.iter().take(most).enumerate() {
            let slot = Slot::Own(slots[i % 2]);
            self.engine.opener(now, 1, round.attempt, slot, *to);
            self.engine.repeat_opener(now, round.attempt, slot, *to);
        }
        let told = if by_port { round.targets.len().min(slots.len()) } else { 1 };
        self.engine.tell_kept(now, round.attempt, round.ports[..told].to_vec());
        if !self.sends() {
            self.due = Some(now + self.engine.patience(5, self.attempt));
        }
    }

    /// Sends range probe, port-assigning packet or bubbles, and a range probe from a fresh socket, all back to back.
    fn send_round(&mut self, now: Instant, round: &MultiRound) {
        if Ports::of(&self.engine.context.own) == Ports::Kept {
            return self.send_kept(now, round);
        }
        let server = self.engine.server;
        let row = round.targets.len() as u32 + 2;
        let tag_first = self.engine.range_probe(now, row, (round.main, server), round.attempt, false);
        for to in &round.targets {
            self.engine.opener(now, 1, round.attempt, Slot::Own(round.main), *to);
        }
        let tag_second = self.engine.range_probe(now, 1, (round.last, server), round.attempt, true);
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

    fn on_socket(&mut self, now: Instant, slot: u16, port: Option<u16>) {
        let Some(round) = self.rounds.iter_mut().find(|r| r.main == slot || r.last == slot) else { return };
        round.ports[usize::from(round.last == slot)] = port.unwrap_or_default();
        if port.is_some() && round.stage.socket_opened() {
            let round = round.clone();
            self.send_round(now, &round);
        }
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        let (Facts::Range { round, ip, .. } | Facts::Kept { round, ip, .. }) = facts else { return };
        let Some(attempt) = self.engine.attempt_of(*round) else { return };
        if !self.engine.context.is_peer(*ip) {
            return;
        }
        let (sure, range): (Vec<u16>, _) = match facts {
            Facts::Range { first, last, step, .. } => {
                let (guess, range) = self.ports_of_round(*first, *last, *step);
                (guess.into_iter().collect(), Some(range))
            }
            Facts::Kept { ports, .. } => (ports.iter().copied().take(MAX_KEPT_PORTS).collect(), None),
            _ => return,
        };
        let to = |port: u16| SocketAddr::new(*ip, port);
        let sure: Vec<SocketAddr> = sure.into_iter().filter(|port| *port >= FIRST_PORT).map(to).collect();
        if self.sends() {
            if attempt > self.attempt {
                self.attempt = attempt;
                let range = range.into_iter().flat_map(|range| range.iter()).map(to);
                // Those set by hand come first (M9).
                let targets = self.engine.set_targets().into_iter().chain(sure).chain(range);
                let targets = targets.take(MAX_TARGETS).collect();
                self.engine.clear();
                self.open_round(now, attempt, targets);
            }
        } else if let Some(round) = self.rounds.iter().find(|r| r.attempt == attempt) {
            let slot = Slot::Own(round.main);
            self.engine.clear();
            for to in sure {
                self.engine.test(now, 1, slot, to);
                self.engine.repeat(now, slot, to);
            }
            self.search = range.map(|range| ReplySearch::start(now, &mut self.engine, slot, *ip, range));
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
            Some(round) if round.stage == RoundStage::Sent && self.engine.bracket_complete() => {
                round.stage = RoundStage::Answered;
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
