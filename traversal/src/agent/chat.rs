//! The ways of a text: over the connections where all are connected who are to read it, and through the server where they are
//! not. In a room whose members are connected with the host alone, that one passes it on.
//!
//! Between players it is sent again until it was taken. Where somebody has not taken it in time it goes through the server to all:
//! each has it by its writer's number and shows it once.

mod reading;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Agent, ChatWay, Event, RequestFailure, RequestKind};
use crate::chat::{AGAIN, ANEW, BETWEEN, Stage};
use crate::id::{PlayerId, RequestId};
use crate::text;
use crate::wire::message::{
    ChatFault, ChatRequest, ChatTo, Request, RequestError, Response, Topology, checked_chat,
};
use crate::wire::pair::{Audience, PairMessage};

impl Agent {
    /// The game has this player write something.
    pub(super) fn say(&mut self, now: Instant, to: ChatTo, text: String) {
        let result = self.may_say(to).and_then(|room| {
            let kept = checked_chat(&text)?;
            self.chat.push(&mut self.shared.cx(now), (to, room), kept)
        });
        if let Err(fault) = result {
            let why = RequestFailure::Server(RequestError::Chat(fault));
            return self.shared.cx(now).emit(Event::ChatRefused { to, text, why });
        }
        self.chat_timeout(now);
    }

    /// Returns the room that a text is for, if it is for one.
    fn may_say(&self, to: ChatTo) -> Result<Option<crate::id::RoomId>, ChatFault> {
        if !self.chat.on {
            return Err(ChatFault::Off);
        }
        if to == ChatTo::Party && self.lobby.party().is_none() {
            return Err(ChatFault::NotInParty);
        }
        if to != ChatTo::Room {
            return Ok(None);
        }
        let room = self.lobby.room().ok_or(ChatFault::NotInRoom)?;
        if room.is_watched() {
            return Err(ChatFault::OnlyWatches);
        }
        Ok(Some(room.info.id))
    }

    /// The game has this player tell the operator of another one.
    pub(super) fn report(&mut self, now: Instant, player: PlayerId, text: &str) {
        let failed = |error| Event::RequestFailed { request: RequestKind::Report, error };
        let checked = text::REPORT.check(text);
        let may = self.chat.may_report();
        let id = self.chat.draw_id();
        let cx = &mut self.shared.cx(now);
        let error = match checked {
            Err(error) => RequestFailure::Server(error.into()),
            Ok(_) if !may => RequestFailure::Server(RequestError::Limited { retry_after_s: 1 }),
            Ok(text) => {
                let request = Request::Chat(ChatRequest::Report { player, text });
                if crate::people::send(cx, id, request) {
                    return self.chat.reported(id, player);
                }
                RequestFailure::NotLoggedIn
            }
        };
        cx.emit(failed(error));
    }

    /// Returns those of these players who are connected and there, and whether these are all.
    fn reached(&self, wanted: impl Iterator<Item = PlayerId>) -> (BTreeSet<PlayerId>, bool) {
        let (mut reached, mut all) = (BTreeSet::new(), true);
        for player in wanted {
            if self.peer(player).is_some_and(|peer| peer.is_connected() && !peer.is_away()) {
                reached.insert(player);
            } else {
                all = false;
            }
        }
        (reached, all)
    }

    /// Returns to whom this player sends a text for its room itself, and whether all have it then.
    fn readers(&self) -> (BTreeSet<PlayerId>, bool) {
        let Some(room) = self.lobby.room() else { return (BTreeSet::new(), false) };
        let own = self.shared.identity.player_id();
        let others = room.members.iter().map(|member| member.id).filter(|member| *member != own);
        let known = !room.members.is_empty();
        let (reached, all) = if room.hosting {
            self.reached(others.chain(room.spectators()))
        } else if room.info.topology == Topology::Mesh {
            self.reached(others)
        } else {
            self.reached(std::iter::once(room.info.host))
        };
        (reached, all && known)
    }

    /// Returns to whom in its party this player sends a text itself, and whether all have it then.
    fn party_readers(&self) -> (BTreeSet<PlayerId>, bool) {
        let own = self.shared.identity.player_id();
        let others = self.lobby.party_members().map(|member| member.info.id).filter(|member| *member != own);
        self.reached(others)
    }

    /// Carries on with the texts of this player, and with those that it passes on.
    pub(super) fn chat_timeout(&mut self, now: Instant) {
        // Each round ends a text or waits for something.
        for _ in 0..=crate::chat::MAX_WAITING {
            if !self.carry_on(now) {
                break;
            }
        }
        self.carry_on_passing(now);
    }

    /// Carries on with the first text. True: it went a step, and another one may follow.
    fn carry_on(&mut self, now: Instant) -> bool {
        let online = self.shared.link.is_online();
        let Some(first) = self.chat.texts.front() else { return false };
        let (to, room) = (first.to, first.room);
        if !self.chat.on {
            self.chat.refuse(&mut self.shared.cx(now), ChatFault::Off);
            return true;
        }
        if to == ChatTo::Party && self.lobby.party().is_none() {
            self.chat.refuse(&mut self.shared.cx(now), ChatFault::NotInParty);
            return true;
        }
        if to == ChatTo::Room && self.lobby.room().map(|room| room.info.id) != room {
            self.chat.refuse(&mut self.shared.cx(now), ChatFault::NotInRoom);
            return true;
        }
        if first.until <= now {
            let why = if online { RequestFailure::Timeout } else { RequestFailure::NotLoggedIn };
            self.chat.end(&mut self.shared.cx(now), Err(why));
            return true;
        }
        match &first.stage {
            Stage::Begun => self.begin(now, to, online),
            Stage::Between { missing, .. } if missing.is_empty() => self.between_ends(now),
            Stage::Between { end, .. } if *end <= now => {
                if let Some(first) = self.chat.texts.front_mut() {
                    first.all = false;
                }
                self.between_ends(now)
            }
            Stage::Between { next, .. } if *next <= now => {
                self.send_between(now);
                false
            }
            Stage::Server { at } if at.is_none_or(|at| at <= now) && online => {
                self.ask_server(now);
                false
            }
            Stage::Server { at: Some(at) } if *at <= now => {
                if let Some(first) = self.chat.texts.front_mut() {
                    first.stage = Stage::Begun;
                }
                true
            }
            Stage::Between { .. } | Stage::Server { .. } | Stage::Asked(_) => false,
        }
    }

    /// Decides by which way a text goes.
    fn begin(&mut self, now: Instant, to: ChatTo, online: bool) -> bool {
        let (missing, all) = match to {
            ChatTo::Room => self.readers(),
            ChatTo::Player(player) if self.people.allows(player) => self.reached(std::iter::once(player)),
            ChatTo::Party => self.party_readers(),
            ChatTo::Player(_) => (BTreeSet::new(), false),
        };
        let answer = self.slowest(&missing);
        let Some(first) = self.chat.texts.front_mut() else { return false };
        first.all = all;
        first.stage = if all || !online && !missing.is_empty() {
            Stage::Between { missing, next: now, end: now + BETWEEN.max(answer * 4) }
        } else {
            Stage::Server { at: None }
        };
        true
    }

    fn slowest(&self, players: &BTreeSet<PlayerId>) -> Duration {
        let answers = players.iter().filter_map(|player| Some(self.peer(*player)?.answer_time()));
        answers.max().unwrap_or_default()
    }

    /// Sends the first text to those who have not taken it.
    fn send_between(&mut self, now: Instant) {
        let from = self.shared.identity.player_id();
        let Some(first) = self.chat.texts.front_mut() else { return };
        let audience = match first.to {
            ChatTo::Room => Audience::Room,
            ChatTo::Player(_) => Audience::Contact,
            ChatTo::Party => Audience::Party,
        };
        let message = PairMessage::Chat { from, number: first.number, audience, text: first.text.clone() };
        let Stage::Between { missing, next, .. } = &mut first.stage else { return };
        let mut again = AGAIN;
        for player in &*missing {
            let peer = self.by_player.get(player).and_then(|id| self.peers.get_mut(id));
            let Some(peer) = peer.filter(|peer| peer.is_connected()) else { continue };
            again = again.max(peer.answer_time());
            peer.tell(&mut self.shared.cx(now), &message);
        }
        *next = now + again;
    }

    /// All have taken a text, or some have not in time: then the server is asked, if it is there.
    fn between_ends(&mut self, now: Instant) -> bool {
        let online = self.shared.link.is_online();
        let Some(first) = self.chat.texts.front_mut() else { return false };
        if first.all || first.any && !online {
            self.chat.end(&mut self.shared.cx(now), Ok(ChatWay::Connection));
        } else {
            first.stage = Stage::Server { at: (!online).then(|| now + ANEW) };
        }
        true
    }

    fn ask_server(&mut self, now: Instant) {
        let id = self.chat.draw_id();
        let Some(first) = self.chat.texts.front_mut() else { return };
        let say = ChatRequest::Say { number: first.number, to: first.to, text: first.text.clone() };
        let sent = crate::people::send(&mut self.shared.cx(now), id, Request::Chat(say));
        first.stage = if sent { Stage::Asked(id) } else { Stage::Server { at: Some(now + AGAIN) } };
    }

    /// Takes the answer to a request about chat. False: it is not to one of these.
    pub(super) fn handle_chat_response(
        &mut self,
        now: Instant,
        id: RequestId,
        result: &Result<Response, RequestError>,
    ) -> bool {
        if !self.chat.is_own(id) {
            return false;
        }
        let mut cx = self.shared.cx(now);
        if let Some(player) = self.chat.take_report(id) {
            cx.emit(match result {
                Ok(_) => Event::Reported { player },
                Err(error) => {
                    let error = RequestFailure::Server(error.clone());
                    Event::RequestFailed { request: RequestKind::Report, error }
                }
            });
            return true;
        }
        let Some(first) = self.chat.texts.front_mut() else { return true };
        let wait = match result {
            Err(RequestError::Chat(ChatFault::TooFast { retry_after_ms })) => {
                Some(Duration::from_millis(u64::from((*retry_after_ms).max(1))))
            }
            Err(RequestError::Limited { retry_after_s }) => {
                Some(Duration::from_secs(u64::from((*retry_after_s).max(1))))
            }
            _ => None,
        };
        match (result, wait) {
            (Ok(_), _) => {
                first.all = true;
                self.chat.switched(&mut cx, true);
                self.chat.end(&mut cx, Ok(ChatWay::Server));
            }
            (Err(_), Some(wait)) if now + wait < first.until => {
                first.stage = Stage::Server { at: Some(now + wait) };
            }
            (Err(error), _) => {
                if *error == RequestError::Chat(ChatFault::Off) {
                    self.chat.switched(&mut cx, false);
                }
                self.chat.end(&mut cx, Err(RequestFailure::Server(error.clone())));
            }
        }
        self.chat_timeout(now);
        true
    }

    /// A new session has begun: what was not answered is asked again, under the same numbers.
    pub(super) fn chat_logged_in(&mut self, now: Instant) {
        // The server says so if it is not.
        self.chat.on = true;
        let mut cx = self.shared.cx(now);
        for _ in self.chat.take_reports() {
            let error = RequestFailure::LobbyLost;
            cx.emit(Event::RequestFailed { request: RequestKind::Report, error });
        }
        if let Some(first) = self.chat.texts.front_mut()
            && matches!(first.stage, Stage::Asked(_))
        {
            first.stage = Stage::Server { at: None };
        }
        self.chat_timeout(now);
    }
}
