//! Camera, floor, walls, pillars, and the lights that drift behind.

use bevy::camera::ScalingMode;
use bevy::prelude::*;
use bevy::render::view::Msaa;
use bevy::sprite::{BorderRect, TextureSlicer};

use super::{Layer, Pictures, Shake};
use crate::scene::Scene;
use crate::sim::{HALF_SIZE, Map};
use crate::theme;

/// So much must be seen of the world: the floor, and air for the HUD above and below.
const SEEN: Vec2 = Vec2::new(1680.0, 1080.0);
/// The camera looks here: there is more air above than below.
const EYE: Vec2 = Vec2::new(0.0, 40.0);
/// At full shake the picture moves by so many world units.
const SHAKE: f32 = 13.0;

/// This is the camera on the match.
#[derive(Component, Debug)]
pub struct StageCamera;

#[derive(Component)]
struct Drifting {
    phase: f32,
    reach: Vec2,
}

#[derive(Component)]
struct Pulsing {
    base: f32,
    depth: f32,
    speed: f32,
}

#[derive(Component)]
struct Turning(f32);

pub(super) struct StagePlugin;

impl Plugin for StagePlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, build)
            .add_systems(Update, (drift, pulse, turn, shake))
            .add_systems(Update, set_pillars.after(crate::net::systems::NetSystems::Scene));
    }
}

fn build(mut commands: Commands, pictures: Res<Pictures>) {
    let projection = OrthographicProjection {
        scaling_mode: ScalingMode::AutoMin { min_width: SEEN.x, min_height: SEEN.y },
        ..OrthographicProjection::default_2d()
    };
    // Sprites have soft edges of their own, and software renderers pay dearly for multisampling.
    commands.spawn((
        StageCamera,
        Camera2d,
        Msaa::Off,
        Projection::Orthographic(projection),
        Transform::from_translation(EYE.extend(0.0)),
    ));
    let lights = [
        (Color::srgb(0.12, 0.20, 0.75), 1500.0, 0.0),
        (Color::srgb(0.55, 0.10, 0.60), 1250.0, 2.1),
        (Color::srgb(0.05, 0.45, 0.55), 1350.0, 4.2),
    ];
    for (colour, size, phase) in lights {
        commands.spawn((
            Layer::Lights,
            Drifting { phase, reach: Vec2::new(620.0, 330.0) },
            sprite(&pictures.glow, colour.with_alpha(0.42), Vec2::splat(size)),
            Transform::from_xyz(0.0, 0.0, -20.0),
        ));
    }
    let size = 2.0 * HALF_SIZE;
    let tiled = SpriteImageMode::Tiled { tile_x: true, tile_y: true, stretch_value: 0.78125 };
    commands.spawn((
        Layer::Floor,
        Pulsing { base: 0.22, depth: 0.07, speed: 0.9 },
        Sprite { image_mode: tiled, ..sprite(&pictures.grid, Color::srgba(0.45, 0.62, 1.0, 0.2), size) },
        Transform::from_xyz(0.0, 0.0, -10.0),
    ));
    let wall = Color::srgb(0.32, 0.50, 1.0);
    // The line runs 40 pixels inside the picture's edge.
    let slices = TextureSlicer { border: BorderRect::all(76.0), ..default() };
    commands.spawn((
        Layer::Wall,
        Pulsing { base: 0.85, depth: 0.12, speed: 1.7 },
        Sprite {
            image_mode: SpriteImageMode::Sliced(slices),
            ..sprite(&pictures.frame, wall, size + Vec2::splat(80.0))
        },
        Transform::from_xyz(0.0, 0.0, -5.0),
    ));
}

/// Sets the pillars of the map.
fn set_pillars(
    mut commands: Commands,
    scene: Res<Scene>,
    pictures: Res<Pictures>,
    standing: Query<Entity, With<Turning>>,
    mut shown: Local<Option<Map>>,
) {
    if shown.replace(scene.map) == Some(scene.map) {
        return;
    }
    standing.iter().for_each(|pillar| commands.entity(pillar).despawn());
    for (i, pillar) in scene.map.pillars().iter().enumerate() {
        // The drawn disc has a radius of 104 of 128 pixels.
        let size = Vec2::splat(pillar.radius * 2.0 * 128.0 / 104.0);
        commands.spawn((
            Layer::Pillars,
            Turning(if i % 2 == 0 { 0.25 } else { -0.4 }),
            sprite(&pictures.pillar, Color::srgb(0.45, 0.62, 1.0), size),
            Transform::from_translation(pillar.at.extend(-4.0)),
        ));
    }
}

/// Returns a tinted sprite of a size.
pub(super) fn sprite(image: &Handle<Image>, color: Color, size: Vec2) -> Sprite {
    Sprite { color, custom_size: Some(size), ..Sprite::from_image(image.clone()) }
}

fn drift(time: Res<Time>, mut lights: Query<(&Drifting, &mut Transform)>) {
    let t = time.elapsed_secs() * 0.16;
    for (light, mut transform) in &mut lights {
        let angle = t + light.phase;
        transform.translation.x = angle.cos() * light.reach.x;
        transform.translation.y = (angle * 1.37 + light.phase).sin() * light.reach.y;
    }
}

fn pulse(time: Res<Time>, mut sprites: Query<(&Pulsing, &mut Sprite)>) {
    for (pulsing, mut sprite) in &mut sprites {
        let wave = (time.elapsed_secs() * pulsing.speed).sin();
        sprite.color.set_alpha(pulsing.base + pulsing.depth * wave);
    }
}

fn turn(time: Res<Time>, mut turning: Query<(&Turning, &mut Transform)>) {
    for (Turning(speed), mut transform) in &mut turning {
        transform.rotate_z(speed * time.delta_secs());
    }
}

fn shake(time: Res<Time>, mut shake: ResMut<Shake>, mut eye: Query<&mut Transform, With<StageCamera>>) {
    shake.0 = (shake.0 - time.delta_secs() * 1.9).clamp(0.0, 1.0);
    let force = shake.0 * shake.0 * SHAKE;
    let t = time.elapsed_secs();
    let offset = Vec2::new((t * 61.0).sin() + (t * 37.0).sin(), (t * 53.0).sin() + (t * 41.0).cos()) * 0.5;
    for mut transform in &mut eye {
        transform.translation = (EYE + offset * force).extend(0.0);
    }
}

/// This is the colour of a wall's dust.
pub(super) const DUST: Color = theme::FAINT;
