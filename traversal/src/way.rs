//! A way that datagrams take: one of this machine's sockets, and the address at the other end.

use std::net::SocketAddr;

use crate::api::SocketId;

/// Stands in the place of a socket for the way through the server's relay, which leaves by the link to the server.
pub(crate) const RELAY: SocketId = SocketId(u32::MAX);

/// This is a way to another player, or to the lobby server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Packets leave from this socket of this machine, or [`RELAY`].
    pub(crate) socket: SocketId,
    /// This is the address at the other end; for the relay it is the lobby server's.
    pub(crate) remote: SocketAddr,
}

impl Way {
    pub(crate) fn new(socket: SocketId, remote: SocketAddr) -> Self {
        Self { socket, remote }
    }

    /// Returns the way through the relay of this server.
    pub(crate) fn relay(server: SocketAddr) -> Self {
        Self::new(RELAY, server)
    }

    pub(crate) fn is_relay(self) -> bool {
        self.socket == RELAY
    }

    /// Returns whether the way is the TCP stream to the lobby server.
    pub(crate) fn is_stream(self) -> bool {
        self.socket == SocketId::STREAM
    }
}
