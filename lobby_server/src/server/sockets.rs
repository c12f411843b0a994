//! The server's sockets, and the ways datagrams take through them.

use std::net::{IpAddr, SocketAddr};

use super::Server;

/// A socket of the server: its index in the list given to [`Server::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerSocketId(pub u16);

/// What the core knows about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSocket {
    /// Where it is bound.
    pub local: SocketAddr,
    /// Its address as players know it, where that is not the one it is bound to (cloud 1:1 NAT).
    pub public: Option<IpAddr>,
    /// It is bound to the second address (RFC 5780's A2).
    pub second_address: bool,
    /// It is bound to the second port (RFC 5780's P2).
    pub second_port: bool,
    /// An address of this machine, where it is bound to all: what players of the other family are told to try.
    pub interface: Option<IpAddr>,
    /// It takes TCP connections; what comes over one is a datagram from the connection's other end.
    pub stream: bool,
}

impl ServerSocket {
    /// The first socket of the first address, known to players by the address it is bound to.
    pub fn first(local: SocketAddr) -> Self {
        Self {
            local,
            public: None,
            second_address: false,
            second_port: false,
            interface: None,
            stream: false,
        }
    }
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTransmit {
    /// From this socket.
    pub socket: ServerSocketId,
    /// From this address of it, where it is bound to all: the one that was asked.
    pub source: Option<IpAddr>,
    /// To there.
    pub to: SocketAddr,
    /// The datagram.
    pub payload: Vec<u8>,
}

/// What the datagram that is being dealt with allows to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming {
    /// Bytes left for addresses that are not proven.
    pub(super) bytes: usize,
    /// Where the player is whose session it is of.
    pub(super) proven: Option<Route>,
}

/// How a datagram came in; answers leave the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) socket: ServerSocketId,
    pub(super) asked: Option<IpAddr>,
    pub(super) peer: SocketAddr,
}

impl Server {
    /// The way from another of our addresses or ports to the same player.
    pub(super) fn other(&self, route: Route, address: bool, port: bool) -> Option<Route> {
        let present = self.sockets.get(usize::from(route.socket.0))?;
        let index = self.sockets.iter().position(|socket| {
            !socket.stream
                && socket.local.is_ipv4() == present.local.is_ipv4()
                && (socket.second_address != present.second_address) == address
                && (socket.second_port != present.second_port) == port
        })?;
        let asked = if address { None } else { route.asked };
        Some(Route { socket: ServerSocketId(index as u16), asked, peer: route.peer })
    }

    pub(super) fn is_stream(&self, route: Route) -> bool {
        self.sockets.get(usize::from(route.socket.0)).is_some_and(|socket| socket.stream)
    }

    /// Both lead to one address by one protocol: what is proven about the one holds for the other.
    pub(super) fn same_way(&self, a: Route, b: Route) -> bool {
        a.peer == b.peer && self.is_stream(a) == self.is_stream(b)
    }

    /// Whether a player is logged in over this connection.
    pub fn serves_stream(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.census.has_way((socket, peer))
    }

    /// Our end of a route, as the player at its other end knows it.
    pub(super) fn told_address(&self, route: Route) -> Option<SocketAddr> {
        let socket = self.sockets.get(usize::from(route.socket.0))?;
        let ip = match socket.public {
            Some(public) => public,
            None if socket.local.ip().is_unspecified() => route.asked?,
            None => socket.local.ip(),
        };
        Some(SocketAddr::new(ip, socket.local.port()))
    }

    /// Answers what has just come in, or has something sent because of it. To an address that is not proven to be the
    /// player's never more bytes go out than came in, whatever the message: nobody is reached by a forged source, or
    /// by a port that a player names, with more than the forger sends itself.
    pub(super) fn transmit(&mut self, route: Route, payload: Vec<u8>) {
        let proven =
            self.is_stream(route) || self.incoming.proven.is_some_and(|proven| self.same_way(proven, route));
        if !proven {
            let Some(left) = self.incoming.bytes.checked_sub(payload.len()) else {
                self.counters.withheld += 1;
                return;
            };
            self.incoming.bytes = left;
        }
        self.hand_out(route, payload);
    }

    /// Sends to where a player is proven to be.
    pub(super) fn hand_out(&mut self, route: Route, payload: Vec<u8>) {
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += payload.len() as u64;
        self.transmits.push_back(ServerTransmit {
            socket: route.socket,
            source: route.asked,
            to: route.peer,
            payload,
        });
    }
}
