//! Segments, hosts and NATs, and how packets get from one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::link::{Carrier, Link};
use crate::nat::{Header, Nat, Proto, Verdict};

use super::stream::Connection;
use super::{Fate, HostStats, Node, World};

/// It is the number of a host in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub usize);

/// This is a NAT in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub usize);

/// This is a network in which hosts reach each other without a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub usize);

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It is inside a segment, to be routed.
    Segment(SegmentId),
    /// It is on the link before the outer side of a NAT.
    Outside(NatId),
    /// It is on the link before a host.
    Host(HostId),
}

#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) uplink: Option<NatId>,
    pub(super) nats: Vec<NatId>,
    pub(super) hosts: Vec<HostId>,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
}

pub(super) struct Host<N> {
    pub(super) segment: SegmentId,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) sockets: BTreeMap<u32, Socket>,
    pub(super) first_sockets: u32,
    /// They are sockets that take connections.
    pub(super) listeners: BTreeMap<u32, SocketAddr>,
    /// They are the connections taken: the listener, and the other end.
    pub(super) accepted: BTreeSet<(u32, SocketAddr)>,
    /// It is the connection that this host made.
    pub(super) stream: Option<Connection>,
    pub(super) up: Carrier,
    pub(super) down_link: Carrier,
    pub(super) down: bool,
    /// What routers have told of the ways to these addresses: the longest packet that passes.
    pub(super) told: BTreeMap<IpAddr, u16>,
    pub(super) node: N,
    pub(super) wake_at: Option<Duration>,
    pub(super) generation: u64,
    pub(super) last_wake: Duration,
    pub(super) idle_turns: u32,
    /// How far this machine's clock is ahead.
    pub(super) clock_ahead: Duration,
    /// How long its clock stood still, all in all.
    pub(super) clock_behind: Duration,
    /// Its timers come at multiples of this; zero: when they are wanted.
    pub(super) timer_step: Duration,
    /// It fell asleep at this time; none: it is awake.
    pub(super) asleep_since: Option<Duration>,
    pub(super) stats: HostStats,
}

impl<N> Host<N> {
    pub(super) fn new(
        segment: SegmentId,
        addresses: Vec<IpAddr>,
        sockets: BTreeMap<u32, Socket>,
        link: Link,
        node: N,
    ) -> Self {
        Self {
            segment,
            addresses,
            first_sockets: sockets.len() as u32,
            sockets,
            listeners: BTreeMap::new(),
            accepted: BTreeSet::new(),
            stream: None,
            up: Carrier::new(link.up),
            down_link: Carrier::new(link.down),
            down: false,
            told: BTreeMap::new(),
            node,
            wake_at: None,
            generation: 0,
            last_wake: Duration::ZERO,
            idle_turns: 0,
            clock_ahead: Duration::ZERO,
            clock_behind: Duration::ZERO,
            timer_step: Duration::ZERO,
            asleep_since: None,
            stats: HostStats::default(),
        }
    }

    /// When a timer comes that is wanted so long after `now`.
    pub(super) fn timer(&self, now: Duration, wait: Duration) -> Duration {
        let wanted = now + wait;
        if wait.is_zero() || self.timer_step.is_zero() {
            return wanted;
        }
        let step = self.timer_step.as_nanos();
        let ticks = u64::try_from(wanted.as_nanos().div_ceil(step) * step).unwrap_or(u64::MAX);
        Duration::from_nanos(ticks)
    }

    pub(super) fn set_link(&mut self, link: Link) {
        self.up.way = link.up;
        self.down_link.way = link.down;
    }

    /// Opens a socket on a random port of the dynamic range, as systems do.
    pub(super) fn open(&mut self, socket: u32, v6: bool, rng: &mut ChaCha8Rng) -> io::Result<SocketAddr> {
        let ip = self.addresses.iter().find(|ip| ip.is_ipv6() == v6);
        let ip = *ip.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        for _ in 0..1000 {
            // Linux's default range for ephemeral ports.
            let local = SocketAddr::new(ip, rng.random_range(32768..=60999));
            if self.sockets.values().all(|socket| socket.local != local) {
                self.sockets.insert(socket, Socket { local });
                return Ok(local);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

#[derive(Debug)]
pub(super) struct NatBox {
    pub(super) nat: Nat,
    /// What IPv6 passes; none: nothing does.
    pub(super) v6: Option<Nat>,
    pub(super) outer: SegmentId,
    pub(super) inner: SegmentId,
    up: Carrier,
    down: Carrier,
}

impl NatBox {
    pub(super) fn new(nat: Nat, outer: SegmentId, inner: SegmentId, link: Link) -> Self {
        Self { nat, v6: None, outer, inner, up: Carrier::new(link.up), down: Carrier::new(link.down) }
    }

    pub(super) fn set_link(&mut self, link: Link) {
        self.up.way = link.up;
        self.down.way = link.down;
    }
}

impl<N: Node> World<N> {
    pub(super) fn packet_at(&mut self, place: Place, header: Header, payload: Vec<u8>) {
        match place {
            Place::Segment(segment) => self.route(segment, header, payload),
            Place::Outside(nat) => self.enter(nat, header, payload),
            Place::Host(host) => self.deliver(host, header, payload),
        }
    }

    fn route(&mut self, segment: SegmentId, mut header: Header, payload: Vec<u8>) {
        if segment == Self::INTERNET {
            if header.ttl <= self.core_hops {
                return self.seen(Fate::Expired, header, &payload);
            }
            header.ttl -= self.core_hops;
            if self.cuts.contains(&(header.src.ip(), header.dst.ip())) {
                return self.seen(Fate::Lost, header, &payload);
            }
        }
        let ip = header.dst.ip();
        if let Some(host) = self.host_at(segment, ip) {
            let way = &self.hosts[host.0].down_link.way;
            if !way.passes(header.proto, header.dst.is_ipv6(), payload.len()) {
                let told = way.mtu.icmp.then_some(way.mtu.bytes);
                return self.too_long(segment, told, header, &payload);
            }
            let arrivals = self.hosts[host.0].down_link.carry_for(header.proto, self.now, &mut self.rng);
            return self.forward(arrivals, Place::Host(host), header, payload);
        }
        if let Some(nat) = self.nat_towards(segment, ip) {
            let way = &self.nats[nat.0].down.way;
            if !way.passes(header.proto, header.dst.is_ipv6(), payload.len()) {
                let told = way.mtu.icmp.then_some(way.mtu.bytes);
                return self.too_long(segment, told, header, &payload);
            }
            let arrivals = self.nats[nat.0].down.carry_for(header.proto, self.now, &mut self.rng);
            return self.forward(arrivals, Place::Outside(nat), header, payload);
        }
        match self.segments[segment.0].uplink {
            Some(nat) => self.leave(nat, header, payload),
            None => self.seen(Fate::Unroutable, header, &payload),
        }
    }

    fn host_at(&self, segment: SegmentId, ip: IpAddr) -> Option<HostId> {
        let hosts = &self.segments[segment.0].hosts;
        hosts.iter().copied().find(|host| self.hosts[host.0].addresses.contains(&ip))
    }

    /// Returns the NAT of this segment that has the address on its outer side, or leads to it without translation.
    fn nat_towards(&self, segment: SegmentId, ip: IpAddr) -> Option<NatId> {
        self.segments[segment.0].nats.iter().copied().find(|id| {
            let nat = &self.nats[id.0];
            if ip.is_ipv6() && nat.v6.is_none() {
                false
            } else if ip.is_ipv4() && nat.nat.config().translates() {
                nat.nat.external().contains(&ip)
            } else {
                self.host_at(nat.inner, ip).is_some() || self.nat_towards(nat.inner, ip).is_some()
            }
        })
    }

    fn leave(&mut self, id: NatId, header: Header, payload: Vec<u8>) {
        let nat = &mut self.nats[id.0];
        let verdict = match (header.dst.is_ipv6(), &mut nat.v6) {
            (false, _) => nat.nat.outbound(self.now, header),
            (true, Some(v6)) => v6.outbound(self.now, header),
            (true, None) => return self.seen(Fate::Unroutable, header, &payload),
        };
        match verdict {
            Verdict::Forward(header) => {
                let outer = nat.outer;
                let way = &nat.up.way;
                if !way.passes(header.proto, header.dst.is_ipv6(), payload.len()) {
                    let told = way.mtu.icmp.then_some(way.mtu.bytes);
                    return self.too_long(outer, told, header, &payload);
                }
                let arrivals = nat.up.carry_for(header.proto, self.now, &mut self.rng);
                self.seen(Fate::Out(id), header, &payload);
                self.forward(arrivals, Place::Segment(outer), header, payload);
            }
            Verdict::Hairpin(header) => {
                let inner = nat.inner;
                self.seen(Fate::Hairpinned(id), header, &payload);
                self.route(inner, header, payload);
            }
            Verdict::Drop(reason) => self.seen(Fate::Dropped(id, reason), header, &payload),
        }
    }

    /// A packet met a link that does not take it, at a place where it has this header. `told`: what ICMP says to its
    /// sender, whose system remembers it.
    fn too_long(&mut self, segment: SegmentId, told: Option<u16>, header: Header, payload: &[u8]) {
        self.seen(Fate::TooLong, header, payload);
        if let Some((mtu, sender)) = told.zip(self.sender_of(segment, header.src)) {
            self.hosts[sender.0].told.insert(header.dst.ip(), mtu);
        }
    }

    /// Returns the host that this source belongs to, as it is seen in this segment: NATs translate an ICMP error like
    /// the packet that it is about (RFC 5508).
    fn sender_of(&self, segment: SegmentId, src: SocketAddr) -> Option<HostId> {
        if let Some(host) = self.host_at(segment, src.ip()) {
            return Some(host);
        }
        if let Some(id) = self.nat_towards(segment, src.ip()) {
            let nat = &self.nats[id.0];
            let inside = if src.is_ipv4() && nat.nat.config().translates() {
                let mappings = nat.nat.mappings(self.now);
                mappings.iter().find(|mapping| mapping.external == src)?.internal
            } else {
                src
            };
            return self.sender_of(nat.inner, inside);
        }
        let outer = self.nats[self.segments[segment.0].uplink?.0].outer;
        self.sender_of(outer, src)
    }

    fn enter(&mut self, id: NatId, header: Header, payload: Vec<u8>) {
        let nat = &mut self.nats[id.0];
        let verdict = match (header.dst.is_ipv6(), &mut nat.v6) {
            (false, _) => nat.nat.inbound(self.now, header),
            (true, Some(v6)) => v6.inbound(self.now, header),
            (true, None) => return self.seen(Fate::Unroutable, header, &payload),
        };
        match verdict {
            Verdict::Forward(header) | Verdict::Hairpin(header) => {
                let inner = nat.inner;
                self.seen(Fate::In(id), header, &payload);
                self.route(inner, header, payload);
            }
            Verdict::Drop(reason) => self.seen(Fate::Dropped(id, reason), header, &payload),
        }
    }

    fn deliver(&mut self, id: HostId, header: Header, payload: Vec<u8>) {
        let now = self.clock(id);
        let host = &mut self.hosts[id.0];
        if host.down {
            return self.seen(Fate::Lost, header, &payload);
        }
        if header.proto == Proto::Tcp {
            return self.deliver_segment(id, header, &payload);
        }
        let socket = host.sockets.iter().find(|(_, socket)| socket.local == header.dst).map(|(id, _)| *id);
        let Some(socket) = socket else {
            host.stats.closed += 1;
            return self.seen(Fate::PortClosed(id), header, &payload);
        };
        host.stats.received(self.now, self.exempt.contains(&header.src.ip()));
        self.seen(Fate::Delivered(id), header, &payload);
        self.hosts[id.0].node.handle_datagram(now, socket, header.src, &payload);
        self.settle(id);
    }
}
