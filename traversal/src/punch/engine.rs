//! What all methods share: a queue of orders with times and budget, sockets, tags, rounds.

mod openers;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Ledger, Progress, PunchContext, PunchOrder, Round, Slot, Verdict};
use crate::config::Detect;
use crate::method::Method;
use crate::ports::distance;
use crate::wire::message::{Ahead, Facts, ProbePurpose};

/// After these times a test is sent again, after the first time: openers three times within 100 ms. These are copies
/// against loss, sent before any answer can be there, so they follow no round trip: at 15 % loss all three are lost
/// once in 300 times, and the next round, which does follow it, sends three more.
pub(super) const REPEATS: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(80)];

/// A range that a player claims to have measured itself (E2) has at most this many ports; the server believes no wider
/// one. Brackets of busy NATs hold less than ten; this is about what the other side's own caps would let it try.
pub const WIDEST_CLAIM: u32 = 1_024;

#[derive(Debug)]
struct Queued {
    order: PunchOrder,
    /// So many datagrams should leave in a row, from this one on.
    row: u32,
    /// This says whether it is part of a search by many ports, which may have to wait for another match's.
    wide: bool,
}

/// This is a range probe pair of this side, under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    pub(super) attempt: u8,
    pub(super) tags: [u32; 2],
    pub(super) seen: [Option<SocketAddr>; 2],
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) context: PunchContext,
    pub(super) method: Method,
    /// This says where the lobby server sees the other side.
    pub(super) peer: SocketAddr,
    /// This is the lobby server's first socket.
    pub(super) server: SocketAddr,
    pub(super) brackets: Vec<Bracket>,
    queue: BTreeMap<(Instant, u64), Queued>,
    sequence: u64,
    next_tag: u32,
    next_slot: u16,
    blocked_until: Option<Instant>,
    heard_until: Option<Instant>,
    cap_reached: bool,
    exhausted: bool,
    /// Another match searches, so what is wide has to wait.
    wide_waits: bool,
    /// This says when probes first left, by their tags.
    left: BTreeMap<u32, Instant>,
}

/// Probes whose time of leaving is remembered.
const LEFT: usize = 64;

impl Engine {
    pub(super) fn new(method: Method, context: PunchContext, peer: SocketAddr, server: SocketAddr) -> Self {
        // Sockets of an older plan may still be open under their names.
        let next_slot = u16::from(context.edition) << 11;
        Self {
            context,
            method,
            peer,
            server,
            brackets: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            next_tag: 0,
            next_slot,
            blocked_until: None,
            heard_until: None,
            cap_reached: false,
            exhausted: false,
            wide_waits: false,
            left: BTreeMap::new(),
        }
    }

    /// Returns the time after which an answer of the server is overdue.
    pub(super) fn overdue(&self) -> Duration {
        self.context.rtt.overdue()
    }

    /// Returns how long to wait for something that the other side has a part in: so many round trips. Where nobody
    /// told how far the other side is from the server, it may be much farther than is usual, so the wait grows with
    /// each attempt.
    pub(super) fn patience(&self, round_trips: u32, attempt: u8) -> Duration {
        let wait = self.context.round_trip() * round_trips;
        if self.context.peer_rtt.rtt().is_some() { wait } else { wait * (u32::from(attempt) + 1) / 2 }
    }

    /// Returns where bubbles go beside the port that the lobby server sees: what was set by hand (M9), at the other
    /// side's IP.
    pub(super) fn set_targets(&self) -> Vec<SocketAddr> {
        let ports = self.context.bubble_targets.iter().filter(|port| **port != self.peer.port());
        ports.map(|port| SocketAddr::new(self.peer.ip(), *port)).collect()
    }

    fn push(&mut self, at: Instant, row: u32, order: PunchOrder) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), Queued { order, row, wide: false });
    }

    /// Asks for a fresh socket and gives its slot.
    pub(super) fn open(&mut self, now: Instant) -> u16 {
        let slot = self.next_slot;
        self.next_slot = self.next_slot.wrapping_add(1);
        self.push(now, 0, PunchOrder::OpenSocket { slot });
        slot
    }

    pub(super) fn close(&mut self, now: Instant, slot: u16) {
        self.push(now, 0, PunchOrder::CloseSocket { slot });
    }

    /// Sends a test, the first of `row` datagrams that belong together.
    pub(super) fn test(&mut self, at: Instant, row: u32, slot: Slot, to: SocketAddr) {
        self.push(at, row, PunchOrder::Test { slot, to, ttl: None });
    }

    /// Sends a test to a port of a wide search.
    pub(super) fn wide_test(&mut self, at: Instant, slot: Slot, to: SocketAddr) {
        self.sequence += 1;
        let order = PunchOrder::Test { slot, to, ttl: None };
        self.queue.insert((at, self.sequence), Queued { order, row: 1, wide: true });
    }

    /// Returns whether a wide search waits for another match's to end.
    pub(super) fn wide_waits(&self) -> bool {
        self.wide_waits
    }

    /// Sends the same test again, a little later, in case it was lost. That makes no new mapping.
    pub(super) fn repeat(&mut self, now: Instant, slot: Slot, to: SocketAddr) {
        for later in REPEATS {
            self.test(now + later, 1, slot, to);
        }
    }

    pub(super) fn probe(
        &mut self,
        at: Instant,
        row: u32,
        slot: u16,
        to: SocketAddr,
        purpose: ProbePurpose,
    ) -> u32 {
        self.next_tag += 1;
        let tag = self.next_tag;
        self.push(at, row, PunchOrder::Probe { slot: Slot::Own(slot), to, purpose, tag });
        tag
    }

    /// A range probe, repeated in case it is lost. That makes no new mapping, unless the first one has not come as far as the
    /// NAT; such a round fails as it would without.
    pub(super) fn range_probe(
        &mut self,
        at: Instant,
        row: u32,
        (slot, to): (u16, SocketAddr),
        attempt: u8,
        second: bool,
    ) -> u32 {
        let purpose = self.range_purpose(attempt, second);
        let tag = self.probe(at, row, slot, to, purpose);
        for later in REPEATS {
            self.push(at + later, 1, PunchOrder::Probe { slot: Slot::Own(slot), to, purpose, tag });
        }
        tag
    }

    /// Returns the number of one of this puncher's rounds.
    pub(super) fn round(&self, attempt: u8) -> u16 {
        Round { edition: self.context.edition, method: self.method, attempt }.number()
    }

    /// Returns the attempt that facts with this round belong to, if they are this method's.
    pub(super) fn attempt_of(&self, round: u16) -> Option<u8> {
        Round::attempt_of(self.context.edition, self.method, round)
    }

    /// Returns what a range probe asks of the server: with E2 it only reports.
    fn range_purpose(&self, attempt: u8, second: bool) -> ProbePurpose {
        match self.context.detect {
            Detect::Server => {
                ProbePurpose::Range { match_id: self.context.match_id, round: self.round(attempt), second }
            }
            Detect::Peer => ProbePurpose::SignedReport,
        }
    }

    /// Returns a probe that makes this side's newest port known (M23), and `ahead` of it the ports to be sent to. It
    /// is repeated in case it is lost, which makes no new mapping.
    pub(super) fn newest_probe(
        &mut self,
        at: Instant,
        row: u32,
        slot: u16,
        attempt: u8,
        ahead: Ahead,
    ) -> u32 {
        let round = self.round(attempt);
        let purpose = ProbePurpose::Newest { match_id: self.context.match_id, round, ahead };
        let tag = self.probe(at, row, slot, self.server, purpose);
        for later in REPEATS {
            let order = PunchOrder::Probe { slot: Slot::Own(slot), to: self.server, purpose, tag };
            self.push(at + later, 1, order);
        }
        tag
    }

    /// Returns when the probe with this tag first left.
    pub(super) fn left_at(&self, tag: u32) -> Option<Instant> {
        self.left.get(&tag).copied()
    }

    /// Tells the other side which ports the next packets leave by.
    pub(super) fn tell_kept(&mut self, at: Instant, attempt: u8, ports: Vec<u16>) {
        let round = self.round(attempt);
        self.push(at, 0, PunchOrder::TellKept { round, ports });
    }

    /// Takes an answer to a probe. With E2 a complete bracket is told to the other side.
    pub(super) fn probe_seen(&mut self, now: Instant, tag: u32, observed: SocketAddr) {
        let Some(bracket) = self.brackets.iter_mut().find(|b| b.tags.contains(&tag)) else { return };
        let second = usize::from(bracket.tags[1] == tag);
        if bracket.seen[second].replace(observed).is_some() {
            return;
        }
        let Bracket { attempt, mut tags, seen } = *bracket;
        // One port for everybody is the first probe's; the second probe's socket has nothing to do with it.
        let fixed = self.context.own_is_fixed();
        let (first, mut last) = match seen {
            [Some(first), _] if fixed && second == 0 => (first, first),
            [Some(first), Some(last)] if !fixed => (first, last),
            _ => return,
        };
        // Where ports do not count, the first one is the best guess, and so wide a range would not be believed.
        if fixed || distance(first.port(), last.port()).unsigned_abs() > WIDEST_CLAIM {
            (tags[1], last) = (tags[0], first);
        }
        if self.context.detect == Detect::Peer && first.ip() == last.ip() {
            let facts = Facts::Range {
                round: self.round(attempt),
                ip: first.ip(),
                first: first.port(),
                last: last.port(),
                step: super::step_of(&self.context.own),
            };
            self.push(now, 0, PunchOrder::Report { facts, tags });
        }
    }

    /// Both probes of the newest bracket were answered.
    pub(super) fn bracket_complete(&self) -> bool {
        self.brackets.last().is_some_and(|b| b.seen.iter().all(Option::is_some))
    }

    /// Takes another address of the other side, as the server tells.
    pub(super) fn peer_moved(&mut self, addresses: &[SocketAddr]) {
        self.context.peer_public = addresses.to_vec();
        if let Some(peer) = self.context.peer_address() {
            self.peer = peer;
        }
    }

    /// The other side was heard: hold still while the host makes a path of it. Should that fail, go on later.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_until = Some(now + self.patience(4, 1));
        self.wide_waits = false;
        self.queue
            .retain(|_, q| matches!(q.order, PunchOrder::CloseSocket { .. } | PunchOrder::OpenSocket { .. }));
    }

    /// Returns whether the puncher holds still.
    pub(super) fn holds_still(&mut self, now: Instant) -> bool {
        self.heard_until = self.heard_until.filter(|until| *until > now);
        self.heard_until.is_some()
    }

    /// Forgets tests and probes that wait.
    pub(super) fn clear(&mut self) {
        self.wide_waits = false;
        self.queue.retain(|_, q| !matches!(q.order, PunchOrder::Test { .. } | PunchOrder::Probe { .. }));
    }

    pub(super) fn set_exhausted(&mut self) {
        self.exhausted = true;
    }

    pub(super) fn poll_order(&mut self, now: Instant, ledger: &mut Ledger<'_>) -> Option<PunchOrder> {
        self.blocked_until = None;
        self.wide_waits = false;
        loop {
            let waits = self.wide_waits;
            let (key, _) = self.queue.iter().find(|(_, queued)| !(waits && queued.wide))?;
            let (key, due) = (*key, key.0);
            let Entry::Occupied(entry) = self.queue.entry(key) else { return None };
            if due > now {
                return None;
            }
            let Queued { order, row, wide } = entry.get();
            if *wide && !ledger.wide(self.context.match_id) {
                self.wide_waits = true;
                continue;
            }
            let verdict = match order {
                PunchOrder::Test { to, .. } => ledger.datagram(now, *row, Some(*to)),
                PunchOrder::Probe { .. } => ledger.datagram(now, *row, None),
                PunchOrder::OpenSocket { .. } if !ledger.socket() => Verdict::Refused,
                _ => Verdict::Go,
            };
            match verdict {
                Verdict::Go => {
                    let order = entry.remove().order;
                    if let PunchOrder::Probe { tag, .. } = order {
                        self.left.entry(tag).or_insert(now);
                        if self.left.len() > LEFT {
                            self.left.pop_first();
                        }
                    }
                    return Some(order);
                }
                Verdict::Wait(until) => {
                    self.blocked_until = Some(until);
                    return None;
                }
                Verdict::Refused => {
                    entry.remove();
                    self.cap_reached = true;
                }
            }
        }
    }

    /// Returns the earlier of what the queue waits for and what the method waits for.
    pub(super) fn poll_timeout(&self, method: Option<Instant>) -> Option<Instant> {
        let next = || {
            let mut queue = self.queue.iter().filter(|(_, queued)| !(self.wide_waits && queued.wide));
            queue.next().map(|((at, _), _)| *at)
        };
        let queue = self.blocked_until.or_else(next);
        // While it holds still, the method's own time may pass.
        [queue, self.heard_until.or(method)].into_iter().flatten().min()
    }

    pub(super) fn progress(&self) -> Progress {
        if self.heard_until.is_some() {
            Progress::Heard
        } else if self.exhausted && self.queue.is_empty() {
            Progress::Exhausted
        } else if self.cap_reached {
            Progress::CapReached
        } else {
            Progress::Running
        }
    }
}
