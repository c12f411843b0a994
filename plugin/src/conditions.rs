//! Run conditions.

use bevy_ecs::system::Res;

use crate::state::{CurrentRoom, LobbyLink, Peers};

/// Logged in to a lobby server.
pub fn lobby_online(link: Res<LobbyLink>) -> bool {
    link.online()
}

/// In a room, as host or not.
pub fn in_room(room: Res<CurrentRoom>) -> bool {
    room.info.is_some()
}

/// In a room, as its host.
pub fn hosting(room: Res<CurrentRoom>) -> bool {
    room.info.is_some() && room.hosting
}

/// In a room of another player.
pub fn joined(room: Res<CurrentRoom>) -> bool {
    room.info.is_some() && !room.hosting
}

/// At least one other player is connected.
pub fn peer_connected(peers: Res<Peers>) -> bool {
    !peers.is_empty()
}
