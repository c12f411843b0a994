//! TCP for players whose network lets no UDP through: the same datagrams, each with its length in front. With TLS around it for
//! those whose network lets out nothing but port 443.
//!
//! Everything is bounded: connections in all and of one address, bytes that wait in each direction, the time until
//! a login, the time that a reader may stand still. Where places run out, the oldest connection without a login gives
//! way, of the address that has most of them. To the core a connection is a socket of its own kind and the
//! address of its other end.

mod accepting;
mod connection;
mod listener;
mod shakes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use traversal_udp::Episode;

use crate::check::chain;
use crate::config::Settings;
use crate::key;
use crate::limits::{Counts, Waiting};
use crate::server::{Refusals, Server, ServerSocketId};
use crate::tls::Certificate;
use connection::Connection;
pub(crate) use listener::Listener;
use shakes::Shakes;
pub use shakes::TlsNumbers;

/// Tokens of connections begin here; those below are sockets, by their [`ServerSocketId`].
const FIRST_TOKEN: usize = 1 << 16;
/// Bytes taken with one system call, and calls before other connections get their turn.
const BUFFER: usize = 16 * 1024;
const READS_IN_A_ROW: usize = 4;
/// It is looked so often whether a connection's player is still logged in over it.
const CHECK: Duration = Duration::from_secs(30);
/// A connection that takes nothing of what waits for so long is closed.
const STUCK: Duration = Duration::from_secs(10);

/// This says why a connection was closed.
#[derive(Clone, Copy, Debug)]
enum Closed {
    /// Its other end has begun anew.
    Replaced,
    /// It gave way to another one.
    GaveWay,
    /// Nobody has logged in over it in time.
    NoLogin,
    /// Its other end takes nothing of what waits.
    TakesNothing,
    /// Its other end has closed it.
    Ended,
    /// The system says that it is broken.
    Broken,
    /// What came over it is not of our format.
    NotOurs,
}

/// These are all TCP connections of the server, and the sockets that take them.
pub(crate) struct Streams {
    listeners: Vec<Listener>,
    /// The first listener has this number; the others follow.
    first_id: u16,
    registry: Registry,
    connections: BTreeMap<usize, Connection>,
    by_peer: BTreeMap<(ServerSocketId, SocketAddr), usize>,
    by_address: Counts,
    /// Those whose player was not seen to have logged in.
    waiting: Waiting,
    checks: BTreeSet<(Instant, usize)>,
    readable: BTreeSet<usize>,
    /// Something was put in line and not written yet.
    unwritten: BTreeSet<usize>,
    accept_again: Option<Instant>,
    accept_errors: Episode,
    next_token: usize,
    max: usize,
    max_per_address: usize,
    /// A connection must have logged in after so long, see [`Settings::tcp_login_timeout_s`].
    login: Duration,
    buffer: Vec<u8>,
    refusals: Refusals,
    /// TLS is served, with these bounds.
    shakes: Option<Shakes>,
    /// Handshakes wait for their share of the time, until then.
    shaking: BTreeSet<usize>,
    shake_at: Option<Instant>,
}

impl Streams {
    /// Makes a set without connections, of which there may be `max` at a time; the core's number of the first listener
    /// is `first_id`.
    pub(crate) fn new(
        settings: &Settings,
        max: usize,
        registry: Registry,
        mut listeners: Vec<Listener>,
        first_id: u16,
        certificate: Option<Certificate>,
    ) -> io::Result<Self> {
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(usize::from(first_id) + index);
            registry.register(&mut listener.io, token, Interest::READABLE)?;
        }
        let shakes = certificate.map(|certificate| {
            certificate.warn();
            let entropy = key::entropy().map_err(io::Error::other)?;
            let key = entropy.first_chunk::<16>().copied().unwrap_or_default();
            Ok::<_, io::Error>(Shakes::new(certificate, key, Instant::now()))
        });
        Ok(Self {
            listeners,
            first_id,
            registry,
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            by_address: Counts::default(),
            waiting: Waiting::default(),
            checks: BTreeSet::new(),
            readable: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            accept_again: None,
            accept_errors: Episode::default(),
            next_token: FIRST_TOKEN,
            max,
            max_per_address: settings.max_tcp_per_address,
            login: Duration::from_secs(settings.tcp_login_timeout_s),
            buffer: vec![0; BUFFER],
            refusals: Refusals::default(),
            shakes: shakes.transpose()?,
            shaking: BTreeSet::new(),
            shake_at: None,
        })
    }

    /// Takes other limits of one address and of the time for a login, and a certificate that has changed.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        self.max_per_address = settings.max_tcp_per_address;
        self.login = Duration::from_secs(settings.tcp_login_timeout_s);
        match (Certificate::read(settings), &mut self.shakes) {
            (Ok(Some(certificate)), Some(shakes)) => {
                certificate.warn();
                tracing::info!("TLS: {}", certificate.about());
                shakes.certificate = certificate;
            }
            (Ok(None), None) => {}
            (Ok(_), _) => tracing::warn!("TLS will be switched on or off with the next start only"),
            (Err(error), _) => tracing::error!("TLS goes on with its certificate: {}", chain(&error)),
        }
    }

    /// Returns the certificate of TLS, where that is served.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.shakes.as_ref().map(|shakes| &shakes.certificate)
    }

    /// Counts what was done for TLS.
    pub(crate) fn tls(&self) -> TlsNumbers {
        let connections = self.connections.values().filter(|connection| connection.tls.is_some()).count();
        self.shakes.as_ref().map(|shakes| TlsNumbers { connections, ..shakes.numbers }).unwrap_or_default()
    }

    /// Counts the connections at present.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns how many connections there may be, in all and of one address.
    pub(crate) fn places(&self) -> (usize, usize) {
        (self.max, self.max_per_address)
    }

    /// Counts the bytes that wait for slow readers.
    pub(crate) fn waiting(&self) -> usize {
        self.connections.values().map(|connection| connection.writer.pending().len()).sum()
    }

    /// Returns how many were turned away.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The poller says that something can be done.
    pub(crate) fn handle_event(&mut self, event: &mio::event::Event) {
        let token = event.token().0;
        if let Some(listener) =
            token.checked_sub(usize::from(self.first_id)).and_then(|index| self.listeners.get_mut(index))
        {
            // While the system has no room, each newcomer would bring the same error.
            listener.ready |= self.accept_again.is_none();
        } else if self.connections.contains_key(&token) {
            if event.is_readable() || event.is_error() || event.is_read_closed() {
                self.readable.insert(token);
            }
            if event.is_writable() {
                self.unwritten.insert(token);
            }
        }
    }

    /// There is more to read or to accept than the last turn took.
    pub(crate) fn is_ready(&self) -> bool {
        !self.readable.is_empty() || self.listeners.iter().any(|listener| listener.ready)
    }

    /// Returns when [`turn`](Self::turn) is due without an event.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.checks.first().map(|(at, _)| *at).into_iter().chain(self.accept_again).chain(self.shake_at).min()
    }

    /// Accepts and reads what there is, gives it to the core, and closes what is of no use.
    pub(crate) fn turn(&mut self, now: Instant, server: &mut Server) {
        if self.accept_again.take_if(|at| *at <= now).is_some() {
            self.listeners.iter_mut().for_each(|listener| listener.ready = true);
        }
        for index in 0..self.listeners.len() {
            self.accept(now, index, server);
        }
        if self.shake_at.take_if(|at| *at <= now).is_some() {
            self.readable.append(&mut self.shaking);
        }
        for token in std::mem::take(&mut self.readable) {
            match self.read(now, token, server) {
                Ok(true) => drop(self.readable.insert(token)),
                Ok(false) => {}
                Err(reason) => self.close(token, reason),
            }
        }
        while let Some((at, token)) = self.checks.first().copied()
            && at <= now
        {
            self.checks.remove(&(at, token));
            self.check(now, token, server);
        }
    }

    /// Reads what has come. True: there may be more. An error says why the connection is of no use any more.
    fn read(&mut self, now: Instant, token: usize, server: &mut Server) -> Result<bool, Closed> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(false) };
        for _ in 0..READS_IN_A_ROW {
            let read = match self.shakes.as_mut().filter(|_| connection.is_handshaking()) {
                Some(shakes) => {
                    if let Some(at) = shakes.wait(Instant::now()) {
                        self.shaking.insert(token);
                        self.shake_at = Some(self.shake_at.map_or(at, |earlier| earlier.min(at)));
                        return Ok(false);
                    }
                    let begin = Instant::now();
                    let read = connection.read(&mut self.buffer);
                    shakes.took(begin.elapsed());
                    shakes.numbers.handshakes += u64::from(!connection.is_handshaking());
                    read
                }
                None => connection.read(&mut self.buffer),
            };
            let length = match read {
                Ok(0) => return Err(Closed::Ended),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Closed::NotOurs),
                Err(_) => return Err(Closed::Broken),
            };
            let Connection { reader, listener, asked, peer, .. } = connection;
            reader
                .feed(&self.buffer[..length], |datagram| {
                    server.handle_datagram_at(now, *listener, *asked, *peer, datagram);
                })
                .map_err(|_| Closed::NotOurs)?;
        }
        Ok(true)
    }

    fn check(&mut self, now: Instant, token: usize, server: &Server) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !connection.writer.pending().is_empty() && now >= connection.moved + STUCK {
            return self.close(token, Closed::TakesNothing);
        }
        if now >= connection.login_by {
            if !server.serves_stream(connection.listener, connection.peer) {
                return self.close(token, Closed::NoLogin);
            }
            connection.login_by = now + CHECK;
            self.waiting.remove(connection.peer.ip(), token as u64);
        }
        let waits = !connection.writer.pending().is_empty();
        connection.check_at =
            if waits { connection.login_by.min(connection.moved + STUCK) } else { connection.login_by };
        self.checks.insert((connection.check_at, token));
    }

    /// Puts a datagram in line; false where it is dropped.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        socket: ServerSocketId,
        to: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let Some(token) = self.by_peer.get(&(socket, to)).copied() else { return false };
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        if connection.writer.pending().is_empty() {
            connection.moved = now;
            if connection.check_at > now + STUCK {
                self.checks.remove(&(connection.check_at, token));
                connection.check_at = now + STUCK;
                self.checks.insert((connection.check_at, token));
            }
        }
        self.unwritten.insert(token);
        connection.writer.push(datagram)
    }

    /// Writes what is in line, as far as the other ends take it.
    pub(crate) fn flush(&mut self, now: Instant) {
        for token in std::mem::take(&mut self.unwritten) {
            let Some(connection) = self.connections.get_mut(&token) else { continue };
            match connection.write(now) {
                // The poller says when there is room again.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.close(token, Closed::Broken),
                _ => {}
            }
        }
    }

    fn close(&mut self, token: usize, reason: Closed) {
        let Some(mut connection) = self.connections.remove(&token) else { return };
        tracing::debug!(?reason, "TCP connection closed");
        if let Some(shakes) = self.shakes.as_mut().filter(|_| connection.is_handshaking()) {
            shakes.numbers.failed += 1;
        }
        connection.say_end();
        self.shaking.remove(&token);
        let _ = self.registry.deregister(&mut connection.io);
        let key = (connection.listener, connection.peer);
        if self.by_peer.get(&key) == Some(&token) {
            self.by_peer.remove(&key);
        }
        self.checks.remove(&(connection.check_at, token));
        self.readable.remove(&token);
        self.unwritten.remove(&token);
        self.waiting.remove(connection.peer.ip(), token as u64);
        self.by_address.remove(connection.peer.ip());
    }
}
