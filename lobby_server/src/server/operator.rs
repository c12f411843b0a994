//! What the operator asks of a running server: who is here, other settings, that somebody goes, and its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use traversal_core::id::PlayerId;
use traversal_core::text;
use traversal_core::wire::message::{Farewell, Frame, MatchEnd, RoomEnd, ToPlayer};

use super::Server;
use super::timers::Timer;
use crate::config::ServerConfig;
use crate::ids::SessionId;
use crate::tokens::{TokenCheck, Tokens};

/// Players who have nothing to finish are looked for so often.
const SWEEP: Duration = Duration::from_millis(250);

/// This is why something that an operator has named cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    /// Nothing here is named so.
    #[error("there is none of this name")]
    None,
    /// Several things here are named so.
    #[error("there are {0} of this name: say more of it")]
    Several(usize),
}

/// Returns the only one that is meant.
pub(super) fn only<T>(all: Vec<T>, is_meant: impl Fn(&T) -> bool) -> Result<T, NotOne> {
    let mut meant: Vec<T> = all.into_iter().filter(is_meant).collect();
    match (meant.pop(), meant.len()) {
        (None, _) => Err(NotOne::None),
        (Some(one), 0) => Ok(one),
        (Some(_), more) => Err(NotOne::Several(more + 1)),
    }
}

/// This is a player who is here, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlayerRow {
    /// The player has this id.
    pub player: String,
    /// The player goes by this name.
    pub name: String,
    /// It plays this game.
    pub game: String,
    /// It is at this address.
    pub address: SocketAddr,
    /// It came over TCP, since its network blocks UDP.
    pub tcp: bool,
    /// Its round trip to the server has so many milliseconds, if that is known.
    pub rtt_ms: Option<f64>,
    /// It was last heard so many seconds ago.
    pub silent_s: u64,
    /// It is in the room with this code, if it is in one.
    pub room: Option<String>,
}

/// This is an open room, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomRow {
    /// The room has this code.
    pub code: String,
    /// The room has this name.
    pub name: String,
    /// It is a room of this game.
    pub game: String,
    /// So many players may be in it.
    pub capacity: u16,
    /// The room stands in listings.
    pub public: bool,
    /// It asks for a password.
    pub password: bool,
    /// These players are in it, the host first.
    pub members: Vec<String>,
}

impl Server {
    /// Returns all players who are logged in, by id.
    pub fn players(&self) -> Vec<PlayerRow> {
        let row = |player: PlayerId| {
            let client = self.roster.client_of(player)?;
            let room = self.roster.present_room(player).and_then(|room| self.rooms.code_of(room));
            Some(PlayerRow {
                player: player.to_string(),
                name: client.login().name().into(),
                game: client.login().game().into(),
                address: client.route().peer,
                tcp: self.cx.is_stream(client.route()),
                rtt_ms: client.rtt().map(|rtt| (rtt.as_secs_f64() * 10_000.0).round() / 10.0),
                silent_s: self.cx.now.saturating_duration_since(client.heard_at()).as_secs(),
                room,
            })
        };
        self.roster.player_ids().into_iter().filter_map(row).collect()
    }

    /// Returns all rooms that are open, by id.
    pub fn rooms(&self) -> Vec<RoomRow> {
        self.rooms.rows()
    }

    /// Logs out the one player whose id begins so, and has its game not log in again by itself.
    ///
    /// # Errors
    /// None or several of them are here.
    pub fn put_out(&mut self, now: Instant, id: &str, reason: &str) -> Result<PlayerRow, NotOne> {
        self.cx.now = now;
        let id = id.to_ascii_lowercase();
        let row = only(self.players(), |row| row.player.starts_with(&id))?;
        let here = |player: &PlayerId| player.to_string() == row.player;
        let session = self.roster.player_ids().into_iter().find(here);
        if let Some(session) = session.and_then(|player| self.roster.session_of(player)) {
            let reason = text::REASON.clean(reason);
            self.send_away(session, &Frame::Goodbye { reason, why: Farewell::PutOut }, MatchEnd::Left);
            self.settle();
        }
        Ok(row)
    }

    /// Closes the one room with this code or name.
    ///
    /// # Errors
    /// There is none, or several games have one of this name.
    pub fn close_room(&mut self, now: Instant, room: &str, reason: &str) -> Result<RoomRow, NotOne> {
        self.cx.now = now;
        let is_meant = |row: &RoomRow| row.code.eq_ignore_ascii_case(room) || row.name == room;
        let row = only(self.rooms(), is_meant)?;
        let reason = RoomEnd::ByOperator { reason: text::REASON.clean(reason) };
        let (rooms, mut others) = self.split();
        rooms.close_by_operator(&mut others, &row.code, &reason);
        self.settle();
        Ok(row)
    }

    /// Tells all players of a game this, or of all games, and returns how many there are.
    ///
    /// # Errors
    /// The text is too long, empty, or has characters that are not to be shown.
    pub fn announce(
        &mut self,
        now: Instant,
        game: Option<&str>,
        text: &str,
    ) -> Result<usize, text::TextError> {
        self.cx.now = now;
        let text = text::ANNOUNCEMENT.check(text)?;
        let mut told = 0;
        for player in self.roster.player_ids() {
            let its_game = self.roster.client_of(player).map(|client| client.login().game());
            if game.is_some() && game != its_game {
                continue;
            }
            self.roster.tell(&mut self.cx, player, ToPlayer::Announcement { text: text.clone() });
            told += 1;
        }
        self.settle();
        Ok(told)
    }

    /// Takes other settings; what players have already is left to them. Rates per address, and what players were told at
    /// their logins, stay as they were.
    pub fn reconfigure(&mut self, now: Instant, config: ServerConfig) {
        self.cx.now = now;
        self.matches.set_relay_limits(config.relay_limits(), config.relay_budgets.clone());
        let switched = self.cx.config.chat != config.chat;
        self.cx.config = config;
        if switched {
            self.chat_switched();
        }
    }

    /// Has every later login's token checked by this; `None`: everybody may log in.
    pub fn replace_token_check(&mut self, check: Option<Box<dyn TokenCheck>>) {
        self.roster.check_tokens(check.map_or(Tokens::Nobody, Tokens::AtOnce));
    }

    /// Lets nobody in any more, makes no rooms, and says goodbye to players as soon as they are in no room: their games
    /// log in elsewhere, or here when it is back. Who is in a room stays until it ends, or until [`stop`](Self::stop); where
    /// there are other nodes, the rooms go there at once, and their members with them.
    pub fn drain(&mut self, now: Instant, reason: &str) {
        self.cx.now = now;
        if self.cx.draining.is_none() {
            self.cx.draining = Some(reason.into());
            let (rooms, mut others) = self.split();
            rooms.move_all_out(&mut others);
            self.see_off();
            self.settle();
        }
    }

    /// Returns whether the server takes new players: it does not where it is about to end, or is full.
    pub fn takes_players(&self) -> bool {
        !self.cx.is_closing() && self.roster.player_count() < self.cx.config.max_sessions
    }

    /// Returns whether nobody is here any more.
    pub fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    /// Says goodbye to those who have nothing to finish, and looks again later.
    pub(super) fn see_off(&mut self) {
        let Some(reason) = self.cx.draining.clone() else { return };
        let idle: Vec<SessionId> = self.roster.idle_sessions();
        for id in idle {
            let goodbye = Frame::Goodbye { reason: reason.clone(), why: Farewell::Leaving };
            self.send_away(id, &goodbye, MatchEnd::Left);
        }
        let again = (!self.roster.is_empty()).then(|| self.cx.now + SWEEP);
        self.cx.timers.set(Timer::SeeOff, again);
    }

    /// Ends a session with this last word.
    pub(super) fn send_away(&mut self, id: SessionId, goodbye: &Frame<ToPlayer>, why: MatchEnd) {
        self.roster.say(&mut self.cx, id, goodbye);
        let (rooms, mut others) = self.split();
        rooms.end_session(&mut others, id, why);
    }
}
