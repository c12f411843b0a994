//! What the operator asks of a running server: other settings, and its end.

use std::time::{Duration, Instant};

use traversal_core::wire::message::{Farewell, Frame, MatchEnd};

use super::timers::Timer;
use super::{Server, TokenCheck};
use crate::config::ServerConfig;
use crate::ids::SessionId;

/// Players who have nothing to finish are looked for so often.
const SWEEP: Duration = Duration::from_millis(250);

impl Server {
    /// Takes other settings; what players have already is left to them. Rates per address, and what players were told at
    /// their logins, stay as they were.
    pub fn reconfigure(&mut self, now: Instant, config: ServerConfig) {
        self.cx.now = now;
        self.matches.set_relay_limits(config.relay_limits());
        self.cx.config = config;
    }

    /// Has every later login's token checked by this; `None`: everybody may log in.
    pub fn replace_token_check(&mut self, check: Option<Box<dyn TokenCheck>>) {
        self.roster.replace_token_check(check);
    }

    /// Lets nobody in any more, makes no rooms, and says goodbye to players as soon as they are in no room: their games
    /// log in elsewhere, or here when it is back. Who is in a room stays until it ends, or until [`stop`](Self::stop).
    pub fn drain(&mut self, now: Instant, reason: &str) {
        self.cx.now = now;
        if self.cx.draining.is_none() {
            self.cx.draining = Some(reason.into());
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
            self.send_away(id, Frame::Goodbye { reason: reason.clone(), why: Farewell::Leaving });
        }
        let again = (!self.roster.is_empty()).then(|| self.cx.now + SWEEP);
        self.cx.timers.set(Timer::SeeOff, again);
    }

    /// Ends a session with this last word.
    fn send_away(&mut self, id: SessionId, goodbye: Frame<traversal_core::wire::message::ToPlayer>) {
        self.roster.say(&mut self.cx, id, &goodbye);
        let (rooms, mut others) = self.split();
        rooms.end_session(&mut others, id, MatchEnd::Left);
    }
}
