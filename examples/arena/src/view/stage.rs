//! Camera, floor, walls, pillars.

use bevy::camera::ScalingMode;
use bevy::prelude::*;
use bevy::render::view::Msaa;

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
            .add_systems(Update, (pulse, turn, shake))
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
    let size = 2.0 * HALF_SIZE;
    let tiled = SpriteImageMode::Tiled { tile_x: true, tile_y: true, stretch_value: 0.78125 };
    commands.spawn((
        Layer::Floor,
        Pulsing { base: 0.22, depth: 0.07, speed: 0.9 },
        Sprite { image_mode: tiled, ..sprite(&pictures.grid, Color::srgba(0.45, 0.62, 1.0, 0.2), size) },
        Transform::from_xyz(0.0, 0.0, -10.0),
    ));
    let wall = Color::srgb(0.32, 0.50, 1.0);
    for (part, at, size) in frame_parts(size + Vec2::splat(80.0)) {
        commands.spawn((
            Layer::Wall,
            Pulsing { base: 0.85, depth: 0.12, speed: 1.7 },
            Sprite { rect: Some(part), ..sprite(&pictures.frame, wall, size) },
            Transform::from_translation(at.extend(-5.0)),
        ));
    }
}

/// Returns the eight parts of the wall: of the picture, where, and how large. The line runs 40 pixels inside the picture's edge; the
/// middle is empty, and as large as the floor: it is not drawn.
fn frame_parts(size: Vec2) -> impl Iterator<Item = (Rect, Vec2, Vec2)> {
    const PICTURE: f32 = 160.0;
    const BORDER: f32 = 76.0;
    let span = |part: i8, whole: f32| match part {
        -1 => (0.0, BORDER),
        0 => (BORDER, whole - BORDER),
        _ => (whole - BORDER, whole),
    };
    let parts = (-1..=1).flat_map(|x| (-1..=1).map(move |y| (x, y))).filter(|part| *part != (0, 0));
    parts.map(move |(x, y)| {
        let cut = |whole: Vec2| {
            let ((left, right), (top, bottom)) = (span(x, whole.x), span(y, whole.y));
            Rect::new(left, top, right, bottom)
        };
        let there = cut(size);
        // Pictures go down, the world goes up.
        let at = (there.center() - size / 2.0) * Vec2::new(1.0, -1.0);
        (cut(Vec2::splat(PICTURE)), at, there.size())
    })
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
