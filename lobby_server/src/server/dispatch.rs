//! What comes over sessions goes to the owners: of sessions (`roster`), of matches and of rooms.

use traversal_core::id::{PlayerId, RequestId, RoomEpoch};
use traversal_core::wire::Kind;
use traversal_core::wire::message::{
    Frame, MAX_SEAT_NOTES, MatchEnd, PartyRequest, Request, RequestError, ToServer,
};
use traversal_core::wire::session::MIN_SEALED;

use super::people::PeopleRequest;
use super::{Route, Server};
use crate::claims::RangeClaim;
use crate::ids::{Asker, PlanId, SessionId};
use traversal_core::wire::secret::CODE;

impl Server {
    /// Counts a request, and returns whose it is and whether it is looked at: not over the rate, nor by a server that is about
    /// to end, nor of a player who has logged in elsewhere since. None: that session is gone.
    pub(super) fn admit(
        &mut self,
        id: SessionId,
        request: RequestId,
    ) -> Option<(Asker, Result<(), RequestError>)> {
        self.cx.counters.requests += 1;
        let player = self.roster.player_of(id)?;
        let admitted = if !self.roster.take_request(&mut self.cx, id) {
            Err(RequestError::Limited { retry_after_s: 1 })
        } else if self.cx.stopping {
            Err(RequestError::Stopping)
        } else if self.roster.session_of(player) != Some(id) {
            Err(RequestError::NoSuchPlayer)
        } else {
            Ok(())
        };
        Some((Asker { session: id, player, request }, admitted))
    }

    /// Returns what a sealed datagram of a player's says, without taking it; none where it is not of a session. It
    /// changes nothing, and is for tools that tell people what happens.
    pub fn read(&self, datagram: &[u8]) -> Option<Frame<ToServer>> {
        self.roster.peek(datagram)
    }

    /// Takes a sealed datagram of this session, which came by this way.
    pub(super) fn handle_session_datagram(
        &mut self,
        id: SessionId,
        route: Route,
        kind: Kind,
        datagram: &[u8],
    ) {
        let Some((frame, fresh)) = self.roster.open(&mut self.cx, id, datagram) else { return };
        if fresh {
            if !self.log_in(id) {
                return;
            }
            if let Some((player, client)) = self.roster.player_of(id).zip(self.roster.client(id)) {
                self.place.note_origin(&self.cx, player, client);
            }
        }
        if kind == Kind::Control && datagram.len() >= MIN_SEALED {
            self.roster.notice_address(&mut self.cx, id, route);
        }
        let proven = self.roster.note_sign_of_life(&self.cx, id, route);
        let (rooms, mut others) = self.split();
        rooms.session_heard(&mut others, id);
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
            Frame::Goodbye { .. } => {
                let (rooms, mut others) = self.split();
                rooms.end_session(&mut others, id, MatchEnd::Left);
            }
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
    fn handle_reliable(&mut self, id: SessionId, seq: u32, message: ToServer) {
        let cost = self.effects_of(id, &message);
        if self.roster.accept(&mut self.cx, id, seq, cost) {
            self.handle_message(id, message);
        }
    }

    /// Returns how many messages to other players this one may cause at the most. Requests are counted where they can
    /// be answered, see [`Rooms::handle_request`](super::rooms::Rooms::handle_request).
    fn effects_of(&self, id: SessionId, message: &ToServer) -> f64 {
        let matches = || self.roster.player_of(id).map_or(0, |player| self.matches.match_count(player));
        match message {
            ToServer::Request { .. } | ToServer::LocalAddresses(_) => 0.0,
            ToServer::Profile { .. } | ToServer::MappedPort(_) => 1.0 + matches() as f64,
            // All members may be asked, once in some seconds.
            ToServer::HostSeen { .. } => 8.0,
            // Who is put out, and all members, are told so.
            ToServer::KickNotes { room, notes } => 1.0 + 4.0 * self.rooms.put_out_by(*room, notes) as f64,
            // They read that they have a seat, and all members who they are.
            ToServer::SeatNotes { notes, .. } => 2.0 + notes.len().min(MAX_SEAT_NOTES) as f64,
            _ => 2.0,
        }
    }

    fn handle_message(&mut self, id: SessionId, message: ToServer) {
        let Some(player) = self.roster.player_of(id) else { return };
        let (rooms, mut others) = self.split();
        let others = &mut others;
        match message {
            ToServer::Request { id: request, request: Request::Contacts(body) } => {
                self.handle_people_request(id, request, PeopleRequest::Contacts(body));
            }
            ToServer::Request { id: request, request: Request::Call(body) } => {
                self.handle_people_request(id, request, PeopleRequest::Call(body));
            }
            ToServer::Request { id: request, request: Request::Chat(body) } => {
                self.handle_chat_request(id, request, body);
            }
            ToServer::Request { id: request, request: Request::Party(PartyRequest::Invite { player }) } => {
                self.handle_people_request(id, request, PeopleRequest::PartyInvite(player));
            }
            ToServer::Request { id: request, request: body } => {
                rooms.handle_request(others, id, request, body)
            }
            ToServer::LocalAddresses(local) => others.roster.set_local_addresses(id, local),
            ToServer::JoinAnswer { join, allow, reason } => {
                rooms.handle_join_answer(others, player, join, allow, reason);
            }
            ToServer::KickNotes { room, notes } => rooms.handle_kick_notes(others, player, room, notes),
            ToServer::SeatNotes { room, away, notes } => {
                rooms.handle_seat_notes(others, player, (room, away), notes);
            }
            ToServer::HostSeen { room, epoch, heard } => {
                rooms.handle_host_seen(others, player, RoomEpoch { room, epoch }, heard);
            }
            ToServer::HostProof { room, epoch, key, proof } => {
                rooms.handle_host_proof(others, player, RoomEpoch { room, epoch }, &key, &proof);
            }
            ToServer::KeepMatches(kept) => rooms.keep_matches(others, player, kept),
            message => self.handle_match_message(id, player, message),
        }
    }

    /// Handles what a player says of its matches, or of its NAT, which its matches depend on.
    fn handle_match_message(&mut self, id: SessionId, player: PlayerId, message: ToServer) {
        let Self { cx, roster, matches, .. } = self;
        match message {
            ToServer::MatchReport { match_id, outcome, cause } => {
                if matches.match_report(cx, roster, player, match_id, outcome, cause) {
                    let (rooms, mut others) = self.split();
                    rooms.pair_soon(&mut others, player);
                }
            }
            ToServer::KeptPorts { match_id, round, ports } => {
                matches.handle_kept_ports(cx, roster, id, match_id, round, ports);
            }
            ToServer::ClaimRange { match_id, round, step, reports } => {
                matches.handle_claim(cx, roster, id, match_id, RangeClaim { round, step, reports });
            }
            ToServer::Profile { profile, check, manual } => {
                if let Some(player) = roster.handle_profile(cx, id, (profile, manual), check) {
                    matches.replan(cx, roster, player);
                    self.reach_changed(player);
                }
            }
            ToServer::MappedPort(token) => {
                if let Some(player) = roster.mapped_port_echo(cx, id, token) {
                    matches.tell_public(cx, roster, player);
                    matches.replan(cx, roster, player);
                    self.reach_changed(player);
                }
            }
            ToServer::PunchAgain { match_id } => matches.punch_again(cx, roster, player, match_id),
            ToServer::AskSearch { match_id, edition } => {
                matches.ask_search(cx, player, PlanId { match_id, edition });
            }
            ToServer::SearchOver { match_id, edition } => {
                matches.search_over(cx, player, PlanId { match_id, edition });
            }
            _ => cx.counters.dropped += 1,
        }
    }

    /// A session's timer is due: it asks again for what was not acknowledged, or it is over.
    pub(super) fn session_timeout(&mut self, id: SessionId) {
        let (rooms, mut others) = self.split();
        rooms.note_silence(&mut others, id);
        let silence = rooms.silence(&others, id);
        if !others.roster.keep_alive(others.cx, id, silence) {
            rooms.end_session(&mut others, id, MatchEnd::Gone);
        }
    }

    /// Takes the first sealed datagram of a session: the player is in, and its older session is over. False: its token
    /// is not taken, and the session over.
    fn log_in(&mut self, id: SessionId) -> bool {
        let (rooms, mut others) = self.split();
        let Some(player) = others.roster.confirm(others.cx, id) else { return false };
        // Whoever still wants to play asks again in the new session.
        if rooms.party_members(player).is_empty() {
            let _ = rooms.leave_queue(&mut others, player);
        }
        others.matches.forget_kept_of(player);
        match others.roster.take_over(others.cx, id) {
            Some((room, game)) => rooms.keep_place(&mut others, player, room, &game),
            None => rooms.keep_absent(&mut others, player),
        }
        rooms.note_place(&mut others, player, true);
        rooms.party_logged_in(&mut others, id, player);
        if !others.cx.nodes.is_empty() {
            others.roster.tell_nodes(others.cx, id);
        }
        self.people_logged_in(player);
        self.tell_chat_switch(id);
        true
    }

    /// A session moves to an address that is proven: those who play with the player hear of it.
    fn handle_path_response(&mut self, id: SessionId, route: Route, token: &[u8; CODE]) {
        let Self { cx, roster, matches, .. } = self;
        let Some(moved) = roster.path_response(cx, id, route, token) else { return };
        if moved.unmapped {
            matches.replan(cx, roster, moved.player);
        }
        matches.tell_public(cx, roster, moved.player);
        self.reach_changed(moved.player);
    }

    /// Players who look for rooms are told by what is known of a host now.
    fn reach_changed(&mut self, player: PlayerId) {
        let (rooms, mut others) = self.split();
        rooms.host_reach_changed(&mut others, player);
    }
}
