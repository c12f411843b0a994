//! What the game knows about servers, rooms and players, in its own words. `traversal_glue` keeps it up to date
//! and carries out what is asked; screens, flow and tests know nothing of the plugin. Some of its plain types are used here too:
//! for passwords, which it prints nowhere, and for what it tells in words.

use std::collections::BTreeSet;
use std::time::Duration;

use bevy::prelude::{Message, Resource};
use bevy_traversal::{
    ConnectLobby, ExpectedWay, LobbyState, PlayerId, PlayerInfo, RequestError, RequestFailure, RequestKind,
    RoomInfo, RoomOptions, RoomQuery, RoomSummary, Secret, Trouble,
};

pub use bevy_traversal::RoomTarget as Target;

use crate::network::{Connection, OwnNat};
use crate::sim::Rules;

/// So many may watch a room's matches.
const WATCHERS: u16 = 8;

/// This says who plays here, and which lobby server serves.
#[derive(Resource, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Others see this name.
    pub name: String,
    /// This is the lobby server, `host:port`.
    pub server: String,
}

impl Profile {
    /// Returns the request to log in.
    pub fn login(&self) -> ConnectLobby {
        ConnectLobby { name: Some(self.name.clone()), ..ConnectLobby::to(self.server.clone()) }
    }
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

impl HostPlan {
    /// Returns the room as the lobby server is asked for it.
    pub fn options(self) -> RoomOptions {
        RoomOptions {
            name: self.room,
            capacity: self.capacity,
            password: self.password,
            public: self.listed,
            spectators: WATCHERS,
            ..RoomOptions::default()
        }
    }
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

/// Returns a room to be entered as a sentence names it.
pub fn target_words(target: &Target) -> String {
    match target {
        Target::Name(name) => format!("room \"{name}\""),
        Target::Code(code) => format!("the room with code {}", code.to_uppercase()),
    }
}

/// Returns whether a text is an invite, or a link with one, rather than the code or the name of a room.
pub fn is_invite(text: &str) -> bool {
    text.contains('#') || text.starts_with("bevy-traversal:")
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
        /// The player only watches the match.
        watch: bool,
    },
    /// Enter the room that this invite leads to.
    Invited(String),
}

/// These rooms are listed while the player looks at the list.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct RoomWish(pub RoomQuery);

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
        /// The player only watches the match.
        watch: bool,
    },
    /// Enter the room that this invite leads to.
    Invited(String),
    /// Hear of these rooms, and of what changes there.
    Watch(RoomQuery),
    /// Hear of rooms no more.
    Unwatch,
    /// Make an invite to the present room: as its host, one that lets friends in without the password.
    Invite {
        /// This player hosts the room.
        hosting: bool,
    },
    /// Tell the room that this player is ready for a match, or no longer.
    Ready(bool),
    /// Count down for all in the room, as its host.
    Count,
    /// Leave the present room.
    Leave,
    /// Put a member out.
    Kick(PlayerId),
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

/// The lobby server counts down for all in the room; so long it takes yet.
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted(pub Duration);

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

impl Room {
    /// Returns the room that the lobby server tells of.
    pub fn of(info: &RoomInfo, hosting: bool) -> Self {
        Self { name: info.name.clone(), code: info.code.clone(), hosting, capacity: info.capacity }
    }
}

/// This is a member of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This is the member's client id in renet.
    pub client: u64,
    /// The lobby server knows the member by this.
    pub id: PlayerId,
    /// Others see this name.
    pub name: String,
    /// It is this player.
    pub me: bool,
    /// This says whether this member hosts the room.
    pub host: bool,
    /// The member is ready for a match.
    pub ready: bool,
    /// This says how the member is reached; none: this player has no connection to it.
    pub connection: Option<Connection>,
}

impl Member {
    /// Returns a member of the room, as this player (`own`) sees it.
    pub fn of(
        info: &PlayerInfo,
        own: Option<PlayerId>,
        room: Option<&RoomInfo>,
        ready: bool,
        connection: Option<Connection>,
    ) -> Self {
        Self {
            client: info.id.client_id(),
            id: info.id,
            name: info.name.clone(),
            me: Some(info.id) == own,
            host: room.is_some_and(|room| room.host == info.id),
            ready,
            connection,
        }
    }
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
    /// A packet takes about so many milliseconds to the host and back; none: it is not known.
    pub rtt: Option<u16>,
    /// This is what is expected of the way to the host, where that is worth a word.
    pub way: Option<&'static str>,
    /// Somebody may watch yet.
    pub watchable: bool,
}

impl From<&RoomSummary> for Listed {
    fn from(room: &RoomSummary) -> Self {
        Self {
            name: room.name.clone(),
            code: room.code.clone(),
            host: room.host_name.clone(),
            members: room.members,
            capacity: room.capacity,
            locked: room.password,
            rtt: room.rtt_ms,
            way: match room.way {
                ExpectedWay::Relay => Some("relay"),
                ExpectedWay::Unreachable => Some("out of reach"),
                _ => None,
            },
            watchable: room.spectators < room.spectator_limit,
        }
    }
}

/// This is everything that is known.
#[derive(Resource, Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// This says how far the link to the lobby server has come.
    pub link: Link,
    /// This is this player's client id in renet; it is known after the login.
    pub me: Option<u64>,
    /// This is the own NAT, once it is known.
    pub nat: Option<OwnNat>,
    /// This is the room, while the player is inside.
    pub room: Option<Room>,
    /// These are all who are inside, the host first.
    pub members: Vec<Member>,
    /// This player only watches.
    pub watching: bool,
    /// This player hosts, and these watch, by renet's names.
    pub watchers: BTreeSet<u64>,
    /// So many watch the room.
    pub audience: usize,
    /// This leads friends into the room.
    pub invite: Option<String>,
    /// The lobby server counts down for the room: so many seconds, the last one begun.
    pub count: Option<u64>,
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
    /// This is why this player is out of its room, until the room is seen to be gone.
    pub(crate) put_out: Option<String>,
}

impl Session {
    /// Returns what does not work while the lobby server is gone; `None`: it is there, or nobody is in a room.
    pub fn lobby_lost(&self) -> Option<&'static str> {
        let lost = !matches!(self.link, Link::Online { .. });
        (lost && self.room.is_some())
            .then_some("The lobby server does not answer: nobody can come in, the match goes on.")
    }

    /// Takes how the link to the lobby server stands, and what the own NAT is.
    pub fn see_lobby(&mut self, state: &LobbyState, nat: Option<OwnNat>) {
        if let LobbyState::Online { player, public, .. } = state {
            self.me.get_or_insert(player.client_id());
            let online = Link::Online { seen_as: public.to_string() };
            if self.link != online {
                self.tell(format!("Logged in; the lobby server sees this game as {public}."));
                self.link = online;
            }
        }
        if self.nat != nat && nat.is_some() {
            self.nat = nat;
            self.tell(self.nat.as_ref().map(|nat| nat.words.clone()).unwrap_or_default());
        }
    }

    /// Takes which room this player is in.
    pub fn see_room(&mut self, room: Option<Room>) {
        match (&room, &self.room) {
            (Some(new), None) if new.hosting => {
                self.tell(format!("The room \"{}\" is open, its code is {}.", new.name, new.code));
            }
            (Some(new), None) => self.tell(format!("In the room \"{}\".", new.name)),
            (None, Some(_)) => {
                let doubt = self.doubt.take();
                // Without a word of why, this player wished to leave.
                if let Some(why) = self.put_out.take() {
                    self.trouble = Some(doubt.unwrap_or(why));
                }
                self.members.clear();
                (self.invite, self.count) = (None, None);
            }
            _ => {}
        }
        if self.room != room {
            self.room = room;
        }
    }

    /// Takes who is in the room, and how each of them is reached.
    pub fn see_members(&mut self, members: Vec<Member>) {
        if self.members == members {
            return;
        }
        for member in &members {
            let step = |member: &Member| member.connection.as_ref().map(|connection| connection.step.clone());
            let before = self.members.iter().find(|known| known.client == member.client).and_then(step);
            if let Some(step) = step(member).filter(|step| before.as_ref() != Some(step) && !step.is_empty())
            {
                self.tell(format!("{}: {step}.", member.name));
            }
        }
        let host_is_here =
            |member: &Member| member.host && member.connection.as_ref().is_some_and(|c| c.joined.is_some());
        if members.iter().any(host_is_here) {
            self.doubt = None;
        }
        self.members = members;
    }

    /// Takes what went wrong, in a sentence.
    pub fn trouble_from(&mut self, trouble: &Trouble, goal: &Goal, text: String) {
        self.tell(&text);
        match trouble {
            Trouble::Lobby(failed) if failed.retry_in.is_some() => {
                self.link = Link::Retrying { reason: text }
            }
            Trouble::Lobby(_) => {
                // A match goes on without the server, and the title is no way to anywhere.
                if self.room.is_none() && *goal != Goal::Idle {
                    self.trouble = Some(text.clone());
                }
                self.link = Link::Refused { reason: text };
            }
            Trouble::Request(failed) => {
                let wanted = match goal {
                    Goal::Host(_) => failed.request == RequestKind::Host,
                    Goal::Join { .. } | Goal::Invited(_) => failed.request == RequestKind::Join,
                    Goal::Browse => failed.request == RequestKind::List,
                    Goal::Idle => false,
                };
                if wanted {
                    self.wrong_password =
                        matches!(failed.error, RequestFailure::Server(RequestError::WrongPassword));
                    self.trouble = Some(text);
                }
            }
            Trouble::Room(_) => self.put_out = Some(text),
            Trouble::Player(_) => self.doubt_host(text),
        }
    }

    /// A connection is gone.
    pub fn lost(&mut self, name: &str, why: &str) {
        self.tell(format!("{name} is gone. {why}"));
        self.doubt_host(why.to_owned());
    }

    /// Another one hosts; returns what the match is told.
    pub fn migrated(&mut self, hosting: bool, previous: u64, name: Option<String>) -> HostChange {
        let name = name.unwrap_or_else(|| String::from("another player"));
        self.tell(match hosting {
            true => String::from("The host is gone: this game hosts now."),
            false => format!("The host is gone: {name} hosts now."),
        });
        self.doubt = None;
        if let Some(room) = &mut self.room {
            room.hosting = hosting;
        }
        HostChange { hosting, previous, name }
    }

    /// Without its host a guest waits for another one, while it is in the room.
    fn doubt_host(&mut self, why: String) {
        match &self.room {
            Some(room) if room.hosting => {}
            Some(_) => self.doubt = Some(why),
            None => _ = self.trouble.get_or_insert(why),
        }
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
