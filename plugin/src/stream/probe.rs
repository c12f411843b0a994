//! Whether a lobby server is reached by TLS: for tools that look at a network, such as `peer doctor`. It blocks.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{NONCE, hello};
use traversal_core::wire::stream::{StreamReader, StreamWriter};

use super::{BUFFER, tls};
use crate::identity;

/// Connects to this address, does TLS there as a player does who can do nothing else, and says hello, without logging in. `host`
/// is the server's name, if it has one. True: a lobby server has answered; false: TLS is served, by somebody else. The calling
/// thread waits, for `patience` in all at the most.
///
/// # Errors
/// Those of the connection; [`ErrorKind::TimedOut`] where nobody has answered in time, and [`ErrorKind::InvalidData`] where it is
/// no TLS 1.3.
pub fn is_served_by_tls(host: Option<&str>, to: SocketAddr, patience: Duration) -> io::Result<bool> {
    let end = Instant::now() + patience;
    let mut io = TcpStream::connect_timeout(&to, patience)?;
    let mut tls = tls::begin(host, to).map_err(io::Error::other)?;
    left(&io, end)?;
    tls.shake(&mut io).map_err(late)?;
    let entropy = identity::entropy().map_err(io::Error::other)?;
    let nonce = *entropy.first_chunk::<NONCE>().ok_or(ErrorKind::Other)?;
    let (mut writer, mut reader) = (StreamWriter::default(), StreamReader::default());
    writer.push(&hello(nonce));
    while !writer.pending().is_empty() {
        left(&io, end)?;
        let written = tls.write(&mut io, writer.pending()).map_err(late)?;
        writer.advance(written);
    }
    tls.flush(&mut io).map_err(late)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        left(&io, end)?;
        let length = match tls.read(&mut io, &mut buffer) {
            // It has hung up, or says what is none of ours.
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Ok(false),
        };
        let (mut answered, mut ours) = (false, false);
        let fed = reader.feed(&buffer[..length], |datagram| {
            answered = true;
            let kind = matches!(Kind::of(datagram), Some(Kind::Cookie | Kind::Refuse));
            let own = &nonce[..NONCE - 1];
            ours |= kind && datagram.windows(own.len()).any(|part| part == own);
        });
        if answered || fed.is_err() {
            tls.close(&mut io);
            return Ok(ours);
        }
    }
}

/// The connection waits no longer than until then.
fn left(io: &TcpStream, end: Instant) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    io.set_read_timeout(Some(left))?;
    io.set_write_timeout(Some(left))
}

/// Systems have two words for a time that is over.
fn late(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}
