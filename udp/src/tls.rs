//! TLS over a connection that does not block: what rustls has no I/O for, and its own `Stream` would wait with. That one
//! does not read while it cannot write, so that two ends that do so wait for each other.

use std::io::{self, ErrorKind, Read, Write};

use rustls::Connection;

/// So many bytes wait within TLS at the most: one record. What waits longer waits before it, where it is seen.
const BUFFER: usize = 16 * 1024;

/// This is one end's TLS; the connection under it is given to each call.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
}

impl Tls {
    /// Begins a handshake.
    pub fn new(connection: impl Into<Connection>) -> Self {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(BUFFER));
        Self { connection }
    }

    /// Returns whether the handshake is under way still.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Returns whether something waits to be written.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Goes on with the handshake until it is done; what has come after it waits to be read.
    ///
    /// # Errors
    /// `WouldBlock` when the other end's turn has not come; `UnexpectedEof` when it has gone, and others as with
    /// [`read`](Self::read).
    pub fn shake(&mut self, io: &mut (impl Read + Write)) -> io::Result<()> {
        self.flush(io)?;
        while self.is_handshaking() {
            match self.connection.read_tls(io) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let processed = self.connection.process_new_packets();
            let flushed = self.flush(io);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            flushed?;
        }
        Ok(())
    }

    /// Reads as [`Read`] does, with one call to `io` at the most, and answers what has to be answered.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; `Interrupted` when what came was of the handshake, or less than a record: call
    /// again. `InvalidData` when the other end does not speak TLS as it should, which it was told; other errors are of `io`.
    pub fn read(&mut self, io: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        match self.connection.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        if self.connection.read_tls(io)? == 0 {
            return Ok(0);
        }
        let processed = self.connection.process_new_packets();
        // An answer of the handshake, or an alert. What does not go out now does so with the next flush.
        let flushed = self.flush(io);
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        match flushed {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match self.connection.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::Interrupted.into()),
            done => done,
        }
    }

    /// Takes some of these bytes and writes what `io` takes of them.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken, since `io` takes nothing; other errors are of `io`.
    pub fn write(&mut self, io: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(io)?;
        let taken = self.connection.writer().write(bytes)?;
        match self.flush(io) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// `WouldBlock` when not all of it was taken; other errors are of `io`.
    pub fn flush(&mut self, io: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(io) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the other end that this is the end, as far as `io` takes it at once.
    pub fn close(&mut self, io: &mut impl Write) {
        self.connection.send_close_notify();
        // Who does not hear it hears the connection's own end.
        let _ = self.flush(io);
    }
}
