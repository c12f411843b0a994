//! Run conditions.

use bevy_ecs::system::Res;

use crate::state::{CurrentRoom, LobbyLink, Peers};

/// Logged in to a lobby server.
pub fn lobby_online(link: Res<LobbyLink>) -> bool {
    link.online()
}

/// Run condition: this player is in a room, as host or not.
pub fn in_room(room: Res<CurrentRoom>) -> bool {
    room.info.is_some()
}

/// Run condition: this player is in a room, as its host.
pub fn hosting(room: Res<CurrentRoom>) -> bool {
    room.info.is_some() && room.hosting
}

/// Run condition: this player is in a room that another one hosts.
pub fn joined(room: Res<CurrentRoom>) -> bool {
    room.info.is_some() && !room.hosting
}

/// Run condition: at least one other player is connected.
pub fn peer_connected(peers: Res<Peers>) -> bool {
    !peers.is_empty()
}
