//! What the game knows about servers, rooms and players, in its own words. `traversal_glue` keeps it up to date
//! and carries out what is asked; screens and flow know nothing of the plugin. Its plain types are read here: what of them the game
//! shows is said in the game's words.

mod room;
mod wish;

use std::collections::BTreeSet;
use std::time::Duration;

use bevy::prelude::{Message, Resource};
use bevy_traversal::{
    CurrentRoom, HostMigrated, LobbyState, Peers, QueueStatus, RequestError, RequestFailure, RequestKind,
    RoomSeats, Trouble,
};

pub use room::{Listed, Member, Room};
pub use wish::{
    Ask, Goal, HostPlan, Profile, QuickPlan, RoomWish, Target, count_for_all, estimate_words, invite,
    is_invite, queue_words, target_words,
};

use crate::network::OwnNat;

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
    /// This player waits for a quick match: so it comes along.
    pub queue: Option<QueueStatus>,
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
    pub fn see_room(&mut self, current: &CurrentRoom) {
        self.watching = current.spectating;
        let room = current.info.as_ref().map(|info| Room::of(info, current.hosting));
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

    /// Takes who watches the room, and who of them is connected with this player, as the host.
    pub fn see_seats(&mut self, seats: &RoomSeats, peers: &Peers) {
        self.audience = seats.spectators.len();
        let watches = peers.iter().filter(|peer| peer.hosting && peer.spectator);
        self.watchers = watches.map(|peer| peer.client_id).collect();
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
        if let Trouble::Request(failed) = trouble
            && matches!(failed.request, RequestKind::CancelQuickMatch | RequestKind::Leave)
        {
            // There was nothing to give up any more.
            return;
        }
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
                if goal.request() == Some(failed.request) {
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
    pub fn migrated(&mut self, news: &HostMigrated) -> HostChange {
        let (hosting, previous) = (news.hosting, news.previous.client_id());
        let next = news.members.iter().find(|member| member.id == news.room.host);
        let name = next.map_or_else(|| String::from("another player"), |member| member.name.clone());
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
