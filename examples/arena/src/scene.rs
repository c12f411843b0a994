//! What is to be seen now: made by whoever knows (host, client, or the show behind the title), read by the
//! pictures, the HUD and the computer players.

use bevy::math::Vec2;
use bevy::prelude::{Color, Message, Resource};

use crate::network::Joining;
use crate::sim::{GameEvent, Map, Phase, Pickup, PlayerSlot, TICK_HZ};
use crate::theme;

/// This is a player to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    /// This is the player's number.
    pub player: PlayerSlot,
    /// This is the name that is shown.
    pub name: String,
    /// This is the centre, in world units.
    pub at: Vec2,
    /// This is the angle of sight, in radians.
    pub angle: f32,
    /// This is the health; at 0 the player is down.
    pub health: u8,
    /// This says whether the player dashes.
    pub dashing: bool,
    /// The next hit costs nothing.
    pub shielded: bool,
    /// Cannot be hit yet.
    pub protected: bool,
    /// This says whether the player fires faster for a time.
    pub rapid: bool,
    /// The player is ready for a match, or wants another one.
    pub ready: bool,
    /// Points in this round.
    pub points: u16,
    /// The player has won so many rounds.
    pub wins: u16,
    /// This is the player's client id in renet, once it is known.
    pub client: Option<u64>,
    /// This says how the player and the host are joined; none: it is the host, or nobody has told.
    pub joined: Option<Joining>,
}

impl Actor {
    /// Returns whether the player is on the floor and alive.
    pub fn alive(&self) -> bool {
        self.health > 0
    }

    /// Returns the beginning of the player's name, for where there is little room.
    pub fn label(&self, letters: usize) -> String {
        label(&self.name, letters)
    }
}

/// Returns the beginning of a name, at most `letters` long, without what marks computer players.
pub fn label(name: &str, letters: usize) -> String {
    let name: String = name.strip_suffix(BOT).unwrap_or(name).chars().take(letters).collect();
    name.trim_end().to_owned()
}

/// Names of computer players end like this.
pub const BOT: &str = " (bot)";

/// This is a shot to be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SceneBolt {
    /// This player fired the shot.
    pub owner: PlayerSlot,
    /// This stays the same from frame to frame, so that the shot is known again.
    pub key: u32,
    /// This is the centre, in world units.
    pub at: Vec2,
    /// This is the velocity, in world units a second.
    pub velocity: Vec2,
}

/// This is everything to be shown in this frame.
#[derive(Resource, Clone, Debug, Default)]
pub struct Scene {
    /// This is the player who sits here.
    pub local: Option<PlayerSlot>,
    /// This says how far the local player's dash is loaded, 0..=1.
    pub dash_charge: f32,
    /// This says where the match stands; `None`: there is nothing to show yet.
    pub phase: Option<Phase>,
    /// So many rounds have begun.
    pub round: u16,
    /// It is played there.
    pub map: Map,
    /// Two teams play.
    pub teams: bool,
    /// Nothing was heard of the host for a while: everything stands as it was.
    pub stands: bool,
    /// This is the number of the host's step.
    pub tick: u32,
    /// These are all players, in the order of their numbers.
    pub actors: Vec<Actor>,
    /// These are the shots in flight.
    pub bolts: Vec<SceneBolt>,
    /// These are the things on the floor.
    pub pickups: Vec<Pickup>,
}

impl Scene {
    /// Returns the player with this number.
    pub fn actor(&self, player: PlayerSlot) -> Option<&Actor> {
        self.actors.iter().find(|actor| actor.player == player)
    }

    /// Returns a player's colour; in teams it is one of the team's.
    pub fn colour(&self, player: PlayerSlot) -> Color {
        if self.teams { theme::team_colour(player) } else { theme::colour(player) }
    }

    /// Returns the player who sits here.
    pub fn me(&self) -> Option<&Actor> {
        self.actor(self.local?)
    }

    /// Returns the seconds until the phase ends by itself.
    pub fn seconds_left(&self) -> Option<f32> {
        match self.phase? {
            Phase::Lobby => None,
            Phase::Countdown { ends }
            | Phase::Playing { ends, .. }
            | Phase::Resuming { ends, .. }
            | Phase::MatchOver { ends, .. }
            | Phase::RoundOver { ends, .. } => Some(ends.saturating_sub(self.tick) as f32 / TICK_HZ as f32),
        }
    }
}

/// Something happened in the match; host and clients hear each event once and in order.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct Happened(pub GameEvent);
