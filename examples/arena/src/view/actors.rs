//! Players, shots and pickups: a sprite for each, kept in step with the scene.

use std::collections::{BTreeMap, BTreeSet};

use bevy::prelude::*;

use super::particles::{Particle, Spawns};
use super::stage::sprite;
use super::{Layer, Pictures, on_stage};
use crate::net::systems::NetSystems;
use crate::scene::Scene;
use crate::sim::{MAX_HEALTH, MAX_PLAYERS, PickupKind, PlayerSlot};
use crate::theme::{self, colour};

/// So many seconds pass between two puffs of a trail.
const PUFF: f32 = 1.0 / 45.0;

/// These parts belong to a player.
#[derive(Component, Clone, Copy, PartialEq, Eq)]
enum Part {
    Light,
    Ship,
    Shield,
    Charge,
    Health(u8),
}

#[derive(Component)]
struct Of(PlayerSlot);

#[derive(Component)]
struct ShownBolt((PlayerSlot, u32));

#[derive(Component)]
struct ShownPickup(u8);

pub(super) struct ActorsPlugin;

impl Plugin for ActorsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, build)
            .add_systems(Update, (actors, trails, bolts, pickups).after(NetSystems::Scene));
    }
}

fn build(mut commands: Commands, pictures: Res<Pictures>) {
    for player in 0..MAX_PLAYERS as u8 {
        let tint = colour(player);
        let mut part = |part: Part, sprite: Sprite, z: f32| {
            let place = Transform::from_xyz(0.0, 0.0, z + f32::from(player) * 0.01);
            commands.spawn((Layer::Ships, Of(player), part, sprite, place, Visibility::Hidden));
        };
        part(Part::Light, sprite(&pictures.glow, tint.with_alpha(0.30), Vec2::splat(210.0)), 0.0);
        part(Part::Ship, sprite(&pictures.ship, tint, Vec2::splat(94.0)), 5.0);
        part(Part::Shield, sprite(&pictures.hexagon, tint, Vec2::splat(112.0)), 6.0);
        part(Part::Charge, sprite(&pictures.ring, theme::WORDS, Vec2::splat(100.0)), 4.0);
        for i in 0..=MAX_HEALTH {
            part(Part::Health(i), sprite(&pictures.spark, theme::WORDS, Vec2::splat(15.0)), 7.0);
        }
    }
}

fn actors(
    time: Res<Time>,
    scene: Res<Scene>,
    mut parts: Query<(&Of, &Part, &mut Transform, &mut Sprite, &mut Visibility)>,
) {
    let now = time.elapsed_secs();
    for (Of(player), part, mut transform, mut sprite, mut visibility) in &mut parts {
        let Some(actor) = scene.actor(*player).filter(|actor| actor.alive()) else {
            visibility.set_if_neq(Visibility::Hidden);
            continue;
        };
        let local = scene.local == Some(*player);
        let seen = match part {
            Part::Light | Part::Ship => true,
            Part::Shield => actor.shielded,
            Part::Charge => local,
            Part::Health(i) => *i < actor.health,
        };
        visibility.set_if_neq(if seen { Visibility::Inherited } else { Visibility::Hidden });
        if matches!(part, Part::Light | Part::Ship | Part::Shield) {
            let alpha = sprite.color.alpha();
            sprite.color = scene.colour(*player).with_alpha(alpha);
        }
        let z = transform.translation.z;
        transform.translation = on_stage(actor.at).with_z(z);
        let blink = if actor.protected { 0.55 + 0.45 * (now * 18.0).sin() } else { 1.0 };
        match part {
            Part::Light => {
                let strength = if actor.rapid { 0.5 + 0.15 * (now * 20.0).sin() } else { 0.30 };
                sprite.color.set_alpha(strength * blink);
            }
            Part::Ship => {
                transform.rotation = Quat::from_rotation_z(actor.angle);
                let stretch = if actor.dashing { Vec2::new(1.25, 0.75) } else { Vec2::ONE };
                transform.scale = stretch.extend(1.0);
                sprite.color.set_alpha(0.35 + 0.65 * blink);
            }
            Part::Shield => {
                transform.rotation = Quat::from_rotation_z(now * 0.8);
                sprite.color.set_alpha(0.75 + 0.2 * (now * 5.0).sin());
            }
            Part::Charge => {
                // Closes in as the dash gets ready.
                let charge = scene.dash_charge.clamp(0.0, 1.0);
                transform.scale = Vec2::splat(1.0 + 0.6 * (1.0 - charge)).extend(1.0);
                sprite.color.set_alpha(if charge >= 1.0 { 0.5 } else { 0.12 + 0.2 * charge });
            }
            Part::Health(i) => {
                let offset = (f32::from(*i) - f32::from(actor.health - 1) / 2.0) * 15.0;
                transform.translation += Vec3::new(offset, -46.0, 0.0);
            }
        }
    }
}

fn trails(
    time: Res<Time>,
    scene: Res<Scene>,
    pictures: Res<Pictures>,
    mut spawns: ResMut<Spawns>,
    mut before: Local<BTreeMap<PlayerSlot, Vec2>>,
    mut since: Local<f32>,
) {
    *since += time.delta_secs();
    if *since < PUFF {
        return;
    }
    *since = 0.0;
    for actor in &scene.actors {
        let last = before.insert(actor.player, actor.at).unwrap_or(actor.at);
        let moved = actor.at.distance(last);
        if !actor.alive() || !(1.0..160.0).contains(&moved) {
            continue;
        }
        let size = if actor.dashing { 60.0 } else { 36.0 };
        // As dense at ten frames a second as at sixty.
        let puffs = (moved / if actor.dashing { 16.0 } else { 9.0 }).ceil().min(8.0) as u8;
        for i in 0..puffs {
            let at =
                actor.at.lerp(last, f32::from(i) / f32::from(puffs)) - Vec2::from_angle(actor.angle) * 16.0;
            let particle = Particle {
                velocity: Vec2::ZERO,
                drag: 0.0,
                life: if actor.dashing { 0.5 } else { 0.45 },
                age: 0.0,
                size: (size, size * 0.3),
                colour: scene.colour(actor.player).with_alpha(if actor.dashing { 0.55 } else { 0.28 }),
            };
            spawns.add(&pictures.glow, at, particle);
        }
    }
}

fn bolts(
    mut commands: Commands,
    scene: Res<Scene>,
    pictures: Res<Pictures>,
    mut spawns: ResMut<Spawns>,
    mut shown: Query<(Entity, &ShownBolt, &mut Transform)>,
) {
    let mut wanted: BTreeMap<_, _> = scene.bolts.iter().map(|bolt| ((bolt.owner, bolt.key), bolt)).collect();
    for (entity, ShownBolt(key), mut transform) in &mut shown {
        if let Some(bolt) = wanted.remove(key) {
            transform.translation = on_stage(bolt.at).with_z(3.0);
            transform.rotation = Quat::from_rotation_z(bolt.velocity.to_angle());
        } else {
            spawns.burst(&pictures.spark, transform.translation.xy(), scene.colour(key.0), 5, 190.0);
            commands.entity(entity).despawn();
        }
    }
    for (key, bolt) in wanted {
        let place = Transform::from_translation(on_stage(bolt.at).with_z(3.0))
            .with_rotation(Quat::from_rotation_z(bolt.velocity.to_angle()));
        let picture =
            sprite(&pictures.bolt, scene.colour(key.0).mix(&Color::WHITE, 0.35), Vec2::new(74.0, 37.0));
        commands.spawn((Layer::Shots, ShownBolt(key), picture, place));
        // The muzzle.
        spawns.burst(&pictures.spark, bolt.at, scene.colour(key.0), 3, 120.0);
    }
}

fn pickups(
    mut commands: Commands,
    time: Res<Time>,
    scene: Res<Scene>,
    pictures: Res<Pictures>,
    mut shown: Query<(Entity, &ShownPickup, &mut Transform)>,
) {
    let mut there = BTreeSet::new();
    let beat = 1.0 + 0.09 * (time.elapsed_secs() * 4.0).sin();
    for (entity, ShownPickup(id), mut transform) in &mut shown {
        if scene.pickups.iter().any(|pickup| pickup.id == *id) {
            there.insert(*id);
            transform.scale = Vec3::splat(beat);
        } else {
            commands.entity(entity).despawn();
        }
    }
    for pickup in scene.pickups.iter().filter(|pickup| !there.contains(&pickup.id)) {
        let (image, tint) = match pickup.kind {
            PickupKind::Heart => (&pictures.heart, theme::BAD),
            PickupKind::Rapid => (&pictures.rapid, Color::srgb(1.0, 0.85, 0.3)),
            PickupKind::Shield => (&pictures.shield, theme::GOOD),
        };
        let place = Transform::from_translation(on_stage(pickup.at).with_z(1.0));
        let picture = sprite(image, tint, Vec2::splat(66.0));
        commands.spawn((Layer::Shots, ShownPickup(pickup.id), picture, place));
    }
}
