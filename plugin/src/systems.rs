//! Between driver and app, once a frame each way.

use bevy_ecs::change_detection::DetectChangesMut;
use bevy_ecs::message::{Message, MessageReader, MessageWriter};
use bevy_ecs::schedule::SystemSet;
use bevy_ecs::system::{Res, ResMut, SystemParam};
use traversal_core::wire::message::{MatchEnd, PlayerInfo, RoomEnd};
use traversal_core::{Command, DisconnectReason, Event, LobbyState, Seat};

use crate::datagrams::Datagrams;
use crate::driver::Report;
use crate::error::TraversalError;
use crate::link::TraversalLink;
use crate::messages as m;
use crate::renet::{Change, HandOff};
use crate::state::{
    CurrentRoom, LobbyLink, Members, NatStatus, Peer, Peers, QuickMatchQueue, TraversalStats,
};

/// When the plugin works.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraversalSystems {
    /// In `PreUpdate`, before `RenetReceive`: takes events and game datagrams from the driver, updates the
    /// resources and writes the outcome messages.
    Receive,
    /// In `PostUpdate`, after `RenetSend`: hands request messages and game datagrams to the driver.
    Send,
}

/// Writers of all outcomes.
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
    queue_changed: MessageWriter<'w, m::QueueChanged>,
    request_failed: MessageWriter<'w, m::RequestFailed>,
    join_requested: MessageWriter<'w, m::JoinRequested>,
    wrong_passwords: MessageWriter<'w, m::WrongPasswords>,
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
}

/// All that outcomes change.
#[derive(SystemParam)]
pub(crate) struct World<'w> {
    lobby: ResMut<'w, LobbyLink>,
    room: ResMut<'w, CurrentRoom>,
    members: ResMut<'w, Members>,
    queue: ResMut<'w, QuickMatchQueue>,
    peers: ResMut<'w, Peers>,
    nat: ResMut<'w, NatStatus>,
    hand_off: ResMut<'w, HandOff>,
    out: Outcomes<'w>,
}

pub(crate) fn receive(
    mut link: ResMut<TraversalLink>,
    mut datagrams: ResMut<Datagrams>,
    stats: Res<TraversalStats>,
    mut world: World,
) {
    if let Some(error) = link.bypass_change_detection().failure.take() {
        world.lobby_failed(error, None);
    }
    let Some(driver) = &link.driver else { return };
    link.tick();
    // First the datagrams, then the events: each connection is known before its first datagram is looked at.
    datagrams.bypass_change_detection().take(driver);
    while let Ok(report) = driver.reports.try_recv() {
        world.report(report);
    }
    datagrams.bypass_change_detection().sort(&world.peers, &stats);
    if !driver.running() && driver.reports.is_empty() {
        world.driver_gone();
        link.driver = None;
        let reason = String::from("it ended");
        world.lobby_failed(TraversalError::Driver { reason }, None);
    }
}

impl World<'_> {
    fn report(&mut self, report: Report) {
        match report {
            Report::Agent(event) => self.event(event, 0),
            Report::Connected { event, generation } => self.event(event, generation),
            Report::Local(local) => self.lobby.local = local,
            Report::KeyChanged { state, server, file } => {
                self.lobby.state = state.clone();
                self.out.lobby_changed.write(m::LobbyChanged(state));
                self.lobby_failed(TraversalError::ServerKeyChanged { server, file }, None);
            }
            Report::Released(player) => {
                self.peers.0.remove(&player);
            }
        }
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
            Event::RoomEntered { room, hosting } => {
                *self.room = CurrentRoom { info: Some(room.clone()), hosting };
                self.hand_off.room_end = None;
                self.hand_off.changes.push(Change::RoomEntered { hosting });
                self.out.room_joined.write(m::RoomJoined { room, hosting });
            }
            Event::RoomChanged(room) => {
                self.room.info = Some(room.clone());
                self.out.room_changed.write(m::RoomChanged(room));
            }
            Event::HostChanged { room, hosting, previous, members } => {
                *self.room = CurrentRoom { info: Some(room.clone()), hosting };
                self.hand_off.changes.push(Change::HostChanged { hosting });
                if !members.is_empty() {
                    self.members(members.clone());
                }
                self.out.host_migrated.write(m::HostMigrated { room, hosting, previous, members });
            }
            Event::Members(members) => self.members(members),
            Event::RoomLeft { reason } => self.room_left(reason),
            Event::Rooms(rooms) => {
                self.out.rooms_listed.write(m::RoomsListed(rooms));
            }
            Event::Queue(status) => {
                self.queue.0 = status;
                self.out.queue_changed.write(m::QueueChanged(status));
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
            Event::Plan { peer, role, methods, seat } => {
                let (host, mesh) = (seat == Seat::Host, seat == Seat::MeshPeer);
                self.out.peer_planned.write(m::PeerPlanned { peer, role, methods, host, mesh });
            }
            Event::PeerConnected { peer, seat, path, proven, code } => {
                let (host, mesh) = (seat == Seat::Host, seat == Seat::MeshPeer);
                if let Some(old) = self.peers.0.remove(&peer.id) {
                    // The player is back before its old connection was missed.
                    self.disconnected(old, MatchEnd::Replaced.into());
                }
                let client_id = peer.id.client_id();
                let info = peer.clone();
                let connected =
                    Peer { info, client_id, host, mesh, path: path.clone(), away: false, generation };
                self.peers.0.insert(peer.id, connected);
                // renet runs between the host and each of the others, also in a mesh.
                if !mesh {
                    self.hand_off.changes.push(Change::Connected { player: peer.id, client_id, host });
                }
                let connected = m::PeerConnected { peer, client_id, path, host, mesh, proven, code };
                self.out.peer_connected.write(connected);
            }
            Event::PeerRelayed { peer, report } => {
                self.out.peer_relayed.write(m::PeerRelayed { peer, report });
            }
            Event::PathChanged { player, path } => {
                if let Some(peer) = self.peers.0.get_mut(&player) {
                    peer.path = path.clone();
                }
                self.out.path_changed.write(m::PathChanged { player, path });
            }
            Event::SizeChanged { player, size } => {
                if let Some(peer) = self.peers.0.get_mut(&player) {
                    peer.path.size = size;
                }
                self.out.size_changed.write(m::SizeChanged { player, size });
            }
            Event::PeerAway { player } => {
                if let Some(Peer { info, client_id, away, .. }) = self.peers.0.get_mut(&player) {
                    *away = true;
                    self.out.peer_away.write(m::PeerAway { peer: info.clone(), client_id: *client_id });
                }
            }
            Event::PeerBack { player, away: time } => {
                if let Some(Peer { info, client_id, away, .. }) = self.peers.0.get_mut(&player) {
                    *away = false;
                    let (peer, client_id) = (info.clone(), *client_id);
                    self.out.peer_back.write(m::PeerBack { peer, client_id, away: time });
                }
            }
            Event::PeerDisconnected { peer, reason } => {
                if let Some(old) = self.peers.0.remove(&peer.id) {
                    let reason = match (reason, self.hand_off.room_end) {
                        (DisconnectReason::Local, Some(end)) => end.into(),
                        (reason, _) => reason,
                    };
                    self.disconnected(old, reason);
                }
            }
            Event::PeerFailed { peer, report } => {
                self.out.traversal_failed.write(m::TraversalFailed { peer, report });
            }
            // Datagrams have a queue of their own.
            other => bevy_log::debug!("unknown event of the agent: {other:?}"),
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

    fn lobby_failed(&mut self, error: TraversalError, retry_in: Option<std::time::Duration>) {
        self.lobby.error = Some(error.clone());
        self.out.lobby_failed.write(m::LobbyFailed { error, retry_in });
    }

    fn members(&mut self, members: Vec<PlayerInfo>) {
        let missing = |from: &[PlayerInfo], all: &[PlayerInfo]| -> Vec<PlayerInfo> {
            all.iter().filter(|player| from.iter().all(|other| other.id != player.id)).cloned().collect()
        };
        let joined = missing(&self.members.0, &members);
        let left = missing(&members, &self.members.0);
        self.members.0 = members;
        if !joined.is_empty() || !left.is_empty() {
            self.out.members_changed.write(m::MembersChanged { joined, left });
        }
    }

    fn room_left(&mut self, reason: Option<RoomEnd>) {
        let room = std::mem::take(&mut *self.room).info;
        self.members.0.clear();
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

    fn disconnected(&mut self, peer: Peer, reason: DisconnectReason) {
        let Peer { info, client_id, host, mesh, .. } = peer;
        if !mesh {
            self.hand_off.changes.push(Change::Disconnected { client_id, host, reason: reason.clone() });
        }
        self.out.peer_disconnected.write(m::PeerDisconnected { peer: info, client_id, reason });
    }

    /// The driver is gone or replaced, and its connections and room with it.
    fn driver_gone(&mut self) {
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

/// Readers of all requests but [`ConnectLobby`](m::ConnectLobby).
#[derive(SystemParam)]
pub(crate) struct Requests<'w, 's> {
    disconnect: MessageReader<'w, 's, m::DisconnectLobby>,
    host: MessageReader<'w, 's, m::HostRoom>,
    join: MessageReader<'w, 's, m::JoinRoom>,
    leave: MessageReader<'w, 's, m::LeaveRoom>,
    list: MessageReader<'w, 's, m::ListRooms>,
    allow: MessageReader<'w, 's, m::AllowPeer>,
    refuse: MessageReader<'w, 's, m::RefusePeer>,
    kick: MessageReader<'w, 's, m::KickPeer>,
    metadata: MessageReader<'w, 's, m::SetRoomMetadata>,
    close: MessageReader<'w, 's, m::ClosePeer>,
    quick: MessageReader<'w, 's, m::QuickMatch>,
    cancel: MessageReader<'w, 's, m::CancelQuickMatch>,
}

pub(crate) fn connect(
    mut requests: MessageReader<m::ConnectLobby>,
    mut link: ResMut<TraversalLink>,
    mut world: World,
) {
    for request in requests.read() {
        if link.connect(request.clone()) {
            world.driver_gone();
        }
    }
}

pub(crate) fn hand_over_requests(
    requests: Requests,
    mut link: ResMut<TraversalLink>,
    lobby: Res<LobbyLink>,
    mut failed: MessageWriter<m::RequestFailed>,
) {
    use traversal_core::{RequestFailure, RequestKind as Kind};
    let Requests {
        mut disconnect,
        mut host,
        mut join,
        mut leave,
        mut list,
        mut allow,
        mut refuse,
        mut kick,
        mut metadata,
        mut close,
        mut quick,
        mut cancel,
    } = requests;
    let link = link.bypass_change_detection();
    each(&mut disconnect, |_| _ = link.command(Command::Disconnect));
    let mut ask = |command, request| {
        if !link.command(command) {
            failed.write(m::RequestFailed { request, error: RequestFailure::NotLoggedIn });
        }
    };
    // Leaving first: a game that changes rooms writes both in one frame.
    each(&mut leave, |_| ask(Command::LeaveRoom, Kind::Leave));
    each(&mut cancel, |_| ask(Command::CancelQuickMatch, Kind::CancelQuickMatch));
    each(&mut host, |request| ask(Command::HostRoom(request.0.clone()), Kind::Host));
    each(&mut join, |request| {
        let m::JoinRoom { target, password, wait } = request.clone();
        ask(Command::JoinRoom { target, password, wait }, Kind::Join);
    });
    each(&mut quick, |request| ask(Command::QuickMatch(request.clone().into()), Kind::QuickMatch));
    each(&mut list, |_| ask(Command::ListRooms, Kind::List));
    each(&mut metadata, |request| ask(Command::SetMetadata(request.0.clone()), Kind::SetMetadata));
    each(&mut kick, |request| {
        let m::KickPeer { player, reason, rejoin } = request.clone();
        if lobby.online() {
            // The connection ends with the server's yes.
            ask(Command::Kick { player, reason, rejoin }, Kind::Kick);
        } else {
            let reason = format!("removed by the host: {reason}");
            ask(Command::ClosePeer { player, reason }, Kind::Kick);
        }
    });
    each(&mut allow, |request| {
        link.command(Command::AnswerJoin { join: request.join, allow: true, reason: String::new() });
    });
    each(&mut refuse, |request| {
        let m::RefusePeer { join, reason } = request.clone();
        link.command(Command::AnswerJoin { join, allow: false, reason });
    });
    each(&mut close, |request| {
        let m::ClosePeer { player, reason } = request.clone();
        link.command(Command::ClosePeer { player, reason });
    });
    link.hand_over();
}

fn each<M: Message>(messages: &mut MessageReader<M>, mut handle: impl FnMut(&M)) {
    for message in messages.read() {
        handle(message);
    }
}

pub(crate) fn hand_over_datagrams(
    link: Res<TraversalLink>,
    mut datagrams: ResMut<Datagrams>,
    peers: Res<Peers>,
    stats: Res<TraversalStats>,
) {
    if let Some(driver) = &link.driver {
        datagrams.bypass_change_detection().hand_over(driver, &peers, &stats);
    }
}
