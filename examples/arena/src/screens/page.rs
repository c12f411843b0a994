//! What a screen consists of, as plain data.

use bevy::prelude::Message;

use super::Screen;

/// What a control does.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct Pressed(pub Action);

/// Things that can be done on screens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To another screen.
    Go(Screen),
    /// Host a room against computer players at once.
    QuickPlay,
    /// Open the room as the form says.
    OpenRoom,
    /// Look at the room list.
    Browse,
    /// Enter a room of the list.
    Enter {
        /// Its code.
        code: String,
        /// It asks for a password.
        locked: bool,
    },
    /// Enter by the code in the form.
    EnterCode,
    /// The host begins.
    Begin,
    /// Put a member out.
    Kick(u64),
    /// Give up, or leave the room.
    Leave,
    /// The last thing once more.
    Retry,
    /// One back.
    Back,
    /// End the program.
    Quit,
    /// Change a choice of the form.
    Change(Choice, i32),
}

/// A text of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The player's name.
    Name,
    /// The lobby server.
    Server,
    /// The room's name.
    Room,
    /// Its password.
    Password,
    /// A code.
    Code,
}

/// A choice of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Players in the room.
    Capacity,
    /// Computer players.
    Bots,
    /// Points that win a round.
    Points,
    /// Listed or hidden.
    Listed,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Big.
    Heading,
    /// Running text.
    Plain,
    /// Less important.
    Faint,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
    /// In a player's colour.
    Player(u8),
    /// To be read out to a friend.
    Code,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// The game's name, as a picture.
    Logo,
    /// Words.
    Text(Tone, String),
    /// A text to be typed: which, its label, and what it shows while empty.
    Field(Field, &'static str, &'static str),
    /// Something to be chosen.
    Choice(Choice, &'static str, String),
    /// Something to be pressed, if it can be.
    Button(String, Action, bool),
    /// Side by side, sharing the width.
    Row(Vec<Item>),
    /// A framed line of a list: left and right words, and maybe a small button.
    Line(Tone, String, String, Option<(String, Action)>),
    /// Some air.
    Gap,
}

/// A button that can be pressed.
pub fn button(text: impl Into<String>, action: Action) -> Item {
    Item::Button(text.into(), action, true)
}

/// Running text.
pub fn text(tone: Tone, text: impl Into<String>) -> Item {
    Item::Text(tone, text.into())
}

/// A screen's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// From top to bottom.
    pub items: Vec<Item>,
    /// Width of the panel, in design pixels.
    pub width: f32,
}

/// Something that takes focus.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// See [`Item::Field`].
    Field(Field),
    /// See [`Item::Choice`].
    Choice(Choice),
    /// See [`Item::Button`].
    Button(Action),
}

impl Page {
    /// All controls in the order in which Tab visits them; those that cannot be used are left out.
    pub fn controls(&self) -> Vec<Control> {
        fn collect(items: &[Item], controls: &mut Vec<Control>) {
            for item in items {
                match item {
                    Item::Field(field, ..) => controls.push(Control::Field(*field)),
                    Item::Choice(choice, ..) => controls.push(Control::Choice(*choice)),
                    Item::Button(_, action, true) => controls.push(Control::Button(action.clone())),
                    Item::Line(.., Some((_, action))) => controls.push(Control::Button(action.clone())),
                    Item::Row(items) => collect(items, controls),
                    _ => {}
                }
            }
        }
        let mut controls = Vec::new();
        collect(&self.items, &mut controls);
        controls
    }
}
