//! Sessions: what comes over them, what is told to their players, and their end.

use traversal_core::id::PlayerId;
use traversal_core::wire::Kind;
use traversal_core::wire::message::{Frame, MatchEnd, ToServer};
use traversal_core::wire::session::MIN_SEALED;

use super::{Route, Server, Timer};
use crate::claims::Claim;
use traversal_core::wire::secret::CODE;

impl Server {
    /// What a sealed datagram of a player's says, without taking it; none where it is not of a session. It changes nothing,
    /// and is for tools that tell people what happens.
    pub fn read(&self, datagram: &[u8]) -> Option<Frame<ToServer>> {
        self.roster.peek(datagram)
    }

    pub(super) fn handle_session_datagram(&mut self, id: u64, route: Route, kind: Kind, datagram: &[u8]) {
        let Some((frame, fresh)) = self.roster.open(&mut self.cx, id, datagram) else { return };
        if fresh {
            if !self.log_in(id) {
                return;
            }
            self.note_origin(id);
        }
        if kind == Kind::Control && datagram.len() >= MIN_SEALED {
            self.roster.notice_address(&mut self.cx, id, route);
        }
        let proven = self.roster.note_sign_of_life(&self.cx, id, route);
        self.heard(id);
        self.awaited_heard(id);
        self.gathering_heard(id);
        let Some(frame) = self.roster.take_frame(&mut self.cx, id, frame) else { return };
        match frame {
            Frame::Reliable { seq, body } => self.handle_reliable(id, seq, body),
            // From an address that is not proven the challenge is answer enough.
            Frame::Ping { .. } if !proven => {}
            Frame::Ping { id: ping } => self.roster.pong(&self.cx, id, ping),
            Frame::PathResponse { token } if kind == Kind::Probe => {
                if let Some(player) = self.roster.register_response(&mut self.cx, id, route, &token) {
                    self.matches.tell_public(&mut self.cx, &mut self.roster, player);
                }
            }
            Frame::PathResponse { token } => self.handle_path_response(id, route, &token),
            Frame::Probe(probe) => {
                if let Some(seen) = self.roster.see_probe(&mut self.cx, id, route, probe, datagram.len()) {
                    self.matches.learn_from_probe(
                        &mut self.cx,
                        &mut self.roster,
                        seen,
                        probe.purpose,
                        route.peer,
                    );
                }
            }
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
        let cost = self.effects_of(id, &message);
        if self.roster.accept(&mut self.cx, id, seq, cost) {
            self.handle_message(id, message);
        }
    }

    /// How many messages to other players this one may cause at the most. Requests are counted where they can be
    /// answered, see [`Server::handle_request`].
    fn effects_of(&self, id: u64, message: &ToServer) -> f64 {
        let matches = || self.roster.player_of(id).map_or(0, |player| self.matches.match_count(player));
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

    fn handle_message(&mut self, id: u64, message: ToServer) {
        let Some(player) = self.roster.player_of(id) else { return };
        match message {
            ToServer::Request { id: request, request: body } => self.handle_request(id, request, body),
            ToServer::LocalAddresses(local) => self.roster.set_local_addresses(id, local),
            ToServer::JoinAnswer { join, allow, reason } => {
                self.handle_join_answer(player, join, allow, reason);
            }
            ToServer::MatchReport { match_id, outcome, cause } => {
                if self.matches.match_report(&mut self.cx, &mut self.roster, player, match_id, outcome, cause)
                {
                    self.pair_soon(player);
                }
            }
            ToServer::KeptPorts { match_id, round, ports } => {
                self.matches.handle_kept_ports(&mut self.cx, &mut self.roster, id, match_id, round, ports);
            }
            ToServer::ClaimRange { match_id, round, step, reports } => {
                self.matches.handle_claim(
                    &mut self.cx,
                    &mut self.roster,
                    id,
                    match_id,
                    Claim { round, step, reports },
                );
            }
            ToServer::Profile { profile, check, manual } => {
                if let Some(player) = self.roster.handle_profile(&mut self.cx, id, (profile, manual), check) {
                    self.matches.replan(&mut self.cx, &mut self.roster, player);
                }
            }
            ToServer::MappedPort(token) => {
                if let Some(player) = self.roster.mapped_port_echo(&mut self.cx, id, token) {
                    self.matches.tell_public(&mut self.cx, &mut self.roster, player);
                    self.matches.replan(&mut self.cx, &mut self.roster, player);
                }
            }
            ToServer::KeepMatches(kept) => self.keep_matches(player, kept),
            ToServer::PunchAgain { match_id } => {
                self.matches.punch_again(&mut self.cx, &mut self.roster, player, match_id)
            }
            ToServer::AskSpray { match_id, edition } => {
                self.matches.ask_spray(&self.cx, player, match_id, edition)
            }
            ToServer::SprayOver { match_id, edition } => {
                self.matches.search_over(&self.cx, player, match_id, edition);
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
        let silence = self.silence(id);
        if !self.roster.keep_alive(&mut self.cx, id, silence) {
            self.end_session(id, MatchEnd::Gone);
        }
    }

    pub(super) fn stale_timeout(&mut self, player: PlayerId) {
        if self.roster.is_stale(player) {
            self.leave_room(player, MatchEnd::Gone);
        }
    }

    /// A session is over: on purpose, or not.
    pub(super) fn end_session(&mut self, id: u64, why: MatchEnd) {
        let Some(player) = self.roster.player_of(id) else { return };
        if self.roster.session_of(player) == Some(id) {
            let _ = self.leave_queue(player);
            self.leave_room(player, why);
            self.roster.forget_player(player);
            self.matches.forget_kept_of(player);
            self.cx.timers.set(Timer::Stale(player), None);
        }
        self.roster.forget_client(&mut self.cx, id);
    }

    /// The first sealed datagram of a session: the player is in, and its older session is over. False: its token is not
    /// taken, and the session over.
    pub(super) fn log_in(&mut self, id: u64) -> bool {
        let Some(player) = self.roster.confirm(&mut self.cx, id) else { return false };
        // Whoever still wants to play asks again in the new session.
        let _ = self.leave_queue(player);
        self.matches.forget_kept_of(player);
        let Some((room, game)) = self.roster.take_over(&mut self.cx, id) else { return true };
        if self.rooms.get(&room).is_some_and(|room| room.game == game) {
            self.cx.timers.set(Timer::Stale(player), Some(self.cx.now + self.cx.config.session_timeout));
        } else {
            self.leave_room(player, MatchEnd::Left);
        }
        true
    }

    /// A session moves to an address that is proven: those who play with the player hear of it.
    pub(super) fn handle_path_response(&mut self, id: u64, route: Route, token: &[u8; CODE]) {
        let Some(moved) = self.roster.path_response(&mut self.cx, id, route, token) else { return };
        if moved.unmapped {
            self.matches.replan(&mut self.cx, &mut self.roster, moved.player);
        }
        self.matches.tell_public(&mut self.cx, &mut self.roster, moved.player);
    }
}
