//! Who has the places of the server: sessions by address, and who gives way when they run out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

use crate::ids::SessionId;
use crate::limits::{Counts, Waiting, widest};
use crate::server::ServerSocketId;

/// The last tenth of all places is for customers of a network that have fewer than this many sessions.
const FEW: usize = 4;

/// This says what may be held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// All together take so many places at the most.
    pub(crate) total: usize,
    /// One IPv4 address or IPv6 /64 takes so many places at the most; wider parts have a few times as many.
    pub(crate) per_address: usize,
}

/// This is the socket that a session comes to, and the address that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) socket: ServerSocketId,
    pub(crate) peer: SocketAddr,
    /// It is a connection of TCP.
    pub(crate) stream: bool,
}

/// It is small: there is one for each session.
#[derive(Debug)]
struct Entry {
    ip: IpAddr,
    /// It comes over this connection of TCP, if over any.
    stream: Option<Box<(ServerSocketId, SocketAddr)>>,
    /// This is its place in the order of those that are half-open.
    half_open: Option<NonZeroU64>,
}

impl Entry {
    fn new(way: Way, half_open: Option<NonZeroU64>) -> Self {
        let stream = way.stream.then(|| Box::new((way.socket, way.peer)));
        Self { ip: way.peer.ip(), stream, half_open }
    }
}

/// The census counts all sessions. One is half-open until a sealed datagram has come.
#[derive(Debug, Default)]
pub(crate) struct Census {
    sessions: BTreeMap<SessionId, Entry>,
    counts: Counts,
    streams: BTreeMap<(ServerSocketId, SocketAddr), usize>,
    waiting: Waiting,
    half_open: BTreeMap<NonZeroU64, SessionId>,
    /// This counts the sessions that have entered.
    entered: u64,
}

impl Census {
    /// Enters a session that is half-open.
    pub(crate) fn enter(&mut self, id: SessionId, way: Way) {
        self.entered += 1;
        let order = NonZeroU64::new(self.entered);
        if let Some(order) = order {
            self.waiting.insert(way.peer.ip(), order.get());
            self.half_open.insert(order, id);
        }
        let entry = Entry::new(way, order);
        self.count(&entry);
        self.sessions.insert(id, entry);
    }

    /// A sealed datagram has come.
    pub(crate) fn confirm(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if let Some(order) = entry.half_open.take() {
            self.waiting.remove(entry.ip, order.get());
            self.half_open.remove(&order);
        }
    }

    /// Notes that the session uses another address or protocol.
    pub(crate) fn turn(&mut self, id: SessionId, way: Way) {
        self.confirm(id);
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let former = std::mem::replace(entry, Entry::new(way, None));
        self.uncount(&former);
        self.count(&Entry::new(way, None));
    }

    pub(crate) fn leave(&mut self, id: SessionId) {
        self.confirm(id);
        if let Some(entry) = self.sessions.remove(&id) {
            self.uncount(&entry);
        }
    }

    fn count(&mut self, entry: &Entry) {
        self.counts.add(entry.ip);
        if let Some(stream) = &entry.stream {
            *self.streams.entry(**stream).or_default() += 1;
        }
    }

    fn uncount(&mut self, entry: &Entry) {
        self.counts.remove(entry.ip);
        if let Some(stream) = &entry.stream
            && let Some(count) = self.streams.get_mut(stream)
        {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(stream);
            }
        }
    }

    /// Returns whether a session is reached over this connection of TCP.
    pub(crate) fn has_stream(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.streams.contains_key(&(socket, peer))
    }

    /// Returns whether a session may come to this address from another; `id` is its own.
    pub(crate) fn may_turn(&self, id: SessionId, ip: IpAddr, places: &Places) -> bool {
        let own = self.sessions.get(&id).map(|entry| entry.ip);
        self.counts.full(ip, places.per_address, own).is_none()
    }

    /// Returns whether one more session from this address has a place. `old` is a session that ends when this one
    /// begins.
    pub(crate) fn has_room(&self, ip: IpAddr, old: Option<SessionId>, places: &Places) -> bool {
        let old = old.and_then(|id| self.sessions.get(&id)).map(|entry| entry.ip);
        self.counts.full(ip, places.per_address, old).is_none()
            && (old.is_some() || !self.is_full(ip, places))
    }

    /// Returns whether this address has all sessions that it may have.
    pub(crate) fn is_address_full(&self, ip: IpAddr, places: &Places) -> bool {
        self.counts.full(ip, places.per_address, None).is_some()
    }

    fn is_full(&self, ip: IpAddr, places: &Places) -> bool {
        let kept = places.total / 10;
        let taken = self.sessions.len();
        taken >= places.total || (taken >= places.total - kept && self.counts.of(widest(ip)) >= FEW)
    }

    /// Returns the half-open session that gives way to one from this address: the oldest of the same address where
    /// that is full, else the oldest of whoever has most of them.
    pub(crate) fn gives_way(&self, ip: IpAddr, places: &Places) -> Option<SessionId> {
        let order = match self.counts.full(ip, places.per_address, None) {
            Some(part) => self.waiting.oldest_in(part, ip),
            None if self.is_full(ip, places) => self.waiting.oldest_of_the_most(),
            None => None,
        };
        self.half_open.get(&NonZeroU64::new(order?)?).copied()
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places { total: 100, per_address: 8 };

    fn way(text: &str) -> Way {
        Way { socket: ServerSocketId(0), peer: text.parse().unwrap(), stream: true }
    }

    /// Lets it in as the server does; true: it is in.
    fn enter(census: &mut Census, id: u64, at: Way) -> bool {
        while !census.has_room(at.peer.ip(), None, &PLACES) {
            let Some(old) = census.gives_way(at.peer.ip(), &PLACES) else { return false };
            census.leave(old);
        }
        census.enter(SessionId(id), at);
        true
    }

    #[test]
    fn half_open_sessions_do_not_lock_their_address_out() {
        let mut census = Census::default();
        for id in 0..1000 {
            assert!(enter(&mut census, id, way("203.0.113.1:4000")));
        }
        assert_eq!(census.sessions.len(), 8);
        (992..1000).for_each(|id| census.confirm(SessionId(id)));
        assert!(!enter(&mut census, 1000, way("203.0.113.1:4000")), "full of players");
        assert!(enter(&mut census, 1001, way("203.0.113.2:4000")));
    }

    #[test]
    fn one_customer_does_not_fill_the_server_and_newcomers_have_the_last_tenth() {
        let mut census = Census::default();
        // 15 customers take what they get.
        let mut id = 0;
        for n in 0..15 * 8 {
            id += 1;
            if enter(&mut census, id, way(&format!("203.0.113.{}:4000", n % 15))) {
                census.confirm(SessionId(id));
            }
        }
        assert_eq!(census.sessions.len(), 90);
        for n in 100..110 {
            id += 1;
            assert!(enter(&mut census, id, way(&format!("203.0.113.{n}:4000"))), "a newcomer");
            census.confirm(SessionId(id));
        }
        assert!(!enter(&mut census, 0, way("203.0.113.200:4000")));
    }

    #[test]
    fn a_prefix_of_ipv6_is_one_customer_at_logins_and_moves() {
        let mut census = Census::default();
        for n in 0..256u64 {
            if enter(&mut census, n, way(&format!("[2001:db8:0:{n:x}::1]:4000"))) {
                census.confirm(SessionId(n));
            }
        }
        assert_eq!(census.sessions.len(), 16, "a /56 has twice the share of a /64");
        assert!(enter(&mut census, 999, way("203.0.113.1:4000")));
        let into = way("[2001:db8:0:ff::2]:4000");
        assert!(!census.may_turn(SessionId(999), into.peer.ip(), &PLACES), "nor by moving there");
        assert!(census.may_turn(SessionId(0), into.peer.ip(), &PLACES), "who is inside may move inside");
        let other = way("[2001:db8:1::2]:4000");
        assert!(census.may_turn(SessionId(999), other.peer.ip(), &PLACES));
        census.turn(SessionId(999), other);
        let former = way("203.0.113.1:4000");
        assert!(census.has_stream(other.socket, other.peer));
        assert!(!census.has_stream(former.socket, former.peer));
        (0..1000).for_each(|id| census.leave(SessionId(id)));
        assert_eq!((census.parts(), census.streams.len(), census.half_open.len()), (0, 0, 0));
    }

    #[test]
    fn an_old_session_makes_room_for_the_new_one_of_its_player() {
        let mut census = Census::default();
        for id in 0..8 {
            census.enter(SessionId(id), way("203.0.113.1:4000"));
            census.confirm(SessionId(id));
        }
        let ip = "203.0.113.1".parse().unwrap();
        assert!(!census.has_room(ip, None, &PLACES));
        assert!(census.has_room(ip, Some(SessionId(3)), &PLACES));
        census.turn(SessionId(3), way("203.0.113.9:4000"));
        census.enter(SessionId(9), way("203.0.113.1:4000"));
        assert!(!census.has_room(ip, Some(SessionId(3)), &PLACES), "it is elsewhere");
    }
}
