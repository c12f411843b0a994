//! A login on its way: to the server's addresses in turn by UDP, and over a stream beside it where UDP is silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::contacted::Contacted;
use super::stream::Stream;
use crate::Identity;
use crate::api::{LobbyError, SocketId, StreamBy};
use crate::env::Env;
use crate::rtt::RttEstimate;
use crate::timer::{due, earliest};
use crate::way::Way;
use crate::wire::Dropped;
use crate::wire::handshake::{ClientHandshake, ClientProgress, MOST_BUSY_S, Refusal};
use crate::wire::message::Login;

/// So much time passes between hellos to two addresses of the server (happy eyeballs: RFC 8305 section 5 has the same
/// 250 ms). It is a pace, not a wait for an answer: what is far away answers later, and counts.
const PACE: Duration = Duration::from_millis(250);
/// Hellos to an address that is silent come ever more rarely, up to this gap.
const MOST_GAP: Duration = Duration::from_secs(2);
/// After so long a silence of UDP the stream is tried beside it. UDP goes on, and where it answers later, it wins: a
/// player on a slow network pays for a connection that is not needed, not with its login.
const STREAM_AFTER: Duration = Duration::from_secs(1);
/// A server that is said to be busy is left alone for as long as it says, and up to a quarter longer, by chance.
const BUSY_SPREAD: f64 = 0.25;
/// So much time passes between hellos while there is a cookie already, and after somebody said no in the clear: it is
/// a pace, too.
const HELLO_AGAIN: Duration = Duration::from_secs(1);
/// This is the same where UDP did not get through the last time: one hello.
const STREAM_SOON: Duration = PACE;
/// A stream that is not open by then is tried to the next address, whoever answers that late; each round takes twice as
/// long, so that a far server is waited for in the end.
const STREAM_TRY: Duration = Duration::from_millis(1500);
/// This is the same where there is only one address: six seconds are more than the longest round trip that a login is
/// for (5 s).
const STREAM_LONE_TRY: Duration = Duration::from_secs(6);
/// The longest of these tries.
const STREAM_LONGEST_TRY: Duration = Duration::from_secs(24);
/// A connection of TCP that was made, and whose other end says nothing for so long, is given up for one of TLS, once in a
/// login: there are networks that answer every connection themselves, and pass on what they know. Or for so many times what
/// the connection took.
const STREAM_SILENT: Duration = Duration::from_millis(1500);
const STREAM_SILENT_TRIPS: u32 = 3;
/// Nothing gets lost on a stream, but the server may have been too busy.
const STREAM_RETRY: Duration = Duration::from_secs(1);
/// A server that has sent a cookie is waited for until so many answers are overdue: that of the init, and of two
/// repetitions. For 5 s that is half a minute, as long as a cookie serves.
const ANSWERS: u32 = 3;

/// This is one login. It goes on with the same handshake until the server answers, however late: on a satellite link
/// behind a full queue that takes seconds.
#[derive(Debug)]
pub(super) struct Shaking {
    pub(super) login: Login,
    pub(super) ephemeral: Identity,
    pub(super) deadline: Instant,
    /// A login may take so long.
    patience: Duration,
    /// This is what went wrong, as somebody says in the clear: a hint that counts if nothing better comes until the
    /// deadline.
    pub(super) error: Option<LobbyError>,
    udp: Try,
    /// This is the try over the stream, while that is open: the cookie tells the two apart, as it does addresses.
    stream: Option<Try>,
    /// This says when the stream is tried, or tried to the next address; `None`: never.
    stream_at: Option<Instant>,
    stream_tries: usize,
    /// This says when a stream that is open and silent is given up for TLS.
    silent_at: Option<Instant>,
    /// That was done.
    silent_once: bool,
}

/// These are the handshakes of one protocol: one for each address of the server, so that what somebody says in the name
/// of one address does not keep the others from answering.
#[derive(Debug)]
struct Try {
    handshakes: Vec<(SocketAddr, ClientHandshake)>,
    /// These are busy, as somebody says in the clear: they get no hello before that. What they say is taken all the same.
    busy: BTreeMap<SocketAddr, Instant>,
    next: Instant,
    /// So many hellos were sent, or inits after the cookie.
    tries: usize,
    /// This says when the next hello goes out beside the inits. A cookie may be junk, and the true one come only with
    /// the next.
    hello_at: Instant,
    /// This says when each hello left, by its number; after a cookie, each init.
    hellos: BTreeMap<u8, Instant>,
    number: u8,
    /// The server takes so long to answer.
    timing: RttEstimate,
}

impl Try {
    fn new(env: &mut Env<'_>, servers: &[SocketAddr]) -> Self {
        let handshakes = servers.iter().map(|server| (*server, ClientHandshake::new(env.rng))).collect();
        Self {
            handshakes,
            busy: BTreeMap::new(),
            next: env.now,
            tries: 0,
            hello_at: env.now,
            hellos: BTreeMap::new(),
            number: 0,
            timing: RttEstimate::default(),
        }
    }

    fn has_cookie(&self) -> bool {
        self.handshakes.iter().any(|(_, handshake)| handshake.has_cookie())
    }

    /// Returns what leaves now, and where to: the inits for all cookies that came, and a hello to the next address
    /// while there are none, or now and then.
    fn datagrams(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        self.number = self.number.wrapping_add(1);
        self.hellos.insert(self.number, now);
        let servers = self.handshakes.len();
        let inits = self
            .handshakes
            .iter()
            .flat_map(|(to, handshake)| handshake.inits().map(move |init| (*to, init.to_vec())));
        let mut datagrams: Vec<_> = inits.collect();
        let gap = if datagrams.is_empty() {
            let round = (self.tries / servers) as u32;
            let gap = (PACE * 2u32.saturating_pow(round / 2).min(64)).min(MOST_GAP);
            // Players whom one event has sent here together ask together once, and no second time.
            let share =
                self.handshakes.first().map_or(0.0, |(_, handshake)| handshake.share(self.tries as u32));
            if round == 0 { gap } else { gap.mul_f64(1.0 + share / 2.0) }
        } else {
            self.timing.overdue_after(self.tries as u32).max(PACE)
        };
        if datagrams.is_empty() || self.hello_at <= now {
            self.busy.retain(|_, until| *until > now);
            let places = (0..servers).map(|further| (self.tries + further) % servers);
            let free = places.into_iter().find(|place| !self.busy.contains_key(&self.handshakes[*place].0));
            if let Some(place) = free {
                let (to, handshake) = &mut self.handshakes[place];
                datagrams.push((*to, handshake.numbered(self.number).to_vec()));
                self.hello_at = now + HELLO_AGAIN;
            }
        }
        self.tries += 1;
        self.next = now + gap;
        if datagrams.is_empty()
            && let Some(until) = self.all_busy_until()
        {
            self.next = until;
        }
        datagrams
    }

    /// Returns when the first server is free again; none: one is now.
    fn all_busy_until(&self) -> Option<Instant> {
        let all = self.busy.len() >= self.handshakes.len();
        self.busy.values().min().copied().filter(|_| all)
    }

    /// Somebody says that this server is busy for so many seconds.
    fn put_off(&mut self, now: Instant, server: SocketAddr, again_s: u8) {
        let Some((_, handshake)) = self.handshakes.iter().find(|(to, _)| *to == server) else { return };
        if handshake.has_cookie() || self.busy.contains_key(&server) {
            // It serves us already; or it says again what it has said, which is no reason to wait longer.
            return;
        }
        let said = Duration::from_secs(again_s.clamp(1, MOST_BUSY_S).into());
        let wait = said.mul_f64(1.0 + handshake.share(u32::from(again_s)) * BUSY_SPREAD);
        self.busy.insert(server, now + wait);
        if let Some(until) = self.all_busy_until() {
            self.next = until;
        }
    }

    /// The first cookie came, to the hello of this number: go on with the init.
    fn answered(&mut self, now: Instant, number: u8) {
        if let Some(sent) = self.hellos.get(&number) {
            self.timing.sample(now.saturating_duration_since(*sent));
        }
        self.hellos.clear();
        (self.tries, self.hello_at) = (0, now + HELLO_AGAIN);
    }

    /// The server has let us in. Of several inits it is not said which one it answers (Karn's rule).
    fn accepted(&mut self, now: Instant) {
        let sent = self.hellos.values().next().filter(|_| self.hellos.len() == 1);
        if let Some(sent) = sent {
            self.timing.sample(now.saturating_duration_since(*sent));
        }
    }
}

impl Shaking {
    /// Begins a login; `blocked` says that UDP did not get through the last time.
    pub(super) fn new(
        env: &mut Env<'_>,
        servers: &[SocketAddr],
        login: Login,
        ephemeral: Identity,
        blocked: bool,
    ) -> Self {
        let udp = Try::new(env, servers);
        let wait = if blocked { STREAM_SOON } else { STREAM_AFTER };
        Self {
            login,
            ephemeral,
            deadline: env.now + env.config.login_timeout,
            patience: env.config.login_timeout,
            error: None,
            udp,
            stream: None,
            stream_at: env.config.tcp.then(|| env.now + wait),
            stream_tries: 0,
            silent_at: None,
            silent_once: false,
        }
    }

    /// Returns whether the server has sent a cookie, which shows that it is there.
    pub(super) fn is_answered(&self) -> bool {
        self.udp.has_cookie() || self.stream.as_ref().is_some_and(Try::has_cookie)
    }

    /// Returns for how long all servers are said to be busy, after the last one has said so; none: one of them is not.
    /// The login goes on until then, as long again as a login takes, and nothing is tried over the stream.
    pub(super) fn is_put_off(&mut self, now: Instant) -> Option<Duration> {
        if self.is_answered() {
            return None;
        }
        let until = self.udp.all_busy_until()?;
        let first = until + self.patience > self.deadline;
        self.deadline = self.deadline.max(until + self.patience);
        self.stream_at = self.stream_at.map(|at| at.max(until + STREAM_AFTER));
        first.then(|| until.saturating_duration_since(now))
    }

    /// Returns the server that has sent a cookie.
    pub(super) fn answered_by(&self) -> Option<SocketAddr> {
        let tries = [Some(&self.udp), self.stream.as_ref()];
        let mut handshakes = tries.into_iter().flatten().flat_map(|attempt| &attempt.handshakes);
        handshakes.find(|(_, handshake)| handshake.has_cookie()).map(|(server, _)| *server)
    }

    /// The game was told that nobody answers, and that it is tried again after so long. What was sent may still be
    /// answered.
    pub(super) fn go_on(&mut self, env: &Env<'_>, retry_in: Duration) {
        let at = env.now + retry_in;
        self.deadline = at + env.config.login_timeout;
        // Slower than at first: who has not answered for seconds has too much to do, perhaps.
        (self.udp.next, self.udp.tries) = (at, 2 * self.udp.handshakes.len());
    }

    /// Returns how long the server takes to answer by this way.
    pub(super) fn timing(&self, over_stream: bool) -> RttEstimate {
        let attempt = if over_stream { self.stream.as_ref() } else { Some(&self.udp) };
        attempt.map(|attempt| attempt.timing).unwrap_or_default()
    }

    /// Sends what is due, and connects the stream when its time has come.
    pub(super) fn handle_timeout(
        &mut self,
        env: &mut Env<'_>,
        servers: &[SocketAddr],
        stream: &mut Stream,
        contacted: &mut Contacted,
    ) {
        if self.udp.next <= env.now {
            for (to, datagram) in self.udp.datagrams(env.now) {
                contacted.note(env.now, to.ip());
                env.transmit_main(to, datagram);
            }
        }
        if due(self.silent_at.take_if(|at| *at <= env.now), env.now)
            && let Some(to) = stream.to()
        {
            (self.stream, self.silent_once) = (None, true);
            self.stream_at = Some(env.now + STREAM_LONE_TRY);
            stream.connect(env, to, StreamBy::Tls);
        }
        if due(self.stream_at, env.now) {
            stream.connect(env, servers[self.stream_tries % servers.len()], StreamBy::TcpOrTls);
            let round = (self.stream_tries / servers.len()) as u32;
            let first = if servers.len() == 1 { STREAM_LONE_TRY } else { STREAM_TRY };
            self.stream_tries += 1;
            let patience = (first * 2u32.saturating_pow(round).min(16)).min(STREAM_LONGEST_TRY);
            self.stream_at = Some(env.now + patience);
        }
        if let Some(over) = &mut self.stream
            && over.next <= env.now
        {
            let datagrams = over.datagrams(env.now);
            over.next = env.now + over.timing.at_least(STREAM_RETRY, 2);
            for (to, datagram) in datagrams {
                env.transmit(SocketId::STREAM, to, datagram);
            }
        }
    }

    /// The stream stands, `took` after it was asked for.
    pub(super) fn stream_open(&mut self, env: &mut Env<'_>, to: SocketAddr, took: Duration) {
        self.stream = Some(Try::new(env, &[to]));
        self.stream_at = None;
        let silence = STREAM_SILENT.max(took * STREAM_SILENT_TRIPS);
        self.silent_at = (!self.silent_once).then(|| env.now + silence);
    }

    pub(super) fn stream_closed(&mut self, now: Instant) {
        (self.stream, self.silent_at) = (None, None);
        self.stream_at = Some(now + PACE);
    }

    /// Handles an answer of the server.
    pub(super) fn handle(
        &mut self,
        env: &mut Env<'_>,
        way: Way,
        keys: &[[u8; 32]],
        datagram: &[u8],
    ) -> Result<ClientProgress, Dropped> {
        let over_stream = way.is_stream();
        let attempt = if over_stream { self.stream.as_mut().ok_or(Dropped::Unknown)? } else { &mut self.udp };
        let first = !attempt.has_cookie();
        let of_server = attempt.handshakes.iter_mut().find(|(server, _)| *server == way.remote);
        let (_, handshake) = of_server.ok_or(Dropped::Unknown)?;
        if !first && !handshake.has_cookie() && env.now < attempt.hello_at {
            // Another address was first: it gets its time, so that one player does not log in twice.
            return Err(Dropped::Unknown);
        }
        let progress = handshake.handle(datagram, env.identity, keys, &self.login, env.now, env.rng)?;
        let number = handshake.answered();
        if over_stream {
            self.silent_at = None;
        }
        match progress {
            ClientProgress::Cookie => {
                attempt.next = env.now;
                if first {
                    attempt.answered(env.now, number);
                    let timing = attempt.timing;
                    let patience = timing.at_least(env.config.login_timeout, ANSWERS);
                    self.deadline = self.deadline.max(env.now + patience);
                    if !over_stream && self.stream_tries == 0 {
                        // UDP is not silent: it gets as long again.
                        self.stream_at = self.stream_at.map(|_| env.now + timing.at_least(STREAM_AFTER, 2));
                    }
                }
            }
            ClientProgress::Accepted(_) => attempt.accepted(env.now),
            ClientProgress::RefusedInClear(Refusal::Busy { again_s }) => {
                attempt.put_off(env.now, way.remote, again_s);
            }
            // A server that has nothing else to say need not be asked as often, where there is no other.
            ClientProgress::RefusedInClear(_) | ClientProgress::WrongKey if attempt.handshakes.len() == 1 => {
                attempt.next = env.now + HELLO_AGAIN;
            }
            _ => {}
        }
        Ok(progress)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tries = earliest(Some(self.udp.next), self.stream.as_ref().map(|over| over.next));
        earliest(earliest(tries, self.stream_at), earliest(self.silent_at, Some(self.deadline)))
    }
}
