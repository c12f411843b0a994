//! Colours and sizes. Sizes are for a window of 1280x720; everything is scaled to the real one, so a text of 24
//! is 12 pixels high at 640x360 and 72 at 4K.

use bevy::prelude::*;

/// Sizes are meant for this width and height.
pub const DESIGN: Vec2 = Vec2::new(1280.0, 720.0);
/// This is the size of small text, in design pixels: 11 pixels at 640x360.
pub const SMALL: f32 = 22.0;
/// This is the size of the badges below names, in design pixels: "direct 138 ms" is as wide as a name's frame.
pub const BADGE: f32 = 20.0;
/// This is the size of running text, in design pixels.
pub const TEXT: f32 = 25.0;
/// This is the size of headings, in design pixels.
pub const HEADING: f32 = 42.0;
/// This is the size of numbers that are read across the room, in design pixels.
pub const HUGE: f32 = 110.0;

/// This is the night behind everything.
pub const NIGHT: Color = Color::srgb(0.020, 0.027, 0.063);
/// This is the background of panels.
pub const PANEL: Color = Color::srgba(0.035, 0.050, 0.110, 0.93);
/// This is the colour of the lines around panels.
pub const LINE: Color = Color::srgba(0.30, 0.45, 0.75, 0.45);
/// This is the colour of controls at rest.
pub const CONTROL: Color = Color::srgba(0.10, 0.14, 0.27, 0.95);
/// This is the colour of controls that cannot be used.
pub const DISABLED: Color = Color::srgba(0.07, 0.09, 0.16, 0.95);
/// This is the colour of what is in focus.
pub const ACCENT: Color = Color::srgb(0.18, 0.89, 0.93);
/// This is the colour of words.
pub const WORDS: Color = Color::srgb(0.90, 0.94, 1.0);
/// This is the colour of less important words.
pub const FAINT: Color = Color::srgb(0.58, 0.66, 0.82);
/// This is the colour of good news.
pub const GOOD: Color = Color::srgb(0.34, 1.0, 0.62);
/// This is the colour of what works over a detour.
pub const DETOUR: Color = Color::srgb(1.0, 0.76, 0.26);
/// This is the colour of bad news.
pub const BAD: Color = Color::srgb(1.0, 0.42, 0.48);

/// These are the players' colours, by number.
const PLAYERS: [Color; 8] = [
    Color::srgb(0.18, 0.89, 0.93),
    Color::srgb(1.00, 0.28, 0.64),
    Color::srgb(1.00, 0.82, 0.20),
    Color::srgb(0.30, 1.00, 0.52),
    Color::srgb(1.00, 0.54, 0.18),
    Color::srgb(0.68, 0.46, 1.00),
    Color::srgb(1.00, 0.36, 0.36),
    Color::srgb(0.78, 0.86, 1.00),
];

/// Returns a player's colour.
pub fn colour(player: u8) -> Color {
    PLAYERS[usize::from(player) % PLAYERS.len()]
}

/// Returns the name of a player's colour.
pub fn colour_name(player: u8) -> &'static str {
    ["cyan", "pink", "yellow", "green", "orange", "violet", "red", "white"]
        [usize::from(player) % PLAYERS.len()]
}

/// Returns a player's colour where two teams play: cold ones for the first, warm ones for the second.
pub fn team_colour(player: u8) -> Color {
    const TEAMS: [[usize; 4]; 2] = [[0, 3, 5, 7], [1, 2, 4, 6]];
    PLAYERS[TEAMS[usize::from(player % 2)][usize::from(player / 2) % 4]]
}
