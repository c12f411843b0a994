//! Each screen at three sizes, laid out as in a window but without one and without a graphics card: no text is cut, none lies over
//! another one.

use std::time::Duration;

use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::settings::WgpuSettings;
use bevy::text::TextLayoutInfo;
use bevy::time::TimeUpdateStrategy;
use bevy::ui::{CalculatedClip, UiGlobalTransform};
use bevy::window::WindowResolution;
use bevy::winit::WinitPlugin;
use clap::ValueEnum;

use super::hud::is_name_tag;
use super::{Form, ScreenName, ScreensPlugin};
use crate::embedded::Practice;
use crate::flow::Seed;
use crate::net::systems::{NetPlugin, PlayerName};
use crate::session::Profile;
use crate::showcase::ShowcasePlugin;
use crate::view::ViewPlugin;

/// A small window on a handheld, the size that the game is drawn for, and a full screen.
const SIZES: [(u32, u32); 3] = [(640, 360), (1280, 720), (1920, 1080)];
/// Letters may stand out of their box by so many pixels: rounding.
const TOLERANCE: f32 = 1.5;
/// A frame takes so long, in the game's time.
const FRAME: Duration = Duration::from_millis(50);

fn app(screen: ScreenName, (width, height): (u32, u32)) -> App {
    let resolution = WindowResolution::new(width, height).with_scale_factor_override(1.0);
    let window = Window { resolution, ..default() };
    let settings = WgpuSettings { backends: None, ..default() };
    let mut app = App::new();
    app.add_plugins(
        DefaultPlugins
            .set(WindowPlugin { primary_window: Some(window), ..default() })
            .set(RenderPlugin { render_creation: settings.into(), ..default() })
            .disable::<WinitPlugin>()
            .disable::<bevy::log::LogPlugin>(),
    )
    .insert_resource(TimeUpdateStrategy::ManualDuration(FRAME))
    .insert_resource(PlayerName(String::from("Ada")))
    .insert_resource(Profile { name: String::from("Ada"), server: String::from("lobby.example.com") })
    .insert_resource(Seed(7))
    .insert_resource(Form {
        note: String::from(
            "A lobby server runs in this game: friends nearby start with --lobby 192.168.178.23:65432",
        ),
        ..Form::default()
    })
    .init_resource::<Practice>()
    .add_plugins((NetPlugin, ScreensPlugin, ViewPlugin, ShowcasePlugin { screen }));
    app.finish();
    app.cleanup();
    app
}

/// Returns all texts that are to be seen, with the boxes of their letters and what cuts them.
fn texts(app: &mut App) -> Vec<(String, Rect, Option<Rect>)> {
    let world = app.world_mut();
    let mut query = world.query::<(
        Entity,
        &Text,
        &TextLayoutInfo,
        &ComputedNode,
        &UiGlobalTransform,
        &InheritedVisibility,
        Option<&CalculatedClip>,
    )>();
    let all: Vec<_> = query
        .iter(world)
        .filter(|(_, text, .., visible, _)| visible.get() && !text.0.trim().is_empty())
        .map(|(entity, text, letters, node, at, _, clip)| {
            let corner = at.translation - node.size / 2.0;
            let letters = Rect::from_corners(corner, corner + letters.size / node.inverse_scale_factor());
            (entity, text.0.clone(), letters, clip.map(|clip| clip.clip))
        })
        .collect();
    // Names over ships go where the ships go.
    all.into_iter()
        .filter(|(entity, ..)| !is_name_tag(world, *entity))
        .map(|(_, text, letters, clip)| (text, letters, clip))
        .collect()
}

/// Returns what is wrong with the texts of a screen.
fn faults(screen: ScreenName, size: (u32, u32)) -> Vec<String> {
    let mut app = app(screen, size);
    // A match has begun, and somebody has won; a page stands still after a few.
    let frames = match screen {
        ScreenName::Game | ScreenName::Winner | ScreenName::Watching | ScreenName::Chat => 110,
        _ => 12,
    };
    (0..frames).for_each(|_| app.update());
    let texts = texts(&mut app);
    let mut faults = Vec::new();
    let none_is_right = screen == ScreenName::Game; // a match without announcements
    if texts.is_empty() && !none_is_right {
        faults.push(String::from("nothing is written"));
    }
    let window = Rect::new(0.0, 0.0, size.0 as f32, size.1 as f32);
    let within = |outer: Rect, inner: Rect| {
        let outer = outer.inflate(TOLERANCE);
        outer.contains(inner.min) && outer.contains(inner.max)
    };
    for (i, (text, letters, clip)) in texts.iter().enumerate() {
        if !within(window, *letters) || clip.is_some_and(|clip| !within(clip, *letters)) {
            faults.push(format!("{text:?} is cut: {letters:?} in {clip:?}"));
        }
        for (other, others, _) in &texts[i + 1..] {
            let common = letters.intersect(*others);
            if common.width() > TOLERANCE && common.height() > TOLERANCE {
                faults.push(format!("{text:?} lies over {other:?}"));
            }
        }
    }
    faults
}

#[test]
fn no_text_of_any_screen_is_cut_or_lies_over_another() {
    let mut all = Vec::new();
    for screen in ScreenName::value_variants() {
        for size in SIZES {
            let faults = faults(*screen, size);
            all.extend(faults.into_iter().map(|fault| format!("{screen:?} {size:?}: {fault}")));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}
