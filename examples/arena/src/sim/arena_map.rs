//! The place: a walled rectangle with round pillars.

use bevy::math::Vec2;
use serde::{Deserialize, Serialize};

/// This is half the width and height of the floor, in world units.
pub const HALF_SIZE: Vec2 = Vec2::new(800.0, 450.0);

/// This is a round obstacle.
#[derive(Clone, Copy, Debug)]
pub struct Pillar {
    /// This is the centre, in world units.
    pub at: Vec2,
    /// This is the radius, in world units.
    pub radius: f32,
}

const fn pillar(x: f32, y: f32, radius: f32) -> Pillar {
    Pillar { at: Vec2::new(x, y), radius }
}

/// These are the places to play at. The floor and the starts are the same everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Map {
    /// One big pillar in the middle, and four around it.
    #[default]
    Court,
    /// An open middle within a ring of pillars.
    Ring,
    /// Two walls with a gate each, and a pillar between them.
    Gates,
}

impl Map {
    /// These are all of them, in the order in which they take turns.
    pub const ALL: [Self; 3] = [Self::Court, Self::Ring, Self::Gates];

    /// Returns the map of a round, from 1 on, where all take turns.
    pub fn in_turn(round: u16) -> Self {
        Self::ALL[usize::from(round.saturating_sub(1)) % Self::ALL.len()]
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Court => "court",
            Self::Ring => "ring",
            Self::Gates => "gates",
        }
    }

    /// Returns all its obstacles.
    pub fn pillars(self) -> &'static [Pillar] {
        match self {
            Self::Court => &COURT,
            Self::Ring => &RING,
            Self::Gates => &GATES,
        }
    }

    /// Moves a disc out of walls and pillars. Returns the corrected centre and the normal of the last surface touched.
    pub fn push_out(self, mut at: Vec2, radius: f32) -> (Vec2, Option<Vec2>) {
        let mut normal = None;
        for pillar in self.pillars() {
            let away = at - pillar.at;
            let distance = away.length();
            let least = pillar.radius + radius;
            if distance < least {
                let direction = if distance > 1e-3 { away / distance } else { Vec2::X };
                at = pillar.at + direction * least;
                normal = Some(direction);
            }
        }
        let limit = HALF_SIZE - Vec2::splat(radius);
        let clamped = at.clamp(-limit, limit);
        if clamped != at {
            normal = Some((clamped - at).normalize_or_zero());
            at = clamped;
        }
        (at, normal)
    }
}

const COURT: [Pillar; 5] = [
    pillar(0.0, 0.0, 82.0),
    pillar(-430.0, 190.0, 52.0),
    pillar(430.0, 190.0, 52.0),
    pillar(-430.0, -190.0, 52.0),
    pillar(430.0, -190.0, 52.0),
];

const RING: [Pillar; 6] = [
    pillar(420.0, 0.0, 46.0),
    pillar(210.0, 215.0, 46.0),
    pillar(-210.0, 215.0, 46.0),
    pillar(-420.0, 0.0, 46.0),
    pillar(-210.0, -215.0, 46.0),
    pillar(210.0, -215.0, 46.0),
];

const GATES: [Pillar; 9] = [
    pillar(0.0, 0.0, 60.0),
    pillar(-270.0, 300.0, 50.0),
    pillar(-270.0, 205.0, 50.0),
    pillar(-270.0, -300.0, 50.0),
    pillar(-270.0, -205.0, 50.0),
    pillar(270.0, 300.0, 50.0),
    pillar(270.0, 205.0, 50.0),
    pillar(270.0, -300.0, 50.0),
    pillar(270.0, -205.0, 50.0),
];

/// Players start at these places, one at each.
pub const SPAWNS: [Vec2; 8] = [
    Vec2::new(-680.0, 340.0),
    Vec2::new(680.0, -340.0),
    Vec2::new(680.0, 340.0),
    Vec2::new(-680.0, -340.0),
    Vec2::new(0.0, 360.0),
    Vec2::new(0.0, -360.0),
    Vec2::new(-690.0, 0.0),
    Vec2::new(690.0, 0.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_leave_walls_and_pillars() {
        let (at, normal) = Map::Court.push_out(Vec2::new(900.0, 0.0), 26.0);
        assert_eq!(at, Vec2::new(774.0, 0.0));
        assert_eq!(normal, Some(Vec2::NEG_X));
        let (at, normal) = Map::Court.push_out(Vec2::new(-430.0, 200.0), 26.0);
        assert!((at.distance(COURT[1].at) - 78.0).abs() < 1e-3);
        assert_eq!(normal, Some(Vec2::Y));
    }

    #[test]
    fn every_spawn_is_free() {
        for map in Map::ALL {
            for spawn in SPAWNS {
                assert_eq!(map.push_out(spawn, 26.0), (spawn, None), "{map:?}");
            }
        }
    }

    #[test]
    fn a_disc_leaves_any_place_of_any_map() {
        for map in Map::ALL {
            for (x, y) in (-90..=90).flat_map(|x| (-50..=50).map(move |y| (x, y))) {
                let mut at = Vec2::new(x as f32, y as f32) * 9.0;
                // Between two pillars it may take some steps.
                for _ in 0..40 {
                    at = map.push_out(at, 26.0).0;
                }
                let (there, normal) = map.push_out(at, 25.9);
                assert!(normal.is_none() || there.distance(at) < 0.5, "{map:?}: {at}");
            }
        }
    }
}
