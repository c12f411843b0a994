//! What a player is to another one in the game, as opposed to its part in punching.

/// This is what this player is to the player at the other end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seat {
    /// This player hosts the room, and the other one is a guest in it.
    Host,
    /// The other player hosts the room.
    Guest,
    /// Both are members of a mesh, and neither hosts it.
    MeshPeer,
    /// This player hosts the room, and the other one only watches: what it sends does not reach the game.
    Watched,
    /// The other player hosts the room, and this one only watches.
    Spectator,
}

impl Seat {
    /// Returns whether this player hosts the room, and the other one is in it or watches it.
    pub fn hosts(self) -> bool {
        matches!(self, Self::Host | Self::Watched)
    }
}
