//! The lights that drift behind the floor. They cover the whole window, and a software renderer pays for every pixel of every sprite:
//! so they are not three sprites of that size but one small picture, worked out a few times a second and stretched.

use bevy::asset::RenderAssetUsages;
use bevy::image::ImageSampler;
use bevy::prelude::*;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};

use super::Layer;
use super::stage::sprite;
use crate::theme;

/// A pixel of the picture covers so many world units.
const GRAIN: f32 = 50.0;
/// The picture has so many pixels: all that the lights reach.
const SIZE: UVec2 = UVec2::new(56, 44);
/// The picture is worked out anew with every fourth frame: the lights are slow.
const EVERY: u32 = 4;
/// A light covers so much of the night in its middle, 0..=1.
const STRENGTH: f32 = 0.42;
/// Each light has a colour, a radius in world units, and a phase of its own.
const LIGHTS: [(Color, f32, f32); 3] = [
    (Color::srgb(0.12, 0.20, 0.75), 750.0, 0.0),
    (Color::srgb(0.55, 0.10, 0.60), 625.0, 2.1),
    (Color::srgb(0.05, 0.45, 0.55), 675.0, 4.2),
];

#[derive(Resource)]
struct Sky(Handle<Image>);

pub(super) struct SkyPlugin;

impl Plugin for SkyPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, build).add_systems(Update, drift);
    }
}

fn build(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let extent = Extent3d { width: SIZE.x, height: SIZE.y, depth_or_array_layers: 1 };
    let format = TextureFormat::Rgba8UnormSrgb;
    let usage = RenderAssetUsages::default();
    let mut image = Image::new(extent, TextureDimension::D2, pixels(0.0), format, usage);
    image.sampler = ImageSampler::linear();
    let image = images.add(image);
    let place = Transform::from_xyz(0.0, 0.0, -20.0);
    commands.spawn((Layer::Lights, sprite(&image, Color::WHITE, SIZE.as_vec2() * GRAIN), place));
    commands.insert_resource(Sky(image));
}

fn drift(time: Res<Time>, sky: Res<Sky>, mut images: ResMut<Assets<Image>>, mut frame: Local<u32>) {
    *frame += 1;
    if !frame.is_multiple_of(EVERY) {
        return;
    }
    if let Some(mut image) = images.get_mut(&sky.0) {
        image.data = Some(pixels(time.elapsed_secs()));
    }
}

/// Returns where a light is after so many seconds.
fn place(phase: f32, seconds: f32) -> Vec2 {
    let angle = seconds * 0.16 + phase;
    Vec2::new(angle.cos() * 620.0, (angle * 1.37 + phase).sin() * 330.0)
}

/// Returns the picture after so many seconds, row by row from the top, four bytes a pixel.
fn pixels(seconds: f32) -> Vec<u8> {
    let lights =
        LIGHTS.map(|(colour, radius, phase)| (colour.to_linear().to_vec3(), radius, place(phase, seconds)));
    let night = theme::NIGHT.to_linear().to_vec3();
    let half = SIZE.as_vec2() / 2.0;
    let mut bytes = Vec::with_capacity((SIZE.x * SIZE.y * 4) as usize);
    for row in 0..SIZE.y {
        for column in 0..SIZE.x {
            let at = (UVec2::new(column, row).as_vec2() + 0.5 - half) * Vec2::new(GRAIN, -GRAIN);
            let mut colour = night;
            for (light, radius, middle) in lights {
                let near = 1.0 - at.distance(middle) / radius;
                if near > 0.0 {
                    colour = colour.lerp(light, STRENGTH * near.powf(2.4));
                }
            }
            let shown = Srgba::from(LinearRgba::from_vec3(colour));
            bytes.extend(shown.to_u8_array());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lights_stay_within_the_picture_and_the_rest_is_night() {
        let night = Srgba::from(theme::NIGHT).to_u8_array();
        for second in (0..400).step_by(7) {
            let picture = pixels(second as f32);
            let edges = picture.chunks_exact(4).enumerate().filter(|(i, _)| {
                let (x, y) = (*i as u32 % SIZE.x, *i as u32 / SIZE.x);
                x == 0 || y == 0 || x == SIZE.x - 1 || y == SIZE.y - 1
            });
            for (_, pixel) in edges {
                let off = pixel.iter().zip(night).map(|(a, b)| a.abs_diff(b)).max();
                assert!(off <= Some(2), "{pixel:?} at {second} s, and {night:?} is the night");
            }
            assert!(picture.chunks_exact(4).any(|pixel| pixel[2] > 60), "a light is to be seen");
        }
    }
}
