//! Sparks, trails and rings: short-lived sprites.

use bevy::prelude::*;

use super::Layer;
use super::stage::sprite;
use crate::flow::Seed;

/// So many particles exist at a time at the most.
const MOST: usize = 500;

/// This is a short-lived sprite.
#[derive(Component, Clone, Copy, Debug)]
pub(super) struct Particle {
    pub(super) velocity: Vec2,
    pub(super) drag: f32,
    pub(super) life: f32,
    pub(super) age: f32,
    pub(super) size: (f32, f32),
    pub(super) colour: Color,
}

/// These are the particles to come.
#[derive(Resource, Default)]
pub(super) struct Spawns {
    wanted: Vec<(Handle<Image>, Vec2, Particle)>,
    pub(super) random: fastrand::Rng,
}

impl Spawns {
    pub(super) fn add(&mut self, image: &Handle<Image>, at: Vec2, particle: Particle) {
        if self.wanted.len() < MOST {
            self.wanted.push((image.clone(), at, particle));
        }
    }

    /// Adds a burst in all directions.
    pub(super) fn burst(&mut self, image: &Handle<Image>, at: Vec2, colour: Color, count: u32, force: f32) {
        for _ in 0..count {
            let along = Vec2::from_angle(self.random.f32() * std::f32::consts::TAU);
            let particle = Particle {
                velocity: along * force * (0.25 + self.random.f32()),
                drag: 3.5,
                life: 0.25 + 0.45 * self.random.f32(),
                age: 0.0,
                size: (13.0 + 17.0 * self.random.f32(), 2.0),
                colour,
            };
            self.add(image, at, particle);
        }
    }
}

pub(super) struct ParticlesPlugin;

impl Plugin for ParticlesPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Spawns>()
            .add_systems(Startup, seed)
            .add_systems(PostUpdate, (appear, fly).chain());
    }
}

/// Pictures with the same seed are the same.
fn seed(seed: Res<Seed>, mut spawns: ResMut<Spawns>) {
    spawns.random.seed(seed.0);
}

fn appear(mut commands: Commands, mut spawns: ResMut<Spawns>, there: Query<(), With<Particle>>) {
    let room = MOST.saturating_sub(there.iter().len());
    for (image, at, particle) in spawns.wanted.drain(..).take(room) {
        commands.spawn((
            Layer::Sparks,
            particle,
            sprite(&image, particle.colour, Vec2::splat(particle.size.0)),
            Transform::from_translation(at.extend(2.0)),
        ));
    }
}

fn fly(
    mut commands: Commands,
    time: Res<Time>,
    mut particles: Query<(Entity, &mut Particle, &mut Transform, &mut Sprite)>,
) {
    let dt = time.delta_secs();
    for (entity, mut particle, mut transform, mut sprite) in &mut particles {
        particle.age += dt;
        let done = particle.age / particle.life;
        if done >= 1.0 {
            commands.entity(entity).despawn();
            continue;
        }
        let drag = particle.drag;
        particle.velocity *= (1.0 - drag * dt).max(0.0);
        transform.translation += (particle.velocity * dt).extend(0.0);
        let (from, to) = particle.size;
        sprite.custom_size = Some(Vec2::splat(from + (to - from) * done));
        sprite.color = particle.colour.with_alpha(particle.colour.alpha() * (1.0 - done));
    }
}
