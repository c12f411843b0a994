//! The TCP stream to the lobby server, where UDP does not get through: the same datagrams, each with its length in
//! front.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use traversal_core::wire::stream::{STREAM_BACKLOG, StreamReader, StreamWriter};

use crate::state::{Counters, count};

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
    to: SocketAddr,
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
    pub(crate) fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
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
            to,
            open: false,
            reader: StreamReader::default(),
            writer: StreamWriter::default(),
            readable: false,
            writable: false,
        })
    }

    pub(crate) fn to(&self) -> SocketAddr {
        self.to
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
            Ok(_) => {
                self.open = true;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
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
        self.open && self.writable && !self.writer.pending().is_empty()
    }

    /// Writes what is in line, as far as there is room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn flush(&mut self, counters: &Counters) -> io::Result<()> {
        while self.has_queue() {
            count(&counters.send_calls, 1);
            match self.io.write(self.writer.pending()) {
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
        match self.io.read(&mut buffer) {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    fn until<T>(mut done: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match done() {
                Some(value) => return value,
                None => assert!(Instant::now() < deadline, "in time"),
            }
        }
    }

    fn connected() -> (Stream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let mut stream = Stream::connect(to, Some("127.0.0.1".parse().unwrap())).unwrap();
        let (server, _) = listener.accept().unwrap();
        until(|| stream.finish_connect().unwrap().then_some(()));
        (stream, server)
    }

    #[test]
    fn datagrams_go_both_ways() {
        let (mut stream, mut server) = connected();
        let counters = Counters::default();
        stream.writable = true;
        stream.push(&[7; 300], &counters);
        stream.flush(&counters).unwrap();
        let mut got = [0; 302];
        server.read_exact(&mut got).unwrap();
        assert_eq!((&got[..2], &got[2..]), ([1u8, 44].as_slice(), [7u8; 300].as_slice()));
        server.write_all(&[0, 2, 8, 9, 0, 1]).unwrap();
        server.write_all(&[5]).unwrap();
        let mut datagrams = Vec::new();
        until(|| {
            stream.receive(&mut datagrams, &counters).unwrap();
            (datagrams.len() == 2).then_some(())
        });
        assert_eq!(datagrams, [vec![8, 9], vec![5]]);
        drop(server);
        let error = until(|| stream.receive(&mut datagrams, &counters).err());
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_server_that_takes_nothing_costs_bounded_memory() {
        let (mut stream, server) = connected();
        let counters = Counters::default();
        stream.writable = true;
        for _ in 0..20_000 {
            stream.push(&[7; 1200], &counters);
            stream.flush(&counters).unwrap();
            // As if the poller had said so.
            stream.writable = true;
        }
        assert!(counters.outgoing_dropped.into_inner() > 0);
        drop(server);
    }

    #[test]
    fn garbage_and_refusal_are_errors() {
        let (mut stream, mut server) = connected();
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
        let (counters, mut datagrams) = (Counters::default(), Vec::new());
        until(|| stream.receive(&mut datagrams, &counters).err());
        assert!(datagrams.is_empty());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        drop(listener);
        if let Ok(mut refused) = Stream::connect(to, None) {
            until(|| refused.finish_connect().err());
        }
    }
}
