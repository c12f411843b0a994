//! One bubble between two range probes (M13-M19; S1 E1, and E2 where the peer works out the range).

use std::net::SocketAddr;
use std::time::Instant;

use super::Slot;
use super::engine::{Bracket, Engine};
use super::search::ReplySearch;
use super::tactic::Tactic;
use crate::nat::MappingBehavior;
use crate::ports::PortRange;
use crate::wire::message::{Facts, Method, Role};

/// Rounds of a sending side: each takes one or two sockets.
const ROUNDS: u8 = 24;

/// Sockets of so many rounds stay open for late replies.
const KEPT: usize = 3;

#[derive(Debug)]
pub(super) struct Bubble {
    engine: Engine,
    /// Sending: when to go on. Receiving: when to test again, where the sender's port is known.
    due: Option<Instant>,
    attempt: u8,
    /// Sending: the round whose sockets are being opened, then those of rounds under way.
    rounds: Vec<Sockets>,
    search: Option<ReplySearch>,
    last_range: Option<u8>,
}

/// Sockets of a round: the bubble's, and the second probe's if that is another one.
#[derive(Clone, Copy, Debug)]
struct Sockets {
    attempt: u8,
    bubble: u16,
    second: Option<u16>,
    waiting: u8,
    sent: bool,
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

    /// Sending: the next bubble. Receiving: a reply to a sender whose port is known without a range.
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
            self.due = Some(now + self.engine.overdue() * u32::from(self.attempt.min(4)));
        } else if self.sends() {
            self.open_round(now);
        } else {
            self.due = None;
        }
    }

    /// The server's socket for the second probe, and whether a fresh socket must send it (M14, M16).
    fn second_probe(&self) -> (SocketAddr, bool) {
        let servers = &self.engine.context.servers;
        let first = self.engine.server;
        let v4 = |a: &&SocketAddr| a.is_ipv4() == first.is_ipv4();
        if let Some(other) = servers.iter().filter(v4).find(|a| a.ip() != first.ip()) {
            return (*other, false);
        }
        let port_sensitive = self.engine.context.own.mapping == MappingBehavior::AddressAndPortDependent;
        match servers.iter().filter(v4).find(|a| **a != first) {
            Some(other) if port_sensitive => (*other, false),
            _ => (first, true),
        }
    }

    fn open_round(&mut self, now: Instant) {
        let (_, fresh) = self.second_probe();
        let bubble = self.engine.open(now);
        let second = fresh.then(|| self.engine.open(now));
        let waiting = 1 + u8::from(fresh);
        self.rounds.push(Sockets { attempt: self.attempt, bubble, second, waiting, sent: false });
        if self.rounds.len() > KEPT {
            let old = self.rounds.remove(0);
            for slot in [Some(old.bubble), old.second].into_iter().flatten() {
                self.engine.close(now, slot);
            }
        }
        self.due = Some(now + self.engine.overdue() * 4);
    }

    /// Probe, bubble, probe, back to back (M14).
    fn send_round(&mut self, now: Instant, sockets: Sockets) {
        let (second_server, _) = self.second_probe();
        let (server, peer) = (self.engine.server, self.engine.peer);
        let first = self.engine.range_purpose(sockets.attempt, false);
        let second = self.engine.range_purpose(sockets.attempt, true);
        let set = self.engine.set_targets();
        let tag_first = self.engine.probe(now, 3 + set.len() as u32, sockets.bubble, server, first);
        self.engine.opener(now, 1, sockets.attempt, Slot::Own(sockets.bubble), peer);
        for to in set {
            // It is meant to get in.
            self.engine.test(now, 1, Slot::Own(sockets.bubble), to);
        }
        let second_slot = sockets.second.unwrap_or(sockets.bubble);
        let tag_second = self.engine.probe(now, 1, second_slot, second_server, second);
        self.engine.repeat_opener(now, sockets.attempt, Slot::Own(sockets.bubble), peer);
        let tags = [tag_first, tag_second];
        self.engine.brackets.push(Bracket { attempt: sockets.attempt, tags, seen: [None; 2] });
        if self.engine.brackets.len() > KEPT {
            self.engine.brackets.remove(0);
        }
        // A lost probe shows after one round trip; a probe repeated on its own would lie behind the bubble's
        // port, so all three go again from a fresh socket.
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

    fn on_socket(&mut self, now: Instant, slot: u16, open: bool) {
        let Some(round) = self.rounds.iter_mut().find(|r| r.bubble == slot || r.second == Some(slot)) else {
            return;
        };
        if round.sent || !open {
            return;
        }
        round.waiting = round.waiting.saturating_sub(1);
        if round.waiting == 0 {
            round.sent = true;
            let sockets = *round;
            self.send_round(now, sockets);
        }
    }

    fn on_facts(&mut self, now: Instant, facts: &Facts) {
        let Facts::Range { round, ip, first, last, step } = facts else { return };
        if !self.sends() {
            let Some(attempt) = self.engine.attempt_of(*round) else { return };
            if self.last_range.is_some_and(|newest| newest >= attempt) || !self.engine.context.is_peer(*ip) {
                return;
            }
            self.last_range = Some(attempt);
            let range = PortRange::new(*first, *last, *step);
            self.engine.clear();
            self.search = Some(ReplySearch::start(now, &mut self.engine, Slot::Main, *ip, range));
        }
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
            Some(round) if just_checked && round.sent && round.waiting == 0 => {
                round.waiting = u8::MAX;
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
