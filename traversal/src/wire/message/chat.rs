//! Chat: what players write to each other, through the server, or between the agents where a connection stands.

use serde::{Deserialize, Serialize};

use super::room::PlayerInfo;
use crate::id::{PartyId, PlayerId, RoomId};
use crate::text::{self, CHAT, TextError};

/// This says whom a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChatTo {
    /// It is for all in the room that the writer is in: members and those who watch.
    Room,
    /// It is for this player. Both have to allow each other as contacts.
    Player(PlayerId),
    /// It is for all in the party that the writer is in.
    Party,
}

/// This is what a player asks about chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChatRequest {
    /// Hand on a text. Answered with [`Response::Done`](super::Response::Done) once it is handed on, or with
    /// [`RequestError::Chat`](super::RequestError::Chat).
    Say {
        /// The writer numbers its texts by this, counting up: a text that comes twice is shown once.
        number: u64,
        /// This says whom it is for.
        to: ChatTo,
        /// This is the text, after the rule [`text::CHAT`].
        text: String,
    },
    /// Tell the server's operator of another player.
    Report {
        /// This player is reported.
        player: PlayerId,
        /// This is what the reporter says about it, after the rule [`text::REPORT`].
        #[serde(deserialize_with = "text::read_report")]
        text: String,
    },
}

/// This is what a player is told of chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChatNews {
    /// Somebody has written this.
    Text {
        /// This is the writer, as the server knows it.
        from: PlayerInfo,
        /// The writer's number of the text.
        number: u64,
        /// This says where it was written.
        place: ChatPlace,
        /// This is the text.
        #[serde(deserialize_with = "text::read_chat")]
        text: String,
    },
    /// The operator has switched chat on or off. After a login it counts as on until the server says otherwise.
    Switched {
        /// There is chat.
        on: bool,
    },
}

/// This says where a text was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChatPlace {
    /// It was written to all in this room.
    Room(RoomId),
    /// It was written by a contact to this player alone.
    Contact,
    /// It was written to all in this party.
    Party(PartyId),
}

/// This is why a text was not handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ChatFault {
    /// The operator of the server has switched chat off.
    #[error("the lobby server has no chat: its operator has switched it off")]
    Off,
    /// The player, or all in its room together, write more than may be.
    #[error("too fast; write again in {} s", seconds(*.retry_after_ms))]
    TooFast {
        /// A text is taken again after this many milliseconds.
        retry_after_ms: u32,
    },
    /// The text breaks its rule: it is empty, too long, or has characters that are not to be shown.
    #[error("{what}")]
    Text {
        /// This says which rule, with the limit.
        #[serde(deserialize_with = "text::read_reason")]
        what: String,
    },
    /// The player is in no room.
    #[error("you are not in a room")]
    NotInRoom,
    /// Who watches a room reads what its members write, and does not write.
    #[error("who watches a room does not write in it; join it to write")]
    OnlyWatches,
    /// There is no such player, or it is not on line, or the two have not allowed each other: nobody is told which (M34).
    #[error("that player cannot be reached: it is not on line, or you have not allowed each other")]
    NotReached,
    /// The player is in no party.
    #[error("you are not in a party")]
    NotInParty,
}

impl From<TextError> for ChatFault {
    fn from(error: TextError) -> Self {
        Self::Text { what: error.to_string() }
    }
}

/// Returns the text as it is handed on.
///
/// # Errors
/// Which rule it breaks.
pub fn checked_chat(text: &str) -> Result<String, ChatFault> {
    CHAT.check(text).map_err(ChatFault::from)
}

/// Returns milliseconds as seconds for a person, never less than there are.
fn seconds(ms: u32) -> String {
    format!("{:.1}", f64::from(ms.div_ceil(100)) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_refused_names_the_limit() {
        for (text, said) in [
            (String::new(), "at least one character"),
            (" \u{3000} ".into(), "at least one character"),
            ("x".repeat(257), "256 characters"),
            ("\u{732b}".repeat(150), "448 bytes"),
            ("a\u{202e}b".into(), "U+202E"),
            ("a\u{1b}[2Jb".into(), "U+001B"),
        ] {
            let fault = checked_chat(&text).unwrap_err();
            assert!(fault.to_string().contains(said), "{text:?}: {fault}");
        }
        assert_eq!(checked_chat("  cafe\u{301} ").as_deref(), Ok("café"));
        assert_eq!(ChatFault::TooFast { retry_after_ms: 301 }.to_string(), "too fast; write again in 0.4 s");
    }
}
