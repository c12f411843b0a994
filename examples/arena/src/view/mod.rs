//! The pictures: the stage, the players, their shots, and what flies about. All of it reads the
//! [`Scene`](crate::scene::Scene) and nothing else.

mod actors;
mod attract;
mod effects;
mod particles;
mod sky;
mod stage;

use bevy::asset::RenderAssetUsages;
use bevy::image::{CompressedImageFormats, ImageSampler, ImageType};
use bevy::prelude::*;

pub use stage::StageCamera;

/// Returns where a place of the world is shown.
pub fn on_stage(at: Vec2) -> Vec3 {
    at.extend(0.0)
}

/// Returns a picture that is part of the program, so that it runs from any folder.
pub fn picture(bytes: &[u8]) -> Image {
    let usage = RenderAssetUsages::RENDER_WORLD;
    let kind = ImageType::Extension("png");
    Image::from_buffer(bytes, kind, CompressedImageFormats::NONE, true, ImageSampler::linear(), usage)
        .unwrap_or_default()
}

/// This is the layer of the picture that a sprite belongs to, from the back to the front.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The lights drift behind the floor.
    Lights,
    /// The floor is a grid.
    Floor,
    /// The wall is a line of light around it.
    Wall,
    /// The pillars stand on the floor.
    Pillars,
    /// The ships fly, each with its light.
    Ships,
    /// The shots and the things on the floor.
    Shots,
    /// The sparks, trails and rings.
    Sparks,
}

impl Layer {
    /// These are all of them.
    pub const ALL: [Self; 7] =
        [Self::Lights, Self::Floor, Self::Wall, Self::Pillars, Self::Ships, Self::Shots, Self::Sparks];
}

macro_rules! pictures {
    ($($name:ident),+) => {
        /// These are all sprites: they are white, and tinted where they are used.
        #[derive(Resource, Clone, Debug)]
        pub struct Pictures {
            $(
                #[doc = concat!("`assets/", stringify!($name), ".png`")]
                pub $name: Handle<Image>,
            )+
        }

        fn load(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
            commands.insert_resource(Pictures {
                $($name: images.add(picture(include_bytes!(
                    concat!("../../../../assets/", stringify!($name), ".png")
                ))),)+
            });
        }
    };
}

pictures!(glow, spark, ship, bolt, ring, hexagon, pillar, grid, frame, heart, rapid, shield);

/// This says how violently the picture shakes, 0..=1.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct Shake(f32);

/// Draws the match: the stage, the players, the effects.
#[derive(Debug)]
pub struct ViewPlugin;

impl Plugin for ViewPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Shake>()
            .insert_resource(ClearColor(crate::theme::NIGHT))
            .add_systems(PreStartup, load)
            .add_plugins((
                sky::SkyPlugin,
                stage::StagePlugin,
                actors::ActorsPlugin,
                particles::ParticlesPlugin,
                effects::EffectsPlugin,
                attract::AttractPlugin,
            ));
    }
}
