//! What happened, made visible.

use bevy::prelude::*;

use super::particles::{Particle, Spawns};
use super::{Pictures, Shake, stage};
use crate::net::systems::NetSystems;
use crate::scene::{Happened, Scene};
use crate::sim::{GameEvent, PlayerSlot};
use crate::theme::{self, colour};

pub(super) struct EffectsPlugin;

impl Plugin for EffectsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, react.after(NetSystems::Scene));
    }
}

fn react(
    scene: Res<Scene>,
    pictures: Res<Pictures>,
    mut happened: MessageReader<Happened>,
    mut spawns: ResMut<Spawns>,
    mut shake: ResMut<Shake>,
) {
    let ring = |colour: Color, size: f32, life: f32| Particle {
        velocity: Vec2::ZERO,
        drag: 0.0,
        life,
        age: 0.0,
        size: (40.0, size),
        colour,
    };
    let place = |player: PlayerSlot| scene.actor(player).map(|actor| actor.at);
    for Happened(event) in happened.read() {
        match event {
            GameEvent::Hit { whom, shielded, .. } => {
                let Some(at) = place(*whom) else { continue };
                let tint = if *shielded { theme::GOOD } else { scene.colour(*whom) };
                spawns.burst(&pictures.spark, at, tint, 14, 420.0);
                // Own pain shakes more than that of others.
                let own = scene.local == Some(*whom);
                shake.0 = (shake.0 + if own { 0.55 } else { 0.12 }).min(1.0);
            }
            GameEvent::Downed { whom, .. } => {
                let Some(at) = place(*whom) else { continue };
                spawns.burst(&pictures.spark, at, scene.colour(*whom), 46, 780.0);
                spawns.burst(&pictures.spark, at, Color::WHITE, 14, 420.0);
                spawns.add(&pictures.ring, at, ring(scene.colour(*whom), 430.0, 0.55));
                let flash = Particle { size: (420.0, 60.0), ..ring(Color::WHITE.with_alpha(0.6), 0.0, 0.25) };
                spawns.add(&pictures.glow, at, flash);
                shake.0 = (shake.0 + 0.5).min(1.0);
            }
            GameEvent::Respawned { player } => {
                let Some(at) = place(*player) else { continue };
                spawns.add(&pictures.ring, at, ring(scene.colour(*player), 190.0, 0.5));
                spawns.burst(&pictures.spark, at, stage::DUST, 10, 200.0);
            }
            GameEvent::PickupTaken { by, .. } => {
                let Some(at) = place(*by) else { continue };
                spawns.add(&pictures.ring, at, ring(theme::GOOD, 150.0, 0.4));
                spawns.burst(&pictures.spark, at, theme::GOOD, 12, 260.0);
            }
            GameEvent::RoundWon { winner, .. } => {
                let centre = place(*winner).unwrap_or_default();
                for i in 0..5u8 {
                    let angle = f32::from(i) * 1.256;
                    let at = centre + Vec2::from_angle(angle) * 90.0;
                    spawns.burst(&pictures.spark, at, colour(i), 16, 620.0);
                }
                spawns.add(&pictures.ring, centre, ring(scene.colour(*winner), 900.0, 1.0));
            }
            _ => {}
        }
    }
}
