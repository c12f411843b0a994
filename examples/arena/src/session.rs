//! What the game knows about servers, rooms and players, in its own words. `traversal_glue` keeps it up to date
//! and carries out what is asked; screens, flow and tests know nothing of the plugin. Its type for passwords is used here too,
//! which prints none and forgets them.

use std::time::Duration;

use bevy::prelude::{Message, Resource};
use bevy_traversal::Secret;

use crate::sim::Rules;

/// This says who plays here, and which lobby server serves.
#[derive(Resource, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Others see this name.
    pub name: String,
    /// This is the lobby server, `host:port`.
    pub server: String,
}

/// This says how a room is to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPlan {
    /// This is the room's name; where it is empty the server finds one.
    pub room: String,
    /// Everyone who joins is asked for this password; `None`: nobody is asked.
    pub password: Option<Secret<String>>,
    /// This says whether the room stands in the list.
    pub listed: bool,
    /// So many players fit into the room, with the host.
    pub capacity: u16,
    /// So many computer players are let in.
    pub bots: usize,
    /// These are the rules of the match.
    pub rules: Rules,
    /// The match begins without being asked when so many are here.
    pub begin_with: Option<usize>,
}

impl Default for HostPlan {
    fn default() -> Self {
        Self {
            room: String::new(),
            password: None,
            listed: true,
            capacity: 8,
            bots: 0,
            rules: Rules::default(),
            begin_with: None,
        }
    }
}

/// This says which room to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The player enters the room of this name.
    Name(String),
    /// The player enters the room of this short code.
    Code(String),
}

impl Target {
    /// Returns the room as a sentence names it.
    pub fn words(&self) -> String {
        match self {
            Self::Name(name) => format!("room \"{name}\""),
            Self::Code(code) => format!("the room with code {}", code.to_uppercase()),
        }
    }
}

/// This is what the player is after. The flow pursues it until it is reached or given up.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub enum Goal {
    /// Nothing is wanted.
    #[default]
    Idle,
    /// See the public rooms.
    Browse,
    /// Open a room and host the game.
    Host(HostPlan),
    /// Enter a room.
    Join {
        /// This is the room to enter.
        target: Target,
        /// This is the password; `None`: the room wants none.
        password: Option<Secret<String>>,
        /// Keep asking for so long while there is no such room.
        wait: Duration,
    },
}

/// This is a request to whoever carries it out.
#[derive(Message, Clone, Debug, PartialEq)]
pub enum Ask {
    /// Log in as the [`Profile`] says.
    Connect,
    /// Open a room and host the game.
    Host(HostPlan),
    /// Enter a room.
    Join {
        /// This is the room to enter.
        target: Target,
        /// This is the password; `None`: the room wants none.
        password: Option<Secret<String>>,
        /// Keep asking for so long while there is no such room.
        wait: Duration,
    },
    /// Ask for the list of rooms.
    List,
    /// Leave the present room.
    Leave,
    /// Put a member out.
    Kick(u64),
}

/// The host left or was lost, and another player goes on with the match.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct HostChange {
    /// This says whether this player hosts now.
    pub hosting: bool,
    /// This is the old host's client id in renet.
    pub previous: u64,
    /// This is the new host's shown name.
    pub name: String,
}

/// This is how the link to the lobby server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// No lobby server is wanted.
    #[default]
    Offline,
    /// A login is under way.
    Connecting,
    /// The player is logged in.
    Online {
        /// This is the player's address as the server sees it.
        seen_as: String,
    },
    /// Lost or not found; tried again by itself.
    Retrying {
        /// This says why, as a sentence for the player.
        reason: String,
    },
    /// The server refuses, and trying again does not help.
    Refused {
        /// This says why, as a sentence for the player.
        reason: String,
    },
}

/// The room this player is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// This is the room's name.
    pub name: String,
    /// This is the short code, to be read out to friends.
    pub code: String,
    /// This player is its host.
    pub hosting: bool,
    /// The room takes so many players, with the host.
    pub capacity: u16,
}

/// This is a member of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This is the member's client id in renet.
    pub client: u64,
    /// Others see this name.
    pub name: String,
    /// It is this player.
    pub me: bool,
    /// This says whether this member hosts the room.
    pub host: bool,
    /// This says by which way the member is reached, once it is.
    pub path: Option<String>,
    /// This is the round trip, in milliseconds.
    pub ping: Option<u32>,
}

/// This is a room in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// This is the room's name.
    pub name: String,
    /// This is the short code, to be read out to friends.
    pub code: String,
    /// This is the host's name.
    pub host: String,
    /// So many players are inside.
    pub members: u16,
    /// The room takes so many players, with the host.
    pub capacity: u16,
    /// Asks for a password.
    pub locked: bool,
}

/// This is everything that is known.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// This says how far the link to the lobby server has come.
    pub link: Link,
    /// This is this player's client id in renet; it is known after the login.
    pub me: Option<u64>,
    /// This is the name of the own NAT's kind, once it is known.
    pub nat: Option<String>,
    /// This is the room, while the player is inside.
    pub room: Option<Room>,
    /// These are all who are inside, the host first.
    pub members: Vec<Member>,
    /// These are the public rooms; `None`: the server was not asked yet.
    pub rooms: Option<Vec<Listed>>,
    /// This says what was tried so far to get where the player wants, a sentence each.
    pub story: Vec<String>,
    /// This says what went wrong with the present host; it is trouble if no other one is found.
    pub doubt: Option<String>,
    /// This says what went wrong, in sentences for the player. It is taken by the flow.
    pub trouble: Option<String>,
    /// The room wants another password than the one that was given.
    pub wrong_password: bool,
}

impl Session {
    /// Returns what does not work while the lobby server is gone; `None`: it is there, or nobody is in a room.
    pub fn lobby_lost(&self) -> Option<&'static str> {
        let lost = !matches!(self.link, Link::Online { .. });
        (lost && self.room.is_some())
            .then_some("The lobby server does not answer: nobody can come in, the match goes on.")
    }

    /// Adds a sentence to the story; the newest are kept.
    pub fn tell(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if self.story.last() != Some(&sentence) {
            self.story.push(sentence);
        }
        let surplus = self.story.len().saturating_sub(64);
        self.story.drain(..surplus);
    }
}

/// Returns the text with a first capital and a full stop.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let mut sentence: String = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    sentence.push_str(letters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_sentences() {
        assert_eq!(sentence("the room is full"), "The room is full.");
        assert_eq!(sentence(" Done. "), "Done.");
        assert_eq!(sentence("écoute"), "Écoute.");
    }

    #[test]
    fn the_story_is_bounded_and_does_not_repeat_itself() {
        let mut session = Session::default();
        for i in 0..500 {
            session.tell(format!("Step {i}"));
            session.tell(format!("Step {i}"));
        }
        assert_eq!(session.story.len(), 64);
        assert_eq!(session.story.last().map(String::as_str), Some("Step 499"));
    }
}
