//! The room and the other players in it as entities.

use std::collections::BTreeMap;

use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::event::EntityEvent;
use bevy_ecs::lifecycle::Remove;
use bevy_ecs::message::MessageReader;
use bevy_ecs::name::Name;
use bevy_ecs::observer::On;
#[cfg(feature = "reflect")]
use bevy_ecs::reflect::ReflectComponent;
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Commands, EntityCommands, Query, Res, ResMut};
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{MemberState, PlayerInfo, RoomInfo};
use traversal_core::{DisconnectReason, PathInfo};

use crate::commands::TraversalCommands;
use crate::messages::outcomes::{PeerConnected, PeerDisconnected};
use crate::messages::room::RoomShared;
use crate::state::{CurrentRoom, LobbyLink, Members, Peer, Peers, RoomSeats};

/// Component: this is the room that this player is in; there is at most one. Despawning its entity leaves the room.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(opaque, Component))]
pub struct Room(pub RoomInfo);

/// Component of the room: it lists the entities of the other players in it. They are despawned with it.
#[derive(Component, Debug, Default)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
#[relationship_target(relationship = MemberOf, linked_spawn)]
pub struct RoomMembers(Vec<Entity>);

impl RoomMembers {
    /// Returns the other players, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Entity> {
        self.0.iter().copied()
    }
}

/// Component: this is the entity of the room that another player is in.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
#[relationship(relationship_target = RoomMembers)]
pub struct MemberOf(pub Entity);

/// Component: this is another player in this player's room, connected or not. Its entity has Bevy's [`Name`], too.
/// One that the game despawns is made anew with the next news, as long as the player is in the room.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(opaque, Component))]
pub struct RemotePlayer(pub PlayerId);

/// Component: this other player hosts the room.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct IsHost;

/// Component: this other player is connected, by the way that it says. It is inserted anew when the way changes.
#[derive(Component, Clone, Debug, PartialEq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(opaque, Component))]
pub struct ConnectedBy {
    /// On the host, renet knows the player by this number.
    pub client_id: u64,
    /// The connection goes this way; its latest round trip is in it.
    pub path: PathInfo,
}

/// Component: nothing is heard of this player at present: by this player, where the two are connected
/// ([`PeerAway`](crate::PeerAway)), or by the lobby server ([`PlayerAway`](crate::PlayerAway)).
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct IsAway;

/// Component: this is what another player says of itself: whether it is ready, its team and its properties
/// ([`SetProperties`](crate::SetProperties)). It is inserted anew when something of it changes, so `Changed` finds it; a player
/// who has said nothing has none.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(opaque, Component))]
pub struct PlayerProperties(pub MemberState);

/// Component: this other player only watches the room.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(bevy_reflect::Reflect), reflect(Component))]
pub struct Spectator;

/// Event at a player's entity: it is connected from now on ([`PeerConnected`], for observers).
#[derive(EntityEvent, Clone, Debug, PartialEq)]
pub struct PlayerConnected {
    /// The player has this entity.
    pub entity: Entity,
    /// On the host, renet knows the player by this number.
    pub client_id: u64,
}

/// Event at a player's entity: the connection is gone ([`PeerDisconnected`], for observers). [`ConnectedBy`] is removed after it,
/// and where the player is out of the room, the entity is despawned.
#[derive(EntityEvent, Clone, Debug, PartialEq)]
pub struct PlayerDisconnected {
    /// The player has this entity.
    pub entity: Entity,
    /// On the host, renet knows the player by this number.
    pub client_id: u64,
    /// This is why; its text is fit for a player.
    pub reason: DisconnectReason,
}

/// Resource: it knows which entity is whose.
#[derive(Resource, Debug, Default)]
pub(crate) struct Entities {
    room: Option<(RoomId, Entity)>,
    players: BTreeMap<PlayerId, Entity>,
    own: Option<PlayerId>,
}

/// This is what an entity has of these components, if anything.
type Shown = ShownNow<'static>;

/// This is what an entity shows at a moment.
type ShownNow<'a> = (
    Option<&'a Room>,
    Option<&'a ConnectedBy>,
    Option<&'a IsHost>,
    Option<&'a IsAway>,
    Option<&'a PlayerProperties>,
    Option<&'a Spectator>,
);

/// Makes the entities follow the resources and messages. Runs in frames in which one of them has changed.
pub(crate) fn follow(
    mut commands: Commands,
    mut entities: ResMut<Entities>,
    (room, members, seats): (Res<CurrentRoom>, Res<Members>, Res<RoomSeats>),
    (peers, lobby): (Res<Peers>, Res<LobbyLink>),
    shared: Res<RoomShared>,
    (mut connected, mut disconnected): (MessageReader<PeerConnected>, MessageReader<PeerDisconnected>),
    known: Query<Shown>,
) {
    let entities = &mut *entities;
    entities.own = lobby.player().or(entities.own);
    // The game may have despawned one; who is in the room gets another.
    entities.players.retain(|_, entity| known.contains(*entity));
    for m in disconnected.read() {
        if let Some(entity) = entities.players.get(&m.peer.id).copied() {
            let (client_id, reason) = (m.client_id, m.reason.clone());
            commands.trigger(PlayerDisconnected { entity, client_id, reason });
        }
    }
    let info = room.info.as_ref();
    if let Some((id, entity)) = entities.room
        && info.is_none_or(|info| info.id != id)
    {
        entities.room = None;
        entities.players.clear();
        commands.entity(entity).try_despawn();
    }
    let Some(info) = info else { return };
    let room_entity = follow_room(&mut commands, entities, info, &known);
    // Who is connected may come before the list of members that names it.
    let present: BTreeMap<PlayerId, &PlayerInfo> = members
        .0
        .iter()
        .chain(&seats.spectators)
        .chain(peers.iter().map(|peer| &peer.info))
        .filter(|player| Some(player.id) != entities.own)
        .map(|player| (player.id, player))
        .collect();
    entities.players.retain(|player, entity| {
        let stays = present.contains_key(player);
        if !stays {
            commands.entity(*entity).try_despawn();
        }
        stays
    });
    for (id, player) in present {
        let entity = *entities.players.entry(id).or_insert_with(|| {
            commands.spawn((RemotePlayer(id), Name::new(player.name.clone()), MemberOf(room_entity))).id()
        });
        let shown = known.get(entity).ok();
        show_said(&mut commands.entity(entity), shown, shared.member(id));
        let peer = peers.peer(id);
        let stands = Stands {
            hosts: info.host == id,
            watches: seats.spectators.iter().any(|spectator| spectator.id == id)
                || peer.is_some_and(|peer| peer.spectator && peer.hosting),
            away: seats.away.contains(&id) || peer.is_some_and(|peer| peer.away),
        };
        show(&mut commands.entity(entity), shown, stands, peer);
    }
    for m in connected.read() {
        if let Some(entity) = entities.players.get(&m.peer.id).copied() {
            commands.trigger(PlayerConnected { entity, client_id: m.client_id });
        }
    }
}

/// Gives the room's entity, which shows the room as it is now; it is made if there is none.
fn follow_room(
    commands: &mut Commands,
    entities: &mut Entities,
    info: &RoomInfo,
    known: &Query<Shown>,
) -> Entity {
    let Some((_, entity)) = entities.room else {
        let entity = commands.spawn((Room(info.clone()), Name::new(info.name.clone()))).id();
        entities.room = Some((info.id, entity));
        return entity;
    };
    if known.get(entity).is_ok_and(|(room, ..)| room.is_some_and(|room| room.0 != *info)) {
        commands.entity(entity).try_insert(Room(info.clone()));
    }
    entity
}

/// Has a player's entity show what the player says of itself.
fn show_said(entity: &mut EntityCommands, shown: Option<ShownNow>, said: Option<&MemberState>) {
    let known = shown.and_then(|(.., said, _)| said);
    match (said, known) {
        (Some(said), known) if known.is_none_or(|known| known.0 != *said) => {
            entity.try_insert(PlayerProperties(said.clone()));
        }
        (None, Some(_)) => _ = entity.try_remove::<PlayerProperties>(),
        _ => {}
    }
}

/// This is how a player stands.
#[derive(Clone, Copy)]
struct Stands {
    hosts: bool,
    watches: bool,
    away: bool,
}

/// Has a player's entity show how the player stands now. `shown`: what the entity shows, unless it is new.
fn show(entity: &mut EntityCommands, shown: Option<ShownNow>, stands: Stands, peer: Option<&Peer>) {
    let (by, host, away, spectator) = shown
        .map_or((None, None, None, None), |(_, by, host, away, _, spectator)| (by, host, away, spectator));
    mark(entity, stands.hosts, host, IsHost);
    mark(entity, stands.away, away, IsAway);
    mark(entity, stands.watches, spectator, Spectator);
    let Some(peer) = peer else {
        if by.is_some() {
            entity.try_remove::<ConnectedBy>();
        }
        return;
    };
    if by.is_none_or(|by| by.path != peer.path || by.client_id != peer.client_id) {
        entity.try_insert(ConnectedBy { client_id: peer.client_id, path: peer.path.clone() });
    }
}

/// Puts a mark on an entity, or takes it off, where it is not as it should be.
fn mark<C: Component>(entity: &mut EntityCommands, wanted: bool, shown: Option<&C>, mark: C) {
    match (wanted, shown) {
        (true, None) => _ = entity.try_insert(mark),
        (false, Some(_)) => _ = entity.try_remove::<C>(),
        _ => {}
    }
}

/// Leaves the room when the game despawns its entity.
pub(crate) fn leave_with_the_entity(
    removed: On<Remove, Room>,
    mut entities: ResMut<Entities>,
    mut commands: Commands,
) {
    // An entity that this module despawns is forgotten before.
    if entities.room.is_some_and(|(_, entity)| entity == removed.entity) {
        entities.room = None;
        entities.players.clear();
        commands.leave_room();
    }
}
