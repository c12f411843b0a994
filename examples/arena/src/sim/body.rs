//! The part of a player that follows from its own inputs alone: what a client can predict.

use bevy::math::Vec2;
use serde::{Deserialize, Serialize};

use super::{DT, arena_map::Map, ticks};

/// This is the radius of a player, in world units.
pub const PLAYER_RADIUS: f32 = 26.0;
const SPEED: f32 = 350.0;
const ACCELERATION: f32 = 2600.0;
const DASH_SPEED: f32 = 1150.0;
const DASH_TICKS: u8 = ticks(0.15) as u8;
const DASH_COOLDOWN: u8 = ticks(1.1) as u8;
const FIRE_COOLDOWN: u8 = ticks(0.3) as u8;
const RAPID_COOLDOWN: u8 = ticks(0.13) as u8;

/// This is one step's worth of what a player wants. `seq` counts up by one a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// This is the number of the input; there is one a step.
    pub seq: u32,
    /// This is the wanted direction, -127..=127 each.
    pub walk: (i8, i8),
    /// This is the angle of sight; a full turn is 65,536.
    pub aim: u16,
    /// This says whether the trigger is held.
    pub fire: bool,
    /// This says whether a dash is wanted.
    pub dash: bool,
}

impl Input {
    /// Returns the wanted direction, of length 1 at the most.
    pub fn direction(&self) -> Vec2 {
        (Vec2::new(f32::from(self.walk.0), f32::from(self.walk.1)) / 127.0).clamp_length_max(1.0)
    }

    /// Sets the wanted direction.
    pub fn walk_towards(&mut self, direction: Vec2) {
        let d = direction.clamp_length_max(1.0) * 127.0;
        self.walk = (d.x as i8, d.y as i8);
    }
}

/// Returns the angle on the wire for a direction.
pub fn aim_of(direction: Vec2) -> u16 {
    let turn = direction.to_angle() / std::f32::consts::TAU;
    (turn.rem_euclid(1.0) * 65536.0) as u32 as u16
}

/// Returns the angle in radians for one on the wire.
pub fn angle_of(aim: u16) -> f32 {
    f32::from(aim) / 65536.0 * std::f32::consts::TAU
}

/// This is a player's motion, with its cooldowns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// This is the centre, in world units.
    pub at: Vec2,
    /// This is the velocity, in world units a second.
    pub velocity: Vec2,
    /// This is the angle of sight, see [`Input::aim`].
    pub aim: u16,
    /// Steps of dash left; untouchable meanwhile.
    pub dash_left: u8,
    /// Steps until the next dash.
    pub dash_wait: u8,
    /// Steps until the next shot.
    pub fire_wait: u8,
    /// Steps of rapid fire left.
    pub rapid: u16,
}

impl Body {
    /// Returns a body that stands at a place and looks at the middle.
    pub fn standing(at: Vec2) -> Self {
        let aim = aim_of(-at);
        Self { at, aim, ..Self::default() }
    }

    /// Returns how far the dash is charged, 0..=1.
    pub fn dash_charge(&self) -> f32 {
        1.0 - f32::from(self.dash_wait) / f32::from(DASH_COOLDOWN)
    }
}

/// This is what the rules let a player do just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freedom {
    /// May walk and dash.
    pub walk: bool,
    /// This says whether it may fire.
    pub fire: bool,
    /// It plays at this place.
    pub map: Map,
}

/// This says what a step caused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// This says whether a shot left in this step.
    pub fired: bool,
    /// This says whether a dash began in this step.
    pub dashed: bool,
}

/// Applies one input. The same on host and client: prediction is exact but for what others do to the body.
pub fn step_body(body: &mut Body, input: &Input, freedom: Freedom) -> Stepped {
    let mut stepped = Stepped::default();
    body.aim = input.aim;
    body.dash_wait = body.dash_wait.saturating_sub(1);
    body.fire_wait = body.fire_wait.saturating_sub(1);
    body.rapid = body.rapid.saturating_sub(1);
    if !freedom.walk {
        body.velocity = Vec2::ZERO;
        body.dash_left = 0;
        return stepped;
    }
    let wanted = input.direction();
    if input.dash && body.dash_wait == 0 {
        body.dash_wait = DASH_COOLDOWN;
        body.dash_left = DASH_TICKS;
        let along = if wanted.length_squared() > 0.01 {
            wanted.normalize()
        } else {
            Vec2::from_angle(angle_of(body.aim))
        };
        body.velocity = along * DASH_SPEED;
        stepped.dashed = true;
    }
    if body.dash_left > 0 {
        body.dash_left -= 1;
        if body.dash_left == 0 {
            body.velocity = body.velocity.clamp_length_max(SPEED);
        }
    } else {
        let change = (wanted * SPEED - body.velocity).clamp_length_max(ACCELERATION * DT);
        body.velocity += change;
    }
    let (at, normal) = freedom.map.push_out(body.at + body.velocity * DT, PLAYER_RADIUS);
    body.at = at;
    if let Some(normal) = normal {
        // Slide along what was touched.
        body.velocity -= normal * body.velocity.dot(normal).min(0.0);
    }
    if input.fire && freedom.fire && body.fire_wait == 0 && body.dash_left == 0 {
        body.fire_wait = if body.rapid > 0 { RAPID_COOLDOWN } else { FIRE_COOLDOWN };
        stepped.fired = true;
    }
    stepped
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Freedom = Freedom { walk: true, fire: true, map: Map::Court };

    fn walking(x: f32, y: f32) -> Input {
        let mut input = Input::default();
        input.walk_towards(Vec2::new(x, y));
        input
    }

    #[test]
    fn walking_reaches_full_speed_and_stops_at_the_wall() {
        let mut body = Body::standing(Vec2::new(600.0, 0.0));
        for _ in 0..30 {
            step_body(&mut body, &walking(1.0, 0.0), FREE);
        }
        assert!(body.at.x > 700.0);
        for _ in 0..60 {
            step_body(&mut body, &walking(1.0, 0.0), FREE);
        }
        assert!((body.at.x - (800.0 - PLAYER_RADIUS)).abs() < 0.01);
    }

    #[test]
    fn a_dash_is_fast_short_and_needs_its_cooldown() {
        let mut body = Body::standing(Vec2::new(-600.0, 300.0));
        let dash = Input { dash: true, ..walking(1.0, 0.0) };
        let from = body.at.x;
        assert!(step_body(&mut body, &dash, FREE).dashed);
        let mut dashes = 1;
        for _ in 0..DASH_COOLDOWN - 1 {
            dashes += u32::from(step_body(&mut body, &dash, FREE).dashed);
        }
        assert_eq!(dashes, 1, "still cooling down");
        assert!(body.at.x - from > SPEED * DT * f32::from(DASH_COOLDOWN), "faster than walking");
        assert!(step_body(&mut body, &dash, FREE).dashed);
    }

    #[test]
    fn rapid_fire_shoots_more() {
        let fire = Input { fire: true, ..Input::default() };
        let count = |rapid| {
            let mut body = Body { rapid, ..Body::standing(Vec2::new(-600.0, 0.0)) };
            (0..120).filter(|_| step_body(&mut body, &fire, FREE).fired).count()
        };
        assert!(count(120) > 2 * count(0) - 1);
    }

    #[test]
    fn nothing_moves_without_freedom() {
        let mut body = Body::standing(Vec2::new(-600.0, 0.0));
        let before = body.at;
        let input = Input { fire: true, dash: true, ..walking(1.0, 1.0) };
        let stepped = step_body(&mut body, &input, Freedom { walk: false, fire: false, map: Map::Court });
        assert_eq!((body.at, stepped), (before, Stepped::default()));
    }

    #[test]
    fn angles_survive_the_wire() {
        for i in 0..64 {
            let angle = i as f32 * 0.098;
            let back = angle_of(aim_of(Vec2::from_angle(angle)));
            assert!((Vec2::from_angle(back) - Vec2::from_angle(angle)).length() < 1e-3);
        }
    }
}
