//! Texts between contacts: both have to allow each other, at the writer's node and at the reader's, at one node or at two.
//!
//! Whom the writer may write to is what it may know to be on line anyway: of anybody else the answer is the same and comes
//! at once. Where the reader is gone in this moment, no word of its node comes back.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{ChatFault, ChatNews, ChatPlace, PlayerInfo, Response, ToPlayer};

use super::super::Server;
use super::contacts::Contacts;
use super::post::{Envelope, Word};
use crate::ids::Asker;
use crate::server::chat::too_fast;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// The reader's node answers within this, or nothing came of it: as with a call that does not ring.
const UNANSWERED: Duration = super::calls::UNREACHED;
/// So many texts of one player may wait for the reader's node.
const MAX_SENT: usize = 16;

/// This is a text on its way.
#[derive(Debug)]
struct Sent {
    number: u64,
    to: PlayerId,
    asker: Asker,
    until: Instant,
}

/// This owner has the texts of players who are here that are on their way to contacts.
#[derive(Default)]
pub(super) struct Texts(BTreeMap<PlayerId, VecDeque<Sent>>);

impl Contacts {
    /// Returns whether these two allow each other and both are on line, as far as is known here.
    fn are_mutual(&self, player: PlayerId, other: PlayerId) -> bool {
        let entry = self.entries.get(&player);
        entry.is_some_and(|entry| entry.allows.contains(&other) && entry.known.contains_key(&other))
    }

    /// Returns whether a player of this game, who is here, allows another one.
    fn allows(&self, game: &str, player: PlayerId, other: PlayerId) -> bool {
        let entry = self.entries.get(&player);
        entry.is_some_and(|entry| entry.game == game && entry.allows.contains(&other))
    }
}

impl Server {
    /// Sends a text to a contact; the answer follows when the reader's node has taken it, or not.
    pub(in crate::server) fn say_to_contact(
        &mut self,
        asker: Asker,
        number: u64,
        to: PlayerId,
        text: String,
    ) -> Result<(), ChatFault> {
        let from = asker.player;
        if !self.people.contacts.are_mutual(from, to) {
            self.cx.counters.refuse(Refusal::ChatUnreached);
            return Err(ChatFault::NotReached);
        }
        let until = self.cx.now + UNANSWERED;
        let sent = self.people.texts.0.entry(from).or_default();
        if sent.len() >= MAX_SENT {
            self.cx.counters.limit(Refusal::ChatRate);
            return Err(too_fast(UNANSWERED));
        }
        sent.push_back(Sent { number, to, asker, until });
        self.cx.timers.set_earlier(Timer::Texts(from), until);
        let name = self.roster.name_of(asker.session);
        let word = Word::Text { number, name, text };
        self.text_word(from, to, word);
        Ok(())
    }

    fn text_word(&mut self, from: PlayerId, to: PlayerId, word: Word) {
        let Some(client) = self.roster.client_of(from) else { return };
        let game = client.login().game().to_owned();
        self.people.post.push(Envelope { game, from, word, to: vec![to], far_only: false });
    }

    /// A text has come for a player of this node. One that it has not allowed is not answered.
    pub(super) fn take_text(
        &mut self,
        (game, from): (&str, PlayerId),
        to: PlayerId,
        (number, name, text): (u64, String, String),
    ) {
        if !self.cx.config.chat || !self.people.contacts.allows(game, to, from) {
            return;
        }
        let from_info = PlayerInfo { id: from, name };
        let news = ChatNews::Text { from: from_info, number, place: ChatPlace::Contact, text };
        if self.roster.try_tell(&mut self.cx, to, ToPlayer::Chat(news)) {
            self.text_word(to, from, Word::TextTaken { number });
        } else {
            self.cx.counters.texts_dropped += 1;
        }
    }

    /// The reader's node has taken a text of a player of this node.
    pub(super) fn text_taken(&mut self, reader: PlayerId, writer: PlayerId, number: u64) {
        let Some(sent) = self.people.texts.0.get_mut(&writer) else { return };
        let is_it = |one: &Sent| one.number == number && one.to == reader;
        let Some(one) = sent.iter().position(is_it).and_then(|index| sent.remove(index)) else { return };
        self.cx.counters.contact_texts += 1;
        self.roster.respond(&mut self.cx, one.asker, Ok(Response::Done));
        self.look_at_texts(writer);
    }

    /// No word has come of the first texts of this player.
    pub(in crate::server) fn texts_timeout(&mut self, writer: PlayerId) {
        self.look_at_texts(writer);
    }

    fn look_at_texts(&mut self, writer: PlayerId) {
        let now = self.cx.now;
        let Some(sent) = self.people.texts.0.get_mut(&writer) else { return };
        let mut lost = Vec::new();
        while sent.front().is_some_and(|one| one.until <= now) {
            lost.extend(sent.pop_front());
        }
        let next = sent.front().map(|one| one.until);
        if sent.is_empty() {
            self.people.texts.0.remove(&writer);
        }
        self.cx.timers.set(Timer::Texts(writer), next);
        for one in lost {
            self.cx.counters.refuse(Refusal::ChatUnreached);
            self.roster.respond(&mut self.cx, one.asker, Err(ChatFault::NotReached.into()));
        }
    }

    /// A player is off line, or has logged in anew: it asks again for what was not answered.
    pub(super) fn forget_texts_of(&mut self, player: PlayerId) {
        self.people.texts.0.remove(&player);
        self.cx.timers.set(Timer::Texts(player), None);
    }
}
