//! A socket that takes TCP connections.

use std::io;
use std::net::SocketAddr;

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
    /// It is bound to this address.
    pub(crate) local: SocketAddr,
    /// This is what the core knows of it. Where it takes TLS, that is what is told of the UDP socket beside it: players know the
    /// server by one address, whichever way they come.
    pub(crate) about: ServerSocket,
    /// It takes TLS.
    pub(crate) tls: bool,
    /// There may be more to accept.
    pub(super) ready: bool,
}

impl Listener {
    /// Opens a listener at the same address as a UDP socket.
    pub(crate) fn open(beside: &ServerSocket) -> Result<Self, BindError> {
        Self::open_at(beside, beside.local, Transport::Tcp)
    }

    /// Opens a listener for TLS at another port of the same address.
    pub(crate) fn open_tls(beside: &ServerSocket, port: u16) -> Result<Self, BindError> {
        Self::open_at(beside, SocketAddr::new(beside.local.ip(), port), Transport::Tls)
    }

    fn open_at(beside: &ServerSocket, address: SocketAddr, protocol: Transport) -> Result<Self, BindError> {
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
            Ok(io) => Ok(Self {
                local: io.local_addr().unwrap_or(address),
                io,
                about: ServerSocket { stream: true, ..*beside },
                tls: protocol == Transport::Tls,
                ready: true,
            }),
            Err(source) => Err(BindError { address, protocol, source }),
        }
    }
}
