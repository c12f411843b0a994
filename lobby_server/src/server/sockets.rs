//! The server's sockets, and the ways datagrams take through them.

use std::net::{IpAddr, SocketAddr};

/// A socket of the server: its index in the list given to [`Server::new`](crate::Server::new).
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
