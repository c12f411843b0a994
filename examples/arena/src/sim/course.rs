//! The course of a match: its rules, its phases, what lies about, what happens.

use bevy::math::Vec2;
use serde::{Deserialize, Serialize};

use super::arena_map::Map;

/// This is a player's number in this match; it also gives the colour and the first place.
pub type PlayerSlot = u8;

/// These are the rules of a match that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// So many points win a round (default 7).
    pub target: u16,
    /// A round lasts so many seconds (default 90); then the most points win.
    pub round_seconds: u16,
    /// On a tie there are so many seconds of extra time (default 30), in which the next point wins.
    pub overtime_seconds: u16,
    /// So many rounds won win the match (default 3); 0: it goes on for ever.
    pub wins: u16,
    /// It is played there; none (default): the maps take turns, round by round.
    pub map: Option<Map>,
    /// Two teams play (default: no): those with even numbers, and those with odd ones.
    pub teams: bool,
}

impl Rules {
    /// Returns the map of a round.
    pub fn map(&self, round: u16) -> Map {
        self.map.unwrap_or_else(|| Map::in_turn(round))
    }
}

/// Returns the team of a player, where two teams play.
pub fn team(player: PlayerSlot) -> u8 {
    player % 2
}

impl Default for Rules {
    fn default() -> Self {
        Self { target: 7, round_seconds: 90, overtime_seconds: 30, wins: 3, map: None, teams: false }
    }
}

/// This says where the match stands. `ends` is the tick at which the phase ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Everybody waits for the host to begin, and may move about.
    Lobby,
    /// Everybody stands at a start.
    Countdown {
        /// This is the last tick of the countdown.
        ends: u32,
    },
    /// The fight goes on.
    Playing {
        /// This is the last tick of the fight.
        ends: u32,
        /// A tie is being broken: the next point wins.
        overtime: bool,
    },
    /// The fight stands after a change of the host, and goes on after a count.
    Resuming {
        /// This is the last tick in which it stands.
        ends: u32,
        /// So many ticks of the fight are left.
        left: u32,
        /// A tie was being broken.
        overtime: bool,
    },
    /// The match has a winner, and all are asked whether they want another one.
    MatchOver {
        /// This is the last tick in which it is waited for.
        ends: u32,
        /// This player won, or its team.
        winner: PlayerSlot,
    },
    /// The winner is shown.
    RoundOver {
        /// This is the last tick in which the winner is shown.
        ends: u32,
        /// This player won the round.
        winner: PlayerSlot,
    },
}

impl Phase {
    /// Returns whether players may walk and fire.
    pub fn lets_move(self) -> bool {
        !matches!(self, Self::Countdown { .. } | Self::Resuming { .. })
    }
}

/// These things can lie on the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PickupKind {
    /// It gives one more health, beyond the full ones too.
    Heart,
    /// It gives rapid fire for a while.
    Rapid,
    /// Takes the next hit.
    Shield,
}

/// This is something on the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pickup {
    /// This is the number of the thing, which wraps.
    pub id: u8,
    /// This is what it gives.
    pub kind: PickupKind,
    /// This is where it lies, in world units.
    pub at: Vec2,
}

/// Everybody hears of these, once and in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GameEvent {
    /// A player came in.
    Joined {
        /// This is the player's number.
        player: PlayerSlot,
        /// This is the player's name.
        name: String,
    },
    /// A player is gone.
    Left {
        /// This is the player's number.
        player: PlayerSlot,
    },
    /// The countdown to a round began.
    RoundStarted {
        /// This is the number of the round, from 1 on.
        round: u16,
    },
    /// The fight of a round began.
    Fight,
    /// Time is up with a tie.
    Overtime,
    /// A shot has hit a player.
    Hit {
        /// The player whose shot it was.
        by: PlayerSlot,
        /// This player was hit.
        whom: PlayerSlot,
        /// A shield took it.
        shielded: bool,
    },
    /// A player is out for a moment.
    Downed {
        /// The player whose shot it was.
        by: PlayerSlot,
        /// This player is down.
        whom: PlayerSlot,
    },
    /// A player is back in the fight.
    Respawned {
        /// This player is back.
        player: PlayerSlot,
    },
    /// Something lies on the floor now.
    PickupAppeared {
        /// This kind of thing lies there.
        kind: PickupKind,
    },
    /// And was taken.
    PickupTaken {
        /// This player took it.
        by: PlayerSlot,
        /// This kind of thing was taken.
        kind: PickupKind,
    },
    /// A round has a winner.
    RoundWon {
        /// Counts from 1.
        round: u16,
        /// This player won.
        winner: PlayerSlot,
        /// These are everybody's points in the round.
        points: Vec<(PlayerSlot, u16)>,
    },
}
