//! The server and the sessions as entities: they follow the room, and what the game wishes for them goes to the room.

use std::collections::BTreeMap;

use aeronet_io::connection::{self, DROP_DISCONNECT_REASON, Disconnect, Disconnected};
use aeronet_io::packet::PacketRtt;
use aeronet_io::server::{Close, CloseReason, Closed, Server};
use aeronet_io::{Session, anyhow};
use bevy_ecs::change_detection::DetectChanges;
use bevy_ecs::entity::Entity;
use bevy_ecs::hierarchy::ChildOf;
use bevy_ecs::lifecycle::Remove;
use bevy_ecs::message::{MessageReader, MessageWriter};
use bevy_ecs::name::Name;
use bevy_ecs::observer::On;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use bevy_platform::time::Instant;
use bevy_traversal::{
    ClosePeer, CurrentRoom, DisconnectReason, HostMigrated, LeaveRoom, MatchEnd, Peer, PeerConnected,
    PeerDisconnected, Peers, PlayerId, RoomLeft,
};

use crate::packets::{Channel, send_last};
use crate::{Dropped, MIN_MTU, PeerRole, TraversalServer, TraversalSession};

/// Resource: it knows which entity is whose, and what is still to be said to the room.
#[derive(Resource, Default)]
pub(crate) struct Sessions {
    server: Option<Entity>,
    by_player: BTreeMap<PlayerId, Entity>,
    /// These are the connections to be closed, each with the reason, when their last packets have left.
    closing: Vec<(PlayerId, String)>,
    /// The room is to be left when these are closed. Until it is, nothing new is opened.
    leaving: Leaving,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leaving {
    #[default]
    No,
    Wanted,
    Asked,
}

impl Sessions {
    pub(crate) fn of(&self, player: PlayerId) -> Option<Entity> {
        self.by_player.get(&player).copied()
    }

    /// Forgets a session that the game ends. Out of the host's game is out of its room.
    fn close(&mut self, entity: Entity, session: TraversalSession, reason: &str) -> bool {
        let known = self.of(session.player) == Some(entity);
        if known {
            self.by_player.remove(&session.player);
            self.closing.push((session.player, reason.to_owned()));
            if session.role == PeerRole::Host {
                self.leaving = Leaving::Wanted;
            }
        }
        known
    }

    /// Forgets the server, if it is this one, and leaves the room.
    fn close_server(&mut self, entity: Entity) {
        if self.server == Some(entity) {
            self.server = None;
            self.leaving = Leaving::Wanted;
        }
    }
}

/// This system runs in `Last`. It tells the room what the game wished in this frame; that goes out with the next,
/// behind the last packets. The reasons go first, then that this player leaves: with both in one frame the others
/// would not hear the reasons.
pub(crate) fn say_goodbye(
    mut sessions: ResMut<Sessions>,
    mut close: MessageWriter<ClosePeer>,
    mut leave: MessageWriter<LeaveRoom>,
) {
    if !sessions.closing.is_empty() {
        close.write_batch(sessions.closing.drain(..).map(|(player, reason)| ClosePeer { player, reason }));
    } else if sessions.leaving == Leaving::Wanted {
        sessions.leaving = Leaving::Asked;
        leave.write(LeaveRoom);
    }
}

/// This system runs in `PreUpdate`. It ends and makes entities as the room says.
pub(crate) fn follow(
    mut commands: Commands,
    mut sessions: ResMut<Sessions>,
    (room, peers): (Res<CurrentRoom>, Res<Peers>),
    mut disconnected: MessageReader<PeerDisconnected>,
    mut left: MessageReader<RoomLeft>,
    mut migrated: MessageReader<HostMigrated>,
    mut connected: MessageReader<PeerConnected>,
) {
    for gone in disconnected.read() {
        if let Some(entity) = sessions.by_player.remove(&gone.peer.id) {
            commands.trigger(Disconnected { entity, reason: reason_of(&gone.reason) });
        }
    }
    let mut ended = None;
    for migrated in migrated.read() {
        ended = Some(match migrated.hosting {
            true => CloseReason::by_user("this player hosts the room anew"),
            false => CloseReason::by_error(anyhow::anyhow!("another player hosts the room now")),
        });
    }
    for left in left.read() {
        ended = Some(match &left.reason {
            None => CloseReason::by_user("this player left the room"),
            Some(reason) => CloseReason::by_error(reason.clone()),
        });
    }
    if let Some(reason) = ended {
        sessions.leaving = Leaving::No;
        if let Some(entity) = sessions.server.take() {
            commands.trigger(Closed { entity, reason });
        }
    }
    if room.info.is_none() && sessions.leaving == Leaving::Asked {
        sessions.leaving = Leaving::No;
    }
    if sessions.leaving != Leaving::No {
        connected.clear();
        return;
    }
    let hosted = room.info.as_ref().filter(|_| room.hosting);
    if let Some(info) = hosted
        && sessions.server.is_none()
    {
        let entity = commands.spawn((TraversalServer, Name::new(info.name.clone()))).id();
        commands.entity(entity).insert(Server::new(Instant::now()));
        sessions.server = Some(entity);
    }
    for peer in connected.read() {
        // It may be gone again.
        if let Some(peer) = peers.peer(peer.peer.id)
            && sessions.of(peer.info.id).is_none()
        {
            let entity = spawn(&mut commands, peer, sessions.server);
            sessions.by_player.insert(peer.info.id, entity);
        }
    }
}

fn spawn(commands: &mut Commands, peer: &Peer, server: Option<Entity>) -> Entity {
    let player = peer.info.id;
    let role = match (peer.hosting, peer.mesh) {
        (true, _) => PeerRole::Guest,
        (_, true) => PeerRole::MeshPeer,
        _ => PeerRole::Host,
    };
    let entity = commands.spawn((TraversalSession { player, role }, Name::new(peer.info.name.clone()))).id();
    if let (PeerRole::Guest, Some(server)) = (role, server) {
        commands.entity(entity).insert(ChildOf(server));
    }
    let mut session = Session::new(Instant::now(), MIN_MTU);
    set_mtu(&mut session, peer);
    commands.entity(entity).insert(session);
    entity
}

/// Sets the length that goes in one piece, and no less than the least: so it cannot fail.
fn set_mtu(session: &mut Session, peer: &Peer) {
    let _ = session.set_mtu(peer.path.size.max(MIN_MTU));
}

/// This system runs in `PreUpdate`. It keeps sizes and round trips up to date.
pub(crate) fn measure(
    mut commands: Commands,
    peers: Res<Peers>,
    mut sessions: Query<(Entity, &TraversalSession, &mut Session, Option<&PacketRtt>)>,
) {
    let news = peers.is_changed();
    for (entity, of, mut session, rtt) in &mut sessions {
        if !news && rtt.is_some() {
            continue;
        }
        let Some(peer) = peers.peer(of.player) else { continue };
        if session.mtu() != peer.path.size.max(MIN_MTU) {
            set_mtu(&mut session, peer);
        }
        if let Some(measured) = peer.path.rtt
            && rtt.is_none_or(|rtt| rtt.0 != measured)
        {
            commands.entity(entity).try_insert(PacketRtt(measured));
        }
    }
}

/// The game ends a session: what it wrote in this frame still goes, and the reason after it.
pub(crate) fn on_disconnect(
    wish: On<Disconnect>,
    channel: Res<Channel>,
    mut sessions: ResMut<Sessions>,
    mut known: Query<(&TraversalSession, &mut Session, &mut Dropped)>,
) {
    let Ok((of, mut session, mut dropped)) = known.get_mut(wish.entity) else { return };
    if sessions.close(wish.entity, *of, &wish.reason) {
        send_last(&channel, of.player, &mut session, &mut dropped);
    }
}

/// The game closes its server: each session reads the reason (aeronet_io sees to that), and the room is left.
pub(crate) fn on_close(wish: On<Close>, mut sessions: ResMut<Sessions>) {
    sessions.close_server(wish.entity);
}

/// A session's entity is despawned without a [`Disconnect`].
pub(crate) fn on_session_removed(
    removed: On<Remove, TraversalSession>,
    mut sessions: ResMut<Sessions>,
    known: Query<&TraversalSession>,
) {
    if let Ok(of) = known.get(removed.entity) {
        sessions.close(removed.entity, *of, DROP_DISCONNECT_REASON);
    }
}

/// The server's entity is despawned without a [`Close`].
pub(crate) fn on_server_removed(removed: On<Remove, TraversalServer>, mut sessions: ResMut<Sessions>) {
    sessions.close_server(removed.entity);
}

/// Returns what aeronet calls this reason.
fn reason_of(reason: &DisconnectReason) -> connection::DisconnectReason {
    use connection::DisconnectReason as To;
    match reason {
        DisconnectReason::Closed { reason } => To::by_peer(reason),
        DisconnectReason::Match(MatchEnd::Left | MatchEnd::Kicked) => To::by_peer(reason.to_string()),
        DisconnectReason::Local => To::by_user(reason.to_string()),
        other => To::by_error(other.clone()),
    }
}
