//! A client: sends inputs, shows others interpolated and itself predicted.

use std::collections::BTreeMap;

use super::interpolation::Timeline;
use super::prediction::Prediction;
use super::{EventLog, HostGame};
use crate::network::Joining;
use crate::protocol::{self, BUNDLE, ClientMessage, GAME_PROTOCOL, HostMessage, Inputs, Snapshot, encode};
use crate::scene::{Actor, Scene, SceneBolt};
use crate::sim::{Bolt, DT, Freedom, GameEvent, Input, Map, PlayerSlot, Rules, angle_of};

/// From this age on, in steps, others' shots are shown in our own time; until then it blends over from their shooter's:
/// so they leave the muzzle that is seen, and hit when they seem to.
const BOLT_BLEND: f64 = 18.0;

/// After so many seconds without a snapshot everything stands, the own player too: what it did meanwhile would be undone.
const STANDS_AFTER: f64 = 0.7;

/// The match as a client knows it.
#[derive(Debug, Default)]
pub struct ClientGame {
    /// These are all events that the host has told.
    pub log: EventLog,
    /// The host has our hello.
    pub greeted: bool,
    /// So many messages could not be read.
    pub malformed: u32,
    /// The host does not let us play, and why.
    pub refused: Option<String>,
    me: Option<PlayerSlot>,
    watches: bool,
    rules: Option<Rules>,
    seats: BTreeMap<u64, PlayerSlot>,
    names: BTreeMap<PlayerSlot, String>,
    joinings: BTreeMap<PlayerSlot, Joining>,
    timeline: Timeline,
    prediction: Prediction,
    /// Steps that our inputs are ahead of the newest snapshot, smoothed.
    ahead: f64,
    now: f64,
    /// The newest snapshot came then.
    heard: f64,
    fresh: Vec<GameEvent>,
}

impl ClientGame {
    /// Returns the first message to the host, as bytes.
    pub fn hello(name: &str) -> Vec<u8> {
        Self::hello_as(name, None)
    }

    /// Returns the first message of a player who wishes a number, and so a colour.
    pub fn hello_as(name: &str, wish: Option<PlayerSlot>) -> Vec<u8> {
        encode(&ClientMessage::Hello { protocol: GAME_PROTOCOL, name: String::from(name), wish })
    }

    /// Returns the message that this player is ready for a match, or no longer.
    pub fn ready(ready: bool) -> Vec<u8> {
        encode(&ClientMessage::Ready(ready))
    }

    /// Returns who we are, once we are welcomed.
    pub fn me(&self) -> Option<PlayerSlot> {
        self.me
    }

    /// Returns whether the host has told of the match: we play, or watch.
    pub fn welcomed(&self) -> bool {
        self.me.is_some() || self.watches
    }

    /// Returns how far the last correction moved the own player, in world units.
    pub fn last_correction(&self) -> f32 {
        self.prediction.corrected
    }

    /// Returns the same match with us as its host: it goes on from the last snapshot, without the old host's player.
    /// The others' players wait for their clients. Returns `None` where there is no snapshot yet.
    pub fn take_over(&self, own: u64, previous: u64, seed: u64) -> Option<HostGame> {
        let (me, rules) = (self.me?, self.rules?);
        let mut world = self.timeline.newest()?.world(me, rules, seed, &self.names);
        let mut seats = self.seats.clone();
        if let Some(gone) = seats.remove(&previous).filter(|gone| *gone != me) {
            world.leave(gone);
        }
        seats.retain(|client, slot| *client != own && *slot != me && world.players.contains_key(slot));
        Some(HostGame::resumed(world, (own, me), seats, self.log.clone()))
    }

    /// Begins anew for the match with another host: it keeps what was heard so far, and nothing else.
    pub fn begun_anew(self) -> Self {
        Self { log: self.log, ..Self::default() }
    }

    /// Returns the host's step in which others are shown now.
    #[cfg(test)]
    pub(super) fn shown_tick(&self) -> Option<f64> {
        self.timeline.shown_tick(self.now)
    }

    /// Lets our clock go on, in seconds.
    pub fn advance(&mut self, seconds: f64) {
        self.now += seconds;
    }

    /// A reliable message came.
    pub fn reliable(&mut self, bytes: &[u8]) {
        match protocol::read_host_message(bytes) {
            Some(HostMessage::Welcome { you, next_event, players, rules }) => {
                self.me = Some(you);
                self.rules = Some(rules);
                self.names = players.into_iter().collect();
                self.log.expect(next_event);
            }
            Some(HostMessage::Watch { next_event, players, rules }) => {
                (self.watches, self.rules) = (true, Some(rules));
                self.names = players.into_iter().collect();
                self.log.expect(next_event);
            }
            Some(HostMessage::Seats(seats)) => self.seats = seats.into_iter().collect(),
            Some(HostMessage::Joinings(joinings)) => self.joinings = joinings.into_iter().collect(),
            Some(HostMessage::Refused { reason }) => self.refused = Some(reason),
            Some(HostMessage::Event { number, event }) => self.hear(number, event),
            None => self.malformed += 1,
        }
    }

    fn hear(&mut self, number: u32, event: GameEvent) {
        match &event {
            GameEvent::Joined { player, name } => {
                self.names.insert(*player, crate::sim::clean_name(name));
            }
            GameEvent::Left { player } => {
                self.names.remove(player);
            }
            _ => {}
        }
        self.log.add(number, event.clone());
        self.fresh.push(event);
        let surplus = self.fresh.len().saturating_sub(256);
        self.fresh.drain(..surplus);
    }

    /// Takes a snapshot that came in.
    pub fn unreliable(&mut self, bytes: &[u8]) {
        let Some(snapshot) = protocol::read_snapshot(bytes) else {
            self.malformed += 1;
            return;
        };
        let (applied, body) = snapshot.own;
        let freedom = self.freedom(&snapshot);
        let flying: Vec<u32> = snapshot
            .bolts
            .iter()
            .map(Bolt::from)
            .filter(|bolt| Some(bolt.owner) == self.me)
            .map(|bolt| bolt.input)
            .collect();
        if self.timeline.add(snapshot, self.now) {
            self.heard = self.now;
            self.prediction.reconcile(applied, body, freedom);
            self.prediction.confirm_bolts(applied, |input| flying.contains(&input));
            let ahead = self.prediction.ahead() as f64;
            self.ahead += (ahead - self.ahead) * 0.1;
        }
    }

    /// Returns whether the host was not heard for a while.
    fn stands(&self) -> bool {
        self.now - self.heard > STANDS_AFTER
    }

    fn map(&self, round: u16) -> Map {
        self.rules.map_or_else(Map::default, |rules| rules.map(round))
    }

    fn freedom(&self, snapshot: &Snapshot) -> Freedom {
        let alive = snapshot.players.iter().any(|p| Some(p.player) == self.me && p.health > 0);
        let walk = alive && snapshot.phase.lets_move();
        Freedom { walk, fire: walk, map: self.map(snapshot.round) }
    }

    /// Plays one step with the player's input, and returns the bytes to be sent unreliably. Returns `None` before the
    /// first snapshot.
    pub fn tick(&mut self, input: Input) -> Option<Vec<u8>> {
        let me = self.me?;
        let freedom = self.freedom(self.timeline.newest()?);
        let input =
            if self.stands() { Input { walk: (0, 0), fire: false, dash: false, ..input } } else { input };
        self.prediction.step(me, input, freedom);
        Some(encode(&Inputs(self.prediction.bundle(BUNDLE))))
    }

    /// Returns the events since the last call, for the pictures.
    pub fn take_events(&mut self) -> Vec<GameEvent> {
        std::mem::take(&mut self.fresh)
    }

    /// Returns what this player sees, `fraction` of a step after the last one.
    pub fn scene(&self, fraction: f32) -> Scene {
        let Some(newest) = self.timeline.newest().filter(|_| self.welcomed()) else {
            return Scene::default();
        };
        // The clock stands with everything else.
        let now = self.now.min(self.heard + STANDS_AFTER);
        let shown = self.timeline.shown_tick(now).unwrap_or_default();
        let actors = newest.players.iter().map(|state| {
            let own = Some(state.player) == self.me && state.health > 0;
            let (at, angle) = if own {
                (self.prediction.shown(fraction), angle_of(self.prediction.body().aim))
            } else {
                let there = (protocol::unpack(state.at), angle_of(state.aim));
                self.timeline.player_at(state.player, shown).unwrap_or(there)
            };
            let has = |flag| state.flags & flag != 0;
            let dashing = if own { self.prediction.body().dash_left > 0 } else { has(protocol::DASHING) };
            Actor {
                player: state.player,
                name: self.names.get(&state.player).cloned().unwrap_or_default(),
                at,
                angle,
                health: state.health,
                dashing,
                shielded: has(protocol::SHIELDED),
                protected: has(protocol::PROTECTED),
                rapid: has(protocol::RAPID),
                ready: has(protocol::READY),
                points: state.points,
                wins: state.wins,
                client: self.seats.iter().find(|(_, slot)| **slot == state.player).map(|(client, _)| *client),
                joined: self.joinings.get(&state.player).copied(),
            }
        });
        let behind = (1.0 - fraction) * DT;
        // Who watches has none.
        let own_bolts =
            self.prediction.bolts.iter().zip(self.me.into_iter().cycle()).map(|(bolt, me)| SceneBolt {
                owner: me,
                key: bolt.input,
                at: bolt.at - bolt.velocity * behind,
                velocity: bolt.velocity,
            });
        let others = newest.bolts.iter().map(Bolt::from).filter(|bolt| Some(bolt.owner) != self.me);
        let bolts = own_bolts.chain(others.filter_map(|bolt| self.shown_bolt(bolt, shown, newest.tick)));
        let host_tick = self.timeline.host_tick(now).unwrap_or_default();
        Scene {
            local: self.me,
            dash_charge: self.prediction.body().dash_charge(),
            phase: Some(newest.phase),
            round: newest.round,
            map: self.map(newest.round),
            teams: self.rules.is_some_and(|rules| rules.teams),
            stands: self.stands(),
            tick: host_tick.max(0.0) as u32,
            actors: actors.collect(),
            bolts: bolts.collect(),
            pickups: newest.pickups.iter().map(Into::into).collect(),
        }
    }

    fn shown_bolt(&self, mut bolt: Bolt, shown: f64, newest: u32) -> Option<SceneBolt> {
        if self.timeline.newest().is_some_and(|newest| !newest.phase.lets_move()) {
            return Some(SceneBolt {
                owner: bolt.owner,
                key: u32::from(bolt.id),
                at: bolt.at,
                velocity: bolt.velocity,
            });
        }
        let map = self.map(self.timeline.newest().map_or(0, |newest| newest.round));
        let newest = f64::from(newest);
        let age = f64::from(bolt.age) + shown - newest;
        if age < 0.0 {
            return None; // not fired yet in the time that we see
        }
        let blend = (age / BOLT_BLEND).min(1.0);
        let target = shown + (newest + self.ahead - shown) * blend;
        let steps = target - newest;
        if steps < 0.0 {
            bolt.at += bolt.velocity * steps as f32 * DT;
        } else {
            // Bounded: the own lead is at most the two seconds of inputs that are kept.
            for _ in 0..(steps as u32).min(120) {
                if !bolt.step(map) {
                    return None;
                }
            }
            bolt.at += bolt.velocity * steps.fract() as f32 * DT;
        }
        let key = u32::from(bolt.id);
        Some(SceneBolt { owner: bolt.owner, key, at: bolt.at, velocity: bolt.velocity })
    }
}
