//! Login, sessions, addresses that move, probes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use sha2::{Digest, Sha256};
use traversal_core::classify::Sighting;
use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::nat::NatProfile;
use traversal_core::wire::handshake::{PendingLogin, ServerHandshake};
use traversal_core::wire::message::{
    Frame, Login, LoginRefusal, MAX_LOCAL_ADDRESSES, MAX_TOKEN, MatchEnd, PlayerInfo, RoomEnd, ToPlayer,
    ToServer, Welcome,
};
use traversal_core::wire::session::{MIN_SEALED, ServerSession};
use traversal_core::wire::{Dropped, Kind};

use super::keeping::KeptMatches;
use super::mapped_ports::MappedPort;
use super::{Route, Server, Timer};
use crate::claims::Claim;
use crate::limits::{Bucket, prefix};
use crate::matchmaking::{Party, Reach, reach};
use crate::relay::RelayMode;
use crate::rooms::{is_name, is_text};

/// Longest game id, in bytes.
const MAX_GAME: usize = 64;
/// How long what comes by the way that a session has left for a stream, or a stream for it, is still as good.
const LEFT: Duration = Duration::from_secs(1);
/// Answers to logins that are kept for retransmissions.
const RECENT_INITS: usize = 4096;

/// A session: one login of a player.
pub(super) struct Client {
    pub(super) player: PlayerId,
    pub(super) login: Login,
    pub(super) profile: NatProfile,
    pub(super) session: ServerSession,
    /// Probes of the classification that runs, as they were seen here (E1).
    pub(super) sightings: Vec<Sighting>,
    /// How the player is reached; moves only after an echo.
    pub(super) route: Route,
    /// How it was reached until it went from UDP to a stream or back, and until when what comes that way is as good.
    former: Option<(Route, Instant)>,
    /// What its router forwards to it.
    pub(super) mapped_port: MappedPort,
    challenge: Option<Challenge>,
    /// Where it is reached in the other family, and when that was last heard of.
    pub(super) other: Option<(SocketAddr, Instant)>,
    pub(super) other_challenge: Option<Challenge>,
    /// A sealed datagram came: this is no replayed handshake.
    confirmed: bool,
    pub(super) probes: Bucket,
    frames: Bucket,
    pub(super) requests: Bucket,
    next_ping: u32,
}

pub(super) struct Challenge {
    pub(super) token: [u8; 16],
    pub(super) route: Route,
    pub(super) sent: Instant,
}

/// A player that is logged in.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) session: u64,
    pub(super) room: Option<RoomId>,
    /// The room was entered in an earlier session and not taken up again in this one.
    pub(super) stale: bool,
    /// Creating or joining, which wait for others.
    pub(super) busy: Option<RequestId>,
    /// Matches that it still plays, of which the other side has said nothing yet.
    pub(super) kept: KeptMatches,
}

/// Answers to handshakes, by the hash of the question: a retransmission gets the same answer.
#[derive(Debug, Default)]
pub(super) struct RecentInits {
    answers: BTreeMap<[u8; 32], (SocketAddr, Vec<u8>)>,
    order: VecDeque<(Instant, [u8; 32])>,
}

impl RecentInits {
    fn answer(&self, hash: &[u8; 32]) -> Option<&(SocketAddr, Vec<u8>)> {
        self.answers.get(hash)
    }

    fn keep(&mut self, now: Instant, hash: [u8; 32], from: SocketAddr, answer: Vec<u8>) {
        while let Some((since, old)) = self.order.front().copied() {
            let expired = now.saturating_duration_since(since) > ServerHandshake::INIT_LIFETIME;
            if !expired && self.order.len() < RECENT_INITS {
                break;
            }
            self.order.pop_front();
            self.answers.remove(&old);
        }
        self.order.push_back((now, hash));
        self.answers.insert(hash, (from, answer));
    }
}

impl Server {
    pub(super) fn handle_init(&mut self, now: Instant, route: Route, datagram: &[u8]) {
        let hash: [u8; 32] = Sha256::digest(datagram).into();
        if let Some((from, answer)) = self.inits.answer(&hash) {
            if *from == route.peer {
                let answer = answer.clone();
                self.transmit(route, answer);
            }
            return;
        }
        if !self.login_limit.would_allow(route.peer.ip(), now) {
            self.counters.limited += 1;
            return;
        }
        let handled = self.handshake.handle_init(now, route.peer, datagram, &mut self.rng);
        // What failed before any work was done could come from anybody, under anybody's address.
        if !matches!(handled, Err(Dropped::BadCookie | Dropped::Malformed)) {
            self.login_limit.allow(route.peer.ip(), now);
        }
        let Ok(mut pending) = handled else {
            self.counters.dropped += 1;
            return;
        };
        let refusal = self.refusal(&pending, route);
        if let Some(refusal) = refusal {
            self.counters.logins_refused += 1;
            tracing::debug!(player = %pending.player, %refusal, "login refused");
            if let Ok(answer) = pending.refuse(refusal) {
                self.transmit(route, answer);
            }
            return;
        }
        let mut id = self.rng.next_u64();
        while self.sessions.contains_key(&id) {
            id = self.rng.next_u64();
        }
        let welcome = Welcome {
            session: id,
            observed: route.peer,
            probe_targets: self.probe_targets(route),
            session_timeout_s: self.config.session_timeout.as_secs() as u32,
            other_family: self.other_family(route),
        };
        let player = pending.player;
        pending.login.local.truncate(MAX_LOCAL_ADDRESSES);
        pending.login.token.clear();
        let login = pending.login.clone();
        let Ok((answer, session)) = pending.accept(&welcome, now) else { return };
        self.inits.keep(now, hash, route.peer, answer.clone());
        *self.sessions_by_prefix.entry(prefix(route.peer.ip())).or_default() += 1;
        let client = Client {
            player,
            login,
            profile: NatProfile::default(),
            session,
            sightings: Vec::new(),
            route,
            former: None,
            other: None,
            other_challenge: None,
            mapped_port: MappedPort::default(),
            challenge: None,
            confirmed: false,
            probes: Bucket::full(self.config.probe_rate, now),
            frames: Bucket::full(self.config.frame_rate, now),
            requests: Bucket::full(self.config.request_rate, now),
            next_ping: 0,
        };
        self.sessions.insert(id, client);
        self.transmit(route, answer);
        self.dirty.insert(id);
    }

    fn refusal(&self, pending: &PendingLogin, route: Route) -> Option<LoginRefusal> {
        let login = &pending.login;
        let malformed = |what: &str| Some(LoginRefusal::Malformed { what: what.into() });
        if self.stopping {
            return Some(LoginRefusal::Stopping);
        }
        if login.game.is_empty() || !is_text(&login.game, MAX_GAME) {
            return malformed("game id");
        }
        if !self.config.games.is_empty() && !self.config.games.contains(&login.game) {
            return Some(LoginRefusal::UnknownGame { game: login.game.clone() });
        }
        if !is_name(&login.name) {
            return malformed("name");
        }
        if login.token.len() > MAX_TOKEN {
            return malformed("token");
        }
        if let Some(check) = &self.token_check
            && let Err(reason) = check.check(&login.game, pending.player, &login.name, &login.token)
        {
            return Some(LoginRefusal::Token { reason: reason.chars().take(200).collect() });
        }
        let here = self.sessions_by_prefix.get(&prefix(route.peer.ip())).copied().unwrap_or(0);
        let full =
            self.sessions.len() >= self.config.max_sessions || here >= self.config.max_sessions_per_address;
        full.then_some(LoginRefusal::Full)
    }

    /// The sockets that take this player's probes, as [`Welcome::probe_targets`] wants them.
    fn probe_targets(&self, route: Route) -> Vec<SocketAddr> {
        let mut targets = Vec::new();
        for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
            let socket = self.sockets.iter().position(|socket| {
                !socket.stream
                    && socket.local.is_ipv4() == route.peer.is_ipv4()
                    && socket.second_address == address
                    && socket.second_port == port
            });
            let Some(index) = socket else { continue };
            let to = Route { socket: super::ServerSocketId(index as u16), ..route };
            let Some(target) = self.told_address(to) else { continue };
            let reachable = match (reach(target.ip()), reach(route.peer.ip())) {
                (Reach::Loopback, from) => from == Reach::Loopback,
                (Reach::Local, from) => from != Reach::Public,
                (Reach::Public, _) => true,
            };
            if reachable {
                targets.push(target);
            }
        }
        targets
    }

    pub(super) fn handle_session_datagram(
        &mut self,
        now: Instant,
        id: u64,
        route: Route,
        kind: Kind,
        datagram: &[u8],
    ) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let frame = match client.session.handle(now, datagram) {
            Ok(frame) => frame,
            Err(dropped) => {
                tracing::trace!(%dropped, "sealed datagram dropped");
                self.counters.dropped += 1;
                return;
            }
        };
        self.dirty.insert(id);
        if !client.confirmed {
            client.confirmed = true;
            self.confirm(now, id);
        }
        if kind == Kind::Control && datagram.len() >= MIN_SEALED {
            self.notice_address(now, id, route);
        }
        self.heard(now, id);
        self.gathering_heard(now, id);
        let Some(frame) = frame else { return };
        let proven = self.sessions.get(&id).is_some_and(|client| self.same_way(client.route, route));
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if !matches!(frame, Frame::Probe(_)) && !client.frames.take(self.config.frame_rate, now) {
            self.counters.limited += 1;
            return;
        }
        match frame {
            Frame::Reliable { body, .. } => self.handle_message(now, id, body),
            // From an address that is not proven the challenge is answer enough.
            Frame::Ping { .. } if !proven => {}
            Frame::Ping { id: ping } => self.pong(now, id, ping),
            Frame::PathResponse { token } if kind == Kind::Probe => {
                self.register_response(now, id, route, token);
            }
            Frame::PathResponse { token } => self.path_response(now, id, route, token),
            Frame::Probe(probe) => self.handle_probe(now, id, route, probe, datagram.len()),
            Frame::Goodbye { .. } => self.end_session(now, id, MatchEnd::Left),
            Frame::Ack { .. }
            | Frame::Pong { .. }
            | Frame::PathChallenge { .. }
            | Frame::ProbeSeen { .. }
            | Frame::PortSeen { .. }
            | Frame::MappedPortSeen { .. } => {}
        }
    }

    /// Tells a player where it is seen.
    fn pong(&mut self, now: Instant, id: u64, ping: u32) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let pong = Frame::Pong { id: ping, observed: client.route.peer };
        client.session.send_once(now, &pong);
        self.dirty.insert(id);
    }

    /// The first sealed datagram of a session: the player is in, and its older session is over.
    fn confirm(&mut self, now: Instant, id: u64) {
        let Some(client) = self.sessions.get(&id) else { return };
        let (player, game) = (client.player, client.login.game.clone());
        self.counters.logins += 1;
        tracing::info!(%player, game, "logged in");
        let mut room = None;
        // Whoever still wants to play asks again in the new session.
        let _ = self.leave_queue(now, player);
        if let Some(old) = self.players.remove(&player) {
            room = old.room;
            if let Some(client) = self.sessions.get_mut(&old.session) {
                if let Some(room) = old.room {
                    let _ = client.session.send(now, ToPlayer::RoomEnded { room, reason: RoomEnd::Replaced });
                }
                let reason = String::from("this player logged in from another place");
                client.session.send_once(now, &Frame::Goodbye { reason, stay_away: true });
                self.flush(old.session);
                self.forget_client(old.session);
            }
        }
        let state =
            Player { session: id, room, stale: room.is_some(), busy: None, kept: KeptMatches::default() };
        self.players.insert(player, state);
        if let Some(room) = room {
            if self.rooms.get(&room).is_some_and(|room| room.game == game) {
                self.timers.set(Timer::Stale(player), Some(now + self.config.session_timeout));
            } else {
                self.leave_room(now, player, MatchEnd::Left);
            }
        }
    }

    /// The session has just gone from this way to another: what was on its way there does not bring it back.
    pub(super) fn was_left(&self, now: Instant, client: &Client, route: Route) -> bool {
        client.former.is_some_and(|(former, until)| now < until && self.same_way(former, route))
    }

    /// An authentic datagram came by another way than the last ones: have it proven first.
    pub(super) fn notice_address(&mut self, now: Instant, id: u64, route: Route) {
        let Some(client) = self.sessions.get(&id) else { return };
        if client.route == route || self.was_left(now, client, route) {
            return;
        }
        let proven = self.same_way(client.route, route);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if proven {
            // The player turned to another of our sockets; its address is proven.
            client.route = route;
            return;
        }
        let again = Duration::from_millis(200);
        if client
            .challenge
            .as_ref()
            .is_some_and(|open| open.route == route && now.saturating_duration_since(open.sent) < again)
        {
            return;
        }
        let token = match &client.challenge {
            Some(open) if open.route == route => open.token,
            _ => {
                let mut token = [0; 16];
                self.rng.fill_bytes(&mut token);
                token
            }
        };
        client.challenge = Some(Challenge { token, route, sent: now });
        if let Some(datagram) = client.session.seal(now, Kind::Control, &Frame::PathChallenge { token }) {
            self.transmit(route, datagram);
        }
    }

    fn path_response(&mut self, now: Instant, id: u64, route: Route, token: [u8; 16]) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let proven = client.challenge.as_ref().is_some_and(|open| open.token == token && open.route == route);
        if !proven {
            self.counters.dropped += 1;
            return;
        }
        client.challenge = None;
        let (former, player) = (client.route, client.player);
        let old = former.peer;
        client.route = route;
        let (from_stream, to_stream) = (self.is_stream(former), self.is_stream(route));
        if let Some(client) = self.sessions.get_mut(&id) {
            client.former = (from_stream != to_stream).then(|| (former, now + LEFT));
        }
        if prefix(old.ip()) != prefix(route.peer.ip()) {
            self.uncount(old);
            *self.sessions_by_prefix.entry(prefix(route.peer.ip())).or_default() += 1;
        }
        tracing::debug!(%player, address = %route.peer, "address moved");
        self.pong(now, id, 0);
        if old.ip() != route.peer.ip() {
            self.forget_mapped_port(now, id);
        }
        self.tell_public(now, player);
    }

    fn handle_message(&mut self, now: Instant, id: u64, message: ToServer) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        match message {
            ToServer::Request { id: request, request: body } => self.handle_request(now, id, request, body),
            ToServer::LocalAddresses(mut local) => {
                local.truncate(MAX_LOCAL_ADDRESSES);
                client.login.local = local;
            }
            ToServer::JoinAnswer { join, allow, reason } => {
                self.handle_join_answer(now, player, join, allow, reason);
            }
            ToServer::MatchReport { match_id, outcome, cause } => {
                self.match_report(now, player, match_id, outcome, cause);
            }
            // Whether a forwarded port counts is not the player's to say.
            ToServer::Profile { profile, check: false } => {
                client.profile = NatProfile { mapped: false, ..profile };
                self.replan(now, player);
            }
            ToServer::ClaimRange { match_id, round, step, reports } => {
                self.handle_claim(now, id, match_id, Claim { round, step, reports });
            }
            ToServer::Profile { profile, check: true } => {
                self.check_profile(now, id, NatProfile { mapped: false, ..profile });
            }
            ToServer::MappedPort(token) => self.mapped_port_echo(now, id, token),
            ToServer::KeepMatches(kept) => self.keep_matches(now, player, kept),
            ToServer::PunchAgain { match_id } => self.punch_again(now, player, match_id),
            ToServer::AskSpray { match_id, edition } => self.ask_spray(now, player, match_id, edition),
            ToServer::SprayOver { match_id, edition } => {
                self.sprays.over(now, match_id, edition, player);
            }
            ToServer::HostSeen { room, epoch, heard } => {
                self.handle_host_seen(now, player, (room, epoch), heard);
            }
            _ => self.counters.dropped += 1,
        }
    }

    pub(super) fn session_timeout(&mut self, now: Instant, id: u64) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if now.saturating_duration_since(client.session.last_heard()) >= self.config.session_timeout {
            self.counters.timeouts += 1;
            tracing::debug!(player = %client.player, "session timed out");
            self.end_session(now, id, MatchEnd::Gone);
            return;
        }
        client.session.handle_timeout(now);
        self.dirty.insert(id);
    }

    pub(super) fn stale_timeout(&mut self, now: Instant, player: PlayerId) {
        if self.players.get(&player).is_some_and(|player| player.stale) {
            self.leave_room(now, player, MatchEnd::Gone);
        }
    }

    /// A session is over: on purpose, or not.
    pub(super) fn end_session(&mut self, now: Instant, id: u64, why: MatchEnd) {
        let Some(client) = self.sessions.get(&id) else { return };
        let player = client.player;
        if self.players.get(&player).is_some_and(|player| player.session == id) {
            let _ = self.leave_queue(now, player);
            self.leave_room(now, player, why);
            self.players.remove(&player);
            self.timers.set(Timer::Stale(player), None);
        }
        self.forget_client(id);
    }

    pub(super) fn drop_session(&mut self, now: Instant, id: u64) {
        self.end_session(now, id, MatchEnd::Gone);
    }

    fn forget_client(&mut self, id: u64) {
        let Some(client) = self.sessions.remove(&id) else { return };
        self.uncount(client.route.peer);
        self.timers.set(Timer::Session(id), None);
        self.dirty.remove(&id);
    }

    fn uncount(&mut self, address: SocketAddr) {
        let key = prefix(address.ip());
        if let Some(count) = self.sessions_by_prefix.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.sessions_by_prefix.remove(&key);
            }
        }
    }

    /// Sends a message to a player, if it is here.
    pub(super) fn tell(&mut self, now: Instant, player: PlayerId, message: ToPlayer) {
        if let Some(session) = self.players.get(&player).map(|player| player.session) {
            self.tell_session(now, session, message);
        }
    }

    pub(super) fn tell_session(&mut self, now: Instant, id: u64, message: ToPlayer) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        match client.session.send(now, message) {
            Ok(()) => {
                self.dirty.insert(id);
            }
            Err(error) => {
                tracing::debug!(player = %client.player, %error, "session dropped");
                self.doomed.insert(id);
            }
        }
    }

    pub(super) fn ping(&mut self, now: Instant, id: u64) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.next_ping = client.next_ping.wrapping_add(1);
        client.session.send_once(now, &Frame::Ping { id: client.next_ping });
        self.dirty.insert(id);
    }

    /// What others may be told about a player, in the end.
    pub(super) fn party(&self, player: PlayerId) -> Option<Party> {
        let client = self.sessions.get(&self.players.get(&player)?.session)?;
        let over_stream = self.is_stream(client.route);
        // By UDP alone: a forwarded port of a player without it is of no use.
        let mapped = client.mapped().filter(|_| !over_stream);
        Some(Party {
            info: PlayerInfo { id: player, name: client.login.name.clone() },
            ephemeral: client.login.ephemeral,
            public: client.route.peer,
            other: client.other_address(),
            mapped,
            local: client.login.local.clone(),
            relay_only: client.login.relay_only || self.relay_mode(player) == RelayMode::Only,
            over_stream,
            server_ip: self.told_address(client.route).map(|address| address.ip()),
            // A session by UDP is the proof that UDP gets through, whatever the player thinks.
            nat: match mapped {
                Some(_) => client.profile.with_mapped_port(),
                None => NatProfile { udp_blocked: over_stream, ..client.profile },
            },
            rtt: client.session.rtt(),
        })
    }
}
