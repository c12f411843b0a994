//! A change of the host without a jump: what was seen last and what the next host knows differ a little, since each showed others a
//! bit ahead or behind. While the match stands for its count, the ships glide from the one place to the other.

use std::collections::BTreeMap;

use bevy::math::Vec2;

use crate::scene::Scene;
use crate::sim::{Phase, PlayerSlot};

/// They glide at this speed, in world units a second: slower than a ship walks.
const SPEED: f32 = 200.0;

/// This is how far players are shown from where they are.
#[derive(Debug, Default)]
pub(crate) struct Glide(BTreeMap<PlayerSlot, Vec2>);

impl Glide {
    /// Has the next scene begin where the last one ended, when a match resumes after a change of the host. `dt` is in seconds.
    pub(crate) fn soften(&mut self, before: &Scene, after: &mut Scene, dt: f32) {
        let resuming = |scene: &Scene| matches!(scene.phase, Some(Phase::Resuming { .. }));
        let fighting = matches!(before.phase, Some(Phase::Playing { .. }));
        if !resuming(after) {
            self.0.clear();
            return;
        }
        if fighting {
            let seen = before.actors.iter().filter(|actor| actor.alive());
            let off = seen.filter_map(|seen| Some((seen.player, seen.at - after.actor(seen.player)?.at)));
            self.0 = off.collect();
        } else {
            self.0
                .values_mut()
                .for_each(|off| *off = off.clamp_length_max((off.length() - SPEED * dt).max(0.0)));
        }
        for actor in &mut after.actors {
            actor.at += self.0.get(&actor.player).copied().unwrap_or_default();
        }
    }
}
