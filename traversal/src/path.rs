//! The ways to one player: test messages and confirmations (M30), the choice among them, and what keeps the chosen
//! one alive.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::api::{PathKind, SocketId};
use crate::config::AgentConfig;
use crate::timer::earliest;
use crate::wire::message::Method;

/// When test messages go to an address that has not confirmed, after the first: "repeat openers 3x at 20-50 ms", then
/// ever slower, so that a lost one costs little and a dead address costs little.
const TEST_GAPS: [Duration; 8] = [
    Duration::from_millis(25),
    Duration::from_millis(35),
    Duration::from_millis(60),
    Duration::from_millis(100),
    Duration::from_millis(150),
    Duration::from_millis(200),
    Duration::from_millis(250),
    Duration::from_millis(300),
];
/// Addresses per player, with those that it only turned out to use (RFC 8445 section 7.3.1.3: peer-reflexive).
const MAX_CANDIDATES: usize = 32;
/// Tests whose confirmation is still of interest.
const MAX_OPEN_TESTS: usize = 4096;
/// How long better addresses are still tested once a path stands.
const SETTLE: Duration = Duration::from_millis(1500);
/// A path of the same kind must be this much faster to be worth a change.
const FASTER: f64 = 0.7;

/// Stands for the way through the server's relay, which leaves by the link to the server.
pub(crate) const RELAY: SocketId = SocketId(u32::MAX);

/// How often better ways are tried again while the game plays over the relay.
const UPGRADE: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20), Duration::from_secs(60)];

/// One way.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) socket: SocketId,
    pub(crate) remote: SocketAddr,
    pub(crate) kind: PathKind,
    pub(crate) method: Method,
    /// The server named it: tested by our own clock. Others get one answer for each datagram that came from there, so
    /// that a player who forges its source cannot turn us on anybody.
    vouched: bool,
    next_test: Option<Instant>,
    tests: usize,
    pub(crate) heard: Option<Instant>,
    /// The latest confirmation: what goes this way arrives.
    answered: Option<Instant>,
    confirmed: bool,
    pub(crate) rtt: Option<Duration>,
}

/// All ways to one player.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    candidates: Vec<Candidate>,
    selected: Option<usize>,
    /// Better ways are looked for until then.
    settle: Option<Instant>,
    next_ping: Option<Instant>,
    next_tag: u32,
    /// Which way a test went, and when.
    open_tests: BTreeMap<u32, OpenTest>,
    /// No way answers at present.
    recovering: bool,
    /// The way that the other side's latest game datagram took.
    data_from: Option<(SocketId, SocketAddr)>,
    /// When the better ways are tried again, and how often they were.
    upgrade: Option<(Instant, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct OpenTest {
    socket: SocketId,
    remote: SocketAddr,
    method: Method,
    sent: Instant,
}

/// A test message that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestOrder {
    pub(crate) socket: SocketId,
    pub(crate) remote: SocketAddr,
    pub(crate) method: Method,
    pub(crate) tag: u32,
}

impl Paths {
    /// An address that the server vouches for, to be tested from `at` on.
    pub(crate) fn add(
        &mut self,
        at: Instant,
        socket: SocketId,
        remote: SocketAddr,
        kind: PathKind,
        method: Method,
    ) {
        if let Some(index) = self.find(socket, remote) {
            let candidate = &mut self.candidates[index];
            if !candidate.vouched {
                candidate.vouched = true;
                candidate.next_test = Some(at);
            }
        } else {
            self.push(socket, remote, kind, method, Some(at));
        }
    }

    fn push(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        kind: PathKind,
        method: Method,
        next_test: Option<Instant>,
    ) -> Option<usize> {
        if self.candidates.len() >= MAX_CANDIDATES {
            return None;
        }
        let vouched = next_test.is_some();
        let (heard, rtt) = (None, None);
        let candidate = Candidate {
            socket,
            remote,
            kind,
            method,
            vouched,
            next_test,
            tests: 0,
            heard,
            answered: None,
            confirmed: false,
            rtt,
        };
        self.candidates.push(candidate);
        Some(self.candidates.len() - 1)
    }

    fn find(&self, socket: SocketId, remote: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.socket == socket && candidate.remote == remote)
    }

    /// Game datagrams take this way.
    pub(crate) fn is_selected(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.selected().is_some_and(|path| path.socket == socket && path.remote == remote)
    }

    /// The path that game datagrams take.
    pub(crate) fn selected(&self) -> Option<&Candidate> {
        self.selected.map(|index| &self.candidates[index])
    }

    /// The path that the other side's game datagrams take, as far as is known.
    pub(crate) fn selected_there(&self) -> Option<&Candidate> {
        let index = self.data_from.and_then(|(socket, from)| self.find(socket, from));
        index.map(|index| &self.candidates[index]).or_else(|| self.selected())
    }

    /// No way is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Something authentic arrived at some time.
    pub(crate) fn heard_any(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.heard.is_some())
    }

    /// Something authentic arrived here; `vouched`: the server has named this IP as the other side's; `method`: which one the other side says it belongs to. Returns the tag of a
    /// test to be sent along with the answer, where this way has not confirmed yet (M18: answer to where it came
    /// from).
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        (kind, vouched): (PathKind, bool),
        method: Option<Method>,
    ) -> Option<u32> {
        let index = self.find(socket, from).or_else(|| {
            let own =
                self.open_tests.values().rev().find(|test| test.socket == socket && test.remote == from);
            let method = own.map(|test| test.method).or(method).unwrap_or(Method::Cone);
            // One direct way is enough: more of them are only answered.
            let wanted = self.selected().is_none_or(|path| path.kind == PathKind::Relay);
            self.push(socket, from, kind, method, (vouched && wanted).then(|| now + TEST_GAPS[0]))
        })?;
        let candidate = &mut self.candidates[index];
        candidate.heard = Some(now);
        if candidate.confirmed && !self.recovering {
            return None;
        }
        let method = candidate.method;
        Some(self.open_test(now, socket, from, method))
    }

    /// A tag for a test message.
    pub(crate) fn open_test(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: SocketAddr,
        method: Method,
    ) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        self.open_tests.insert(tag, OpenTest { socket, remote, method, sent: now });
        if self.open_tests.len() > MAX_OPEN_TESTS {
            self.open_tests.pop_first();
        }
        tag
    }

    /// A confirmation arrived on this way. True when it proves the way in both directions for the first time.
    pub(crate) fn confirmed(&mut self, now: Instant, tag: u32, socket: SocketId, from: SocketAddr) -> bool {
        let Some(test) = self.open_tests.remove(&tag) else { return false };
        // The other side's NAT answered from elsewhere: that way is tested on its own (see `heard`).
        if test.socket != socket || test.remote != from {
            return false;
        }
        let Some(index) = self.find(socket, from) else { return false };
        let candidate = &mut self.candidates[index];
        candidate.answered = Some(now);
        let sample = now.saturating_duration_since(test.sent);
        candidate.rtt = Some(candidate.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        self.proven(index)
    }

    /// Game data arrived on this way: the other side has had our confirmation. True when that is news.
    pub(crate) fn carried_data(&mut self, socket: SocketId, from: SocketAddr) -> bool {
        self.data_from = Some((socket, from));
        self.find(socket, from).is_some_and(|index| self.proven(index))
    }

    fn proven(&mut self, index: usize) -> bool {
        let candidate = &mut self.candidates[index];
        let news = !candidate.confirmed;
        candidate.confirmed = true;
        candidate.next_test = None;
        news
    }

    /// Picks the best proven way. True when the choice changed.
    pub(crate) fn choose(&mut self, now: Instant, config: &AgentConfig) -> bool {
        let rank = |candidate: &Candidate| match candidate.kind {
            PathKind::Lan => 2,
            PathKind::Direct | PathKind::DirectV6 => 1,
            PathKind::Relay => 0,
        };
        let rtt = |candidate: &Candidate| candidate.rtt.unwrap_or(Duration::MAX);
        let best = (0..self.candidates.len()).filter(|index| self.candidates[*index].confirmed).min_by_key(
            |index| {
                let candidate = &self.candidates[*index];
                (std::cmp::Reverse(rank(candidate)), rtt(candidate))
            },
        );
        let Some(best) = best else { return false };
        let change = self.selected.is_none_or(|selected| {
            let (old, new) = (&self.candidates[selected], &self.candidates[best]);
            !old.confirmed
                || rank(new) > rank(old)
                || (rank(new) == rank(old) && rtt(new).as_secs_f64() < rtt(old).as_secs_f64() * FASTER)
        });
        if change && self.selected != Some(best) {
            if self.selected.is_none() {
                self.settle = Some(now + SETTLE);
            }
            self.selected = Some(best);
            self.next_ping = Some(now + config.path_ping);
            let relayed = self.candidates[best].kind == PathKind::Relay;
            self.upgrade = relayed.then(|| (now + UPGRADE[0], 1));
            let chosen = rank(&self.candidates[best]);
            for candidate in &mut self.candidates {
                if rank(candidate) <= chosen {
                    candidate.next_test = None;
                }
            }
            return true;
        }
        false
    }

    /// No answer on the chosen way: forget what was proven, test everything, and ping.
    fn recover(&mut self, now: Instant) {
        self.recovering = true;
        for candidate in &mut self.candidates {
            candidate.confirmed = false;
            if candidate.vouched || candidate.heard.is_some() {
                candidate.next_test = Some(now);
            }
        }
    }

    /// `last_heard`: of the whole channel. The tests that are due now.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        last_heard: Instant,
        config: &AgentConfig,
        orders: &mut Vec<TestOrder>,
    ) {
        let silent = now.saturating_duration_since(last_heard);
        if let Some(selected) = self.selected() {
            // The other side may be heard by its own way all the time while nothing arrives by ours.
            let unanswered =
                selected.answered.is_some_and(|at| now.saturating_duration_since(at) >= config.path_timeout);
            if silent < config.path_ping * 2 && !unanswered {
                self.recovering = false;
            } else if !self.recovering && (silent >= config.path_ping * 5 / 2 || unanswered) {
                self.recover(now);
            }
        }
        let relayed = self.selected().is_some_and(|path| path.kind == PathKind::Relay);
        if let Some((at, times)) = self.upgrade.filter(|_| relayed)
            && at <= now
        {
            self.upgrade = Some((now + UPGRADE[times.min(UPGRADE.len() - 1)], times + 1));
            self.settle = Some(now + SETTLE);
            for candidate in &mut self.candidates {
                if candidate.kind != PathKind::Relay && (candidate.vouched || candidate.heard.is_some()) {
                    candidate.confirmed = false;
                    candidate.tests = 0;
                    candidate.next_test = Some(now);
                }
            }
        }
        let settled = self.settle.is_some_and(|at| at <= now) && !self.recovering;
        let mut due: Vec<usize> = Vec::new();
        for (index, candidate) in self.candidates.iter_mut().enumerate() {
            if settled {
                candidate.next_test = None;
            }
            if candidate.next_test.is_some_and(|at| at <= now) {
                let gap = TEST_GAPS[candidate.tests.min(TEST_GAPS.len() - 1)];
                candidate.tests += 1;
                candidate.next_test = Some(now + gap);
                due.push(index);
            }
        }
        if let (Some(selected), Some(at)) = (self.selected, self.next_ping)
            && at <= now
        {
            self.next_ping = Some(now + config.path_ping);
            if !due.contains(&selected) {
                due.push(selected);
            }
        }
        for index in due {
            let Candidate { socket, remote, method, .. } = self.candidates[index];
            let tag = self.open_test(now, socket, remote, method);
            orders.push(TestOrder { socket, remote, method, tag });
        }
    }

    pub(crate) fn poll_timeout(&self, last_heard: Instant, config: &AgentConfig) -> Option<Instant> {
        let tests = self.candidates.iter().filter_map(|candidate| candidate.next_test).min();
        let recovery = self.selected().filter(|_| !self.recovering).map(|selected| {
            let unanswered = selected.answered.map(|at| at + config.path_timeout);
            let silent = last_heard + config.path_ping * 5 / 2;
            unanswered.map_or(silent, |at| at.min(silent))
        });
        let upgrade = self.upgrade.map(|(at, _)| at);
        earliest(earliest(tests, self.next_ping), earliest(recovery, upgrade))
    }

    /// Sockets on which the other side was heard: not to be closed.
    pub(crate) fn sockets_in_use(&self) -> Vec<SocketId> {
        let heard = |candidate: &&Candidate| candidate.heard.is_some();
        self.candidates.iter().filter(heard).map(|candidate| candidate.socket).collect()
    }

    /// Sockets that a way in use runs on: this side's, or the one that the other side keeps using.
    pub(crate) fn sockets_used(&self, since: Option<Instant>) -> Vec<SocketId> {
        let mut used: Vec<SocketId> = self.selected().map(|path| path.socket).into_iter().collect();
        used.extend(self.data_from.map(|(socket, _)| socket));
        let heard = |candidate: &&Candidate| candidate.heard > since;
        used.extend(self.candidates.iter().filter(heard).map(|candidate| candidate.socket));
        used
    }

    /// The ways in use are settled on: forget the others' sockets but these.
    pub(crate) fn keep_only(&mut self, sockets: &[SocketId], main: impl Fn(SocketId) -> bool) {
        let selected = self.selected().map(|path| (path.socket, path.remote));
        self.candidates.retain(|candidate| sockets.contains(&candidate.socket) || main(candidate.socket));
        self.selected = selected.and_then(|(socket, remote)| self.find(socket, remote));
    }
}

/// What a path to this address is called.
pub(crate) fn kind_of(remote: SocketAddr, lan: bool) -> PathKind {
    if lan && is_local(remote.ip()) {
        PathKind::Lan
    } else if remote.is_ipv6() {
        PathKind::DirectV6
    } else {
        PathKind::Direct
    }
}

/// Private, link-local, unique-local or loopback: never a destination without the same-NAT bit.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64; // RFC 6598
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// An address that one may send to at all.
pub fn is_sendable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
