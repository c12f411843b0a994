#![doc = include_str!("../README.md")]

mod history;
mod panel;
mod view;

use std::time::Duration;

use bevy_app::{App, Plugin, PostUpdate, PreUpdate, Update};
use bevy_ecs::prelude::*;
use bevy_input::ButtonInput;
use bevy_input::keyboard::KeyCode;
use bevy_traversal::{TraversalDiagnosticsPlugin, TraversalSystems};

/// Plugin: it adds an overlay that a key shows and hides. See the [crate's documentation](crate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlayPlugin {
    /// This key shows and hides the overlay (default: F3). None: only the game switches it, by [`Overlay::shown`].
    pub key: Option<KeyCode>,
    /// This says whether it is shown from the start (default: false).
    pub shown: bool,
}

impl Default for OverlayPlugin {
    fn default() -> Self {
        Self { key: Some(KeyCode::F3), shown: false }
    }
}

/// Resource: this is the overlay's state, which the game may change at any time.
#[derive(Resource, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// This says whether it is on the screen.
    pub shown: bool,
    /// This is the key that shows and hides it, if any.
    pub key: Option<KeyCode>,
}

/// This is how often the texts follow what happens, while they are shown.
const REFRESH: Duration = Duration::from_millis(250);

impl Plugin for OverlayPlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(Overlay { shown: self.shown, key: self.key })
            .init_resource::<view::Troubles>()
            .add_systems(PreUpdate, (history::keep, view::remember).after(TraversalSystems::Receive))
            .add_systems(Update, switch)
            .add_systems(
                PostUpdate,
                panel::follow
                    .run_if(resource_exists::<panel::Panel>.or_else(|overlay: Res<Overlay>| overlay.shown))
                    .before(bevy_ui::UiSystems::Prepare),
            );
    }

    fn finish(&self, app: &mut App) {
        if !app.is_plugin_added::<TraversalDiagnosticsPlugin>() {
            app.add_plugins(TraversalDiagnosticsPlugin::default());
        }
    }
}

/// Shows and hides it by its key, where the game has a keyboard.
fn switch(keys: Option<Res<ButtonInput<KeyCode>>>, mut overlay: ResMut<Overlay>) {
    let (Some(keys), Some(key)) = (keys, overlay.key) else { return };
    if keys.just_pressed(key) {
        overlay.shown = !overlay.shown;
    }
}
