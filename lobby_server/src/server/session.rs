//! Sessions: what comes over them, what is told to their players, and their end.

use std::net::SocketAddr;
use std::time::Instant;

use traversal_core::NatFacts;
use traversal_core::address::canonical;
use traversal_core::classify::Sighting;
use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::nat::{Confidence, NatProfile};
use traversal_core::wire::Kind;
use traversal_core::wire::message::{
    Frame, Login, MAX_LOCAL_ADDRESSES, MatchEnd, PlayerInfo, ToPlayer, ToServer, Topic,
};
use traversal_core::wire::session::{MIN_SEALED, ServerSession, session_of};

use super::keeping::KeptMatches;
use super::mapped_ports::MappedPort;
use super::moving::{Challenge, Former};
use super::{Route, Server, Timer};
use crate::claims::Claim;
use crate::limits::Bucket;
use crate::matchmaking::Party;
use crate::relay::RelayMode;

/// A session: one login of a player.
pub(super) struct Client {
    pub(super) player: PlayerId,
    /// The player's lasting key.
    pub(super) key: [u8; 32],
    pub(super) login: Login,
    pub(super) profile: NatProfile,
    /// What of it was set by hand (M9).
    pub(super) manual: NatFacts,
    pub(super) session: ServerSession,
    /// Probes of the classification that runs, as they were seen here (E1).
    pub(super) sightings: Vec<Sighting>,
    /// How the player is reached; moves only after an echo.
    pub(super) route: Route,
    /// How it was reached until it went from UDP to a stream or back.
    pub(super) former: Option<Former>,
    /// What its router forwards to it.
    pub(super) mapped_port: MappedPort,
    pub(super) challenge: Option<Challenge>,
    /// How often the session has moved: what was to prove an address before does so no more.
    pub(super) moves: u32,
    /// Where it is reached in the other family, and when that was last heard of.
    pub(super) other: Option<(SocketAddr, Instant)>,
    /// When the login was answered; none: several times, so that it tells no round trip (Karn's rule).
    pub(super) accepted: Option<Instant>,
    /// A sealed datagram came: this is no replayed handshake.
    pub(super) confirmed: bool,
    /// Kept until then.
    pub(super) half_open: Option<HalfOpen>,
    pub(super) probes: Bucket,
    pub(super) knocks: Bucket,
    pub(super) frames: Bucket,
    pub(super) requests: Bucket,
    /// What it causes others to be told.
    pub(super) effects: Bucket,
    /// When it last sent something to be relayed.
    pub(super) relayed_at: Option<Instant>,
    pub(super) next_ping: u32,
}

/// What is kept of a login until the player has proven to be there.
pub(super) struct HalfOpen {
    /// Of the first Noise message.
    pub(super) init: [u8; 32],
    /// The login's token, to be spent then.
    pub(super) token: Vec<u8>,
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

impl Server {
    /// What a sealed datagram of a player's says, without taking it; none where it is not of a session. It changes nothing,
    /// and is for tools that tell people what happens.
    pub fn read(&self, datagram: &[u8]) -> Option<Frame<ToServer>> {
        self.sessions.get(&session_of(datagram)?)?.session.read(datagram)
    }

    pub(super) fn handle_session_datagram(&mut self, id: u64, route: Route, kind: Kind, datagram: &[u8]) {
        let now = self.cx.now;
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let frame = match client.session.open(datagram) {
            Ok(frame) => frame,
            Err(dropped) => {
                tracing::trace!(%dropped, "sealed datagram dropped");
                self.cx.counters.dropped += 1;
                return;
            }
        };
        self.dirty.insert(id);
        self.cx.incoming.proven = Some(client.route);
        if !client.confirmed {
            client.confirmed = true;
            self.census.confirm(id);
            if !self.confirm(id) {
                return;
            }
            self.note_origin(id);
        }
        if kind == Kind::Control && datagram.len() >= MIN_SEALED {
            self.notice_address(id, route);
        }
        let proven = self.sessions.get(&id).is_some_and(|client| self.cx.same_way(client.route, route));
        if proven && let Some(client) = self.sessions.get_mut(&id) {
            client.session.heard(now);
        }
        self.heard(id);
        self.awaited_heard(id);
        self.gathering_heard(id);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if let Frame::Ack { seq, counter } = frame {
            if client.session.acknowledged(now, seq, counter).is_err() {
                self.cx.counters.dropped += 1;
            }
            return;
        }
        if !matches!(frame, Frame::Probe(_)) && !client.frames.take(self.cx.config.frame_rate, now) {
            self.cx.counters.limited += 1;
            return;
        }
        match frame {
            Frame::Reliable { seq, body } => self.handle_reliable(id, seq, body),
            // From an address that is not proven the challenge is answer enough.
            Frame::Ping { .. } if !proven => {}
            Frame::Ping { id: ping } => self.pong(id, ping),
            Frame::PathResponse { token } if kind == Kind::Probe => {
                self.register_response(id, route, &token);
            }
            Frame::PathResponse { token } => self.path_response(id, route, &token),
            Frame::Probe(probe) => self.handle_probe(id, route, probe, datagram.len()),
            Frame::Goodbye { .. } => self.end_session(id, MatchEnd::Left),
            Frame::Ack { .. }
            | Frame::Pong { .. }
            | Frame::PathChallenge { .. }
            | Frame::ProbeSeen { .. }
            | Frame::PortSeen { .. }
            | Frame::MappedPortSeen { .. }
            | Frame::Knock { .. } => {}
        }
    }

    /// What is over a limit is not acknowledged, so it comes again: nothing that was taken is lost.
    fn handle_reliable(&mut self, id: u64, seq: u32, message: ToServer) {
        let now = self.cx.now;
        let cost = self.effects_of(id, &message);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if client.session.is_fresh(seq)
            && (client.session.is_backed_up()
                || !client.effects.take_many(self.cx.config.effect_rate, now, cost))
        {
            self.cx.counters.limited += 1;
            return;
        }
        match client.session.accept(now, seq) {
            Ok(true) => self.handle_message(id, message),
            Ok(false) => {}
            Err(_) => self.cx.counters.limited += 1,
        }
    }

    /// How many messages to other players this one may cause at the most. Requests are counted where they can be
    /// answered, see [`Server::handle_request`].
    fn effects_of(&self, id: u64, message: &ToServer) -> f64 {
        let matches = || {
            let player = self.sessions.get(&id).map(|client| client.player);
            player.map_or(0, |player| self.matches.of(player).len())
        };
        match message {
            ToServer::Request { .. } | ToServer::LocalAddresses(_) => 0.0,
            ToServer::Profile { .. } | ToServer::MappedPort(_) => 1.0 + matches() as f64,
            // All members may be asked, once in some seconds.
            ToServer::HostSeen { .. } => 8.0,
            // Who is put out, and all members, are told so.
            ToServer::KickNotes { room, notes } => 1.0 + 4.0 * self.put_out_by(*room, notes) as f64,
            _ => 2.0,
        }
    }

    /// Tells a player where it is seen.
    pub(super) fn pong(&mut self, id: u64, ping: u32) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let pong = Frame::Pong { id: ping, observed: client.route.peer };
        client.session.send_once(self.cx.now, &pong);
        self.dirty.insert(id);
    }

    fn handle_message(&mut self, id: u64, message: ToServer) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        match message {
            ToServer::Request { id: request, request: body } => self.handle_request(id, request, body),
            ToServer::LocalAddresses(mut local) => {
                local.truncate(MAX_LOCAL_ADDRESSES);
                local.iter_mut().for_each(|address| *address = canonical(*address));
                client.login.local = local;
            }
            ToServer::JoinAnswer { join, allow, reason } => {
                self.handle_join_answer(player, join, allow, reason);
            }
            ToServer::MatchReport { match_id, outcome, cause } => {
                self.match_report(player, match_id, outcome, cause);
            }
            ToServer::KeptPorts { match_id, round, ports } => {
                self.handle_kept_ports(id, match_id, round, ports);
            }
            ToServer::ClaimRange { match_id, round, step, reports } => {
                self.handle_claim(id, match_id, Claim { round, step, reports });
            }
            ToServer::Profile { profile, check, manual } => {
                self.handle_profile(id, (profile, manual), check);
            }
            ToServer::MappedPort(token) => self.mapped_port_echo(id, token),
            ToServer::KeepMatches(kept) => self.keep_matches(player, kept),
            ToServer::PunchAgain { match_id } => self.punch_again(player, match_id),
            ToServer::AskSpray { match_id, edition } => self.ask_spray(player, match_id, edition),
            ToServer::SprayOver { match_id, edition } => {
                self.sprays.over(self.cx.now, match_id, edition, player);
            }
            ToServer::KickNotes { room, notes } => self.handle_kick_notes(player, room, notes),
            ToServer::HostSeen { room, epoch, heard } => {
                self.handle_host_seen(player, (room, epoch), heard);
            }
            ToServer::HostProof { room, epoch, key, proof } => {
                self.handle_host_proof(player, (room, epoch), &key, &proof);
            }
            _ => self.cx.counters.dropped += 1,
        }
    }

    pub(super) fn session_timeout(&mut self, id: u64) {
        let now = self.cx.now;
        let silence = self.silence(id);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        if now.saturating_duration_since(client.session.last_heard()) >= silence {
            self.cx.counters.timeouts += 1;
            tracing::debug!(player = %client.player, "session timed out");
            if let Some(half_open) = client.half_open.take() {
                self.inits.forget(&half_open.init);
            }
            self.end_session(id, MatchEnd::Gone);
            return;
        }
        client.session.handle_timeout(now);
        self.dirty.insert(id);
    }

    pub(super) fn stale_timeout(&mut self, player: PlayerId) {
        if self.players.get(&player).is_some_and(|player| player.stale) {
            self.leave_room(player, MatchEnd::Gone);
        }
    }

    /// A session is over: on purpose, or not.
    pub(super) fn end_session(&mut self, id: u64, why: MatchEnd) {
        let Some(client) = self.sessions.get(&id) else { return };
        let player = client.player;
        if self.players.get(&player).is_some_and(|player| player.session == id) {
            let _ = self.leave_queue(player);
            self.leave_room(player, why);
            self.players.remove(&player);
            self.cx.timers.set(Timer::Stale(player), None);
        }
        self.forget_client(id);
    }

    pub(super) fn forget_client(&mut self, id: u64) {
        if self.sessions.remove(&id).is_none() {
            return;
        }
        self.awaited.remove(&id);
        self.census.leave(id);
        self.cx.timers.set(Timer::Session(id), None);
        self.dirty.remove(&id);
    }

    /// Sends a message to a player, if it is here.
    pub(super) fn tell(&mut self, player: PlayerId, message: ToPlayer) {
        if let Some(session) = self.players.get(&player).map(|player| player.session) {
            self.tell_session(session, message);
        }
    }

    pub(super) fn tell_session(&mut self, id: u64, message: ToPlayer) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        match &message {
            ToPlayer::MatchEnded { match_id, .. } => {
                let of_match = |topic: Topic| topic.match_id() == Some(*match_id);
                if client.session.withdraw(of_match).contains(&Topic::Plan(*match_id)) {
                    // It never heard of that match.
                    return;
                }
            }
            ToPlayer::RoomEnded { room, .. } => {
                client.session.withdraw(|topic| topic.room() == Some(*room));
            }
            _ => {}
        }
        self.dirty.insert(id);
        // Others cause most of what a player is told, so that it is too much is never held against it.
        if let Err(error) = client.session.send(self.cx.now, message) {
            tracing::debug!(player = %client.player, %error, "a message to a player dropped");
            self.cx.counters.pushes_dropped += 1;
        }
    }

    /// What a player was to be told about this, and was not yet, is of no use any more.
    pub(super) fn untell(&mut self, player: PlayerId, about: Topic) {
        let session = self.players.get(&player).map(|player| player.session);
        if let Some(client) = session.and_then(|id| self.sessions.get_mut(&id)) {
            client.session.withdraw(|topic| topic == about);
        }
    }

    pub(super) fn ping(&mut self, id: u64) {
        let Some(client) = self.sessions.get_mut(&id) else { return };
        client.next_ping = client.next_ping.wrapping_add(1);
        client.session.send_once(self.cx.now, &Frame::Ping { id: client.next_ping });
        self.dirty.insert(id);
    }

    /// What others may be told about a player, in the end.
    pub(super) fn party(&self, player: PlayerId) -> Option<Party> {
        let client = self.sessions.get(&self.players.get(&player)?.session)?;
        let over_stream = self.cx.is_stream(client.route);
        // By UDP alone: a forwarded port of a player without it is of no use.
        let mapped = client.mapped().filter(|_| !over_stream);
        Some(Party {
            info: PlayerInfo { id: player, name: client.login.name.clone() },
            ephemeral: client.login.ephemeral,
            key: client.key,
            public: client.route.peer,
            other: client.other_address(),
            mapped,
            local: client.login.local.clone(),
            relay_only: client.login.relay_only || self.relay_mode(player) == RelayMode::Only,
            over_stream,
            server_ip: self.cx.told_address(client.route).map(|address| address.ip()),
            // A session by UDP is the proof that UDP gets through, whatever the player thinks.
            nat: match mapped {
                Some(_) => client.profile.with_mapped_port(),
                // Over TCP it is the player that has tried UDP, and knows for how long.
                None if over_stream && !client.profile.udp_blocked => {
                    NatProfile { udp_blocked: true, confidence: Confidence::Stale, ..client.profile }
                }
                None => NatProfile { udp_blocked: over_stream, ..client.profile },
            },
            timing: client.session.timing(),
        })
    }
}
