//! The whole state of a match and how it goes on.

use std::collections::BTreeMap;

use bevy::math::Vec2;

use super::arena_map::{HALF_SIZE, Map, SPAWNS};
use super::body::{Body, Freedom, Input, PLAYER_RADIUS, Stepped, angle_of, step_body};
use super::bolt::{BOLT_RADIUS, Bolt};
use super::course::{GameEvent, Phase, Pickup, PickupKind, PlayerSlot, Rules, team};
use super::names::{clean_name, unlike};
use super::ticks;

/// So many players fit into a match.
pub const MAX_PLAYERS: usize = 8;
/// So many shots are in flight at the most: they fit into one datagram with everything else.
pub const MAX_BOLTS: usize = 48;
/// A fresh player has so much health.
pub const MAX_HEALTH: u8 = 3;
const PICKUP_RADIUS: f32 = 22.0;
const MAX_PICKUPS: usize = 3;
const PICKUP_EVERY: u32 = ticks(5.0);
const RESPAWN: u32 = ticks(1.6);
const PROTECTION: u32 = ticks(1.3);
const COUNTDOWN: u32 = ticks(3.0);
const CELEBRATION: u32 = ticks(4.5);
/// All are asked for so long whether they want another match.
const ASKED: u32 = ticks(30.0);
const RAPID: u16 = ticks(6.0) as u16;
const KNOCKBACK: f32 = 260.0;

/// This is a player in the match.
#[derive(Clone, Debug, PartialEq)]
pub struct Player {
    /// Others see this name.
    pub name: String,
    /// This says where it is, and how it moves.
    pub body: Body,
    /// This is the health; at 0 the player is down.
    pub health: u8,
    /// The next hit costs nothing.
    pub shield: bool,
    /// It is back after so many ticks, while it is down.
    pub respawn: u32,
    /// Nothing hits it for so many ticks.
    pub protection: u32,
    /// Points in this round.
    pub points: u16,
    /// Hits dealt in this round; breaks a tie at the very end.
    pub hits: u16,
    /// It has won so many rounds.
    pub wins: u16,
    /// This is the number of the last input that was applied.
    pub last_input: u32,
}

impl Player {
    /// Returns whether the player is on the floor and alive.
    pub fn alive(&self) -> bool {
        self.health > 0
    }
}

/// This is the state of a match.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Steps so far.
    pub tick: u32,
    /// This says where the match stands.
    pub phase: Phase,
    /// So many rounds have begun.
    pub round: u16,
    /// These rules are played by.
    pub rules: Rules,
    /// These are all players, by number.
    pub players: BTreeMap<PlayerSlot, Player>,
    /// These are the shots in flight.
    pub bolts: Vec<Bolt>,
    /// These things lie on the floor.
    pub pickups: Vec<Pickup>,
    events: Vec<GameEvent>,
    next_bolt: u16,
    next_pickup: u8,
    pickup_wait: u32,
    random: fastrand::Rng,
}

impl Simulation {
    /// Returns an empty arena.
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            tick: 0,
            phase: Phase::Lobby,
            round: 0,
            rules,
            players: BTreeMap::new(),
            bolts: Vec::new(),
            pickups: Vec::new(),
            events: Vec::new(),
            next_bolt: 0,
            next_pickup: 0,
            pickup_wait: PICKUP_EVERY,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Goes on where another world of these players, shots and pickups stood at its step `tick`. Counts steps anew.
    pub fn resume(&mut self, tick: u32, phase: Phase, round: u16) {
        // Whoever told the phase is not trusted with more than an hour of it.
        let left = |ends: u32| ends.saturating_sub(tick).min(ticks(3600.0));
        self.phase = match phase {
            Phase::Lobby => Phase::Lobby,
            Phase::Countdown { ends } => Phase::Countdown { ends: left(ends) },
            Phase::Playing { ends, overtime } => {
                Phase::Resuming { ends: COUNTDOWN, left: left(ends), overtime }
            }
            Phase::Resuming { left, overtime, .. } => {
                Phase::Resuming { ends: COUNTDOWN, left: left.min(ticks(3600.0)), overtime }
            }
            Phase::RoundOver { ends, winner } => Phase::RoundOver { ends: left(ends), winner },
            Phase::MatchOver { ends, winner } => Phase::MatchOver { ends: left(ends), winner },
        };
        self.round = round;
        self.next_bolt = self.bolts.iter().map(|bolt| bolt.id).max().unwrap_or(0);
        self.next_pickup = self.pickups.iter().map(|pickup| pickup.id).max().unwrap_or(0);
        for player in self.players.values_mut() {
            player.respawn = if player.alive() { 0 } else { RESPAWN };
        }
    }

    /// Has a match that is to go on after a change of the host wait for the whole count again.
    pub fn wait(&mut self) {
        if let Phase::Resuming { ends, .. } = &mut self.phase {
            *ends = self.tick + COUNTDOWN;
        }
    }

    /// Lets a player in; none when the arena is full.
    pub fn join(&mut self, name: &str) -> Option<PlayerSlot> {
        self.join_as(name, None)
    }

    /// Lets a player in, with the number, and so the colour, that it wishes if that is free; none when the arena is full.
    pub fn join_as(&mut self, name: &str, wish: Option<PlayerSlot>) -> Option<PlayerSlot> {
        let free = |slot: &PlayerSlot| usize::from(*slot) < MAX_PLAYERS && !self.players.contains_key(slot);
        let slot = wish.filter(free).or_else(|| (0..MAX_PLAYERS as u8).find(free))?;
        let name = unlike(clean_name(name), |name| self.players.values().any(|player| player.name == name));
        let player = Player {
            name: name.clone(),
            body: Body::standing(SPAWNS[usize::from(slot)]),
            health: MAX_HEALTH,
            shield: false,
            respawn: 0,
            protection: PROTECTION,
            points: 0,
            hits: 0,
            wins: 0,
            last_input: 0,
        };
        self.players.insert(slot, player);
        self.events.push(GameEvent::Joined { player: slot, name });
        Some(slot)
    }

    /// Takes a player out.
    pub fn leave(&mut self, player: PlayerSlot) {
        if self.players.remove(&player).is_some() {
            self.bolts.retain(|bolt| bolt.owner != player);
            self.events.push(GameEvent::Left { player });
        }
    }

    /// Begins a match, or the next round, now. Does nothing while a round runs or with fewer than two players.
    pub fn begin(&mut self) {
        if self.players.len() < 2 {
            return;
        }
        match self.phase {
            Phase::Lobby | Phase::MatchOver { .. } => {
                self.round = 0;
                self.players.values_mut().for_each(|player| player.wins = 0);
                self.start_round();
            }
            Phase::RoundOver { .. } => self.start_round(),
            Phase::Countdown { .. } | Phase::Playing { .. } | Phase::Resuming { .. } => {}
        }
    }

    /// Returns where it is played now.
    pub fn map(&self) -> Map {
        self.rules.map(self.round)
    }

    /// Returns what happened since the last call.
    pub fn take_events(&mut self) -> Vec<GameEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns what a player may do now.
    pub fn freedom(&self, player: PlayerSlot) -> Freedom {
        let alive = self.players.get(&player).is_some_and(Player::alive);
        let walk = alive && self.phase.lets_move();
        Freedom { walk, fire: walk, map: self.map() }
    }

    /// Applies one input of a player: its own body moves on by a step, and a shot may leave.
    pub fn apply(&mut self, slot: PlayerSlot, input: &Input) -> Stepped {
        let freedom = self.freedom(slot);
        let Some(player) = self.players.get_mut(&slot) else { return Stepped::default() };
        player.last_input = input.seq;
        let stepped = step_body(&mut player.body, input, freedom);
        if stepped.fired && self.bolts.len() < MAX_BOLTS {
            self.next_bolt = self.next_bolt.wrapping_add(1);
            let angle = angle_of(player.body.aim);
            self.bolts.push(Bolt::fired(self.next_bolt, slot, input.seq, player.body.at, angle));
        }
        stepped
    }

    /// Does everything that goes on by itself: one step.
    pub fn step(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        if !matches!(self.phase, Phase::Resuming { .. }) {
            self.step_bolts();
            self.separate();
            self.step_players();
            self.step_pickups();
        }
        self.step_phase();
    }

    fn start_round(&mut self) {
        self.round = self.round.saturating_add(1);
        self.phase = Phase::Countdown { ends: self.tick + COUNTDOWN };
        self.bolts.clear();
        self.pickups.clear();
        self.pickup_wait = PICKUP_EVERY;
        for (slot, player) in &mut self.players {
            player.body = Body::standing(SPAWNS[usize::from(*slot)]);
            player.health = MAX_HEALTH;
            player.shield = false;
            player.points = 0;
            player.hits = 0;
            player.protection = 0;
        }
        self.events.push(GameEvent::RoundStarted { round: self.round });
    }

    fn step_bolts(&mut self) {
        let mut bolts = std::mem::take(&mut self.bolts);
        let map = self.map();
        bolts.retain_mut(|bolt| bolt.step(map) && !self.bolt_hits(bolt));
        self.bolts = bolts;
    }

    fn bolt_hits(&mut self, bolt: &Bolt) -> bool {
        let reach = PLAYER_RADIUS + BOLT_RADIUS;
        let teams = self.rules.teams;
        let Some((&whom, victim)) = self.players.iter_mut().find(|(slot, player)| {
            let own = **slot == bolt.owner || teams && team(**slot) == team(bolt.owner);
            !own && player.alive()
                && player.body.dash_left == 0
                && player.body.at.distance_squared(bolt.at) < reach * reach
        }) else {
            return false;
        };
        victim.body.velocity += bolt.velocity.normalize_or_zero() * KNOCKBACK;
        if !matches!(self.phase, Phase::Playing { .. }) || victim.protection > 0 {
            return true;
        }
        if victim.shield {
            victim.shield = false;
            self.events.push(GameEvent::Hit { by: bolt.owner, whom, shielded: true });
            return true;
        }
        victim.health -= 1;
        let down = victim.health == 0;
        if down {
            victim.respawn = RESPAWN;
        }
        self.events.push(GameEvent::Hit { by: bolt.owner, whom, shielded: false });
        if let Some(shooter) = self.players.get_mut(&bolt.owner) {
            shooter.hits += 1;
            shooter.points += u16::from(down);
        }
        if down {
            self.events.push(GameEvent::Downed { by: bolt.owner, whom });
        }
        true
    }

    /// Players do not overlap: both give way.
    fn separate(&mut self) {
        let map = self.map();
        let places: Vec<_> =
            self.players.iter().filter(|(_, p)| p.alive()).map(|(slot, p)| (*slot, p.body.at)).collect();
        for (i, (a, at_a)) in places.iter().enumerate() {
            for (b, at_b) in &places[i + 1..] {
                let apart = *at_b - *at_a;
                let overlap = 2.0 * PLAYER_RADIUS - apart.length();
                if overlap <= 0.0 {
                    continue;
                }
                let push = apart.try_normalize().unwrap_or(Vec2::X) * (overlap * 0.5).min(6.0);
                for (slot, push) in [(a, -push), (b, push)] {
                    if let Some(player) = self.players.get_mut(slot) {
                        player.body.at = map.push_out(player.body.at + push, PLAYER_RADIUS).0;
                    }
                }
            }
        }
    }

    fn step_players(&mut self) {
        let others: Vec<Vec2> = self.players.values().filter(|p| p.alive()).map(|p| p.body.at).collect();
        for (&slot, player) in &mut self.players {
            player.protection = player.protection.saturating_sub(1);
            if player.alive() {
                continue;
            }
            player.respawn = player.respawn.saturating_sub(1);
            if player.respawn == 0 {
                // The start that is farthest from everybody else.
                let clear = |at: Vec2| others.iter().map(|o| o.distance(at) as u32).min().unwrap_or(u32::MAX);
                let at = SPAWNS.into_iter().max_by_key(|at| clear(*at)).unwrap_or(SPAWNS[0]);
                player.body = Body::standing(at);
                player.health = MAX_HEALTH;
                player.shield = false;
                player.protection = PROTECTION;
                self.events.push(GameEvent::Respawned { player: slot });
            }
        }
    }

    fn step_pickups(&mut self) {
        if !matches!(self.phase, Phase::Playing { .. }) {
            return;
        }
        self.pickup_wait = self.pickup_wait.saturating_sub(1);
        if self.pickup_wait == 0 && self.pickups.len() < MAX_PICKUPS {
            self.pickup_wait = PICKUP_EVERY;
            let map = self.map();
            let limit = HALF_SIZE - Vec2::splat(90.0);
            let mut coordinate = |limit: f32| (self.random.f32() * 2.0 - 1.0) * limit;
            let wanted = Vec2::new(coordinate(limit.x), coordinate(limit.y));
            let (at, _) = map.push_out(wanted, PICKUP_RADIUS + PLAYER_RADIUS);
            let kind = match self.random.u8(0..3) {
                0 => PickupKind::Heart,
                1 => PickupKind::Rapid,
                _ => PickupKind::Shield,
            };
            self.next_pickup = self.next_pickup.wrapping_add(1);
            self.pickups.push(Pickup { id: self.next_pickup, kind, at });
            self.events.push(GameEvent::PickupAppeared { kind });
        }
        let reach = PICKUP_RADIUS + PLAYER_RADIUS;
        let Self { pickups, players, events, .. } = self;
        pickups.retain(|pickup| {
            let taker = players
                .iter_mut()
                .find(|(_, p)| p.alive() && p.body.at.distance_squared(pickup.at) < reach * reach);
            let Some((&by, player)) = taker else { return true };
            match pickup.kind {
                PickupKind::Heart => player.health = (player.health + 1).min(MAX_HEALTH + 1),
                PickupKind::Rapid => player.body.rapid = RAPID,
                PickupKind::Shield => player.shield = true,
            }
            events.push(GameEvent::PickupTaken { by, kind: pickup.kind });
            false
        });
    }

    fn step_phase(&mut self) {
        if self.players.len() < 2 && !matches!(self.phase, Phase::Lobby) {
            self.phase = Phase::Lobby;
            return;
        }
        match self.phase {
            Phase::Lobby => {}
            Phase::Countdown { ends } => {
                if self.tick >= ends {
                    let ends = self.tick + u32::from(self.rules.round_seconds) * super::TICK_HZ;
                    self.phase = Phase::Playing { ends, overtime: false };
                    self.events.push(GameEvent::Fight);
                }
            }
            Phase::Resuming { ends, left, overtime } => {
                if self.tick >= ends {
                    self.phase = Phase::Playing { ends: self.tick + left, overtime };
                    // Nobody is hit before they have their bearings again.
                    self.players.values_mut().for_each(|player| player.protection = PROTECTION);
                }
            }
            Phase::Playing { ends, overtime } => self.judge(ends, overtime),
            Phase::RoundOver { ends, winner } if self.tick >= ends => {
                let wins = self.players.get(&winner).map_or(0, |player| player.wins);
                if self.rules.wins > 0 && wins >= self.rules.wins {
                    self.phase = Phase::MatchOver { ends: self.tick + ASKED, winner };
                } else {
                    self.start_round();
                }
            }
            Phase::MatchOver { ends, .. } if self.tick >= ends => self.phase = Phase::Lobby,
            Phase::RoundOver { .. } | Phase::MatchOver { .. } => {}
        }
    }

    /// Returns the best score, and who has it with how many hits; of a team, its best player stands for all.
    fn leaders(&self) -> Option<(u16, Vec<(PlayerSlot, u16)>)> {
        let teams = self.rules.teams;
        let side = |slot: PlayerSlot| if teams { team(slot) } else { slot };
        // (side, points, hits, its best player)
        let mut sides = BTreeMap::<u8, (u16, u16, PlayerSlot)>::new();
        for (&slot, player) in &self.players {
            let (points, hits, star) = sides.entry(side(slot)).or_insert((0, 0, slot));
            *points = points.saturating_add(player.points);
            *hits = hits.saturating_add(player.hits);
            let merit = |slot: &PlayerSlot| self.players.get(slot).map_or((0, 0), |p| (p.points, p.hits));
            if merit(&slot) > merit(star) {
                *star = slot;
            }
        }
        let best = sides.values().map(|(points, ..)| *points).max()?;
        let leaders = sides.values().filter(|(points, ..)| *points == best);
        Some((best, leaders.map(|(_, hits, star)| (*star, *hits)).collect()))
    }

    fn judge(&mut self, ends: u32, overtime: bool) {
        let Some((best, leaders)) = self.leaders() else { return };
        let over = self.tick >= ends;
        let winner = match leaders.as_slice() {
            [(leader, _)] if best >= self.rules.target || over || overtime => Some(*leader),
            // Two reached the target in the same step, or time is up with a tie.
            _ if over && overtime => {
                leaders.iter().max_by_key(|(slot, hits)| (*hits, u8::MAX - slot)).map(|(slot, _)| *slot)
            }
            _ => None,
        };
        if let Some(winner) = winner {
            let points = self.players.iter().map(|(slot, p)| (*slot, p.points)).collect();
            let teams = self.rules.teams;
            let won = |slot: PlayerSlot| slot == winner || teams && team(slot) == team(winner);
            for (_, player) in self.players.iter_mut().filter(|(slot, _)| won(**slot)) {
                player.wins = player.wins.saturating_add(1);
            }
            self.phase = Phase::RoundOver { ends: self.tick + CELEBRATION, winner };
            self.events.push(GameEvent::RoundWon { round: self.round, winner, points });
        } else if over && !overtime {
            let ends = self.tick + u32::from(self.rules.overtime_seconds) * super::TICK_HZ;
            self.phase = Phase::Playing { ends, overtime: true };
            self.events.push(GameEvent::Overtime);
        }
    }
}
