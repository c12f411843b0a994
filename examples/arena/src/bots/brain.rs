//! How a computer player decides, from what a human player would see too.

use bevy::math::Vec2;

use crate::scene::{Actor, Scene};
use crate::sim::{BOLT_SPEED, HALF_SIZE, Input, Map, Phase, TICK_HZ, aim_of, team};

/// This is how a computer player plays: each of the crew differs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    /// It keeps so far from its enemy, in world units.
    distance: f32,
    /// It walks around it so eagerly.
    strafe: f32,
    /// Its hand trembles by so many radians.
    tremble: f32,
    /// It turns by so many radians in a step at the most.
    turn: f32,
    /// It goes so far for things on the floor, in world units.
    greed: f32,
    /// It dashes away from a shot with this chance in each step.
    fright: f32,
}

impl Style {
    fn of(seed: u64) -> Self {
        let usual =
            Self { distance: 300.0, strafe: 0.9, tremble: 0.22, turn: 0.16, greed: 330.0, fright: 0.12 };
        match seed % 4 {
            // The fencer comes close and never stands.
            1 => Self { distance: 170.0, strafe: 1.2, tremble: 0.3, turn: 0.2, ..usual },
            // The marksman keeps away and aims well.
            2 => Self { distance: 520.0, strafe: 0.4, tremble: 0.1, turn: 0.09, ..usual },
            // The collector wants everything that lies about.
            3 => Self { greed: 900.0, fright: 0.25, tremble: 0.26, ..usual },
            _ => usual,
        }
    }
}

/// This is a computer player's mind.
#[derive(Clone, Debug)]
pub struct Brain {
    style: Style,
    random: fastrand::Rng,
    strafe: f32,
    mood: u32,
    angle: f32,
    target: Option<u8>,
    /// This says where others were before, to lead the shot.
    seen: Vec<(u8, Vec2)>,
    wander: Vec2,
}

impl Brain {
    /// Returns a mind; the seed gives it its own habits.
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let style = Style::of(seed);
        Self {
            style,
            random,
            strafe: 1.0,
            mood: 0,
            angle: 0.0,
            target: None,
            seen: Vec::new(),
            wander: Vec2::ZERO,
        }
    }

    /// Decides what the computer player does in this step.
    pub fn think(&mut self, scene: &Scene) -> Input {
        let mut input = Input::default();
        let Some(me) = scene.me().filter(|me| me.alive()) else { return input };
        if self.mood == 0 {
            self.change_mind(scene, me);
        }
        self.mood -= 1;
        let mut walk = Vec2::ZERO;
        let target = self.target.and_then(|target| scene.actor(target)).filter(|t| t.alive());
        match target {
            Some(target) => {
                let velocity = self.velocity_of(target);
                let apart = target.at - me.at;
                let distance = apart.length();
                let ahead = target.at + velocity * (distance / BOLT_SPEED) - me.at;
                self.turn_to(ahead.to_angle());
                let towards = apart.normalize_or_zero();
                walk += towards * ((distance - self.style.distance) / 150.0).clamp(-1.0, 1.0);
                walk += towards.perp() * self.strafe * self.style.strafe;
                let off = (ahead.to_angle() - self.angle).sin().abs();
                let fighting = matches!(scene.phase, Some(Phase::Playing { .. }));
                input.fire = fighting && off < 0.12 && distance < 760.0 && clear(scene.map, me.at, target.at);
            }
            None => walk += (self.wander - me.at).clamp_length_max(1.0),
        }
        if let Some(pickup) = scene.pickups.iter().find(|p| p.at.distance(me.at) < self.style.greed) {
            walk += (pickup.at - me.at).normalize_or_zero() * 1.4;
        }
        walk += avoid(scene.map, me.at);
        let danger = scene.bolts.iter().any(|bolt| {
            let apart = me.at - bolt.at;
            bolt.owner != me.player
                && apart.length() < 150.0
                && apart.normalize_or_zero().dot(bolt.velocity.normalize_or_zero()) > 0.95
        });
        if danger {
            walk += walk.perp() * self.strafe;
            input.dash = scene.dash_charge >= 1.0 && self.random.f32() < self.style.fright;
        }
        input.walk_towards(walk);
        input.aim = aim_of(Vec2::from_angle(self.angle));
        self.seen = scene.actors.iter().map(|actor| (actor.player, actor.at)).collect();
        input
    }

    fn change_mind(&mut self, scene: &Scene, me: &Actor) {
        self.mood = self.random.u32(TICK_HZ / 3..TICK_HZ);
        self.strafe = if self.random.bool() { 1.0 } else { -1.0 };
        let limit = HALF_SIZE * 0.8;
        self.wander =
            Vec2::new((self.random.f32() * 2.0 - 1.0) * limit.x, (self.random.f32() * 2.0 - 1.0) * limit.y);
        let cost = |actor: &Actor| {
            let hidden = if clear(scene.map, me.at, actor.at) { 0.0 } else { 400.0 };
            (actor.at.distance(me.at) + hidden) as u32
        };
        let others = scene.actors.iter().filter(|a| {
            a.player != me.player && a.alive() && !(scene.teams && team(a.player) == team(me.player))
        });
        self.target = others.min_by_key(|a| cost(a)).map(|actor| actor.player);
    }

    fn velocity_of(&self, actor: &Actor) -> Vec2 {
        let before = self.seen.iter().find(|(player, _)| *player == actor.player);
        let moved = before.map_or(Vec2::ZERO, |(_, at)| actor.at - *at) * TICK_HZ as f32;
        if moved.length() > 1300.0 { Vec2::ZERO } else { moved * 0.7 }
    }

    /// Turns like a hand on a mouse does: fast, not at once, not exactly.
    fn turn_to(&mut self, wanted: f32) {
        let wanted = wanted + (self.random.f32() - 0.5) * self.style.tremble;
        let turn = (wanted - self.angle + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU)
            - std::f32::consts::PI;
        self.angle += turn.clamp(-self.style.turn, self.style.turn);
    }
}

/// Returns the direction away from walls and pillars that are near; it is zero in the open.
fn avoid(map: Map, at: Vec2) -> Vec2 {
    let mut push = Vec2::ZERO;
    for pillar in map.pillars() {
        let away = at - pillar.at;
        let gap = away.length() - pillar.radius;
        if gap < 70.0 {
            let away = away.normalize_or_zero();
            push += away * (1.0 - gap / 70.0) + away.perp() * 0.5;
        }
    }
    let edge = HALF_SIZE - Vec2::splat(90.0);
    push -= (at - at.clamp(-edge, edge)) / 60.0;
    push
}

/// Returns whether no pillar stands between the two places.
fn clear(map: Map, from: Vec2, to: Vec2) -> bool {
    map.pillars().iter().all(|pillar| {
        let along = to - from;
        let t = ((pillar.at - from).dot(along) / along.length_squared().max(1.0)).clamp(0.0, 1.0);
        (from + along * t).distance(pillar.at) > pillar.radius
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::HostGame;
    use crate::sim::Rules;

    #[test]
    fn the_crew_differs() {
        let styles: Vec<_> = (0..4).map(Style::of).collect();
        assert!((0..4).all(|i| (0..i).all(|j| styles[i] != styles[j])));
    }

    #[test]
    fn it_turns_to_its_enemy_and_fires() {
        let mut host = HostGame::new(Rules::default(), 1, Some("A"));
        host.world.join("B");
        host.begin();
        let mut brain = Brain::new(4);
        let mut fired = false;
        for _ in 0..15 * TICK_HZ {
            let input = brain.think(&host.scene(1.0));
            fired |= input.fire;
            host.tick(input);
        }
        assert!(fired);
        assert!(host.world.players[&0].hits > 0, "hits one that stands still");
    }
}
