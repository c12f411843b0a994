//! TCP, as much of it as matters here: connections are made in a round trip, keep their order and lose nothing, and
//! a lost packet only comes late, with all that follow it. They pass NATs as packets of [`Proto::Tcp`].

use std::net::SocketAddr;

use rand::Rng;

use crate::nat::{Header, Proto};

use super::net::Place;
use super::{DEFAULT_TTL, Fate, HostId, Node, World};

/// It is the first byte of a packet of a connection, as the next three are.
const SYN: u8 = 1;
const SYN_ACK: u8 = 2;
const DATA: u8 = 3;
const RESET: u8 = 4;

/// It is the connection that a host has asked for.
#[derive(Debug)]
pub(super) struct Connection {
    socket: u32,
    local: SocketAddr,
    to: SocketAddr,
    open: bool,
}

impl<N: Node> World<N> {
    /// Lets a host take connections at this address; what comes over one is a datagram on `socket`.
    pub fn listen(&mut self, host: HostId, socket: u32, local: SocketAddr) {
        self.hosts[host.0].listeners.insert(socket, local);
    }

    /// Cuts a host's connection, as a network does that forgets it: its own end is told.
    pub fn cut_stream(&mut self, id: HostId) {
        if self.hosts[id.0].stream.take().is_some() {
            let now = self.clock(id);
            self.hosts[id.0].node.handle_stream(now, false);
            self.settle(id);
        }
    }

    /// Tells whether the host has a connection that stands.
    pub fn has_stream(&self, id: HostId) -> bool {
        self.hosts[id.0].stream.as_ref().is_some_and(|stream| stream.open)
    }

    pub(super) fn connect(&mut self, id: HostId, socket: u32, to: SocketAddr) {
        let host = &mut self.hosts[id.0];
        let ip = host.addresses.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4());
        let Some(ip) = ip else {
            let now = self.clock(id);
            return self.hosts[id.0].node.handle_stream(now, false);
        };
        let local = SocketAddr::new(ip, self.rng.random_range(32768..=60999));
        host.stream = Some(Connection { socket, local, to, open: false });
        self.send_segment(id, local, to, SYN, &[]);
    }

    pub(super) fn disconnect(&mut self, id: HostId) {
        if let Some(stream) = self.hosts[id.0].stream.take() {
            self.send_segment(id, stream.local, stream.to, RESET, &[]);
        }
    }

    /// Sends over a connection, if `socket` is one or takes them. True if it is.
    pub(super) fn send_stream(&mut self, id: HostId, socket: u32, to: SocketAddr, payload: &[u8]) -> bool {
        let host = &self.hosts[id.0];
        let local = match (&host.stream, host.listeners.get(&socket)) {
            (Some(stream), _) if stream.socket == socket => stream.open.then_some(stream.local),
            (_, Some(local)) => host.accepted.contains(&(socket, to)).then_some(*local),
            _ => return false,
        };
        if let Some(local) = local {
            self.send_segment(id, local, to, DATA, payload);
        }
        true
    }

    fn send_segment(&mut self, id: HostId, src: SocketAddr, dst: SocketAddr, kind: u8, payload: &[u8]) {
        let exempt = self.exempt.contains(&dst.ip());
        let host = &mut self.hosts[id.0];
        if host.down {
            return;
        }
        host.stats.sent(self.now, dst, payload.len(), exempt);
        let header = Header { src, dst, ttl: DEFAULT_TTL, proto: Proto::Tcp };
        let arrivals = host.up.carry_for(Proto::Tcp, self.now, &mut self.rng);
        let segment = host.segment;
        let mut bytes = Vec::with_capacity(payload.len() + 1);
        bytes.push(kind);
        bytes.extend_from_slice(payload);
        self.seen(Fate::Sent(id), header, &bytes);
        self.forward(arrivals, Place::Segment(segment), header, bytes);
    }

    pub(super) fn deliver_segment(&mut self, id: HostId, header: Header, bytes: &[u8]) {
        let now = self.clock(id);
        let Some((kind, payload)) = bytes.split_first() else { return };
        let (kind, Header { src, dst, .. }) = (*kind, header);
        let host = &mut self.hosts[id.0];
        let listener = host.listeners.iter().find(|(_, local)| **local == dst).map(|(socket, _)| *socket);
        let mut taken = true;
        if let Some(socket) = listener {
            match kind {
                SYN => {
                    host.accepted.insert((socket, src));
                    self.send_segment(id, dst, src, SYN_ACK, &[]);
                }
                DATA if host.accepted.contains(&(socket, src)) => {
                    host.stats.received(self.now, self.exempt.contains(&src.ip()));
                    host.node.handle_datagram(now, socket, src, payload);
                }
                RESET => drop(host.accepted.remove(&(socket, src))),
                _ => taken = false,
            }
        } else {
            match &mut host.stream {
                Some(stream) if stream.local == dst && stream.to == src => match kind {
                    SYN_ACK => {
                        stream.open = true;
                        host.node.handle_stream(now, true);
                    }
                    DATA => {
                        let socket = stream.socket;
                        host.stats.received(self.now, self.exempt.contains(&src.ip()));
                        host.node.handle_datagram(now, socket, src, payload);
                    }
                    _ => {
                        host.stream = None;
                        host.node.handle_stream(now, false);
                    }
                },
                _ => taken = false,
            }
        }
        if !taken && kind != RESET {
            self.send_segment(id, dst, src, RESET, &[]);
        }
        self.seen(if taken { Fate::Delivered(id) } else { Fate::PortClosed(id) }, header, bytes);
        self.settle(id);
    }
}
