//! Building a world, and changing it while it runs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::Rng;

use crate::link::Link;
use crate::nat::{Header, Nat, NatConfig, Proto};

use super::agenda::Happening;
use super::net::{Host, NatBox, Place, Segment, Socket};
use super::{DEFAULT_TTL, HostId, NatId, Node, SegmentId, World};

impl<N: Node> World<N> {
    /// Sets how many hops are between any two ends of the public internet; 8 at first.
    pub fn set_core_hops(&mut self, hops: u8) {
        self.core_hops = hops;
    }

    /// From now on the internet loses everything from one of its addresses to the other, or no longer.
    pub fn cut(&mut self, from: IpAddr, to: IpAddr, cut: bool) {
        if cut {
            self.cuts.insert((from, to));
        } else {
            self.cuts.remove(&(from, to));
        }
    }

    /// Adds a new inner network behind a NAT whose outer side is in `outer`, under these external addresses.
    pub fn add_nat(
        &mut self,
        outer: SegmentId,
        config: NatConfig,
        external: Vec<IpAddr>,
        link: Link,
    ) -> (NatId, SegmentId) {
        let id = NatId(self.nats.len());
        let inner = SegmentId(self.segments.len());
        let seed = self.rng.random();
        self.segments.push(Segment { uplink: Some(id), ..Segment::default() });
        self.segments[outer.0].nats.push(id);
        self.nats.push(NatBox::new(Nat::new(config, external, seed), outer, inner, link));
        (id, inner)
    }

    /// Adds a host with these addresses, and with sockets `0..` bound to these addresses and ports.
    pub fn add_host(
        &mut self,
        segment: SegmentId,
        addresses: Vec<IpAddr>,
        sockets: &[SocketAddr],
        link: Link,
        node: N,
    ) -> HostId {
        let id = HostId(self.hosts.len());
        let sockets =
            sockets.iter().enumerate().map(|(id, local)| (id as u32, Socket { local: *local })).collect();
        self.segments[segment.0].hosts.push(id);
        self.hosts.push(Host::new(segment, addresses, sockets, link, node));
        self.settle(id);
        id
    }

    /// Binds a further socket of a host; it stays over restarts of the node if its number is below those that
    /// [`add_host`](Self::add_host) and this have given.
    pub fn bind(&mut self, host: HostId, socket: u32, local: SocketAddr) {
        let host = &mut self.hosts[host.0];
        host.sockets.insert(socket, Socket { local });
        host.first_sockets = host.first_sockets.max(socket + 1);
    }

    /// Lets IPv6 through a NAT, untranslated, by this filter; there is none at first.
    pub fn allow_v6(&mut self, nat: NatId, filter: NatConfig) {
        let seed = self.nats.len() as u64;
        self.nats[nat.0].v6 = Some(Nat::new(filter, Vec::new(), seed));
    }

    /// Changes the link of a host from now on.
    pub fn set_host_link(&mut self, host: HostId, link: Link) {
        self.hosts[host.0].set_link(link);
    }

    /// Changes the link of a NAT from now on.
    pub fn set_nat_link(&mut self, nat: NatId, link: Link) {
        self.nats[nat.0].set_link(link);
    }

    /// Unplugs a host, so that nothing gets in or out and its node sleeps, or plugs it in again.
    pub fn set_down(&mut self, host: HostId, down: bool) {
        self.hosts[host.0].down = down;
        if !down {
            self.settle(host);
        }
    }

    /// Puts another node in a host's place, for example after a restart.
    pub fn replace_node(&mut self, host: HostId, node: N) {
        let first = self.hosts[host.0].first_sockets;
        self.hosts[host.0].sockets.retain(|id, _| *id < first);
        self.hosts[host.0].accepted.clear();
        self.hosts[host.0].stream = None;
        self.hosts[host.0].node = node;
        self.settle(host);
    }

    /// Sets a host's clock ahead of all others.
    pub fn set_clock(&mut self, host: HostId, ahead: Duration) {
        self.hosts[host.0].clock_ahead = ahead;
    }

    /// Lets a host's timers come in steps of this, as those of Windows do (15.6 ms); zero: exactly.
    pub fn set_timer_step(&mut self, host: HostId, step: Duration) {
        self.hosts[host.0].timer_step = step;
    }

    /// Puts a host to sleep: nothing gets in or out, and its node does not run.
    pub fn suspend(&mut self, host: HostId) {
        self.hosts[host.0].asleep_since = Some(self.now);
        self.hosts[host.0].down = true;
    }

    /// Wakes a host. `counted`: its clock went on meanwhile, as `Instant` does on Windows; else it stood still, as on Linux and
    /// macOS.
    pub fn resume(&mut self, host: HostId, counted: bool) {
        let now = self.now;
        let sleeper = &mut self.hosts[host.0];
        if let Some(since) = sleeper.asleep_since.take()
            && !counted
        {
            sleeper.clock_behind += now - since;
        }
        sleeper.wake_at = None;
        self.set_down(host, false);
    }

    /// Has a packet from nowhere appear in a segment: forged sources are welcome.
    pub fn inject(&mut self, segment: SegmentId, src: SocketAddr, dst: SocketAddr, payload: Vec<u8>) {
        let header = Header { src, dst, ttl: DEFAULT_TTL, proto: Proto::Udp };
        self.push(self.now, Happening::Packet { place: Place::Segment(segment), header, payload });
    }

    /// Has a packet appear right before a host's door, past every NAT.
    pub fn inject_at_host(&mut self, host: HostId, src: SocketAddr, dst: SocketAddr, payload: Vec<u8>) {
        let header = Header { src, dst, ttl: DEFAULT_TTL, proto: Proto::Udp };
        self.push(self.now, Happening::Packet { place: Place::Host(host), header, payload });
    }
}
