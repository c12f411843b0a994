//! Texts of others: they are shown once, and the host of a room passes on what members write whom the others are not connected
//! with.

use std::time::Instant;

use super::super::{Agent, ChatWay, Event};
use crate::chat::{AGAIN, PASSED_ON, Passing, Stage};
use crate::id::{MatchId, PlayerId};
use crate::peer::ChatWord;
use crate::seat::Seat;
use crate::timer::due;
use crate::wire::message::{ChatNews, ChatPlace, ChatTo, PlayerInfo, Topology};
use crate::wire::pair::{Audience, PairMessage};

impl Agent {
    /// The server says something of chat.
    pub(in crate::agent) fn handle_chat_news(&mut self, now: Instant, news: ChatNews) {
        match news {
            ChatNews::Switched { on } => {
                self.chat.switched(&mut self.shared.cx(now), on);
                self.chat_timeout(now);
            }
            ChatNews::Text { from, number, place, text } => {
                let own = self.shared.identity.player_id();
                let to = match place {
                    ChatPlace::Room(id) if self.lobby.room().is_some_and(|room| room.info.id == id) => {
                        ChatTo::Room
                    }
                    ChatPlace::Party(id) if self.lobby.party() == Some(id) => ChatTo::Party,
                    ChatPlace::Contact if self.people.allows(from.id) => ChatTo::Player(own),
                    _ => return,
                };
                if from.id == own || text.is_empty() || self.chat.seen(from.id, number).is_some() {
                    return;
                }
                self.chat.note(from.id, number, Some(true));
                self.show(now, from, (number, to, text), ChatWay::Server);
            }
        }
    }

    fn show(
        &mut self,
        now: Instant,
        from: PlayerInfo,
        (number, to, text): (u64, ChatTo, String),
        by: ChatWay,
    ) {
        self.shared.cx(now).emit(Event::ChatReceived { from, number, to, text, by });
    }

    /// Another player's agent sends a text, or has taken one.
    pub(in crate::agent) fn handle_chat_word(&mut self, now: Instant, match_id: MatchId, word: ChatWord) {
        let Some(peer) = self.peers.get(&match_id).filter(|peer| peer.is_connected()) else { return };
        let sender = peer.info.clone();
        let watches = peer.seat() == Seat::Watched;
        match word {
            ChatWord::Taken { from, number, all } => self.taken(now, sender.id, (from, number), all),
            _ if !self.chat.on => {}
            ChatWord::Said { from, number, audience: Audience::Contact, text } => {
                if from == sender.id && self.people.allows(from) {
                    let own = self.shared.identity.player_id();
                    self.take_text(now, (sender.id, sender), (number, ChatTo::Player(own), text));
                }
            }
            ChatWord::Said { from, number, audience: Audience::Party, text } => {
                let inside = self.lobby.party_members().any(|member| member.info.id == from);
                if from == sender.id && inside {
                    self.take_text(now, (sender.id, sender), (number, ChatTo::Party, text));
                }
            }
            ChatWord::Said { from, number, audience: Audience::Room, text } => {
                let Some(room) = self.lobby.room() else { return };
                let named = || room.members.iter().find(|member| member.id == from).cloned();
                let writer = match from == sender.id {
                    true if watches => None,
                    true => Some(sender.clone()),
                    // Only the host passes on, and only what members write.
                    false if room.info.host == sender.id => named(),
                    false => None,
                };
                let own = self.shared.identity.player_id();
                if let Some(writer) = writer.filter(|writer| writer.id != own) {
                    self.take_text(now, (sender.id, writer), (number, ChatTo::Room, text));
                }
            }
        }
    }

    /// Shows a text that came from this player's agent, if it is new; passes it on, if this player hosts; and answers.
    fn take_text(
        &mut self,
        now: Instant,
        (sender, writer): (PlayerId, PlayerInfo),
        (number, to, text): (u64, ChatTo, String),
    ) {
        let from = writer.id;
        match self.chat.seen(from, number) {
            // It is being passed on, and answered when all have it.
            Some(None) => return,
            Some(Some(all)) => return self.answer_chat(now, sender, (from, number), all),
            None if text.is_empty() || !self.chat.may_write(now, from) => return,
            None => {}
        }
        let passed_on = to == ChatTo::Room && self.begin_passing(now, (from, number), &text);
        self.chat.note(from, number, (!passed_on).then_some(true));
        self.show(now, writer, (number, to, text), ChatWay::Connection);
        if passed_on {
            self.carry_on_passing(now);
        } else {
            self.answer_chat(now, sender, (from, number), true);
        }
    }

    fn answer_chat(&mut self, now: Instant, to: PlayerId, (from, number): (PlayerId, u64), all: bool) {
        let peer = self.by_player.get(&to).and_then(|id| self.peers.get_mut(id));
        if let Some(peer) = peer.filter(|peer| peer.is_connected()) {
            peer.tell(&mut self.shared.cx(now), &PairMessage::ChatTaken { from, number, all });
        }
    }

    /// The host passes on what a member writes to those whom that one is not connected with. False: there is nobody.
    fn begin_passing(&mut self, now: Instant, (from, number): (PlayerId, u64), text: &str) -> bool {
        let Some(room) = self.lobby.room().filter(|room| room.hosting) else { return false };
        let own = self.shared.identity.player_id();
        let mesh = room.info.topology == Topology::Mesh;
        let others = room.members.iter().map(|member| member.id).filter(|_| !mesh);
        let others = others.chain(room.spectators()).filter(|player| *player != from && *player != own);
        let (missing, all) = self.reached(others);
        if missing.is_empty() && all {
            return false;
        }
        let end = now + PASSED_ON.max(self.slowest(&missing) * 3);
        let text = text.to_owned();
        self.chat.pass_on(Passing { from, number, text, missing, all, next: now, end })
    }

    pub(super) fn carry_on_passing(&mut self, now: Instant) {
        let mut done = Vec::new();
        for passing in &mut self.chat.passing {
            if passing.missing.is_empty() || passing.end <= now {
                done.push((passing.from, passing.number, passing.all && passing.missing.is_empty()));
                continue;
            }
            if !due(Some(passing.next), now) {
                continue;
            }
            let (from, number, text) = (passing.from, passing.number, passing.text.clone());
            let message = PairMessage::Chat { from, number, audience: Audience::Room, text };
            let mut again = AGAIN;
            for player in &passing.missing {
                let peer = self.by_player.get(player).and_then(|id| self.peers.get_mut(id));
                let Some(peer) = peer.filter(|peer| peer.is_connected()) else { continue };
                again = again.max(peer.answer_time());
                peer.tell(&mut self.shared.cx(now), &message);
            }
            passing.next = now + again;
        }
        for (from, number, all) in done {
            self.chat.passing.retain(|passing| (passing.from, passing.number) != (from, number));
            self.chat.note(from, number, Some(all));
            self.answer_chat(now, from, (from, number), all);
        }
    }

    /// A player's agent has taken a text: of this player, or one that this one passes on.
    fn taken(&mut self, now: Instant, by: PlayerId, (from, number): (PlayerId, u64), all: bool) {
        if from == self.shared.identity.player_id() {
            let Some(first) = self.chat.texts.front_mut().filter(|first| first.number == number) else {
                return;
            };
            let Stage::Between { missing, .. } = &mut first.stage else { return };
            if missing.remove(&by) {
                first.any = true;
                first.all &= all;
            }
            return self.chat_timeout(now);
        }
        let passing = self.chat.passing.iter_mut();
        for passing in passing.filter(|passing| (passing.from, passing.number) == (from, number)) {
            passing.missing.remove(&by);
        }
        self.carry_on_passing(now);
    }
}
