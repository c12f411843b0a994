//! What the server tells of itself: its key, its settings, and what it has counted.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Counters, GameNumbers, Gauges, Server, ServerSocketId, Timings};
use crate::budget::RelayUsage;
use crate::config::ServerConfig;
use crate::outcomes::Outcomes;

impl Server {
    /// Returns the public key that clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.roster.identity().public_key()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.cx.counters
    }

    /// Returns the settings.
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.cx.config
    }

    /// Goes on from what the relay had used before a restart.
    pub fn restore_relay_usage(&mut self, kept: &RelayUsage) {
        self.matches.restore_relay_usage(kept);
    }

    /// Returns what the relay has used at `now`, in this day and month.
    pub fn relay_usage(&mut self, now: Instant) -> &RelayUsage {
        self.cx.now = now;
        self.matches.relay_usage(&self.cx)
    }

    /// Returns how long things took since the start.
    pub fn timings(&self) -> &Timings {
        &self.cx.timings
    }

    /// Returns the numbers of each game; those of games that have none of their own come first.
    pub fn games(&self) -> &[GameNumbers] {
        self.cx.games.all()
    }

    /// Returns how matches went since the start, by cause and NATs.
    pub fn outcomes(&self) -> &Outcomes {
        self.matches.history()
    }

    /// Returns the numbers of the moment.
    pub fn gauges(&self) -> Gauges {
        let (matches, relays) = self.matches.counts();
        Gauges {
            sessions: self.roster.player_count(),
            rooms: self.rooms.open_count(),
            queued: self.rooms.queued_count(),
            watchers: self.rooms.watcher_count(),
            contact_lists: self.people.list_count(),
            contacts: self.people.contact_count(),
            matches,
            relays,
        }
    }

    /// Returns whether a player is logged in over this connection.
    pub fn serves_stream(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.roster.has_way(socket, peer)
    }

    /// See [`fuzzing::ticket_seal`](crate::fuzzing::ticket_seal).
    #[cfg(feature = "fuzzing")]
    pub(crate) fn ticket_seal(
        &self,
        names: [&str; 3],
        ticket: &traversal_core::wire::message::RoomTicket,
        holder: traversal_core::id::PlayerId,
    ) -> Option<[u8; 16]> {
        super::rooms::ticket_seal(self.roster.identity(), names, ticket, holder)
    }
}
