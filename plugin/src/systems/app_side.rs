//! What the game sees of all that happens: resources that are kept up to date, and outcome messages.

mod peers;
mod seats;

use std::time::Duration;

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::MessageWriter;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{ResMut, SystemParam};
use traversal_core::invite::Invite;
use traversal_core::wire::message::{MatchEnd, PlayerInfo, RoomEnd};
use traversal_core::{DisconnectReason, Event, LobbyState, RequestFailure, RequestKind, RoomsFound, Seat};

use super::room::RoomSide;
use crate::chat::ChatSide;
use crate::diagnostics::Qualities;
use crate::error::TraversalError;
use crate::messages::invites::{InviteMade, InvitesRevoked};
use crate::messages::outcomes as m;
use crate::party::PartySide;
use crate::people::PeopleSide;
use crate::progress::Stories;
use crate::protocol::Report;
use crate::renet::{Change, HandOff};
use crate::room_list::RoomList;
use crate::state::{CurrentRoom, LobbyLink, Members, NatStatus, Peers, QuickMatchQueue, RoomSeats};

/// This writes all outcomes.
#[derive(SystemParam)]
pub(crate) struct Outcomes<'w> {
    lobby_changed: MessageWriter<'w, m::LobbyChanged>,
    lobby_failed: MessageWriter<'w, m::LobbyFailed>,
    nat_changed: MessageWriter<'w, m::NatChanged>,
    room_joined: MessageWriter<'w, m::RoomJoined>,
    room_left: MessageWriter<'w, m::RoomLeft>,
    room_changed: MessageWriter<'w, m::RoomChanged>,
    host_migrated: MessageWriter<'w, m::HostMigrated>,
    members_changed: MessageWriter<'w, m::MembersChanged>,
    rooms_listed: MessageWriter<'w, m::RoomsListed>,
    room_list_changed: MessageWriter<'w, m::RoomListChanged>,
    queue_changed: MessageWriter<'w, m::QueueChanged>,
    match_found: MessageWriter<'w, m::MatchFound>,
    quick_teams: MessageWriter<'w, m::QuickTeams>,
    request_failed: MessageWriter<'w, m::RequestFailed>,
    join_requested: MessageWriter<'w, m::JoinRequested>,
    wrong_passwords: MessageWriter<'w, m::WrongPasswords>,
    announcement: MessageWriter<'w, m::Announcement>,
    invite_made: MessageWriter<'w, InviteMade>,
    invites_revoked: MessageWriter<'w, InvitesRevoked>,
    port_mapping_changed: MessageWriter<'w, m::PortMappingChanged>,
    peer_planned: MessageWriter<'w, m::PeerPlanned>,
    peer_connected: MessageWriter<'w, m::PeerConnected>,
    peer_relayed: MessageWriter<'w, m::PeerRelayed>,
    path_changed: MessageWriter<'w, m::PathChanged>,
    size_changed: MessageWriter<'w, m::SizeChanged>,
    peer_away: MessageWriter<'w, m::PeerAway>,
    peer_back: MessageWriter<'w, m::PeerBack>,
    peer_disconnected: MessageWriter<'w, m::PeerDisconnected>,
    traversal_failed: MessageWriter<'w, m::TraversalFailed>,
    seats: seats::SeatOutcomes<'w>,
}

/// Resource: it is marked as changed when there is something new for whoever tells or shows it.
#[derive(Resource, Debug, Default)]
pub(crate) struct News {
    /// The game asked for a room in the last frame, or took that back; for the state.
    #[cfg(feature = "states")]
    pub(crate) wants_room: Option<bool>,
}

/// This is all that events of the network thread change: the resources that the game reads, and the outcome
/// messages.
#[derive(SystemParam)]
pub(crate) struct AppSide<'w> {
    lobby: ResMut<'w, LobbyLink>,
    room: ResMut<'w, CurrentRoom>,
    members: ResMut<'w, Members>,
    seats: ResMut<'w, RoomSeats>,
    queue: ResMut<'w, QuickMatchQueue>,
    room_list: ResMut<'w, RoomList>,
    pub(super) peers: ResMut<'w, Peers>,
    nat: ResMut<'w, NatStatus>,
    hand_off: ResMut<'w, HandOff>,
    news: ResMut<'w, News>,
    stories: ResMut<'w, Stories>,
    qualities: ResMut<'w, Qualities>,
    shared: RoomSide<'w>,
    people: PeopleSide<'w>,
    chat: ChatSide<'w>,
    party: PartySide<'w>,
    out: Outcomes<'w>,
}

/// This is what stood when a frame began.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    guest: bool,
    room: bool,
    hosting: bool,
}

impl AppSide<'_> {
    /// Returns what stands now.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            guest: self.peers.iter().any(|peer| !peer.hosting && !peer.mesh),
            room: self.room.info.is_some(),
            hosting: self.room.hosting,
        }
    }

    /// Ends the connection that a report replaces: the player is back before its old connection was missed.
    pub(super) fn end_what_is_replaced(&mut self, report: &Report) {
        if let Report::Connected { event: Event::PeerConnected { peer, .. }, .. } = report
            && let Some(old) = self.peers.0.remove(&peer.id)
        {
            self.news.set_changed();
            self.disconnected(old, MatchEnd::Replaced.into());
        }
    }

    /// Returns whether a report puts something where something else of its kind stood when this frame began. Netcodes
    /// look at what is there once a frame, so there has to be one with neither: the report waits for the next frame,
    /// and all later ones behind it.
    pub(super) fn comes_too_early(&self, report: &Report, before: Standing) -> bool {
        match report {
            Report::Connected { event: Event::PeerConnected { peer, seat, .. }, .. } => {
                // replicon ends the connection of whoever has the id of a client that has gone: a new one's, too.
                let id = peer.id.client_id();
                let gone = |change: &Change| matches!(change, Change::Disconnected { client_id, .. } if *client_id == id);
                matches!(seat, Seat::Guest | Seat::Spectator) && (before.guest || before.hosting)
                    || self.hand_off.changes.iter().any(gone)
            }
            Report::Agent(Event::RoomEntered { .. }) => before.room && self.room.info.is_none(),
            Report::Agent(Event::HostChanged { hosting: true, .. }) => before.hosting && !self.room.hosting,
            _ => false,
        }
    }

    /// Drops what is only for renet.
    pub(super) fn forget_renet(&mut self) {
        self.hand_off.bypass_change_detection().changes.clear();
    }

    /// Takes what the network thread says.
    pub(super) fn report(&mut self, report: Report) {
        match report {
            // Figures are no news for those who tell what happens.
            Report::Qualities(at, players) => return self.qualities.take(at, players),
            Report::Agent(event) => self.event(event, 0),
            Report::Connected { event, generation } => self.event(event, generation),
            Report::Local(local) => self.lobby.local = local,
            // The link notes it.
            Report::Reached(..) => return,
            Report::KeyChanged { state, server, file } => {
                self.lobby.state = state.clone();
                self.out.lobby_changed.write(m::LobbyChanged(state));
                self.lobby_failed(TraversalError::ServerKeyChanged { server, file }, None);
            }
            Report::Released(player) => {
                self.peers.0.remove(&player);
            }
        }
        self.news.set_changed();
    }

    fn event(&mut self, event: Event, generation: u32) {
        match event {
            Event::Lobby(state) => self.lobby(state),
            Event::Nat(profile) => {
                if self.nat.profile != profile {
                    self.nat.profile = profile;
                    self.out.nat_changed.write(m::NatChanged(profile));
                }
            }
            Event::PortMapping(state) => {
                self.nat.port_mapping = state;
                self.out.port_mapping_changed.write(m::PortMappingChanged(state));
            }
            Event::RoomEntered { room, hosting, spectating } => {
                let before = self.room.info.as_ref().map(|room| room.id);
                self.shared.entered(room.id, before);
                *self.room = CurrentRoom { info: Some(room.clone()), hosting, spectating };
                self.hand_off.room_end = None;
                self.hand_off.changes.push(Change::RoomEntered { hosting });
                self.out.room_joined.write(m::RoomJoined { room, hosting, spectating });
            }
            Event::RoomChanged(room) => {
                self.room.info = Some(room.clone());
                self.out.room_changed.write(m::RoomChanged(room));
            }
            Event::HostChanged { room, hosting, previous, members } => {
                (self.room.info, self.room.hosting) = (Some(room.clone()), hosting);
                self.hand_off.changes.push(Change::HostChanged { hosting });
                if !members.is_empty() {
                    self.members(members.clone());
                }
                self.out.host_migrated.write(m::HostMigrated { room, hosting, previous, members });
            }
            Event::Members(members) => {
                let left = self.members(members);
                self.shared.members_left(&left);
            }
            Event::RoomLeft { reason } => self.room_left(reason),
            Event::Rooms(RoomsFound { rooms, next }) => {
                self.out.rooms_listed.write(m::RoomsListed { rooms, next });
            }
            Event::WatchBegun(query) => self.room_list.begin(query),
            Event::WatchEnded => *self.room_list = RoomList::default(),
            Event::RoomsChanged { changed, gone, settled } => {
                self.room_list.take(&changed, &gone, settled);
                self.out.room_list_changed.write(m::RoomListChanged { changed, gone });
            }
            Event::Queue(status) => {
                self.queue.0 = status;
                self.out.queue_changed.write(m::QueueChanged(status));
            }
            Event::MatchFound(found) => {
                self.out.match_found.write(m::MatchFound(found));
            }
            Event::Teams(teams) => {
                self.out.quick_teams.write(m::QuickTeams(teams));
            }
            Event::RequestFailed { request, error } => {
                self.out.request_failed.write(m::RequestFailed { request, error });
            }
            Event::JoinRequest { join, player } => {
                self.out.join_requested.write(m::JoinRequested { join, player });
            }
            Event::WrongPasswords { in_last_minute } => {
                self.out.wrong_passwords.write(m::WrongPasswords { in_last_minute });
            }
            Event::Announcement { text } => {
                self.out.announcement.write(m::Announcement { text });
            }
            Event::InvitesRevoked => {
                self.out.invites_revoked.write(InvitesRevoked);
            }
            event => {
                let left = self.shared.event(event).and_then(|event| self.people.event(event));
                let left = left.and_then(|event| self.chat.event(event));
                let left = left.and_then(|event| self.party.event(event));
                let left = left.and_then(|event| self.seat_event(event));
                if let Some(event) = left {
                    self.peer_event(event, generation);
                }
            }
        }
    }

    fn lobby(&mut self, state: LobbyState) {
        let failure = match &state {
            LobbyState::Retrying { error, retry_in } => Some((error.clone(), Some(*retry_in))),
            LobbyState::Refused { error } => Some((error.clone(), None)),
            _ => None,
        };
        if matches!(state, LobbyState::Online { .. }) {
            self.lobby.error = None;
        }
        self.lobby.state = state.clone();
        self.out.lobby_changed.write(m::LobbyChanged(state));
        if let Some((error, retry_in)) = failure {
            self.lobby_failed(error.into(), retry_in);
        }
    }

    pub(super) fn lobby_failed(&mut self, error: TraversalError, retry_in: Option<Duration>) {
        self.news.set_changed();
        self.lobby.error = Some(error.clone());
        self.out.lobby_failed.write(m::LobbyFailed { error, retry_in, servers: self.lobby.servers.clone() });
    }

    pub(crate) fn request_failed(&mut self, request: RequestKind, error: RequestFailure) {
        self.news.set_changed();
        self.out.request_failed.write(m::RequestFailed { request, error });
    }

    pub(super) fn invite_made(&mut self, invite: Invite) {
        self.out.invite_made.write(InviteMade { invite });
    }

    /// Notes that the game asks for a room.
    pub(crate) fn wants_room(&mut self) {
        #[cfg(feature = "states")]
        {
            self.news.wants_room = Some(true);
        }
    }

    /// Returns the key of the server that the player is logged in at.
    pub(super) fn server_key(&self) -> Option<[u8; 32]> {
        match self.lobby.state {
            LobbyState::Online { server_key, .. } => Some(server_key),
            _ => None,
        }
    }

    /// Returns the IP at which the server sees this player, while it is logged in.
    #[cfg(feature = "lan")]
    pub(crate) fn public_ip(&self) -> Option<std::net::IpAddr> {
        match self.lobby.state {
            LobbyState::Online { public, .. } => Some(public.ip()),
            _ => None,
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.lobby.online()
    }

    /// Returns whether the server cannot be logged in to, and is not tried again.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.lobby.state, LobbyState::Refused { .. })
    }

    pub(super) fn room_code(&self) -> Option<String> {
        self.room.info.as_ref().map(|room| room.code.clone())
    }

    /// Notes which servers are asked for.
    pub(crate) fn servers(&mut self, servers: &[String]) {
        self.lobby.servers = servers.to_vec();
    }

    /// Takes the list of members; gives those who are out.
    fn members(&mut self, members: Vec<PlayerInfo>) -> Vec<PlayerInfo> {
        let missing = |from: &[PlayerInfo], all: &[PlayerInfo]| -> Vec<PlayerInfo> {
            all.iter().filter(|player| from.iter().all(|other| other.id != player.id)).cloned().collect()
        };
        let joined = missing(&self.members.0, &members);
        let left = missing(&members, &self.members.0);
        self.members.0 = members;
        // Who is out is not away any more.
        for gone in &left {
            self.seats.away.remove(&gone.id);
        }
        if !joined.is_empty() || !left.is_empty() {
            self.out.members_changed.write(m::MembersChanged { joined, left: left.clone() });
        }
        left
    }

    fn room_left(&mut self, reason: Option<RoomEnd>) {
        let room = std::mem::take(&mut *self.room).info;
        self.members.0.clear();
        self.shared.left();
        *self.seats = RoomSeats::default();
        // The agent closes the connections of a room that ended; the game hears who really did it.
        self.hand_off.room_end = reason.as_ref().map(|reason| match reason {
            RoomEnd::Kicked { .. } => MatchEnd::Kicked,
            RoomEnd::HostLost => MatchEnd::Gone,
            RoomEnd::Replaced => MatchEnd::Replaced,
            _ => MatchEnd::Left,
        });
        self.hand_off.changes.push(Change::RoomLeft);
        self.out.room_left.write(m::RoomLeft { room, reason });
    }

    /// Notes that the driver is gone or replaced, and its connections and room with it.
    pub(crate) fn driver_gone(&mut self) {
        self.news.set_changed();
        self.qualities.driver_gone();
        self.people.driver_gone();
        self.party.driver_gone();
        for peer in std::mem::take(&mut self.peers.0).into_values() {
            self.disconnected(peer, DisconnectReason::Local);
        }
        if self.room.info.is_some() {
            self.room_left(None);
        }
        if self.queue.0.take().is_some() {
            self.out.queue_changed.write(m::QueueChanged(None));
        }
        if self.lobby.state != LobbyState::Offline {
            self.lobby(LobbyState::Offline);
        }
    }
}
