//! What a screen consists of, as plain data.

use bevy::prelude::Message;
use bevy_traversal::PlayerId;

use super::Screen;
use super::picture::Picture;
use crate::network::Light;
use crate::settings::Act;

/// Somebody has pressed a control that does this.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct Pressed(pub Action);

/// These things can be done on screens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Go to another screen.
    Go(Screen),
    /// Host a room against computer players at once.
    QuickPlay,
    /// Open the room as the form says.
    OpenRoom,
    /// Look at the room list.
    Browse,
    /// Enter a room of the list.
    Enter {
        /// This is the code of the room.
        code: String,
        /// It asks for a password.
        locked: bool,
        /// The player only watches the match.
        watch: bool,
    },
    /// Enter by the code in the form.
    EnterCode,
    /// Wait for players who want a match, too.
    FindPlayers,
    /// Say this to all in the room.
    Say(String),
    /// Begin the match, as the host.
    Begin,
    /// Be ready for a match, or want another one; or no longer.
    Ready(bool),
    /// Put this text into the system's clipboard.
    Copy(String),
    /// Put a member out.
    Kick(PlayerId),
    /// Give up, or leave the room.
    Leave,
    /// Try the last thing once more.
    Retry,
    /// Go one screen back.
    Back,
    /// End the program.
    Quit,
    /// Change a choice of the form.
    Change(Choice, i32),
    /// Wait for the key that is to do this.
    SetKey(Act),
}

/// This is a text of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// This is the player's name.
    Name,
    /// This is the lobby server.
    Server,
    /// This is the room's name.
    Room,
    /// This is the room's password.
    Password,
    /// This is the code of a room, or an invite.
    Code,
    /// Rooms are looked for by this.
    Search,
}

/// This is a choice of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// So many players fit into the room.
    Capacity,
    /// So many play a quick match.
    Together,
    /// So many computer players take part.
    Bots,
    /// So many points win a round.
    Points,
    /// It is played there.
    Map,
    /// Everybody plays for himself, or two teams play.
    Mode,
    /// This says whether the room is listed or hidden.
    Listed,
    /// This is the order of the list of rooms.
    Order,
    /// Full rooms are listed, or left out.
    Full,
    /// Sounds are so loud.
    Volume,
    /// The music is so loud.
    Music,
    /// This is the colour that the player wishes.
    Colour,
    /// This says whether the game fills the screen.
    FullScreen,
}

/// This says how a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The text is big, for headings.
    Heading,
    /// The text is plain, for running text.
    Plain,
    /// The text is faint, for what matters less.
    Faint,
    /// The text is good news, in green.
    Good,
    /// The text is bad news, in red.
    Bad,
    /// The text has this player's colour.
    Player(u8),
    /// The text is a code, to be read out to a friend.
    Code,
}

/// This is a part of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// This is the game's name, as a picture.
    Logo,
    /// These are words in a tone.
    Text(Tone, String),
    /// This is a light with words beside it.
    Light(Light, String),
    /// This is the picture of connecting.
    Picture(Picture),
    /// This is a text to be typed: which, its label, and what it shows while empty.
    Field(Field, &'static str, &'static str),
    /// This is something to be chosen.
    Choice(Choice, &'static str, String),
    /// This is something to be pressed, if it can be.
    Button(String, Action, bool),
    /// These items stand side by side and share the width.
    Row(Vec<Item>),
    /// This is a framed line of a list: it has left and right words, and small buttons.
    Line(Tone, String, String, Vec<(String, Action)>),
    /// These items stand close together, one below the other.
    Column(Vec<Item>),
    /// These are the latest lines of the chat, each with the writer's tone and name; and what is being typed, if it is.
    Chat(Vec<(Tone, String, String)>, Option<String>),
    /// This is some space before what follows.
    Gap,
}

/// Makes a button that can be pressed.
pub fn button(text: impl Into<String>, action: Action) -> Item {
    Item::Button(text.into(), action, true)
}

/// Makes a text in a tone.
pub fn text(tone: Tone, text: impl Into<String>) -> Item {
    Item::Text(tone, text.into())
}

/// This is what a screen consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// These items stand on the page, from top to bottom.
    pub items: Vec<Item>,
    /// This is the width of the panel, in design pixels.
    pub width: f32,
}

/// This is something that takes focus.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// This is a text to be typed, see [`Item::Field`].
    Field(Field),
    /// This is a choice, see [`Item::Choice`].
    Choice(Choice),
    /// This is a button, see [`Item::Button`].
    Button(Action),
}

impl Page {
    /// Returns all controls in the order in which Tab visits them; those that cannot be used are left out.
    pub fn controls(&self) -> Vec<Control> {
        fn collect(items: &[Item], controls: &mut Vec<Control>) {
            for item in items {
                match item {
                    Item::Field(field, ..) => controls.push(Control::Field(*field)),
                    Item::Choice(choice, ..) => controls.push(Control::Choice(*choice)),
                    Item::Button(_, action, true) => controls.push(Control::Button(action.clone())),
                    Item::Line(.., presses) => {
                        controls.extend(presses.iter().map(|(_, action)| Control::Button(action.clone())));
                    }
                    Item::Row(items) | Item::Column(items) => collect(items, controls),
                    _ => {}
                }
            }
        }
        let mut controls = Vec::new();
        collect(&self.items, &mut controls);
        controls
    }
}
