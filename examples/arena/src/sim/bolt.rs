//! Shots: they fly straight and bounce once.

use bevy::math::Vec2;

use super::{DT, arena_map::Map, body::PLAYER_RADIUS, ticks};

/// A shot flies at this speed, in world units a second.
pub const BOLT_SPEED: f32 = 780.0;
/// A shot hits within this radius, in world units.
pub const BOLT_RADIUS: f32 = 9.0;
const LIFE: u16 = ticks(1.7) as u16;
const BOUNCES: u8 = 1;

/// This is a shot in flight. Its way is fixed by its start, so everybody can compute it ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bolt {
    /// This is the number of the shot, which wraps.
    pub id: u16,
    /// This player fired the shot.
    pub owner: u8,
    /// The input of this number fired the shot: the owner's client knows it by this.
    pub input: u32,
    /// This is the centre, in world units.
    pub at: Vec2,
    /// This is the velocity, in world units a second.
    pub velocity: Vec2,
    /// Steps since the shot.
    pub age: u16,
    /// Walls it may still bounce off.
    pub bounces: u8,
}

impl Bolt {
    /// Returns a shot that leaves a player's muzzle.
    pub fn fired(id: u16, owner: u8, input: u32, from: Vec2, angle: f32) -> Self {
        let along = Vec2::from_angle(angle);
        let at = from + along * (PLAYER_RADIUS + BOLT_RADIUS);
        Self { id, owner, input, at, velocity: along * BOLT_SPEED, age: 0, bounces: BOUNCES }
    }

    /// Flies one step; returns false when the shot is spent.
    pub fn step(&mut self, map: Map) -> bool {
        self.age += 1;
        self.at += self.velocity * DT;
        let (at, normal) = map.push_out(self.at, BOLT_RADIUS);
        if let Some(normal) = normal {
            if self.bounces == 0 {
                return false;
            }
            self.bounces -= 1;
            self.at = at;
            self.velocity -= 2.0 * self.velocity.dot(normal).min(0.0) * normal;
        }
        self.age < LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bolt_bounces_once_and_then_ends() {
        let mut bolt = Bolt::fired(0, 0, 0, Vec2::new(700.0, 400.0), 0.0);
        let mut steps = 0;
        while bolt.step(Map::Court) {
            steps += 1;
            assert!(steps < 1000);
        }
        assert_eq!(bolt.bounces, 0);
        assert!(bolt.velocity.x < 0.0, "came back from the wall");
    }

    #[test]
    fn speed_is_kept_by_a_bounce() {
        let mut bolt = Bolt::fired(0, 0, 0, Vec2::new(-250.0, 40.0), 0.0);
        for _ in 0..40 {
            bolt.step(Map::Court);
        }
        assert!((bolt.velocity.length() - BOLT_SPEED).abs() < 0.5);
        assert_eq!(bolt.bounces, 0, "met the middle pillar");
    }
}
