//! One connection: what it reads and writes, with TLS around it or without.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use traversal_core::wire::stream::{StreamReader, StreamWriter};

use crate::server::ServerSocketId;
use crate::tls::Tls;

/// This is a connection of a player, or of somebody who has not logged in.
pub(super) struct Connection {
    pub(super) io: TcpStream,
    pub(super) tls: Option<Tls>,
    pub(super) listener: ServerSocketId,
    pub(super) peer: SocketAddr,
    /// This is the address of ours that it came to.
    pub(super) asked: Option<IpAddr>,
    pub(super) reader: StreamReader,
    pub(super) writer: StreamWriter,
    /// This says when some of what waits was last taken, or nothing waited.
    pub(super) moved: Instant,
    /// This says when it is looked after.
    pub(super) check_at: Instant,
    /// This says when its player must be logged in, or is looked for again.
    pub(super) login_by: Instant,
}

impl Connection {
    /// Returns whether a handshake of TLS is under way.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::is_handshaking)
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.io, buffer),
            None => self.io.read(buffer),
        }
    }

    /// Writes what waits, as far as the other end takes it.
    ///
    /// # Errors
    /// `WouldBlock` when not all of it was taken.
    pub(super) fn write(&mut self, now: Instant) -> io::Result<()> {
        while !self.writer.pending().is_empty() {
            let pending = self.writer.pending();
            let written = match &mut self.tls {
                Some(tls) => tls.write(&mut self.io, pending),
                None => self.io.write(pending),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.writer.advance(written);
                    self.moved = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.tls.as_mut().map_or(Ok(()), |tls| tls.flush(&mut self.io))
    }

    /// Says that this is the end, where the protocol has a word for it.
    pub(super) fn say_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.io);
        }
    }
}
