//! What the server says, and what follows from it.

use std::time::{Duration, Instant};

use super::matches::MatchNews;
use super::{Agent, Event};
use crate::attempt::PlanPermit;
use crate::id::{JoinId, PlayerId, RoomEpoch};
use crate::lobby::LobbyNews;
use crate::login::{LinkEvent, Online};
use crate::peer::Peer;
use crate::wire::message::{PlayerInfo, RoomEnd, ToPlayer, ToServer};

impl Agent {
    pub(super) fn handle_link(&mut self, now: Instant, event: Option<LinkEvent>) {
        let mut cx = self.shared.cx(now);
        match event {
            None => {}
            Some(LinkEvent::Lost) => {
                self.detection.stop(&mut cx);
                self.mapping.stop(&mut cx);
            }
            Some(LinkEvent::LoggedIn) => {
                if let Some(online) = cx.link.online() {
                    self.life.logged_in(online.server_key);
                }
                // What is known of the NAT goes before the game's wishes: who joins at once is planned by it.
                self.detection.start(&mut cx);
                let news = self.lobby.logged_in(&mut cx);
                self.handle_lobby(now, news);
                self.people.logged_in(&mut self.shared.cx(now));
                self.chat_logged_in(now);
                self.mapping.logged_in(&mut self.shared.cx(now));
            }
            Some(LinkEvent::MappedPortSeen { port, token, from }) => {
                self.mapping.handle_seen(&mut cx, (port, token, from));
            }
            Some(LinkEvent::Knock { tag, socket }) => {
                self.detection.handle_knock(&mut cx, (tag, socket));
            }
            Some(LinkEvent::ProbeSeen { tag, seen, from }) => {
                let of_match = self.peers.values_mut().any(|peer| peer.handle_seen(&mut cx, tag, seen));
                if !of_match {
                    self.detection.handle_seen(&mut cx, (tag, seen, from));
                }
            }
            Some(LinkEvent::Message(message)) => self.handle_message(now, message),
        }
        self.mapping.watch(&mut self.shared.cx(now));
        self.show_mapping(now);
    }

    /// The session may have moved, between UDP and the stream or to another public address: what can be known of the NAT is something else then.
    pub(super) fn link_moved(&mut self, now: Instant) {
        if self.shared.link.take_moved() {
            self.detection.start(&mut self.shared.cx(now));
            self.mapping.look_again(&mut self.shared.cx(now));
        }
    }

    /// A forwarded port that counts shows in what is known of the NAT.
    pub(super) fn show_mapping(&mut self, now: Instant) {
        let mapped = self.mapping.is_verified();
        self.detection.set_mapped(&mut self.shared.cx(now), mapped);
    }

    fn handle_message(&mut self, now: Instant, message: ToPlayer) {
        let mut cx = self.shared.cx(now);
        match message {
            ToPlayer::Response { id, result } => {
                if self.handle_chat_response(now, id, &result) {
                    return;
                }
                let mut cx = self.shared.cx(now);
                if self.people.handle_response(&mut cx, id, &result) {
                    return;
                }
                let news = self.lobby.handle_response(&mut cx, id, result);
                self.handle_lobby(now, news);
            }
            ToPlayer::Members { room, revision, part, parts, members } => {
                let members = self.lobby.handle_members(&mut cx, room, revision, (part, parts), members);
                if let Some(members) = members {
                    self.update_mesh(now, &members);
                }
            }
            ToPlayer::Queue(status) => self.lobby.handle_queue(&mut cx, status),
            ToPlayer::QueueClosed(error) => self.lobby.queue_closed(&mut cx, error),
            ToPlayer::QuickMatched(matched) => {
                let news = self.lobby.handle_quick_matched(&mut cx, *matched);
                self.handle_lobby(now, news);
            }
            ToPlayer::MatchFound(found) => self.lobby.handle_match_found(&mut cx, found),
            ToPlayer::Teams(teams) => self.lobby.handle_teams(&mut cx, teams),
            ToPlayer::RoomChanged(info) => self.lobby.handle_room_changed(&mut cx, info),
            ToPlayer::RoomEnded { room, reason } => {
                if self.lobby.room().is_some_and(|known| known.info.id == room) {
                    self.room_ended(now, reason);
                }
            }
            ToPlayer::JoinRequest { join, player } => self.join_requested(now, join, player),
            ToPlayer::Plan(plan) => self.handle_plan(now, *plan),
            ToPlayer::Replan(plan) => self.match_news(now, plan.match_id, MatchNews::Replan(plan)),
            ToPlayer::Search { match_id, edition, turn } => {
                self.match_news(now, match_id, MatchNews::Permit(PlanPermit { edition, permit: turn }));
            }
            ToPlayer::MatchEnded { match_id, reason } => {
                let known = |online: &mut Online| online.knows_match(match_id);
                if self.peers.contains_key(&match_id) || !self.shared.link.online().is_none_or(known) {
                    self.match_news(now, match_id, MatchNews::Ended(reason));
                }
            }
            ToPlayer::Ticket(ticket) => self.lobby.handle_ticket(ticket),
            ToPlayer::ConfirmLoss { room, epoch, challenge } => {
                self.confirm_loss(now, RoomEpoch { room, epoch }, challenge);
            }
            ToPlayer::HostStands { room, epoch } => self.host_stands(now, RoomEpoch { room, epoch }),
            ToPlayer::HostInQuestion { room, epoch, within_s } => {
                let within = Duration::from_secs(within_s.into());
                self.lobby.host_in_question(now, RoomEpoch { room, epoch }, within);
            }
            ToPlayer::HostChanged { room, previous } => self.host_changed(now, room, previous),
            ToPlayer::Profile(profile) => self.detection.handle_profile(&mut cx, profile),
            ToPlayer::Relay { match_id, grant } => {
                if let Some(peer) = self.peers.get_mut(&match_id) {
                    peer.renew_relay(&mut cx, grant);
                }
            }
            ToPlayer::NoRelay { match_id, why } => {
                if let Some(peer) = self.peers.get_mut(&match_id) {
                    peer.no_relay(why);
                }
            }
            ToPlayer::Seats { room, revision, part, parts, away, spectators } => {
                self.lobby.handle_seats(&mut cx, (room, revision), (part, parts), (away, spectators));
            }
            ToPlayer::SeatKept(kept) => self.lobby.handle_seat_kept(&mut cx, kept),
            ToPlayer::KickNotes { room, notes } => self.lobby.handle_kick_notes(room, notes),
            ToPlayer::SeatNotes { room, notes } => self.lobby.handle_seat_notes(room, notes),
            ToPlayer::WrongPasswords { room, in_last_minute } => {
                if self.lobby.room().is_some_and(|known| known.info.id == room && known.hosting) {
                    cx.emit(Event::WrongPasswords { in_last_minute });
                }
            }
            ToPlayer::Announcement { text } => cx.emit(Event::Announcement { text }),
            ToPlayer::GoTo(node) => {
                let event = cx.link.go_to(&mut cx.env, node);
                self.handle_link(now, event);
            }
            ToPlayer::Rooms(news) => self.lobby.handle_rooms_news(&mut cx, news),
            ToPlayer::Nodes(nodes) => cx.link.know_nodes(nodes),
            ToPlayer::InRoom { room, news } => self.lobby.handle_in_room(&mut cx, room, news),
            ToPlayer::Contacts(news) => self.people.handle_news(&mut cx, news),
            ToPlayer::Call(news) => self.handle_call(now, news),
            ToPlayer::Chat(news) => self.handle_chat_news(now, news),
            ToPlayer::Party(news) => self.lobby.handle_party(&mut cx, news),
            ToPlayer::MappedPort(port) => self.mapping.handle_verdict(&mut cx, port),
            ToPlayer::Facts { match_id, facts } => self.match_news(now, match_id, MatchNews::Facts(facts)),
        }
    }

    /// A member came to the mesh or left it.
    fn update_mesh(&mut self, now: Instant, members: &[PlayerId]) {
        if self.in_mesh() {
            let own = self.shared.identity.player_id();
            let live = |player| self.by_player.contains_key(&player);
            self.mesh.members((now, self.shared.link.timing()), own, members, live);
        }
    }

    /// A player wants to come into the room that this one hosts.
    fn join_requested(&mut self, now: Instant, join: JoinId, player: PlayerInfo) {
        // One who is still connected only comes back to the room after the server forgot it.
        if self.peer(player.id).is_some_and(Peer::is_connected) {
            self.tell_server(now, ToServer::JoinAnswer { join, allow: true, reason: String::new() });
        } else {
            self.shared.events.push_back(Event::JoinRequest { join, player });
        }
    }

    pub(super) fn handle_lobby(&mut self, now: Instant, news: impl IntoIterator<Item = LobbyNews>) {
        for news in news {
            match news {
                LobbyNews::Kicked { player, reason } => {
                    self.close_peer(now, player, &format!("removed by the host: {reason}"));
                }
                LobbyNews::Unwanted => self.give_up_all(now, "left"),
                LobbyNews::MatchLost => self.give_up_all(now, "the match was lost with the lobby server"),
                LobbyNews::Entered => self.entered(now),
                LobbyNews::HostChanged { room, previous } => {
                    self.announce_host(now, room, previous);
                    self.entered(now);
                }
                LobbyNews::Stale { epoch } => self.room_ended(now, RoomEnd::HostReplaced { epoch }),
                LobbyNews::HostGone => self.room_without_host(now, RoomEnd::HostLost),
            }
        }
    }

    pub(super) fn tell_server(&mut self, now: Instant, message: ToServer) {
        self.shared.cx(now).tell(message);
    }
}
