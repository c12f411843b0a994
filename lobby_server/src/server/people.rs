//! People: contacts and what they hear of each other (M35), calls (M36), and what they write to each other.
//!
//! What one player's node has to say to another player's goes as a [`Word`](post::Word) by one way, whether both are at this
//! node or at two. Nobody learns by content or by time whether a player exists who has not allowed it: what is not allowed is
//! not answered at all, and a call that does not ring ends after the same time whatever the reason.

mod calls;
mod contacts;
mod parties;
mod post;
mod presence;
mod requests;
mod texts;

use std::collections::BTreeSet;
use std::time::Instant;

use traversal_core::id::PlayerId;

use self::calls::Calls;
use self::contacts::Contacts;
use self::post::{Envelope, Post};
pub(super) use self::requests::PeopleRequest;
use self::texts::Texts;
use super::Server;
use super::context::Context;
use super::rooms::Rooms;
use super::roster::Roster;
use super::timers::Timer;
use crate::registry::{RegistryDown, RegistryId, RegistryReply};

/// This owner has the contacts and the calls of the players who are here.
pub(super) struct People {
    contacts: Contacts,
    calls: Calls,
    post: Post,
    texts: Texts,
    /// These other nodes were there when the registry last told.
    nodes: BTreeSet<u64>,
}

/// These are the other owners, lent to the people.
struct Around<'a> {
    cx: &'a mut Context,
    roster: &'a mut Roster,
    rooms: &'a Rooms,
}

impl People {
    pub(super) fn new(limiter_key: [u8; 16], now: Instant) -> Self {
        Self {
            contacts: Contacts::new(limiter_key, now),
            calls: Calls::default(),
            post: Post::default(),
            texts: Texts::default(),
            nodes: BTreeSet::new(),
        }
    }
}

impl People {
    /// Counts the players whose lists of contacts are known.
    pub(super) fn list_count(&self) -> usize {
        self.contacts.counts().0
    }

    /// Counts the contacts on these lists.
    pub(super) fn contact_count(&self) -> usize {
        self.contacts.counts().1
    }
}

impl Server {
    /// Players whose room changed, who came or who went since the last time: those who may know hear of it.
    pub(super) fn follow_people(&mut self) {
        for player in self.roster.take_moved() {
            if self.roster.session_of(player).is_some() {
                self.refresh(player);
            } else {
                self.end_calls_of(player);
                self.forget_texts_of(player);
                self.people.contacts.gone(&mut self.cx, &mut self.people.post, player);
            }
        }
        for (room, open) in self.rooms.take_opened_for_calls() {
            self.call_room_opened(room, open);
        }
        self.hand_out_words();
    }

    /// A player has logged in, perhaps in place of an older session: what that one was told counts no more.
    pub(super) fn people_logged_in(&mut self, player: PlayerId) {
        self.end_calls_of(player);
        self.forget_texts_of(player);
        let game = self.roster.client_of(player).map(|client| client.login().game());
        let People { contacts, post, .. } = &mut *self.people;
        if contacts.game_of(player) == game {
            contacts.logged_in(player);
        } else {
            // It plays another game now, with other contacts.
            contacts.gone(&mut self.cx, post, player);
        }
    }

    fn refresh(&mut self, player: PlayerId) {
        let People { contacts, post, .. } = &mut *self.people;
        let around = &mut Around { cx: &mut self.cx, roster: &mut self.roster, rooms: &self.rooms };
        contacts.refresh(around, post, player);
    }

    /// Something of this player's contacts was put off until now.
    pub(super) fn contacts_timeout(&mut self, player: PlayerId) {
        let People { contacts, post, .. } = &mut *self.people;
        let around = &mut Around { cx: &mut self.cx, roster: &mut self.roster, rooms: &self.rooms };
        contacts.timeout(around, post, player);
        self.hand_out_words();
    }

    /// The next players' contacts at other nodes are told anew.
    pub(super) fn resync_timeout(&mut self) {
        let People { contacts, post, .. } = &mut *self.people;
        let around = &mut Around { cx: &mut self.cx, roster: &mut self.roster, rooms: &self.rooms };
        contacts.resync_some(around, post);
        self.hand_out_words();
    }

    /// Words that the registry did not take are handed to it again.
    pub(super) fn post_timeout(&mut self) {
        let People { contacts, post, .. } = &mut *self.people;
        contacts.tell_again(&mut self.cx, post.try_again());
        self.hand_out_words();
    }

    /// The registry has told which other nodes are there.
    pub(super) fn people_of_nodes(&mut self) {
        let nodes = self.cx.nodes.numbers();
        let former = std::mem::replace(&mut self.people.nodes, nodes.clone());
        let gone: BTreeSet<u64> = former.difference(&nodes).copied().collect();
        if !gone.is_empty() {
            self.people.contacts.nodes_gone(&gone);
            self.call_nodes_gone(&gone);
        }
        if nodes.difference(&former).next().is_some() {
            self.resync_people();
        }
        self.hand_out_words();
    }

    /// What nodes had to tell each other may be lost: all is told anew, and what nobody confirms is taken back.
    pub(super) fn resync_people(&mut self) {
        if !self.cx.nodes.is_empty() {
            self.people.contacts.resync(&mut self.cx);
        }
    }

    /// Another node has something to say.
    pub(super) fn take_post(&mut self, from: u64, to: Vec<PlayerId>, body: &str) {
        if let Some(envelope) = Envelope::read(to, body) {
            self.deliver(from, &envelope);
            self.hand_out_words();
        } else {
            tracing::debug!(from, "a word of another node is not understood");
        }
    }

    /// Takes the registry's answer to a word of ours. False: it is not to one.
    pub(super) fn post_answered(
        &mut self,
        id: RegistryId,
        reply: &Result<RegistryReply, RegistryDown>,
    ) -> bool {
        if !Post::is_own(id) {
            return false;
        }
        self.people.post.answered(&mut self.cx, id, reply.is_ok());
        true
    }

    /// Hands out all words that wait: to players here, and to the nodes of others.
    pub(super) fn hand_out_words(&mut self) {
        while let Some(envelope) = self.people.post.pop() {
            let (own, far): (Vec<PlayerId>, Vec<PlayerId>) =
                envelope.to.iter().partition(|player| self.roster.session_of(**player).is_some());
            let node = self.cx.config.node;
            if !own.is_empty() && !envelope.far_only {
                self.deliver(node, &Envelope { to: own, ..envelope.clone() });
            }
            if !far.is_empty() && node != 0 && !self.cx.nodes.is_empty() {
                self.people.post.send(&mut self.cx, Envelope { to: far, ..envelope });
            }
        }
        let People { contacts, .. } = &mut *self.people;
        let around = &mut Around { cx: &mut self.cx, roster: &mut self.roster, rooms: &self.rooms };
        contacts.flush_all(around);
    }

    fn deliver(&mut self, node: u64, envelope: &Envelope) {
        match &envelope.word {
            post::Word::Presence { state, answer } => {
                let state = state.clone().map(std::sync::Arc::new);
                let People { contacts, post, .. } = &mut *self.people;
                let news = presence::News { game: &envelope.game, of: envelope.from, node, state };
                for to in &envelope.to {
                    contacts.learn(post, *to, &news, *answer);
                }
            }
            post::Word::Text { number, name, text } => {
                for to in &envelope.to {
                    let said = (*number, name.clone(), text.clone());
                    self.take_text((&envelope.game, envelope.from), *to, said);
                }
            }
            post::Word::TextTaken { number } => {
                for to in &envelope.to {
                    self.text_taken(envelope.from, *to, *number);
                }
            }
            post::Word::Party { code, from } => {
                for to in &envelope.to {
                    self.invited_to_party(&envelope.game, *to, code, from);
                }
            }
            post::Word::Call(word) => {
                for to in &envelope.to {
                    self.take_call_word(node, &envelope.game, envelope.from, *to, word.clone());
                }
            }
        }
    }
}

/// Returns the timer of what is put off about a player's contacts.
fn timer(player: PlayerId) -> Timer {
    Timer::Contacts(player)
}
