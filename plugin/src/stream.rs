//! The stream to the lobby server, where UDP does not get through: the same datagrams, each with its length in front. It is a
//! connection of TCP, with TLS around it where the network lets nothing else out; `race` tries the two.

#[cfg(feature = "tls")]
mod probe;
#[cfg(feature = "tls")]
mod provider;
mod race;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "tls"), path = "stream/no_tls.rs")]
mod tls;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use traversal_core::wire::stream::{STREAM_BACKLOG, StreamReader, StreamWriter};

use crate::state::{Counters, count};
#[cfg(feature = "tls")]
pub use probe::is_served_by_tls;
pub(crate) use race::{Race, Way};
use tls::Tls;

/// One system call takes at most this many bytes.
const BUFFER: usize = 16 * 1024;
/// This error says "the connection is being made"; `std` has no stable name for it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const IN_PROGRESS: i32 = 115;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const IN_PROGRESS: i32 = 36; // The BSDs' and Apple's; Windows says `WouldBlock`.

/// One connection, being made or made.
pub(crate) struct Stream {
    io: TcpStream,
    tls: Option<Tls>,
    open: bool,
    reader: StreamReader,
    writer: StreamWriter,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// There may be room to write.
    pub(crate) writable: bool,
}

impl Stream {
    /// Begins to connect, from this address unless it is unspecified.
    pub(crate) fn connect(to: SocketAddr, from: Option<IpAddr>, tls: Option<Tls>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // A wish. What waits in the system is delay, so let it be little.
        let _ = socket.set_send_buffer_size(STREAM_BACKLOG);
        if let Some(from) = from.filter(|ip| !ip.is_unspecified()) {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error)
                if error.kind() != io::ErrorKind::WouldBlock && error.raw_os_error() != Some(IN_PROGRESS) =>
            {
                return Err(error);
            }
            _ => {}
        }
        Ok(Self {
            io: TcpStream::from_std(socket.into()),
            tls,
            open: false,
            reader: StreamReader::default(),
            writer: StreamWriter::default(),
            readable: false,
            writable: false,
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn source(&mut self) -> &mut TcpStream {
        &mut self.io
    }

    /// Returns whether a connection that was being made is made now. The poller has news of it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn finish_connect(&mut self) -> io::Result<bool> {
        if self.open {
            return Ok(false);
        }
        if let Some(error) = self.io.take_error()? {
            return Err(error);
        }
        match self.io.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        }
        if let Some(tls) = &mut self.tls {
            match tls.shake(&mut self.io) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            // It may have come with the end of the handshake.
            self.readable = true;
        }
        self.open = true;
        Ok(true)
    }

    /// Says to the other end that this is the end, where the protocol has a word for it.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.io);
        }
    }

    /// Puts a datagram in line for [`flush`](Self::flush); what does not fit is dropped, as UDP may drop it.
    pub(crate) fn push(&mut self, datagram: &[u8], counters: &Counters) {
        if self.open && self.writer.push(datagram) {
            count(&counters.datagrams_sent, 1);
        } else {
            count(&counters.outgoing_dropped, 1);
        }
    }

    /// Returns whether something waits, and there may be room for it.
    pub(crate) fn has_queue(&self) -> bool {
        let within = self.tls.as_ref().is_some_and(Tls::wants_write);
        self.open && self.writable && (within || !self.writer.pending().is_empty())
    }

    /// Writes what is in line, as far as there is room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn flush(&mut self, counters: &Counters) -> io::Result<()> {
        while self.has_queue() {
            count(&counters.send_calls, 1);
            let pending = self.writer.pending();
            let written = match &mut self.tls {
                // What is left within it goes out alone.
                Some(tls) if pending.is_empty() => match tls.flush(&mut self.io) {
                    Ok(()) => return Ok(()),
                    Err(error) => Err(error),
                },
                Some(tls) => tls.write(&mut self.io, pending),
                None => self.io.write(pending),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.writer.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes one read call; the datagrams that are complete now are added to `datagrams`. Not
    /// [`readable`](Self::readable) any more when there was nothing.
    ///
    /// # Errors
    /// When the connection ended, is broken, or brings something else.
    pub(crate) fn receive(&mut self, datagrams: &mut Vec<Vec<u8>>, counters: &Counters) -> io::Result<()> {
        count(&counters.receive_calls, 1);
        let mut buffer = [0; BUFFER];
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut self.io, &mut buffer),
            None => self.io.read(&mut buffer),
        };
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self
                .reader
                .feed(&buffer[..length], |datagram| datagrams.push(datagram.to_vec()))
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}
