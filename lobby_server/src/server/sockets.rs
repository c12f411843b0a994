//! The server's sockets, and the ways datagrams take through them.

use std::net::{IpAddr, SocketAddr};

/// This names a socket of the server: it is its index in the list given to [`Server::new`](crate::Server::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerSocketId(pub u16);

/// This is what the core knows about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSocket {
    /// This is the address and port that the socket is bound to.
    pub local: SocketAddr,
    /// This is its address as players know it, where that is not the one it is bound to (cloud 1:1 NAT).
    pub public: Option<IpAddr>,
    /// It is bound to the second address (RFC 5780's A2).
    pub second_address: bool,
    /// It is bound to the second port (RFC 5780's P2).
    pub second_port: bool,
    /// This is an address of this machine, where it is bound to all: what players of the other family are told to
    /// try.
    pub interface: Option<IpAddr>,
    /// It takes TCP connections; what comes over one is a datagram from the connection's other end.
    pub stream: bool,
}

impl ServerSocket {
    /// Returns the first socket of the first address, known to players by the address it is bound to.
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

/// This is a datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTransmit {
    /// The datagram is sent from this socket.
    pub socket: ServerSocketId,
    /// This is the address to send from, where the socket is bound to all: the one that was asked.
    pub source: Option<IpAddr>,
    /// The datagram goes to this address.
    pub to: SocketAddr,
    /// These bytes are to be sent, at most [`MAX_DATAGRAM`](traversal_core::wire::MAX_DATAGRAM) of them.
    pub payload: Vec<u8>,
}

/// This says what the datagram that is being dealt with allows to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming {
    /// Bytes left for addresses that are not proven.
    pub(super) bytes: usize,
    /// This says where the player is whose session it is of.
    pub(super) proven: Option<Route>,
    /// What is sent now proves something only if it comes from where nothing was sent to before.
    pub(super) proof: bool,
}

/// This is the way that a datagram came in; answers leave the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) socket: ServerSocketId,
    pub(super) asked: Option<IpAddr>,
    pub(super) peer: SocketAddr,
}
