//! The rules of the game as pure code: no Bevy systems, no sockets, no clock. A [`Simulation`] is stepped 60 times a
//! second by whoever hosts; clients use [`step_body`] and [`Bolt::step`] to look ahead.

mod arena_map;
mod body;
mod bolt;
mod course;
mod names;
mod simulation;
#[cfg(test)]
mod simulation_tests;

pub use arena_map::{HALF_SIZE, Map, Pillar, SPAWNS};
pub use body::{Body, Freedom, Input, PLAYER_RADIUS, Stepped, aim_of, angle_of, step_body};
pub use bolt::{BOLT_RADIUS, BOLT_SPEED, Bolt};
pub use course::{GameEvent, Phase, Pickup, PickupKind, PlayerSlot, Rules, team};
pub use names::{MAX_NAME, clean_name};
pub use simulation::{MAX_BOLTS, MAX_HEALTH, MAX_PLAYERS, Player, Simulation};

/// The simulation takes so many steps a second.
pub const TICK_HZ: u32 = 60;

/// A step lasts so many seconds.
pub const DT: f32 = 1.0 / TICK_HZ as f32;

/// Returns how many ticks so many seconds last.
pub const fn ticks(seconds: f32) -> u32 {
    (seconds * TICK_HZ as f32) as u32
}
