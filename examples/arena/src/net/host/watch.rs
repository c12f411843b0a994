//! Those who only watch: they hear and see everything, and say nothing.

use std::collections::BTreeSet;

use super::HostGame;
use crate::protocol::HostMessage;

impl HostGame {
    /// Returns the clients that watch.
    pub fn watchers(&self) -> &BTreeSet<u64> {
        &self.watchers
    }

    /// Takes the clients that watch; whoever is new is told of the match.
    pub fn set_watchers(&mut self, now: BTreeSet<u64>) {
        let new: Vec<u64> = now.difference(&self.watchers).copied().collect();
        // They hear what comes after this.
        self.publish();
        self.watchers = now;
        let players: Vec<_> = self.world.players.iter().map(|(slot, p)| (*slot, p.name.clone())).collect();
        let (next_event, rules) = (self.next_event, self.world.rules);
        for client in &new {
            let players = players.clone();
            self.send(*client, &HostMessage::Watch { next_event, players, rules });
        }
        if !new.is_empty() {
            self.tell_seats();
            self.tell_joinings();
        }
    }

    /// Returns all clients that hear of the match.
    pub(super) fn listeners(&self) -> Vec<u64> {
        self.seats.keys().chain(&self.watchers).copied().collect()
    }
}
