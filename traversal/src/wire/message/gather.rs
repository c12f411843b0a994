//! How players come together: the shape of a room, and quick matches.

use serde::{Deserialize, Serialize};

use super::quick::QuickRules;
use super::room::RoomInfo;

/// A mesh has at most this many players, the host among them: each new one is connected to all others, and sixteen make
/// 120 pairs.
pub const MESH_CAPACITY: u16 = 16;

/// This says who is connected to whom in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topology {
    /// Everyone is connected to the host.
    #[default]
    Star,
    /// Everyone is connected to everyone, for games whose players simulate together (rollback, lockstep). The host is
    /// still who decides about the room.
    Mesh,
}

/// This is a wish to play with anybody who wants the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuickMatch {
    /// This is what is to be played: only players who name the same meet. It has at most
    /// [`MAX_MODE`](super::MAX_MODE) bytes, and may be empty.
    pub mode: String,
    /// This many players make the match, this one among them: 2..=64, in a mesh 2..=[`MESH_CAPACITY`]. Only players who
    /// want as many meet.
    pub players: u16,
    /// The room has this shape.
    pub topology: Topology,
    /// The players are put together by these rules.
    pub rules: QuickRules,
}

impl QuickMatch {
    /// Returns the same without its rules, as answers name it.
    pub fn without_rules(&self) -> Self {
        Self {
            mode: self.mode.clone(),
            players: self.players,
            topology: self.topology,
            rules: QuickRules::default(),
        }
    }
}

impl Default for QuickMatch {
    fn default() -> Self {
        Self { mode: String::new(), players: 2, topology: Topology::default(), rules: QuickRules::default() }
    }
}

/// This says how a quick match comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// This player has this place in the line: 1 is the one who has waited longest.
    pub position: u32,
    /// This many players wait for the same, this one among them.
    pub waiting: u32,
    /// It takes this many players.
    pub players: u16,
    /// Half of those who were matched here in the last ten minutes waited no longer than this many seconds in all.
    /// `None`: it is not known, since there were fewer than four of them.
    pub estimate_s: Option<u16>,
}

/// The players of a quick match are together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuickMatched {
    /// This is the room that this player is in now.
    pub room: RoomInfo,
    /// This is what it asked for, without the rules.
    pub wanted: QuickMatch,
}
