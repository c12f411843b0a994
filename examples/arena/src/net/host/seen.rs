//! What is to be seen of the match: by the host itself, and by all who hear of it.

use super::{HostGame, Outgoing};
use crate::protocol::{self, MAX_MESSAGE, PlayerState, Snapshot, encode};
use crate::scene::{Actor, Scene, SceneBolt};
use crate::sim::{DT, angle_of};

impl HostGame {
    /// Returns what the host sees, `fraction` of a step after the last one.
    pub fn scene(&self, fraction: f32) -> Scene {
        let actors = self.world.players.iter().map(|(&player, p)| {
            let before = self.before.get(&player).copied().unwrap_or(p.body.at);
            // A jump (round start, respawn) is not to be smeared.
            let at =
                if before.distance(p.body.at) > 120.0 { p.body.at } else { before.lerp(p.body.at, fraction) };
            Actor {
                player,
                name: p.name.clone(),
                at,
                angle: angle_of(p.body.aim),
                health: p.health,
                dashing: p.body.dash_left > 0,
                shielded: p.shield,
                protected: p.protection > 0,
                rapid: p.body.rapid > 0,
                ready: self.ready.contains(&player),
                points: p.points,
                wins: p.wins,
                client: self.client_of(player),
                joined: self.client_of(player).and_then(|client| self.joinings.get(&client)).copied(),
            }
        });
        let behind = (1.0 - fraction) * DT;
        let bolts = self.world.bolts.iter().map(|bolt| SceneBolt {
            owner: bolt.owner,
            key: u32::from(bolt.id),
            at: bolt.at - bolt.velocity * behind,
            velocity: bolt.velocity,
        });
        let own = self.local.and_then(|local| self.world.players.get(&local));
        Scene {
            local: self.local,
            dash_charge: own.map_or(1.0, |p| p.body.dash_charge()),
            phase: Some(self.world.phase),
            round: self.world.round,
            map: self.world.map(),
            teams: self.world.rules.teams,
            stands: false,
            tick: self.world.tick,
            actors: actors.collect(),
            bolts: bolts.collect(),
            pickups: self.world.pickups.clone(),
        }
    }

    /// Tells all how everything stands.
    pub(super) fn snapshots(&mut self) {
        let world = &self.world;
        let players: Vec<_> = world
            .players
            .iter()
            .map(|(&player, p)| PlayerState {
                player,
                at: protocol::pack(p.body.at),
                aim: p.body.aim,
                health: p.health,
                flags: [
                    (p.body.dash_left > 0, protocol::DASHING),
                    (p.shield, protocol::SHIELDED),
                    (p.protection > 0, protocol::PROTECTED),
                    (p.body.rapid > 0, protocol::RAPID),
                    (self.ready.contains(&player), protocol::READY),
                ]
                .into_iter()
                .filter_map(|(on, flag)| on.then_some(flag))
                .sum(),
                points: p.points,
                wins: p.wins,
            })
            .collect();
        let mut snapshot = Snapshot {
            tick: world.tick,
            phase: world.phase,
            round: world.round,
            own: Default::default(),
            players,
            bolts: world.bolts.iter().map(Into::into).collect(),
            pickups: world.pickups.iter().map(Into::into).collect(),
        };
        for (client, seat) in &self.seats {
            let Some(player) = world.players.get(&seat.player) else { continue };
            snapshot.own = (player.last_input, player.body);
            let bytes = encode(&snapshot);
            debug_assert!(bytes.len() <= MAX_MESSAGE);
            self.outbox.push(Outgoing { client: *client, reliable: false, bytes });
        }
        if !self.watchers.is_empty() {
            snapshot.own = Default::default();
            let bytes = encode(&snapshot);
            let sent = |client: &u64| Outgoing { client: *client, reliable: false, bytes: bytes.clone() };
            self.outbox.extend(self.watchers.iter().map(sent));
        }
    }
}
