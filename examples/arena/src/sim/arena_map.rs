//! The place: a walled rectangle with round pillars.

use bevy::math::Vec2;

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

/// These are all obstacles of the arena.
pub const PILLARS: [Pillar; 5] = [
    Pillar { at: Vec2::new(0.0, 0.0), radius: 82.0 },
    Pillar { at: Vec2::new(-430.0, 190.0), radius: 52.0 },
    Pillar { at: Vec2::new(430.0, 190.0), radius: 52.0 },
    Pillar { at: Vec2::new(-430.0, -190.0), radius: 52.0 },
    Pillar { at: Vec2::new(430.0, -190.0), radius: 52.0 },
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

/// Moves a disc out of walls and pillars. Returns the corrected centre and the normal of the last surface touched.
pub fn push_out(mut at: Vec2, radius: f32) -> (Vec2, Option<Vec2>) {
    let mut normal = None;
    for pillar in PILLARS {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_leave_walls_and_pillars() {
        let (at, normal) = push_out(Vec2::new(900.0, 0.0), 26.0);
        assert_eq!(at, Vec2::new(774.0, 0.0));
        assert_eq!(normal, Some(Vec2::NEG_X));
        let (at, normal) = push_out(Vec2::new(-430.0, 200.0), 26.0);
        assert!((at.distance(PILLARS[1].at) - 78.0).abs() < 1e-3);
        assert_eq!(normal, Some(Vec2::Y));
    }

    #[test]
    fn every_spawn_is_free() {
        for spawn in SPAWNS {
            assert_eq!(push_out(spawn, 26.0), (spawn, None));
        }
    }
}
