//! What runs on a host.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// A program on a host, without sockets or clock of its own. After each input the world drains
/// [`poll_output`](Self::poll_output) and asks for [`poll_timeout`](Self::poll_timeout).
pub trait Node {
    /// A datagram came in on `socket`.
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]);
    /// The answer to [`NodeOutput::Open`].
    fn handle_socket(&mut self, now: Instant, socket: u32, local: io::Result<SocketAddr>);
    /// The connection of [`NodeOutput::Connect`] stands, or stands no longer.
    fn handle_stream(&mut self, _now: Instant, _open: bool) {}
    /// A datagram of this length could not be sent to this address: the system knows of a link that does not take it.
    fn handle_too_long(&mut self, _now: Instant, _socket: u32, _to: SocketAddr, _length: usize) {}
    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);
    /// What to do next.
    fn poll_output(&mut self) -> Option<NodeOutput>;
    /// When to wake it.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeOutput {
    /// Send a datagram.
    Transmit {
        /// From this socket.
        socket: u32,
        /// To this address.
        to: SocketAddr,
        /// With this TTL; none: the usual one.
        ttl: Option<u8>,
        /// The datagram.
        payload: Vec<u8>,
    },
    /// Open a socket on any free port.
    Open {
        /// To be called so.
        socket: u32,
        /// IPv6?
        v6: bool,
    },
    /// Close it.
    Close {
        /// Which.
        socket: u32,
    },
    /// Make a connection in place of an earlier one; what is sent from `socket` then goes over it.
    Connect {
        /// To be called so.
        socket: u32,
        /// To this address.
        to: SocketAddr,
    },
    /// Close the connection.
    Disconnect,
}
