//! Looking on: what was sent, where it got to, and what a host did in sum.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::nat::{DropReason, Header};

use super::{HostId, NatId};

/// It is a packet as it passes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it passed, since the world began.
    pub at: Duration,
    /// They are the addresses as they are at this place.
    pub header: Header,
    /// What the packet carries.
    pub payload: &'a [u8],
}

/// This says what became of a packet at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A host sent it.
    Sent(HostId),
    /// A NAT let it out, under this header.
    Out(NatId),
    /// A NAT let it in, under this header.
    In(NatId),
    /// A NAT turned it round.
    Hairpinned(NatId),
    /// A NAT dropped it.
    Dropped(NatId, DropReason),
    /// Its TTL ran out in the public internet.
    Expired,
    /// A link lost it.
    Lost,
    /// It is longer than a link takes.
    TooLong,
    /// Nobody has this address.
    Unroutable,
    /// A host got it, but nothing listens at this port.
    PortClosed(HostId),
    /// A host got it.
    Delivered(HostId),
}

impl Fate {
    pub(super) fn number(self) -> u64 {
        let (kind, id) = match self {
            Self::Sent(host) => (1, host.0),
            Self::Out(nat) => (2, nat.0),
            Self::In(nat) => (3, nat.0),
            Self::Hairpinned(nat) => (4, nat.0),
            Self::Dropped(nat, _) => (5, nat.0),
            Self::Expired => (6, 0),
            Self::Lost => (7, 0),
            Self::Unroutable => (8, 0),
            Self::PortClosed(host) => (9, host.0),
            Self::Delivered(host) => (10, host.0),
            Self::TooLong => (11, 0),
        };
        kind << 32 | id as u64
    }
}

/// Sees every packet at every place; may panic in a test to forbid one.
pub trait Tap {
    /// Sees what became of a packet.
    fn see(&mut self, fate: Fate, packet: &Packet<'_>);
}

impl<F: FnMut(Fate, &Packet<'_>)> Tap for F {
    fn see(&mut self, fate: Fate, packet: &Packet<'_>) {
        self(fate, packet);
    }
}

/// What a host sent and received, as the world counts it. "Players" are all addresses but the exempt ones of
/// [`World::exempt`](super::World::exempt).
#[derive(Clone, Debug, Default)]
pub struct HostStats {
    /// How many datagrams were sent.
    pub datagrams_sent: u64,
    /// It sent this many bytes of UDP payload.
    pub bytes_sent: u64,
    /// How many datagrams were received.
    pub datagrams_received: u64,
    /// This many datagrams came to a closed port.
    pub closed: u64,
    /// It counts the datagrams sent to players, by destination.
    pub targets: BTreeMap<SocketAddr, u64>,
    /// It sent this many datagrams to players.
    pub to_players: u64,
    /// The first datagram of a player arrived at this time; none: none did.
    pub first_from_player: Option<Duration>,
    /// It sent at most this many datagrams to players in any second.
    pub busiest_second: u64,
    /// It is `to_players` at the time when [`World::mark`](super::World::mark) was called.
    pub marked: Option<u64>,
    /// It opened this many sockets, beside those it began with.
    pub sockets_opened: u64,
    /// It had at most this many sockets open at a time.
    pub most_sockets: usize,
    /// They are the times of the datagrams to players in the last second.
    recent: VecDeque<Duration>,
}

impl HostStats {
    pub(super) fn sent(&mut self, now: Duration, to: SocketAddr, bytes: usize, exempt: bool) {
        self.datagrams_sent += 1;
        self.bytes_sent += bytes as u64;
        if exempt {
            return;
        }
        self.to_players += 1;
        *self.targets.entry(to).or_default() += 1;
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
            self.recent.pop_front();
        }
        self.busiest_second = self.busiest_second.max(self.recent.len() as u64);
    }

    pub(super) fn count_anew(&mut self) {
        self.targets.clear();
        self.to_players = 0;
        self.first_from_player = None;
        self.busiest_second = 0;
        self.sockets_opened = 0;
        self.most_sockets = 0;
        self.marked = None;
        self.recent.clear();
    }

    pub(super) fn received(&mut self, now: Duration, exempt: bool) {
        self.datagrams_received += 1;
        if !exempt {
            self.first_from_player.get_or_insert(now);
        }
    }
}
