//! A simulated internet in virtual time: hosts with sockets, LANs, NATs in a row, links, a core that takes hops.
//!
//! The network is a tree of [`SegmentId`]s. The root is the public internet; a NAT joins an inner segment to an
//! outer one. Hosts sit in a segment behind a link of their own, NATs have a link on their outer side. A world is
//! driven by its queue alone: the same seed and the same calls give the same run, which [`World::trace_hash`]
//! shows.
//!
//! The world knows nothing of agents or servers: whatever runs on a host is a [`Node`].

mod agenda;
mod net;
mod node;
mod setup;
mod stream;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::link::{Mtu, Way};
use crate::nat::{Header, Nat, Proto};

pub use net::{HostId, NatId, SegmentId};
pub use node::{Node, NodeOutput};
pub use tap::{Fate, HostStats, Packet, Tap};

use agenda::{Agenda, Happening};
use net::{Host, NatBox, Place, Segment};

/// A packet whose sender does not choose a TTL has this one.
const DEFAULT_TTL: u8 = 64;
/// A node may have this many timeouts due at one instant before the world calls it stuck.
const MAX_IDLE_TURNS: u32 = 10_000;

/// This is a simulated internet; see the [module's documentation](self).
pub struct World<N> {
    base: Instant,
    now: Duration,
    rng: ChaCha8Rng,
    agenda: Agenda,
    hosts: Vec<Host<N>>,
    nats: Vec<NatBox>,
    segments: Vec<Segment>,
    /// It takes this many hops in the public internet between any two of its ends.
    core_hops: u8,
    taps: Vec<Box<dyn Tap>>,
    exempt: BTreeSet<IpAddr>,
    /// They are ways through the internet that carry nothing.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    trace: u64,
    lost: u64,
    steps: u64,
    most_steps: u64,
}

impl<N: Node> World<N> {
    /// Makes an internet without hosts and NATs.
    pub fn new(seed: u64) -> Self {
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            agenda: Agenda::default(),
            hosts: Vec::new(),
            nats: Vec::new(),
            segments: vec![Segment::default()],
            core_hops: 8,
            taps: Vec::new(),
            exempt: BTreeSet::new(),
            cuts: BTreeSet::new(),
            // The offset basis of FNV-1a.
            trace: 0xcbf2_9ce4_8422_2325,
            lost: 0,
            steps: 0,
            most_steps: u64::MAX,
        }
    }

    /// Has the world panic after so many steps, since it does not come to an end then.
    pub fn limit_steps(&mut self, most: u64) {
        self.most_steps = most;
    }

    /// This is the network outside of all NATs.
    pub const INTERNET: SegmentId = SegmentId(0);

    /// Has this see every packet.
    pub fn add_tap(&mut self, tap: Box<dyn Tap>) {
        self.taps.push(tap);
    }

    /// These addresses are not counted as players: the lobby server's.
    pub fn exempt(&mut self, addresses: &[IpAddr]) {
        self.exempt.extend(addresses);
    }

    /// Counts what goes to and comes from players anew; the host's own hairpin test would count as such.
    pub fn count_anew(&mut self, host: HostId) {
        self.hosts[host.0].stats.count_anew();
    }

    /// Remembers how many datagrams this host has sent to players up to now.
    pub fn mark(&mut self, host: HostId) {
        let stats = &mut self.hosts[host.0].stats;
        stats.marked = Some(stats.to_players);
    }

    /// Returns the network inside of a NAT.
    pub fn inside_of(&self, nat: NatId) -> SegmentId {
        self.nats[nat.0].inner
    }

    /// Tells whether no NAT translates between this network and the internet.
    pub fn is_public(&self, segment: SegmentId) -> bool {
        self.segments[segment.0].uplink.is_none_or(|nat| {
            let nat = &self.nats[nat.0];
            !nat.nat.config().translates() && self.is_public(nat.outer)
        })
    }

    /// Returns the time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns the same as an instant, as nodes see it.
    pub fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// Returns the instant of a time since the start.
    pub fn instant_at(&self, time: Duration) -> Instant {
        self.base + time
    }

    /// Returns a number that stands for everything that has happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace
    }

    /// Returns how many packets links have lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What runs on a host.
    pub fn node(&self, host: HostId) -> &N {
        &self.hosts[host.0].node
    }

    /// What a host sent and received.
    pub fn stats(&self, host: HostId) -> &HostStats {
        &self.hosts[host.0].stats
    }

    /// Returns the NAT of this number.
    pub fn nat(&self, nat: NatId) -> &Nat {
        &self.nats[nat.0].nat
    }

    /// Returns a NAT, to reboot it or to change its address.
    pub fn nat_mut(&mut self, nat: NatId) -> &mut Nat {
        &mut self.nats[nat.0].nat
    }

    /// Returns the local address of a host's socket.
    pub fn local(&self, host: HostId, socket: u32) -> Option<SocketAddr> {
        self.hosts[host.0].sockets.get(&socket).map(|socket| socket.local)
    }

    /// Returns the time as a host's clock shows it.
    fn clock(&self, host: HostId) -> Instant {
        let host = &self.hosts[host.0];
        self.instant() + host.clock_ahead - host.clock_behind
    }

    /// Does something with a host's node now, then lets it send.
    pub fn act<R>(&mut self, host: HostId, action: impl FnOnce(&mut N, Instant) -> R) -> R {
        let now = self.clock(host);
        let result = action(&mut self.hosts[host.0].node, now);
        self.settle(host);
        result
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Duration> {
        self.agenda.next_at()
    }

    /// Lets the next thing happen; false if nothing is left.
    pub fn step(&mut self) -> bool {
        let Some((at, happening)) = self.agenda.pop() else { return false };
        self.now = at;
        self.steps += 1;
        assert!(self.steps <= self.most_steps, "more than {} things happened", self.most_steps);
        match happening {
            Happening::Packet { place, header, payload } => self.packet_at(place, header, payload),
            Happening::Wake { host, generation } => self.wake(host, generation),
        }
        true
    }

    /// Runs up to this time since the start.
    pub fn run_until(&mut self, end: Duration) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn push(&mut self, at: Duration, happening: Happening) {
        self.agenda.push(at, happening);
    }

    fn wake(&mut self, id: HostId, generation: u64) {
        let now = self.clock(id);
        let host = &mut self.hosts[id.0];
        if host.generation != generation || host.down {
            return;
        }
        host.wake_at = None;
        host.idle_turns = if host.last_wake == self.now { host.idle_turns + 1 } else { 0 };
        host.last_wake = self.now;
        assert!(
            host.idle_turns < MAX_IDLE_TURNS,
            "host {id:?} asks to be woken at the same instant for ever"
        );
        host.node.handle_timeout(now);
        self.settle(id);
    }

    /// Drains a node's outputs and sets its alarm.
    fn settle(&mut self, id: HostId) {
        let now = self.clock(id);
        while let Some(output) = self.hosts[id.0].node.poll_output() {
            match output {
                NodeOutput::Transmit { socket, to, ttl, payload } => {
                    self.send(id, socket, to, ttl.unwrap_or(DEFAULT_TTL), payload);
                }
                NodeOutput::Open { socket, v6 } => {
                    let local = self.hosts[id.0].open(socket, v6, &mut self.rng);
                    let host = &mut self.hosts[id.0];
                    host.stats.sockets_opened += u64::from(local.is_ok());
                    host.stats.most_sockets = host.stats.most_sockets.max(host.sockets.len());
                    self.hosts[id.0].node.handle_socket(now, socket, local);
                }
                NodeOutput::Close { socket } => {
                    self.hosts[id.0].sockets.remove(&socket);
                }
                NodeOutput::Connect { socket, to } => self.connect(id, socket, to),
                NodeOutput::Disconnect => self.disconnect(id),
            }
        }
        let wait = self.hosts[id.0].node.poll_timeout().map(|at| at.saturating_duration_since(now));
        let wanted = wait.map(|wait| self.hosts[id.0].timer(self.now, wait));
        let host = &mut self.hosts[id.0];
        if host.down || wanted == host.wake_at {
            return;
        }
        host.generation += 1;
        host.wake_at = wanted;
        let generation = host.generation;
        if let Some(at) = wanted {
            self.push(at, Happening::Wake { host: id, generation });
        }
    }

    fn send(&mut self, id: HostId, socket: u32, to: SocketAddr, ttl: u8, payload: Vec<u8>) {
        if self.send_stream(id, socket, to, &payload) {
            return;
        }
        let host = &mut self.hosts[id.0];
        if host.down {
            return;
        }
        let Some(src) = host.sockets.get(&socket).map(|socket| socket.local) else { return };
        if src.ip().is_unspecified() {
            // A socket of a family that this host has no address in.
            return;
        }
        // Its own interface, or what it was told of the way.
        let bytes = host.told.get(&to.ip()).copied().unwrap_or(u16::MAX);
        let known = Way { mtu: Mtu { bytes, icmp: true }, ..Way::default() };
        let length = payload.len();
        if [&host.up.way, &known].iter().any(|way| !way.passes(Proto::Udp, to.is_ipv6(), length)) {
            let header = Header { src, dst: to, ttl, proto: Proto::Udp };
            self.seen(Fate::TooLong, header, &payload);
            let now = self.clock(id);
            return self.hosts[id.0].node.handle_too_long(now, socket, to, length);
        }
        let host = &mut self.hosts[id.0];
        host.stats.sent(self.now, to, length, self.exempt.contains(&to.ip()));
        let header = Header { src, dst: to, ttl, proto: Proto::Udp };
        let arrivals = host.up.carry(self.now, &mut self.rng);
        let segment = host.segment;
        self.seen(Fate::Sent(id), header, &payload);
        self.forward(arrivals, Place::Segment(segment), header, payload);
    }

    fn forward(&mut self, arrivals: crate::link::Arrivals, place: Place, header: Header, payload: Vec<u8>) {
        if let Some(at) = arrivals.second {
            self.push(at, Happening::Packet { place, header, payload: payload.clone() });
        }
        match arrivals.first {
            Some(at) => self.push(at, Happening::Packet { place, header, payload }),
            None => {
                self.lost += 1;
                self.seen(Fate::Lost, header, &payload);
            }
        }
    }

    /// Tells the taps and writes the trace.
    fn seen(&mut self, fate: Fate, header: Header, payload: &[u8]) {
        self.trace(self.now.as_nanos() as u64);
        self.trace(
            u64::from(header.dst.port()) << 32 | u64::from(header.src.port()) << 16 | payload.len() as u64,
        );
        self.trace(fate.number());
        if let Some(last) = payload.last_chunk::<8>() {
            self.trace(u64::from_le_bytes(*last));
        }
        if !self.taps.is_empty() {
            let packet = Packet { at: self.now, header, payload };
            for tap in &mut self.taps {
                tap.see(fate, &packet);
            }
        }
    }

    fn trace(&mut self, value: u64) {
        // FNV-1a over 64-bit words.
        self.trace = (self.trace ^ value).wrapping_mul(0x0100_0000_01b3);
    }

    /// Returns how many NATs dropped what, in total and by reason.
    pub fn drops(&self) -> BTreeMap<crate::nat::DropReason, u64> {
        let mut total = BTreeMap::new();
        for nat in &self.nats {
            for (reason, count) in &nat.nat.counters().drops {
                *total.entry(*reason).or_default() += count;
            }
        }
        total
    }
}

#[cfg(test)]
mod tests;
