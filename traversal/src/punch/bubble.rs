//! One bubble between two range probes (M13-M19; S1 E1, and E2 where the peer works out the range).

use std::net::SocketAddr;
use std::time::Instant;

use super::engine::{Bracket, Engine};
use super::search::ReplySearch;
use super::stage::RoundStage;
use super::tactic::Tactic;
use super::{Ports, Slot};
use crate::method::{Method, Role};
use crate::nat::MappingBehavior;
use crate::ports::PortRange;
use crate::wire::message::Facts;

/// A sending side has so many rounds, each of which takes one or two round trips.
const ROUNDS: u8 = 24;

/// Sockets of so many rounds stay open for late replies.
const KEPT: usize = 3;

#[derive(Debug)]
pub(super) struct Bubble {
    engine: Engine,
    /// A sending side goes on then; a receiving one tests again, where the sender's port is known.
    due: Option<Instant>,
    attempt: u8,
    /// A sending side has these rounds under way; the first one is that whose sockets are being opened.
    rounds: Vec<BubbleRound>,
    search: Option<ReplySearch>,
    last_range: Option<u8>,
}

/// This is one round of a sending side: its attempt, the bubble's socket, and the second probe's if that is another
/// one.
#[derive(Clone, Copy, Debug)]
struct BubbleRound {
    attempt: u8,
    bubble: u16,
    second: Option<u16>,
    stage: RoundStage,
    /// The bubble's socket has this local port.
    port: u16,
    /// The second probe goes there.
    second_server: SocketAddr,
}

impl Bubble {
    pub(super) fn new(now: Instant, engine: Engine) -> Self {
        let mut bubble =
            Self { engine, due: None, attempt: 0, rounds: Vec::new(), search: None, last_range: None };
        bubble.next(now);
        bubble
    }

    fn sends(&self) -> bool {
        self.engine.context.role == Role::Sending
    }

    /// Sends the next bubble; a receiving side sends a reply to a sender whose port is known without a range.
    fn next(&mut self, now: Instant) {
        // What the first bubble from the registered socket did not bring about, another one will not either; one from a
        // fresh socket may (a clash has spoilt the pair of addresses, or the NAT has forgotten the mapping).
        let known = if self.sends() {
            self.engine.context.own_is_fixed() && self.attempt == 0
        } else {
            self.engine.context.peer_is_fixed()
        };
        if self.attempt >= ROUNDS {
            self.due = None;
            self.engine.set_exhausted();
            return;
        }
        self.attempt += 1;
        if known {
            // The bubble leaves from the registered socket, whose port the server knows: no range (M14).
            let to = self.engine.peer;
            self.engine.test(now, 1, Slot::Main, to);
            self.engine.repeat(now, Slot::Main, to);
            self.due = Some(now + self.engine.patience(self.attempt.min(4).into(), 1));
        } else if self.sends() {
            self.open_round(now);
        } else {
            self.due = None;
        }
    }

    /// Returns the server's socket for the second probe, and whether a fresh socket must send it (M14, M16). Where
    /// the second address has just been silent and the first one has not, the first one has to do (M40).
    fn second_probe(&self) -> (SocketAddr, bool) {
        let servers = &self.engine.context.servers;
        let first = self.engine.server;
        let v4 = |a: &&SocketAddr| a.is_ipv4() == first.is_ipv4();
        let silent = self.engine.brackets.last().is_some_and(|b| b.seen[0].is_some() && b.seen[1].is_none());
        if !silent && let Some(other) = servers.iter().filter(v4).find(|a| a.ip() != first.ip()) {
            return (*other, false);
        }
        let port_sensitive = self.engine.context.own.mapping == MappingBehavior::AddressAndPortDependent;
        match servers.iter().filter(v4).find(|a| **a != first && a.ip() == first.ip()) {
            Some(other) if port_sensitive => (*other, false),
            _ => (first, true),
        }
    }

    /// The NAT keeps the inner port of a fresh socket for its first destination, which the other side must be then.
    fn keeps_ports(&self) -> bool {
        Ports::of(&self.engine.context.own) == Ports::Kept
    }

    fn open_round(&mut self, now: Instant) {
        let (second_server, fresh) = self.second_probe();
        let fresh = fresh && !self.keeps_ports();
        let bubble = self.engine.open(now);
        let second = fresh.then(|| self.engine.open(now));
        let stage = RoundStage::Opening { missing: 1 + u8::from(fresh) };
        self.rounds.push(BubbleRound {
            attempt: self.attempt,
            bubble,
            second,
            stage,
            port: 0,
            second_server,
        });
        if self.rounds.len() > KEPT {
            let old = self.rounds.remove(0);
            for slot in [Some(old.bubble), old.second].into_iter().flatten() {
                self.engine.close(now, slot);
            }
        }
        self.due = Some(now + self.engine.overdue() * 4);
    }

    /// Sends probe, bubble, probe, back to back (M14). Where the NAT keeps ports, the bubble leaves alone: a probe
    /// before it would take the port away.
    fn send_round(&mut self, now: Instant, round: BubbleRound) {
        if self.keeps_ports() {
            let slot = Slot::Own(round.bubble);
            self.engine.opener(now, 1, round.attempt, slot, self.engine.peer);
            self.engine.repeat_opener(now, round.attempt, slot, self.engine.peer);
            self.engine.tell_kept(now, round.attempt, vec![round.port]);
            self.due = Some(now + self.engine.patience(3, self.attempt));
            return;
        }
        let second_server = round.second_server;
        let (server, peer) = (self.engine.server, self.engine.peer);
        let set = self.engine.set_targets();
        let row = 3 + set.len() as u32;
        let tag_first = self.engine.range_probe(now, row, (round.bubble, server), round.attempt, false);
        self.engine.opener(now, 1, round.attempt, Slot::Own(round.bubble), peer);
        for to in set {
            // It is meant to get in.
            self.engine.test(now, 1, Slot::Own(round.bubble), to);
        }
        let second_slot = round.second.unwrap_or(round.bubble);
        let tag_second = self.engine.range_probe(now, 1, (second_slot, second_server), round.attempt, true);
        self.engine.repeat_opener(now, round.attempt, Slot::Own(round.bubble), peer);
        let tags = [tag_first, tag_second];
        self.engine.brackets.push(Bracket { attempt: round.attempt, tags, seen: [None; 2] });
        if self.engine.brackets.len() > KEPT {
            self.engine.brackets.remove(0);
        }
        // A probe that is lost for good shows after one round trip; later its port may lie anywhere behind the bubble's, so
        // all three go again from a fresh socket.
        self.due = Some(now + self.engine.overdue());
    }
}

impl Tactic for Bubble {
    const METHOD: Method = Method::Bubble;

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
        let Some(round) = self.rounds.iter_mut().find(|r| r.bubble == slot || r.second == Some(slot)) else {
            return;
        };
        if !matches!(round.stage, RoundStage::Opening { .. }) || port.is_none() {
            return;
        }
        if round.bubble == slot {
            round.port = port.unwrap_or_default();
        }
        if round.stage.socket_opened() {
            let round = *round;
            self.send_round(now, round);
        }
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        let mut open = None;
        let (round, ip, range) = match facts {
            Facts::Range { round, ip, first, last, step } => {
                (*round, *ip, PortRange::new(*first, *last, *step))
            }
            Facts::OpenRange { round, ip, bound, step } => {
                open = Some((*bound, *step));
                (*round, *ip, PortRange::single(*bound))
            }
            Facts::Kept { round, ip, ports } => {
                let Some(port) = ports.first() else { return };
                (*round, *ip, PortRange::single(*port))
            }
            _ => return,
        };
        let Some(attempt) = self.engine.attempt_of(round) else { return };
        if self.sends()
            || self.last_range.is_some_and(|newest| newest >= attempt)
            || !self.engine.context.is_peer(ip)
        {
            return;
        }
        self.last_range = Some(attempt);
        self.engine.clear();
        let engine = &mut self.engine;
        self.search = Some(match open {
            Some(open) => ReplySearch::start_open(now, engine, Slot::Main, ip, open),
            None => ReplySearch::start(now, engine, Slot::Main, ip, range),
        });
    }

    fn on_timeout(&mut self, now: Instant) {
        if let Some(search) = &mut self.search {
            search.step(now, &mut self.engine);
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let just_checked = self.sends() && self.engine.bracket_complete();
        match self.rounds.last_mut() {
            // The bracket stands: the other side hears of it and replies. Give that two round trips more.
            Some(round) if just_checked && round.stage == RoundStage::Sent => {
                round.stage = RoundStage::Answered;
                self.due = Some(now + self.engine.patience(2, self.attempt));
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
