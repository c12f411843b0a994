//! Run conditions.

use bevy_ecs::system::Res;
use bevy_renet::{RenetClient, RenetServer};

use crate::state::{CurrentRoom, LobbyLink, Peers};

/// Run condition: this player is logged in to a lobby server.
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

/// Run condition: this player only watches a room. What its game sends is dropped, but for renet's acknowledgements.
pub fn spectating(room: Res<CurrentRoom>) -> bool {
    room.info.is_some() && room.spectating
}

/// Run condition: at least one other player is connected.
pub fn peer_connected(peers: Res<Peers>) -> bool {
    !peers.is_empty()
}

/// Run condition: this player is in a room of another player, and renet's `RenetClient` is there and connected.
/// [`joined`] holds earlier, from [`RoomJoined`](crate::RoomJoined) on, and while a lost host is replaced.
pub fn client_ready(client: Option<Res<RenetClient>>) -> bool {
    client.is_some_and(|client| client.is_connected())
}

/// Run condition: this player hosts, and renet's `RenetServer` is there.
pub fn server_ready(server: Option<Res<RenetServer>>) -> bool {
    server.is_some()
}
