//! The screens: each is a pure function from what is known to a [`page::Page`]; `draw` shows it, `control` hears
//! keyboard and mouse, `navigate` moves between screens.

mod control;
mod draw;
mod form;
mod hud;
#[cfg(test)]
mod layout_tests;
mod navigate;
pub mod page;
mod pages;
mod picture;
mod sample;

use bevy::prelude::*;

use crate::net::systems::Colour;
use crate::session::RoomWish;
use crate::settings::Settings;

pub use draw::{Focus, UiPictures};
pub use form::Form;
pub use navigate::{TroubleText, autostart};
pub use sample::{sample, sample_chat};

/// This says where the player is.
#[derive(States, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Screen {
    /// The player gives name and server, and chooses where to go.
    #[default]
    Title,
    /// The player sets the options of a room before it is opened.
    Host,
    /// The public rooms are listed.
    Rooms,
    /// The player types a code from a friend.
    Code,
    /// The player says how many are to play, and looks for others.
    Quick,
    /// The player sees what is being tried.
    Connecting,
    /// The player is in the room, before the match.
    Lobby,
    /// The match is played.
    Game,
    /// The menu is open in the match, which goes on.
    Paused,
    /// The match has a winner: how it was, and whether there is another one.
    Over,
    /// The player sets colour, keys and window.
    Settings,
    /// The player is asked whether to part from the match.
    Sure(Parting),
    /// The player reads what went wrong, and what can be done.
    Trouble,
}

impl Screen {
    /// Returns whether players write to each other here.
    pub fn has_chat(self) -> bool {
        matches!(self, Self::Lobby | Self::Game | Self::Over)
    }
}

/// These are the ways out of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parting {
    /// The player leaves the room.
    Leave,
    /// The program ends.
    Quit,
}

/// The same as words of the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenName {
    /// The title is shown.
    Title,
    /// The player chooses how to host.
    Host,
    /// The public rooms are listed.
    Rooms,
    /// Join by code.
    Code,
    /// The player says how many are to play.
    Quick,
    /// The player waits for a quick match.
    Waiting,
    /// The game connects.
    Connecting,
    /// The players wait in the room.
    Lobby,
    /// Lobby room, as a guest.
    Guest,
    /// A match is played.
    Game,
    /// A match is about to begin.
    Countdown,
    /// A match is watched.
    Watching,
    /// A match is played, and players write to each other.
    Chat,
    /// The winner of a round.
    Winner,
    /// The menu over a match.
    Paused,
    /// The end of a match.
    Over,
    /// Colour, keys and window are set.
    Settings,
    /// Whether the match is to be left.
    Leaving,
    /// An error is shown.
    Trouble,
}

/// This plugin shows the screens, the HUD and their controls.
#[derive(Debug)]
pub struct ScreensPlugin;

impl Plugin for ScreensPlugin {
    fn build(&self, app: &mut App) {
        app.init_state::<Screen>()
            .init_resource::<Form>()
            .init_resource::<draw::Shown>()
            .init_resource::<Focus>()
            .init_resource::<TroubleText>()
            .init_resource::<crate::chat::Chat>()
            .add_message::<crate::chat::Say>()
            .init_resource::<picture::Flights>()
            .init_resource::<crate::network::Packets>()
            .add_message::<page::Pressed>()
            .add_systems(Startup, (draw::load, draw::set_font))
            .add_systems(
                Update,
                (
                    draw::scale,
                    (keep_settings, wish_rooms),
                    control::mouse,
                    control::keyboard,
                    navigate::obey,
                    navigate::follow,
                    draw::refresh,
                    draw::highlight,
                    picture::follow,
                    picture::animate,
                )
                    .chain()
                    .after(crate::net::systems::NetSystems::Scene),
            )
            .add_plugins(hud::HudPlugin);
    }
}

/// The list has the rooms that the form describes.
fn wish_rooms(form: Res<Form>, wish: Option<ResMut<RoomWish>>) {
    if let Some(mut wish) = wish {
        wish.set_if_neq(RoomWish(form.query()));
    }
}

/// What is set on a page counts at once, and is kept.
fn keep_settings(form: Res<Form>, settings: Option<ResMut<Settings>>, mut colour: ResMut<Colour>) {
    colour.0 = form.settings.colour;
    if let Some(mut settings) = settings.filter(|_| form.is_changed()) {
        settings.set_if_neq(form.settings.clone());
    }
}
