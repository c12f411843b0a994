//! The server's UDP sockets: what is read from them, and sent by them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::{Interest, Registry, Token};
use traversal_udp::{Buffer, Datagram, Episode, Origin, Outgoing, Received, Sent, Socket};

use crate::bind_error::{BindError, Transport};
use crate::door::{Door, Newcomer};
use crate::server::{Server, ServerSocket, ServerSocketId};

/// So many entries are taken with one system call, each of one datagram or of several equal ones.
const BATCH: usize = 16;
/// Batches of one socket before the others get their turn.
const BATCHES_IN_A_ROW: usize = 32;

/// This is a socket of the server, with what it is for.
pub(crate) struct Bound {
    socket: Socket,
    pub(crate) about: ServerSocket,
    refused_sends: Episode,
    too_long: Episode,
}

/// Opens a socket at this address; 0 as the port is any free one. So many bytes of buffer are asked of the system for each
/// direction.
pub(crate) fn open(address: SocketAddr, buffer: usize, about: ServerSocket) -> Result<Bound, BindError> {
    let socket = Socket::open(address, Some(buffer)).map_err(|source| BindError {
        address,
        protocol: Transport::Udp,
        source,
    })?;
    let about = ServerSocket { local: socket.local(), ..about };
    Ok(Bound { socket, about, refused_sends: Episode::default(), too_long: Episode::default() })
}

/// Makes the memory for receiving; it serves all sockets.
pub(crate) fn buffer() -> Buffer {
    Buffer::new(BATCH)
}

/// Returns what the poll calls a socket.
fn token(id: ServerSocketId) -> Token {
    Token(usize::from(id.0))
}

impl Bound {
    /// Has the poll watch it.
    pub(crate) fn register(&mut self, registry: &Registry, id: ServerSocketId) -> io::Result<()> {
        registry.register(&mut self.socket, token(id), Interest::READABLE)
    }

    /// Returns how many bytes of receive buffer the system has granted.
    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        self.socket.receive_buffer()
    }

    /// Returns the number by which the kernel lists it.
    pub(crate) fn kernel_id(&self) -> Option<u64> {
        self.socket.kernel_id()
    }

    /// Notes that the poll has told of something to read.
    pub(crate) fn set_readable(&mut self) {
        self.socket.set_readable();
    }

    /// Returns when it should be read without any news from the poll.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.socket.poll_timeout(now)
    }

    /// Gives what has come in to the core, and newcomers to the door.
    pub(crate) fn receive(
        &mut self,
        id: ServerSocketId,
        buffer: &mut Buffer,
        server: &mut Server,
        door: &mut Door,
    ) {
        let anywhere = self.about.local.ip().is_unspecified();
        self.read(buffer, |now, datagram| {
            let asked = anywhere.then_some(datagram.asked).flatten();
            if Door::is_for(datagram.payload) {
                let (from, datagram) = (datagram.from, datagram.payload.to_vec());
                door.come(Newcomer { since: now, socket: id, asked, from, datagram });
            } else {
                server.handle_datagram_at(now, id, asked, datagram.from, datagram.payload);
            }
        });
    }

    /// Gives what has come in to `take`.
    pub(crate) fn read(&mut self, buffer: &mut Buffer, mut take: impl FnMut(Instant, Datagram<'_>)) {
        for _ in 0..BATCHES_IN_A_ROW {
            let now = Instant::now();
            if !self.socket.is_readable(now) {
                return;
            }
            match self.socket.receive(now, buffer) {
                Received::Datagrams => {}
                Received::Nothing => return,
                Received::Failed { error, first: true } => {
                    tracing::debug!(%error, address = %self.about.local, "receiving failed");
                }
                Received::Failed { .. } => {}
            }
            buffer.datagrams().for_each(|datagram| take(now, datagram));
        }
    }

    /// Opens a socket that has failed for seconds anew. Its port stays: players know no other one.
    pub(crate) fn mend(&mut self, now: Instant, registry: &Registry, id: ServerSocketId) {
        let address = self.about.local;
        let Some(mended) = self.socket.mend(now, registry, token(id)).filter(|mended| mended.first) else {
            return;
        };
        match mended.result {
            Ok(()) if self.socket.local() == address => {
                tracing::warn!(%address, "the system had taken a socket away; it is open again");
            }
            Ok(()) => tracing::error!(
                %address,
                "the system had taken a socket away, and something else has its port now: restart the server"
            ),
            Err(error) => tracing::error!(
                %address, %error,
                "the system has taken a socket away, and gives no other one; trying again"
            ),
        }
    }

    /// Sends; what the system does not take is lost, as UDP may be.
    pub(crate) fn send(&mut self, to: SocketAddr, source: Option<IpAddr>, payload: &[u8]) -> Sent {
        let origin = source.map_or(Origin::System, Origin::Address);
        let sent = self.socket.send(&Outgoing { to, origin, ttl: None, payload, segment: None });
        let address = self.about.local;
        if let Some(length) = sent.too_long {
            // Players find by themselves what passes, and send no more of these.
            if self.too_long.begins(Instant::now()) {
                tracing::debug!(%address, %to, length, "longer than the way there takes");
            }
        } else if let Some(error) = sent.error
            && self.refused_sends.begins(Instant::now())
        {
            tracing::debug!(%address, %to, %error, "sending failed");
        }
        sent
    }
}
