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
    /// What went wrong at one of the addresses, while others may still answer.
    pub(super) error: Option<LobbyError>,
    udp: Try,
    /// Over the stream, while that is open: the cookie tells the two apart, as it does addresses.
    stream: Option<Try>,
    /// When the stream is tried, or tried to the next address; none: never.
    stream_at: Option<Instant>,
    stream_tries: usize,
}

/// One handshake.
#[derive(Debug)]
struct Try {
    handshake: ClientHandshake,
    next: Instant,
    tries: usize,
    /// Known from the cookie on, or from the start.
    server: Option<SocketAddr>,
}

impl Shaking {
    /// `blocked`: UDP did not get through the last time.
    pub(super) fn new(cx: &mut Cx<'_>, login: Login, ephemeral: Identity, blocked: bool) -> Self {
        let handshake = ClientHandshake::new(cx.rng);
        let wait = if blocked { STREAM_SOON } else { STREAM_AFTER };
        Self {
            login,
            ephemeral,
            deadline: cx.now + cx.config.login_timeout,
            error: None,
            udp: Try { handshake, next: cx.now, tries: 0, server: None },
            stream: None,
            stream_at: cx.config.tcp.then(|| cx.now + wait),
            stream_tries: 0,
        }
    }

    /// Sends what is due, and connects the stream when its time has come.
    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>, servers: &[SocketAddr], stream: &mut Stream) {
        if self.udp.next <= cx.now {
            let to = self.udp.server.unwrap_or(servers[self.udp.tries % servers.len()]);
            self.udp.tries += 1;
            self.udp.next = cx.now + RETRY;
            cx.transmit_main(to, self.udp.handshake.datagram().to_vec());
        }
        if due(self.stream_at, cx.now) {
            stream.connect(cx, servers[self.stream_tries % servers.len()]);
            self.stream_tries += 1;
            self.stream_at = Some(cx.now + STREAM_TRY);
        }
        if let Some(over) = &mut self.stream
            && let Some(to) = over.server
            && over.next <= cx.now
        {
            over.next = cx.now + STREAM_RETRY;
            cx.transmit(SocketId::STREAM, to, over.handshake.datagram().to_vec());
        }
    }

    pub(super) fn stream_open(&mut self, cx: &mut Cx<'_>, to: SocketAddr) {
        let handshake = ClientHandshake::new(cx.rng);
        self.stream = Some(Try { handshake, next: cx.now, tries: 0, server: Some(to) });
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
        servers: &[SocketAddr],
        keys: &[[u8; 32]],
        datagram: &[u8],
    ) -> Result<ClientProgress, Dropped> {
        let over_stream = socket == SocketId::STREAM;
        let attempt = if over_stream { self.stream.as_mut().ok_or(Dropped::Unknown)? } else { &mut self.udp };
        let expected = attempt.server.map_or_else(|| servers.contains(&from), |server| server == from);
        if !expected {
            return Err(Dropped::Unknown);
        }
        let progress = attempt.handshake.handle(datagram, cx.identity, keys, &self.login, cx.now, cx.rng)?;
        if matches!(progress, ClientProgress::Cookie) {
            attempt.server = Some(from);
            attempt.next = cx.now;
            if !over_stream && self.stream_tries == 0 {
                // UDP is not silent: it gets as long again.
                self.stream_at = self.stream_at.map(|_| cx.now + STREAM_AFTER);
            }
        }
        Ok(progress)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tries = earliest(Some(self.udp.next), self.stream.as_ref().map(|over| over.next));
        earliest(earliest(tries, self.stream_at), Some(self.deadline))
    }
}
