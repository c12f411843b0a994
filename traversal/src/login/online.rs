//! Logged in: keepalive, and the ways between this player and its server.
//!
//! The session is the same over UDP and over the stream, and it moves between them as it moves between addresses:
//! a sealed datagram comes to the server by another way, the server has that way proven by an echo, and what it
//! sends by that way afterwards says that the session has moved.

mod pings;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::family::OtherFamily;
use super::stream::Stream;
use crate::Identity;
use crate::api::{LobbyState, SocketId, StreamBy};
use crate::env::{Env, Families};
use crate::id::MatchId;
use crate::timer::{due, earliest};
use crate::way::Way;
use crate::wire::Kind;
use crate::wire::message::{Frame, REGISTER_TAG, ToPlayer, ToServer, Welcome};
use crate::wire::session::ClientSession;

/// After so many unanswered pings in a row the server counts as lost; the least time between them follows. Where an
/// answer takes longer than three of these times, they come as much more rarely; after twice the time of an answer at
/// the least the server is lost.
const PINGS: u32 = 6;
const PING_RETRY: Duration = Duration::from_millis(500);
/// Pings whose answer tells the round trip.
const REMEMBERED: usize = 8;
/// After so many unanswered pings the stream is tried: a second of silence, as at the login, and three round trips.
const PINGS_TO_STREAM: u32 = 2;
const ROUND_TRIPS_TO_STREAM: u32 = 3;
/// After so many unanswered pings the server seems to be gone: one may get lost.
const PINGS_TO_DOUBT: u32 = 2;
/// The server may take so long to move the session to a stream that has been proven; or three answers of a far one.
const PROVEN: Duration = Duration::from_secs(2);
/// UDP is tried so often while the stream is in use: at once, and then with these as first and last gap. It is a
/// pace, however late the answer comes.
const UDP_RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// UDP is tried for so long, with the first of these gaps, until silence says that it is blocked; or for four answers
/// of a far server. That a packet gets lost on its way there or back is once in two times on the worst networks (15 %
/// on each of four links), all ten of them once in 1,000 times.
const UDP_TRIED: Duration = Duration::from_secs(5);
/// The stream stays open for so long after the session has left it, for what is on its way; or for two answers of a
/// far server.
const LINGER: Duration = Duration::from_secs(2);

/// This is a session with the server, and the ways that it may take.
#[derive(Debug)]
pub(crate) struct Online {
    /// This is the sealed channel to the server.
    pub(crate) session: ClientSession,
    /// The server has this address, the same for UDP and for the stream.
    pub(crate) server: SocketAddr,
    /// This is what the server said at the login.
    pub(crate) welcome: Welcome,
    /// Pairs use this key, which is of this login alone.
    pub(crate) ephemeral: Identity,
    /// This says where the server sees us now.
    pub(crate) public: SocketAddr,
    pub(crate) server_key: [u8; 32],
    /// This is the main socket that reaches the server by UDP.
    udp: SocketId,
    over_stream: bool,
    /// This says when UDP is tried next while the stream is in use, and the gap after that.
    udp_at: Option<Instant>,
    udp_gap: Duration,
    /// This says until when UDP is tried without a longer pause.
    udp_tried_at: Instant,
    /// Something came by UDP while the stream was in use.
    udp_heard: bool,
    /// This says when the stream is connected again, which was in use.
    stream_at: Option<Instant>,
    /// The stream was proven, so the session moves there, whatever UDP says meanwhile; until then.
    proven_until: Option<Instant>,
    /// This says when another player's datagram last came through the server by UDP.
    carried: Option<Instant>,
    /// This is the address in the other family, where there is one.
    other: Option<OtherFamily>,
    ping: Option<Ping>,
    pings: u32,
    /// The latest pings, and when they left.
    asked: VecDeque<(u32, Instant)>,
    /// This says when this login came about.
    since: Instant,
    /// Matches that keys of this login were made for.
    used: BTreeSet<MatchId>,
}

/// Matches of one login, so that their ids take half a megabyte at the most. A host who plays for a week, and is joined once
/// a minute, has 10,000.
const MATCHES: usize = 16_384;

/// This says whether a plan may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchUse {
    /// Its keys are made for the first time.
    First,
    /// It would be one too many for this login.
    TooMany,
}

#[derive(Debug)]
struct Ping {
    unanswered: u32,
    /// This says when the first of them left.
    since: Instant,
    next: Instant,
}

impl Ping {
    /// Returns a ping that is to be sent then.
    fn at(next: Instant) -> Self {
        Self { unanswered: 0, since: next, next }
    }
}

impl Online {
    pub(super) fn new(
        now: Instant,
        (session, welcome, server_key, other): (ClientSession, Welcome, [u8; 32], Option<OtherFamily>),
        ephemeral: Identity,
        by_udp: Way,
        over_stream: bool,
    ) -> Self {
        let public = welcome.observed;
        Self {
            session,
            server: by_udp.remote,
            welcome,
            ephemeral,
            public,
            server_key,
            udp: by_udp.socket,
            over_stream,
            udp_at: over_stream.then_some(now),
            udp_gap: UDP_RETRY[0],
            udp_tried_at: now + UDP_TRIED,
            udp_heard: false,
            stream_at: None,
            proven_until: None,
            carried: None,
            other,
            ping: None,
            pings: 0,
            asked: VecDeque::new(),
            since: now,
            used: BTreeSet::new(),
        }
    }

    /// Returns whether keys were made for this match.
    pub(crate) fn knows_match(&self, id: MatchId) -> bool {
        self.used.contains(&id)
    }

    /// Notes that keys are made for this match; none: they were made already, and must not be made again.
    pub(crate) fn use_match(&mut self, id: MatchId) -> Option<MatchUse> {
        if self.knows_match(id) {
            return None;
        }
        if self.used.len() >= MATCHES {
            return Some(MatchUse::TooMany);
        }
        self.used.insert(id);
        Some(MatchUse::First)
    }

    /// Returns whether this player was not logged in before, or the server is perhaps gone: what went through it
    /// since `at` may be lost.
    pub(super) fn was_interrupted(&self, now: Instant, at: Instant) -> bool {
        let overdue = self.session.timing().overdue();
        let late = |ping: &Ping| {
            ping.unanswered >= PINGS_TO_DOUBT && now.saturating_duration_since(ping.since) >= overdue
        };
        self.since > at || self.ping.as_ref().is_some_and(late)
    }

    /// Begins to find out whether UDP is blocked, while the stream is in use. Returns when that is known.
    pub(crate) fn try_udp(&mut self, now: Instant) -> Instant {
        self.udp_heard = false;
        (self.udp_at, self.udp_gap) = (Some(self.udp_at.map_or(now, |at| at.min(now))), UDP_RETRY[0]);
        self.udp_tried_at = now + self.session.timing().at_least(UDP_TRIED, 4);
        self.udp_tried_at
    }

    /// Nothing has come by UDP since [`try_udp`](Self::try_udp).
    pub(crate) fn udp_is_silent(&self) -> bool {
        self.over_stream && !self.udp_heard
    }

    /// The way in use is the stream: UDP does not get through, or had not when it was tried.
    pub(crate) fn over_stream(&self) -> bool {
        self.over_stream
    }

    /// Returns the way in use.
    pub(crate) fn uplink(&self) -> Way {
        let socket = if self.over_stream { SocketId::STREAM } else { self.udp };
        Way::new(socket, self.server)
    }

    /// Returns the families in which the server sees this player.
    pub(crate) fn families(&self) -> Families {
        let families = Families::default().with(self.server);
        self.other.as_ref().and_then(OtherFamily::public).map_or(families, |public| families.with(public))
    }

    pub(super) fn lobby_state(&self, identity: &Identity) -> LobbyState {
        LobbyState::Online {
            player: identity.player_id(),
            public: self.public,
            server: self.server,
            server_key: self.server_key,
        }
    }

    /// Sends a ping by a way that is not in use: the server asks for an echo there, and moves the session.
    pub(super) fn knock(&mut self, env: &mut Env<'_>, socket: SocketId) {
        // It is not the way in use whose round trip this would tell.
        let id = self.next_ping_id();
        self.send_by(env, socket, &Frame::Ping { id });
    }

    /// Sends a frame by this way, whichever is in use.
    pub(super) fn send_by(&mut self, env: &mut Env<'_>, socket: SocketId, frame: &Frame<ToServer>) {
        if let Some(datagram) = self.session.seal(env.now, Kind::Control, frame) {
            env.transmit(socket, self.server, datagram);
        }
    }

    /// Something authentic came by this way: it works. True when the session has just moved there.
    pub(super) fn heard(
        &mut self,
        env: &mut Env<'_>,
        stream: &mut Stream,
        way: Way,
        moved_there: bool,
    ) -> bool {
        let by_stream = way.is_stream();
        if by_stream == self.over_stream {
            self.ping = None;
            if !by_stream && stream.is_open() && self.proven_until.is_none() {
                // UDP is back before the session has left it.
                stream.close(env);
            }
            return false;
        }
        self.udp_heard |= !by_stream;
        if !moved_there || (by_stream && !stream.is_open()) {
            return false;
        }
        tracing::debug!(by_stream, "the link to the lobby server moved");
        self.over_stream = by_stream;
        self.ping = None;
        self.stream_at = None;
        self.proven_until = None;
        self.udp_gap = UDP_RETRY[0];
        self.udp_at = by_stream.then(|| env.now + UDP_RETRY[0]);
        if !by_stream {
            stream.close_later(env.now + self.session.timing().at_least(LINGER, 2));
        }
        true
    }

    /// Takes a frame that came in the other family.
    pub(super) fn handle_other(&mut self, env: &mut Env<'_>, way: Way, frame: Frame<ToPlayer>) {
        let Some(other) = self.other.as_mut().filter(|other| other.is_from(way.remote)) else { return };
        match frame {
            Frame::PathChallenge { token } => other.echo(env, &mut self.session, way.remote, token),
            Frame::ProbeSeen { tag: REGISTER_TAG, observed } => other.registered(env.now, observed),
            _ => {}
        }
    }

    /// Another player's datagram came by this way.
    pub(super) fn carried(&mut self, now: Instant, socket: SocketId) {
        if socket != SocketId::STREAM {
            self.carried = Some(now);
        }
    }

    /// Answers a challenge by the way that is to be proven.
    pub(super) fn prove(&mut self, env: &mut Env<'_>, socket: SocketId, token: [u8; 16]) {
        let by_stream = socket == SocketId::STREAM;
        if by_stream && !self.over_stream {
            self.proven_until = Some(env.now + self.session.timing().at_least(PROVEN, 3));
        }
        let way = if by_stream { socket } else { self.udp };
        self.send_by(env, way, &Frame::PathResponse { token });
    }

    /// Returns whether the stream is in use, or UDP is silent.
    pub(super) fn wants_stream(&self) -> bool {
        self.over_stream || self.ping.is_some()
    }

    pub(super) fn stream_closed(&mut self, now: Instant, was_open: bool) {
        self.proven_until = None;
        if self.over_stream {
            self.stream_at = Some(if was_open { now } else { now + PING_RETRY });
            self.ping.get_or_insert(Ping::at(now + PING_RETRY));
        }
    }

    /// Asks the server at once whether it sees us where it did.
    pub(super) fn check_now(&mut self, now: Instant) {
        self.ping.get_or_insert(Ping::at(now)).next = now;
        if let Some(other) = &mut self.other {
            other.begin_anew(now);
        }
        if self.over_stream {
            (self.udp_at, self.udp_gap) = (Some(now), UDP_RETRY[0]);
        }
    }

    /// Does what is due. True: the server is lost.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>, stream: &mut Stream, quiet: Duration) -> bool {
        self.session.handle_timeout(env.now);
        if due(stream.close_at(), env.now) {
            stream.close(env);
        }
        if self.proven_until.take_if(|until| *until <= env.now).is_some() {
            if self.ping.is_none() {
                stream.close(env);
            }
            // Whichever way the server has chosen, this tells.
            self.check_now(env.now);
        }
        if due(self.stream_at.take_if(|at| *at <= env.now), env.now) {
            stream.connect(env, self.server, StreamBy::TcpOrTls);
        }
        if let Some(other) = &mut self.other {
            other.handle_timeout(env, &mut self.session);
        }
        if due(self.udp_at, env.now) {
            self.udp_at = Some(env.now + self.udp_gap);
            if env.now >= self.udp_tried_at {
                self.udp_gap = (self.udp_gap * 2).min(UDP_RETRY[1]);
            }
            let udp = self.udp;
            self.knock(env, udp);
        }
        self.keep_alive(env, stream, quiet)
    }

    pub(super) fn poll_timeout(&self, stream: &Stream, quiet: Duration) -> Option<Instant> {
        let ping = self.ping.as_ref().map_or_else(|| self.next_ping(quiet), |ping| ping.next);
        let ways = earliest(earliest(self.udp_at, self.stream_at), stream.close_at());
        let ways = earliest(ways, self.proven_until);
        let ways = earliest(ways, self.other.as_ref().map(OtherFamily::poll_timeout));
        earliest(earliest(self.session.poll_timeout(), Some(ping)), ways)
    }
}
