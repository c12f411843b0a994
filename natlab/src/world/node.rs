//! What runs on a host.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// This is a program on a host, without sockets or clock of its own. After each input the world drains
/// [`poll_output`](Self::poll_output) and asks for [`poll_timeout`](Self::poll_timeout).
pub trait Node {
    /// A datagram came in on `socket`.
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]);
    /// Takes the answer to [`NodeOutput::Open`].
    fn handle_socket(&mut self, now: Instant, socket: u32, local: io::Result<SocketAddr>);
    /// The connection of [`NodeOutput::Connect`] stands, or stands no longer.
    fn handle_stream(&mut self, _now: Instant, _open: bool) {}
    /// A datagram of this length could not be sent to this address: the system knows of a link that does not take it.
    fn handle_too_long(&mut self, _now: Instant, _socket: u32, _to: SocketAddr, _length: usize) {}
    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);
    /// Says what is to be done next; none: nothing now.
    fn poll_output(&mut self) -> Option<NodeOutput>;
    /// Says when it is to be woken; none: when something comes.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOutput {
    /// It sends a datagram.
    Transmit {
        /// It leaves from this socket.
        socket: u32,
        /// It goes to this address.
        to: SocketAddr,
        /// How many hops it may take; none: as many as usual.
        ttl: Option<u8>,
        /// What the datagram says.
        payload: Vec<u8>,
    },
    /// It opens a socket on any free port.
    Open {
        /// The socket is to be called by this number.
        socket: u32,
        /// Whether it is a socket for IPv6.
        v6: bool,
    },
    /// It closes a socket.
    Close {
        /// This is the number of the socket.
        socket: u32,
    },
    /// It makes a connection in place of an earlier one; what is sent from `socket` then goes over it.
    Connect {
        /// The connection is to be called by this number.
        socket: u32,
        /// It goes to this address.
        to: SocketAddr,
    },
    /// It closes its connection.
    Disconnect,
}
