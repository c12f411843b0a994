//! Notes of who has a seat in a room: its host holds them, so that seats of players who are away outlive a server.

use serde::{Deserialize, Serialize};

use super::room::PlayerInfo;

/// Notes of seats in one message, so that it fits one datagram.
pub const MAX_SEAT_NOTES: usize = 8;

/// The server says that this player is a member of a room. Its host holds such a note of each, and shows those of players
/// who are missing where it takes the room up after a restart of the server, or at another node.
///
/// The seal is made with a key made of the server's long-lived one and covers the room and all that stands here: a host
/// can keep a note to itself, and make none, so nobody is given a seat in a room that it was not in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatNote {
    /// This is the member.
    pub player: PlayerInfo,
    /// The note is good until then, in seconds since 1970; the greatest number means for ever.
    pub until_s: u64,
    /// Made by the server.
    pub seal: [u8; 16],
}

impl std::fmt::Debug for SeatNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { player, until_s, seal: _ } = self;
        f.debug_struct("SeatNote").field("player", player).field("until_s", until_s).finish_non_exhaustive()
    }
}
