//! Chat: what players write goes to the others in their room, or to a contact, and is kept nowhere. What they tell the operator
//! of each other is.
//!
//! Texts that the players' agents send each other do not come here: this is the way for those who have no connection.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use traversal_core::id::{PlayerId, RequestId};
use traversal_core::wire::message::{
    ChatFault, ChatNews, ChatRequest, ChatTo, RequestError, Response, ToPlayer, checked_chat,
};

use super::Server;
use super::refusals::Refusal;
use crate::ids::{Asker, SessionId};
use crate::limits::{Rate, RecentLimiter};

/// A player writes at this rate. Agents keep to five at once, and one a second: the rest is for what packets do on their way.
pub(super) const TEXTS: Rate = Rate::new(1.0, 8.0);
/// All in one room together write at this rate: nobody reads more.
pub(crate) const ROOM_TEXTS: Rate = Rate::new(10.0, 30.0);
/// A player reports others at this rate.
const REPORTS: Rate = Rate::new(1.0 / 60.0, 5.0);
/// So many reports are kept, the newest ones: each has 1.2 kB at the most.
const MAX_REPORTS: usize = 500;

/// This is what a player told the operator of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportRow {
    /// It came then, in seconds since 1970.
    pub at_s: u64,
    /// Both play this game.
    pub game: String,
    /// The player who is reported.
    pub player: String,
    /// It goes by this name; empty: it is not here.
    pub name: String,
    /// The player who reports it.
    pub by: String,
    /// That one goes by this name.
    pub by_name: String,
    /// The one who reports is in the room with this code, if it is in one.
    pub room: Option<String>,
    /// The one who is reported is in the same room.
    pub same_room: bool,
    /// These are the words of the one who reports: nothing of them is proven.
    pub text: String,
}

/// This owner has what is to be kept about chat.
pub(super) struct Chat {
    reports: VecDeque<ReportRow>,
    reporters: RecentLimiter<PlayerId>,
}

impl Chat {
    pub(super) fn new() -> Self {
        Self { reports: VecDeque::new(), reporters: RecentLimiter::new(REPORTS) }
    }
}

/// Returns the fault of somebody who is to wait for so long.
pub(super) fn too_fast(wait: Duration) -> ChatFault {
    let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
    ChatFault::TooFast { retry_after_ms }
}

impl Server {
    /// Answers a request about chat. None: the answer follows later.
    pub(super) fn handle_chat_request(&mut self, id: SessionId, request: RequestId, body: ChatRequest) {
        let Some((asker, admitted)) = self.admit(id, request) else { return };
        let player = asker.player;
        let result = match admitted {
            Err(error) => Err(error),
            Ok(()) => match body {
                ChatRequest::Say { number, to, text } => {
                    self.say(asker, number, to, &text).map_err(RequestError::from)
                }
                ChatRequest::Report { player: reported, text } => {
                    self.report(player, reported, text).map(|()| Some(Response::Done))
                }
                _ => Err(RequestError::Malformed { what: "request".into() }),
            },
        };
        if let Some(result) = result.transpose() {
            self.roster.respond(&mut self.cx, asker, result);
        }
        self.hand_out_words();
    }

    fn say(
        &mut self,
        asker: Asker,
        number: u64,
        to: ChatTo,
        text: &str,
    ) -> Result<Option<Response>, ChatFault> {
        if !self.cx.config.chat {
            self.cx.counters.refuse(Refusal::ChatOff);
            return Err(ChatFault::Off);
        }
        if let Err(wait) = self.roster.take_text(&self.cx, asker.session, TEXTS) {
            self.cx.counters.limit(Refusal::ChatRate);
            return Err(too_fast(wait));
        }
        let text = checked_chat(text).inspect_err(|_| self.cx.counters.refuse(Refusal::ChatText))?;
        match to {
            ChatTo::Room => {
                let (rooms, mut others) = self.split();
                rooms.say(&mut others, asker.player, number, &text)?;
                self.cx.counters.room_texts += 1;
                Ok(Some(Response::Done))
            }
            ChatTo::Party => {
                let (rooms, mut others) = self.split();
                rooms.say_in_party(&mut others, asker.player, number, &text)?;
                self.cx.counters.party_texts += 1;
                Ok(Some(Response::Done))
            }
            ChatTo::Player(contact) => self.say_to_contact(asker, number, contact, text).map(|()| None),
            _ => Err(ChatFault::Text { what: "this server does not know whom it is for".into() }),
        }
    }

    /// Keeps what a player says of another one. The answer does not depend on whether that one exists.
    fn report(&mut self, by: PlayerId, player: PlayerId, text: String) -> Result<(), RequestError> {
        if !self.chat.reporters.allow(by, self.cx.now) {
            self.cx.counters.limit(Refusal::ReportRate);
            return Err(RequestError::Limited { retry_after_s: 60 });
        }
        let game = |player| self.roster.client_of(player).map(|client| client.login().game().to_owned());
        let name = |player| self.roster.client_of(player).map(|client| client.login().name().to_owned());
        let its_game = game(by).unwrap_or_default();
        let here = game(player).as_ref() == Some(&its_game);
        let room = self.roster.present_room(by);
        let row = ReportRow {
            at_s: self.cx.calendar(),
            player: player.to_string(),
            name: name(player).filter(|_| here).unwrap_or_default(),
            by: by.to_string(),
            by_name: name(by).unwrap_or_default(),
            room: room.and_then(|room| self.rooms.code_of(room)),
            same_room: room.is_some_and(|room| self.roster.is_present(player, room)),
            game: its_game,
            text,
        };
        tracing::info!(by = row.by, player = row.player, text = row.text, "a player reports another one");
        self.cx.counters.reports += 1;
        if self.chat.reports.len() >= MAX_REPORTS {
            self.chat.reports.pop_front();
        }
        self.chat.reports.push_back(row);
        Ok(())
    }

    /// Returns what players told the operator of each other, the newest last.
    pub fn reports(&self) -> Vec<ReportRow> {
        self.chat.reports.iter().cloned().collect()
    }

    /// Tells a player who has just logged in that there is no chat, if that is so.
    pub(super) fn tell_chat_switch(&mut self, id: SessionId) {
        if !self.cx.config.chat {
            let news = ToPlayer::Chat(ChatNews::Switched { on: false });
            self.roster.tell_session(&mut self.cx, id, news);
        }
    }

    /// The operator has switched chat on or off: all players hear of it.
    pub(super) fn chat_switched(&mut self) {
        let on = self.cx.config.chat;
        for player in self.roster.player_ids() {
            self.roster.tell(&mut self.cx, player, ToPlayer::Chat(ChatNews::Switched { on }));
        }
        self.settle();
    }
}
