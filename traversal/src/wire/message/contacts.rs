//! Contacts: whom a player allows to know that it is on line, and what those hear of it (M35).

use serde::{Deserialize, Serialize};

use crate::id::PlayerId;
use crate::text::{self, TextError};

/// A player may allow this many others: the server keeps the list while the player is on line.
pub const MAX_CONTACTS: usize = 1000;
/// This many ids go into one part of a list, so that it fits one datagram.
pub const CONTACTS_PER_PART: usize = 60;

/// This is what a player asks about its contacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ContactsRequest {
    /// This is a part of the list of those whom the player allows, which takes the place of the earlier one with its last part.
    /// The parts are asked for one after the other.
    Part {
        /// The list begins with this part.
        first: bool,
        /// The list is whole with this part.
        last: bool,
        /// These are allowed, at most [`CONTACTS_PER_PART`] of them.
        allow: Vec<PlayerId>,
    },
    /// One player is allowed from now on, or is not any more.
    Allow {
        /// This is the player.
        player: PlayerId,
        /// It is allowed, or not.
        allow: bool,
    },
    /// This is how the player is to be shown.
    Status(Status),
}

/// This is what a player says of itself to its contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The player is not at the device.
    pub away: bool,
    /// The player plays: it is connected to another one. The agent sets it.
    pub playing: bool,
    /// The player's own words, after the rule [`text::STATUS`].
    pub text: String,
    /// Contacts are not told in which room the player is.
    pub hide_room: bool,
    /// Players who are not among the contacts may call, too.
    pub strangers_ring: bool,
}

impl Status {
    /// Returns it with the text as it is kept.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn checked(self) -> Result<Self, TextError> {
        Ok(Self { text: text::STATUS.check(&self.text)?, ..self })
    }
}

/// This is how it is about a contact that is on line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The player goes by this name.
    #[serde(deserialize_with = "text::read_name")]
    pub name: String,
    /// The player is in the room of this name, if it is in one and does not hide that.
    #[serde(deserialize_with = "text::read_room_of_contact")]
    pub room: Option<String>,
    /// The player plays.
    pub playing: bool,
    /// The player is not at the device.
    pub away: bool,
    /// The player's own words; they may be empty.
    #[serde(deserialize_with = "text::read_status")]
    pub text: String,
}

/// This is news of one contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactNews {
    /// The news are about this contact.
    pub player: PlayerId,
    /// This is its presence, or `None` if it is off line or no longer allows this player.
    pub presence: Option<Presence>,
}
