//! The ways to one player: test messages and confirmations (M30), the choice among them, and what keeps the chosen
//! one alive.
//!
//! Here are their tests; `candidates` has the list of them, `choice` picks among them, `size` finds out how long datagrams
//! may be, `address` tells what kind of way an address is.

mod address;
mod candidates;
mod choice;
mod size;
mod sizing;

use std::time::{Duration, Instant};

use crate::api::{PathKind, SocketId};
use crate::config::AgentConfig;
use crate::method::Method;
use crate::open_tests::{OpenTest, OpenTests};
use crate::pulse::Doubt;
use crate::timer::earliest;
use crate::way::Way;
pub(crate) use address::kind_of;
pub(crate) use candidates::Candidate;
use size::{Carries, SizeSearch};

/// After these gaps test messages go again to an address that has not confirmed: "repeat openers 3x at 20-50 ms",
/// then ever slower, so that a lost one costs little and a dead address costs little. This is a pace, whatever the
/// round trip: a test may be the one that opens a NAT, and several are on their way over a long one.
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

/// So much time passes between two tests of one way while the other side is away, for a minute at the most: it may be
/// noticed so late that it is back. It is a pace, whatever the round trip.
const AWAY_GAP: Duration = Duration::from_millis(500);

/// A player has so many addresses at the most, with those that it only turned out to use (RFC 8445 section 7.3.1.3:
/// peer-reflexive).
const MAX_CANDIDATES: usize = 32;
/// After so many confirmations of unknown tests the others count only from where the test went: somebody may be guessing.
const STRIKES: u32 = 64;

/// Pings are no closer together than this, whatever the settings say.
const LEAST_PING: Duration = Duration::from_millis(10);

/// Better ways are tried again after these times while the game plays over the relay; the last two also count over a
/// direct way, for the own network.
const UPGRADE: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// This is what [`Paths::handle_timeout`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathNews {
    /// The way in use does not answer as it did.
    pub(crate) doubt: bool,
    /// It is time to look for a better way again.
    pub(crate) upgrade: bool,
}

/// These are all ways to one player.
#[derive(Debug)]
pub(crate) struct Paths {
    candidates: Vec<Candidate>,
    /// Game datagrams take this way; there is none until one is proven.
    in_use: Option<InUse>,
    /// This is a better one that was too narrow: the game moves there once it has shown that it carries full
    /// datagrams.
    prospect: Option<usize>,
    /// Better ways are looked for until then.
    settle: Option<Instant>,
    /// A round trip to the other side may take so long, from what both take to the server.
    expected: Option<Duration>,
    /// These tests are on their way; a way is proven by the confirmation of one of them.
    open_tests: OpenTests,
    /// This says when a confirmation of one of our tests last came, by whichever way.
    answered: Option<Instant>,
    /// The other side is away: all ways are tried, at a calm pace.
    away: bool,
    /// This says when it was last looked whether the way in use is in doubt.
    checked: Option<Instant>,
    /// The game has had to take a lesser way so often, since a way last stood for a minute.
    falls: usize,
    /// Until then the lesser way is kept that the game fell to.
    held: Option<Instant>,
    /// This is the way that the other side's latest game datagram took.
    data_from: Option<Way>,
    /// This says when the better ways are tried again, and how often they were.
    upgrade: Option<(Instant, usize)>,
    /// This counts the confirmations of tests that were never sent, or long ago.
    strikes: u32,
}

/// This is the way that game datagrams take, with how it does.
#[derive(Clone, Copy, Debug)]
struct InUse {
    /// This is its place in the list of candidates.
    index: usize,
    /// This says when the game began to take it.
    since: Instant,
    next_ping: Instant,
    /// Pings in a row that went out faster than usual.
    hurried: usize,
    doubt: Doubt,
    /// Another way is being made ready, since this one seems dead.
    recovering: bool,
}

/// This is what is known of where a datagram of the other player came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) kind: PathKind,
    /// This says whether the server has named this IP as the other player's.
    pub(crate) vouched: bool,
    /// This is the method that the datagram belongs to, as far as this side can tell.
    pub(crate) method: Option<Method>,
}

/// This is a test message that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestOrder {
    pub(crate) way: Way,
    pub(crate) method: Method,
    pub(crate) tag: u32,
    /// The datagram is to be so long, a relay's header included; `None`: short.
    pub(crate) probe: Option<usize>,
}

impl Paths {
    /// No ways are known at first. The seed is for tags that nobody can guess; `expected`: what a round trip to the other
    /// side may take.
    pub(crate) fn new(seed: [u8; 32], expected: Option<Duration>) -> Self {
        Self {
            expected,
            candidates: Vec::new(),
            in_use: None,
            prospect: None,
            settle: None,
            open_tests: OpenTests::new(seed),
            answered: None,
            away: false,
            checked: None,
            falls: 0,
            held: None,
            data_from: None,
            upgrade: None,
            strikes: 0,
        }
    }

    /// The relay may carry again: that is tried at once, if it is the way in use.
    pub(crate) fn revive_relay(&mut self, now: Instant) {
        if let Some(in_use) = self.in_use.as_mut().filter(|way| self.candidates[way.index].is_relay()) {
            self.candidates[in_use.index].pulse.forgive();
            (in_use.next_ping, in_use.hurried) = (now, 0);
        }
    }

    /// Returns when a test was last answered.
    pub(crate) fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// Notes whether the other side is away, see [`AWAY_GAP`].
    pub(crate) fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// Returns whether game datagrams take this way.
    pub(crate) fn is_selected(&self, way: Way) -> bool {
        self.selected().is_some_and(|path| path.way == way)
    }

    /// Returns whether game datagrams take the way through the relay.
    pub(crate) fn is_relayed(&self) -> bool {
        self.selected().is_some_and(Candidate::is_relay)
    }

    /// Returns the path that game datagrams take.
    pub(crate) fn selected(&self) -> Option<&Candidate> {
        self.in_use.map(|way| &self.candidates[way.index])
    }

    fn selected_index(&self) -> Option<usize> {
        self.in_use.map(|way| way.index)
    }

    fn doubt(&self) -> Doubt {
        self.in_use.map_or(Doubt::None, |way| way.doubt)
    }

    fn is_recovering(&self) -> bool {
        self.in_use.is_some_and(|way| way.recovering)
    }

    /// Returns the path that the other side's game datagrams take, as far as is known.
    pub(crate) fn selected_there(&self) -> Option<&Candidate> {
        let index = self.data_from.and_then(|way| self.find(way));
        index.map(|index| &self.candidates[index]).or_else(|| self.selected())
    }

    /// Returns whether what the other side sends comes from elsewhere than this side sends to.
    pub(crate) fn is_crossed(&self) -> bool {
        self.selected().is_some_and(|path| path.heard.is_none())
    }

    /// Returns whether no way is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Returns whether something authentic arrived at some time, not through the relay.
    pub(crate) fn heard_directly(&self) -> bool {
        self.candidates.iter().any(|path| path.heard.is_some() && !path.is_relay())
    }

    /// Notes that something authentic arrived by this way. Returns the tag of a test to be sent along with the answer,
    /// where the way has not confirmed yet (M18: answer to where it came from).
    pub(crate) fn heard(&mut self, now: Instant, way: Way, origin: Origin) -> Option<u32> {
        let index = self.find(way).or_else(|| {
            let own = self.open_tests.newest(way);
            let method = own.map(|test| test.method).or(origin.method).unwrap_or(Method::Cone);
            // One direct way is enough: more of them are only answered.
            let wanted = !self.candidates.iter().any(|path| path.confirmed && !path.is_relay());
            self.push(way, origin.kind, method, (origin.vouched && wanted).then(|| now + TEST_GAPS[0]))
        })?;
        let recovering = self.is_recovering();
        let candidate = &mut self.candidates[index];
        candidate.heard = Some(now);
        if candidate.confirmed && !recovering {
            return None;
        }
        let method = candidate.method;
        if candidate.is_relay() {
            // The server takes it from the other side's proven address only, and brought it to ours: it carries both
            // ways, and waiting for a confirmation would cost the game another round trip over the longer way.
            candidate.confirmed = true;
            candidate.next_test = None;
        }
        Some(self.open_test(now, way, method))
    }

    /// Notes a test that leaves now, and gives it a tag.
    pub(crate) fn open_test(&mut self, now: Instant, way: Way, method: Method) -> u32 {
        self.open_tests.open(OpenTest { way, method, sent: now, probe: None })
    }

    /// Takes a confirmation that arrived on this way. True when a way is proven by it for the first time.
    ///
    /// It proves that the test got to where it was sent, and so does what is sent there from now on; wherever the
    /// confirmation came from (RFC 9000 section 8.2.3 has it so for QUIC). A NAT with a port for each destination answers from
    /// another one than was aimed at: two such NATs, each of which lets everybody in, are both reached at the
    /// ports that the server knows, and whoever followed the other's latest source instead would open a new one with
    /// every answer.
    pub(crate) fn confirmed(&mut self, now: Instant, tag: u32, way: Way, lan: bool) -> bool {
        let Some(test) = self.open_tests.close(tag) else {
            self.strikes = self.strikes.saturating_add(1);
            return false;
        };
        let crossed = test.way != way;
        // Who relays confirms by the relay, and that says nothing about another way's round trip.
        if crossed && (self.strikes >= STRIKES || test.way.is_relay() != way.is_relay()) {
            return false;
        }
        let index = self.find(test.way).or_else(|| {
            let kind = kind_of(test.way.remote, lan);
            self.push(test.way, kind, test.method, None)
        });
        self.answered = Some(now);
        let Some(index) = index else { return false };
        let candidate = &mut self.candidates[index];
        candidate.pulse.answer(now, test.sent);
        candidate.size.answered(now, test.sent, test.probe);
        self.proven(index)
    }

    /// Game data arrived on this way, from an address that is known to be the other side's: it has had our confirmation.
    /// True when that is news.
    pub(crate) fn carried_data(&mut self, way: Way) -> bool {
        self.data_from = Some(way);
        let Some(index) = self.find(way) else { return false };
        // It may well arrive while nothing gets back.
        let one_way = self.selected_index() == Some(index) && self.doubt() == Doubt::Dead;
        !one_way && self.proven(index)
    }

    /// Returns the tests that are due now.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        config: &AgentConfig,
        orders: &mut Vec<TestOrder>,
    ) -> PathNews {
        let news = PathNews { doubt: self.watch(now), upgrade: self.try_upgrade(now) };
        let settled = self.settle.is_some_and(|at| at <= now) && !self.is_recovering();
        let pace = if self.away { AWAY_GAP } else { Duration::ZERO };
        let mut due: Vec<usize> = Vec::new();
        let relayed = self.is_relayed();
        for (index, candidate) in self.candidates.iter_mut().enumerate() {
            // A direct way that punching has only just opened is worth some tests whenever that was.
            let opened = relayed && candidate.heard.is_some() && candidate.tests < TEST_GAPS.len();
            if settled && !opened {
                candidate.next_test = None;
            }
            if candidate.next_test.is_some_and(|at| at <= now) {
                let gap = TEST_GAPS[candidate.tests.min(TEST_GAPS.len() - 1)].max(pace);
                candidate.tests += 1;
                candidate.next_test = Some(now + gap);
                due.push(index);
            }
        }
        if let Some(in_use) = self.in_use.as_mut().filter(|way| way.next_ping <= now) {
            let gap = if in_use.doubt == Doubt::None {
                config.path_ping.max(LEAST_PING)
            } else {
                in_use.hurried += 1;
                TEST_GAPS[(in_use.hurried - 1).min(TEST_GAPS.len() - 1)].max(pace)
            };
            in_use.next_ping = now + gap;
            if !due.contains(&in_use.index) {
                due.push(in_use.index);
            }
        }
        for index in due {
            self.candidates[index].pulse.ping(now);
            let Candidate { way, method, .. } = self.candidates[index];
            let tag = self.open_test(now, way, method);
            orders.push(TestOrder { way, method, tag, probe: None });
        }
        self.test_sizes(now, orders);
        news
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let tests = self.candidates.iter().filter_map(|candidate| candidate.next_test).min();
        let doubt = self.in_use.and_then(|way| {
            let since = self.checked.unwrap_or(way.since);
            self.candidates[way.index].pulse.next_doubt(since)
        });
        // Only what is in use is pinged, and improved upon.
        let upgrade = self.upgrade.map(|(at, _)| at).filter(|_| self.in_use.is_some());
        let ping = self.in_use.map(|way| way.next_ping);
        earliest(earliest(earliest(tests, ping), earliest(doubt, upgrade)), self.next_size())
    }

    /// Returns the sockets on which the other side was heard: they are not to be closed.
    pub(crate) fn sockets_in_use(&self) -> Vec<SocketId> {
        let heard = |candidate: &&Candidate| candidate.heard.is_some();
        self.candidates.iter().filter(heard).map(|candidate| candidate.way.socket).collect()
    }

    /// Returns the sockets that a way in use runs on: this side's, or the one that the other side keeps using.
    pub(crate) fn sockets_used(&self, since: Option<Instant>) -> Vec<SocketId> {
        let mut used: Vec<SocketId> = self.selected().map(|path| path.way.socket).into_iter().collect();
        used.extend(self.data_from.map(|way| way.socket));
        let heard = |candidate: &&Candidate| candidate.heard > since;
        used.extend(self.candidates.iter().filter(heard).map(|candidate| candidate.way.socket));
        used
    }

    /// The ways in use are settled on: forget the others' sockets but these.
    pub(crate) fn keep_only(&mut self, sockets: &[SocketId], main: impl Fn(SocketId) -> bool) {
        let selected = self.selected().map(|path| path.way);
        self.candidates.retain(|candidate| {
            let socket = candidate.way.socket;
            sockets.contains(&socket) || main(socket)
        });
        let index = selected.and_then(|way| self.find(way));
        self.in_use = self.in_use.zip(index).map(|(in_use, index)| InUse { index, ..in_use });
        self.prospect = None;
    }
}

#[cfg(test)]
mod tests;
