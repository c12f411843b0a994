//! A socket that takes TCP connections.

use std::io;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use traversal_core::wire::stream::STREAM_BACKLOG;

use crate::bind_error::{BindError, Transport};
use crate::server::ServerSocket;

/// So many connections may wait to be accepted.
const LISTEN_BACKLOG: i32 = 256;

/// This is a socket that takes connections.
pub(crate) struct Listener {
    pub(super) io: TcpListener,
    pub(crate) about: ServerSocket,
    /// There may be more to accept.
    pub(super) ready: bool,
}

impl Listener {
    /// Opens a listener at the same address as a UDP socket.
    pub(crate) fn open(beside: &ServerSocket) -> Result<Self, BindError> {
        let address = beside.local;
        let attempt = || -> io::Result<TcpListener> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            // After a restart the old connections may still wait for their end. On Windows it means something else.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            // Inherited by the connections: what waits in the system is delay, so let it be little.
            let _ = socket.set_send_buffer_size(STREAM_BACKLOG);
            socket.bind(&address.into())?;
            socket.listen(LISTEN_BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(TcpListener::from_std(socket.into()))
        };
        match attempt() {
            Ok(io) => Ok(Self { io, about: ServerSocket { stream: true, ..*beside }, ready: true }),
            Err(source) => Err(BindError { address, protocol: Transport::Tcp, source }),
        }
    }
}
