//! The game over renet: an authoritative host and predicting clients. [`HostGame`] and [`ClientGame`] are plain
//! data that take and give messages; `systems` ties them to the `RenetServer` and `RenetClient` resources, which
//! the traversal plugin makes.

mod client;
pub(crate) mod glide;
mod host;
mod interpolation;
mod prediction;
#[cfg(test)]
mod smooth_tests;
pub mod systems;
#[cfg(test)]
mod tests;

pub use client::ClientGame;
pub use host::{HostGame, Outgoing};

use std::collections::VecDeque;

use crate::sim::GameEvent;

/// Events kept for looking back.
const KEPT: usize = 4096;

/// This is what this player heard, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    entries: VecDeque<(u32, GameEvent)>,
    /// So many events came twice, out of order or after a gap.
    pub faults: u32,
    next: Option<u32>,
}

impl EventLog {
    /// Expects this number next.
    fn expect(&mut self, number: u32) {
        self.next = Some(number);
    }

    /// Takes an event down.
    fn add(&mut self, number: u32, event: GameEvent) {
        if self.next.is_some_and(|next| next != number) {
            self.faults += 1;
        }
        self.next = Some(number.wrapping_add(1));
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back((number, event));
    }

    /// Returns the events with their numbers, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &(u32, GameEvent)> {
        self.entries.iter()
    }
}
