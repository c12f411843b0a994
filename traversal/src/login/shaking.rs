//! A login on its way: to the server's addresses in turn by UDP, and over a stream beside it where UDP is silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::stream::Stream;
use crate::Identity;
use crate::api::{LobbyError, SocketId};
use crate::cx::Cx;
use crate::timer::{due, earliest};
use crate::wire::Dropped;
use crate::wire::handshake::{ClientHandshake, ClientProgress};
use crate::wire::message::Login;

/// Between two hellos or inits; the next hello goes to the next address of the server (happy eyeballs: RFC 8305
/// section 5 has the same 250 ms).
const RETRY: Duration = Duration::from_millis(250);
/// Between hellos while there is a cookie already, and after somebody said no in the clear.
const HELLO_AGAIN: Duration = Duration::from_secs(1);
/// Silence of UDP after which the stream is tried beside it: four hellos.
const STREAM_AFTER: Duration = Duration::from_millis(1000);
/// The same where UDP did not get through the last time: one hello.
const STREAM_SOON: Duration = RETRY;
/// A stream that is not open by then is tried to the next address.
const STREAM_TRY: Duration = Duration::from_millis(1500);
/// Nothing gets lost on a stream, but the server may have been too busy.
const STREAM_RETRY: Duration = Duration::from_secs(1);

/// One login.
#[derive(Debug)]
pub(super) struct Shaking {
    pub(super) login: Login,
    pub(super) ephemeral: Identity,
    pub(super) deadline: Instant,
    /// What went wrong, as somebody says in the clear: a hint that counts if nothing better comes until the deadline.
    pub(super) error: Option<LobbyError>,
    udp: Try,
    /// Over the stream, while that is open: the cookie tells the two apart, as it does addresses.
    stream: Option<Try>,
    /// When the stream is tried, or tried to the next address; none: never.
    stream_at: Option<Instant>,
    stream_tries: usize,
}

/// The handshakes of one protocol: one for each address of the server, so that what somebody says in the name of one
/// address does not keep the others from answering.
#[derive(Debug)]
struct Try {
    handshakes: Vec<(SocketAddr, ClientHandshake)>,
    next: Instant,
    tries: usize,
    /// When the next hello goes out beside the inits. A cookie may be junk, and the true one come only with the next.
    hello_at: Instant,
}

impl Try {
    fn new(cx: &mut Cx<'_>, servers: &[SocketAddr]) -> Self {
        let handshakes = servers.iter().map(|server| (*server, ClientHandshake::new(cx.rng))).collect();
        Self { handshakes, next: cx.now, tries: 0, hello_at: cx.now }
    }

    /// What is to be sent now, and where: the inits for all cookies that came, and a hello to the next address while
    /// there are none, or now and then.
    fn datagrams(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let inits = self
            .handshakes
            .iter()
            .flat_map(|(to, handshake)| handshake.inits().map(move |init| (*to, init.to_vec())));
        let mut datagrams: Vec<_> = inits.collect();
        if datagrams.is_empty() || self.hello_at <= now {
            let (to, handshake) = &self.handshakes[self.tries % self.handshakes.len()];
            datagrams.push((*to, handshake.hello().to_vec()));
            self.tries += 1;
            self.hello_at = now + HELLO_AGAIN;
        }
        datagrams
    }
}

impl Shaking {
    /// `blocked`: UDP did not get through the last time.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        servers: &[SocketAddr],
        login: Login,
        ephemeral: Identity,
        blocked: bool,
    ) -> Self {
        let udp = Try::new(cx, servers);
        let wait = if blocked { STREAM_SOON } else { STREAM_AFTER };
        Self {
            login,
            ephemeral,
            deadline: cx.now + cx.config.login_timeout,
            error: None,
            udp,
            stream: None,
            stream_at: cx.config.tcp.then(|| cx.now + wait),
            stream_tries: 0,
        }
    }

    /// Sends what is due, and connects the stream when its time has come.
    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>, servers: &[SocketAddr], stream: &mut Stream) {
        if self.udp.next <= cx.now {
            self.udp.next = cx.now + RETRY;
            for (to, datagram) in self.udp.datagrams(cx.now) {
                cx.transmit_main(to, datagram);
            }
        }
        if due(self.stream_at, cx.now) {
            stream.connect(cx, servers[self.stream_tries % servers.len()]);
            self.stream_tries += 1;
            self.stream_at = Some(cx.now + STREAM_TRY);
        }
        if let Some(over) = &mut self.stream
            && over.next <= cx.now
        {
            over.next = cx.now + STREAM_RETRY;
            for (to, datagram) in over.datagrams(cx.now) {
                cx.transmit(SocketId::STREAM, to, datagram);
            }
        }
    }

    pub(super) fn stream_open(&mut self, cx: &mut Cx<'_>, to: SocketAddr) {
        self.stream = Some(Try::new(cx, &[to]));
        self.stream_at = None;
    }

    pub(super) fn stream_closed(&mut self, now: Instant) {
        self.stream = None;
        self.stream_at = Some(now + RETRY);
    }

    /// An answer of the server.
    pub(super) fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        (socket, from): (SocketId, SocketAddr),
        keys: &[[u8; 32]],
        datagram: &[u8],
    ) -> Result<ClientProgress, Dropped> {
        let over_stream = socket == SocketId::STREAM;
        let attempt = if over_stream { self.stream.as_mut().ok_or(Dropped::Unknown)? } else { &mut self.udp };
        let first = !attempt.handshakes.iter().any(|(_, handshake)| handshake.has_cookie());
        let of_server = attempt.handshakes.iter_mut().find(|(server, _)| *server == from);
        let (_, handshake) = of_server.ok_or(Dropped::Unknown)?;
        if !first && !handshake.has_cookie() && cx.now < attempt.hello_at {
            // Another address was first: it gets its time, so that one player does not log in twice.
            return Err(Dropped::Unknown);
        }
        let progress = handshake.handle(datagram, cx.identity, keys, &self.login, cx.now, cx.rng)?;
        match progress {
            ClientProgress::Cookie => {
                attempt.next = cx.now;
                if first {
                    attempt.hello_at = cx.now + HELLO_AGAIN;
                }
                if !over_stream && self.stream_tries == 0 {
                    // UDP is not silent: it gets as long again.
                    self.stream_at = self.stream_at.map(|_| cx.now + STREAM_AFTER);
                }
            }
            // A server that has nothing else to say need not be asked as often, where there is no other.
            ClientProgress::RefusedInClear(_) | ClientProgress::WrongKey if attempt.handshakes.len() == 1 => {
                attempt.next = cx.now + HELLO_AGAIN;
            }
            _ => {}
        }
        Ok(progress)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tries = earliest(Some(self.udp.next), self.stream.as_ref().map(|over| over.next));
        earliest(earliest(tries, self.stream_at), Some(self.deadline))
    }
}
