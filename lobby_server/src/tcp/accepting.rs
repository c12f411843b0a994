//! Taking connections: who gets a place, and who gives way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};
use traversal_core::wire::stream::{StreamReader, StreamWriter};

use super::connection::Connection;
use super::{Closed, Streams};
use crate::limits::Waiting;
use crate::server::{Refusal, Server, ServerSocketId};
use crate::tls::Tls;

/// So many connections are accepted before others get their turn.
const ACCEPTS_IN_A_ROW: usize = 64;
/// The server waits so long after the system had no room for another connection. It is about this machine, not about
/// the network.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

impl Streams {
    pub(super) fn accept(&mut self, now: Instant, index: usize, server: &Server) {
        for _ in 0..ACCEPTS_IN_A_ROW {
            let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.ready) else {
                return;
            };
            let unspecified = listener.about.local.ip().is_unspecified();
            match listener.io.accept() {
                Ok((io, peer)) => {
                    let id = ServerSocketId(self.first_id + index as u16);
                    let asked = unspecified.then(|| io.local_addr().ok().map(|local| local.ip())).flatten();
                    if let Err(error) = self.add(now, id, io, (peer, asked), server) {
                        tracing::debug!(%error, "a TCP connection could not be taken");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.ready = false;
                    return;
                }
                // Only this one is lost, or the call was disturbed.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    // No file descriptor is left, for example: the poller would not say so again.
                    if self.accept_errors.begins(now) {
                        tracing::debug!(%error, "accepting failed");
                    }
                    listener.ready = false;
                    self.accept_again = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn add(
        &mut self,
        now: Instant,
        listener: ServerSocketId,
        io: TcpStream,
        (peer, asked): (SocketAddr, Option<IpAddr>),
        server: &Server,
    ) -> io::Result<()> {
        // First: nobody gives way to one who is not taken.
        let tls = match self.tls_for(now, listener, peer.ip()) {
            Ok(tls) => tls,
            Err(()) => {
                self.refusals.count(Refusal::TlsRate);
                return Ok(());
            }
        };
        if !self.make_room(peer.ip(), server) {
            let of_address = self.by_address.full(peer.ip(), self.max_per_address, None).is_some();
            self.refusals.count(if of_address { Refusal::TcpOfAddress } else { Refusal::TcpFull });
            tracing::debug!("too many TCP connections: one is turned away");
            return Ok(());
        }
        // A datagram waits for nothing.
        let mut io = io;
        io.set_nodelay(true)?;
        let token = self.next_token;
        self.registry.register(&mut io, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        self.next_token += 1;
        let check_at = now + self.login;
        let connection = Connection {
            io,
            tls,
            listener,
            peer,
            asked,
            reader: StreamReader::default(),
            writer: StreamWriter::default(),
            moved: now,
            check_at,
            login_by: check_at,
        };
        self.connections.insert(token, connection);
        // An older connection from there is dead: its other end has begun anew.
        if let Some(old) = self.by_peer.insert((listener, peer), token) {
            self.close(old, Closed::Replaced);
        }
        self.by_address.add(peer.ip());
        self.waiting.insert(peer.ip(), token as u64);
        self.checks.insert((check_at, token));
        self.readable.insert(token);
        Ok(())
    }

    /// Returns the TLS that is to be around a connection of this listener, if any; an error where its address begins too many.
    fn tls_for(&mut self, now: Instant, listener: ServerSocketId, from: IpAddr) -> Result<Option<Tls>, ()> {
        let about = self.listeners.get(usize::from(listener.0 - self.first_id));
        if !about.is_some_and(|listener| listener.tls) {
            return Ok(None);
        }
        let shakes = self.shakes.as_mut().ok_or(())?;
        if !shakes.allow(now, from) {
            return Err(());
        }
        shakes.certificate.begin().map(Some).ok_or(())
    }

    /// Returns whether one more connection has a place; where there is none, one without a login gives way.
    fn make_room(&mut self, from: IpAddr, server: &Server) -> bool {
        if let Some(part) = self.by_address.full(from, self.max_per_address, None) {
            return self.close_waiting(server, |waiting| waiting.oldest_in(part, from));
        }
        self.connections.len() < self.max || self.close_waiting(server, Waiting::oldest_of_the_most)
    }

    fn close_waiting(&mut self, server: &Server, choose: impl Fn(&Waiting) -> Option<u64>) -> bool {
        while let Some(oldest) = choose(&self.waiting) {
            let token = oldest as usize;
            let Some(connection) = self.connections.get(&token) else { return false };
            if !server.serves_stream(connection.listener, connection.peer) {
                self.close(token, Closed::GaveWay);
                return true;
            }
            self.waiting.remove(connection.peer.ip(), oldest);
        }
        false
    }
}
