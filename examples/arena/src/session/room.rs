//! Rooms and who is in them, as the game shows them.

use bevy_traversal::{ExpectedWay, PlayerId, PlayerInfo, RoomInfo, RoomShared, RoomSummary};

use crate::network::{Connection, Ways};

/// The room this player is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// This is the room's name.
    pub name: String,
    /// This is the short code, to be read out to friends.
    pub code: String,
    /// This player is its host.
    pub hosting: bool,
    /// The room takes so many players, with the host.
    pub capacity: u16,
}

impl Room {
    /// Returns the room that the lobby server tells of.
    pub fn of(info: &RoomInfo, hosting: bool) -> Self {
        Self { name: info.name.clone(), code: info.code.clone(), hosting, capacity: info.capacity }
    }
}

/// This is a member of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This is the member's client id in renet.
    pub client: u64,
    /// The lobby server knows the member by this.
    pub id: PlayerId,
    /// Others see this name.
    pub name: String,
    /// It is this player.
    pub me: bool,
    /// This says whether this member hosts the room.
    pub host: bool,
    /// The member is ready for a match.
    pub ready: bool,
    /// This says how the member is reached; none: this player has no connection to it.
    pub connection: Option<Connection>,
}

impl Member {
    /// Returns a member of the room, as this player (`own`) sees it.
    pub fn of(
        info: &PlayerInfo,
        own: Option<PlayerId>,
        room: Option<&RoomInfo>,
        shared: &RoomShared,
        ways: &Ways,
    ) -> Self {
        Self {
            client: info.id.client_id(),
            id: info.id,
            name: info.name.clone(),
            me: Some(info.id) == own,
            host: room.is_some_and(|room| room.host == info.id),
            ready: shared.member(info.id).is_some_and(|said| said.ready),
            connection: ways.0.get(&info.id).cloned(),
        }
    }
}

/// This is a room in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// This is the room's name.
    pub name: String,
    /// This is the short code, to be read out to friends.
    pub code: String,
    /// This is the host's name.
    pub host: String,
    /// So many players are inside.
    pub members: u16,
    /// The room takes so many players, with the host.
    pub capacity: u16,
    /// Asks for a password.
    pub locked: bool,
    /// A packet takes about so many milliseconds to the host and back; none: it is not known.
    pub rtt: Option<u16>,
    /// This is what is expected of the way to the host, where that is worth a word.
    pub way: Option<&'static str>,
    /// Somebody may watch yet.
    pub watchable: bool,
}

impl From<&RoomSummary> for Listed {
    fn from(room: &RoomSummary) -> Self {
        Self {
            name: room.name.clone(),
            code: room.code.clone(),
            host: room.host_name.clone(),
            members: room.members,
            capacity: room.capacity,
            locked: room.password,
            rtt: room.rtt_ms,
            way: match room.way {
                ExpectedWay::Relay => Some("relay"),
                ExpectedWay::Unreachable => Some("out of reach"),
                _ => None,
            },
            watchable: room.spectators < room.spectator_limit,
        }
    }
}
