//! Passwords and codes of rooms: how often somebody may guess them.
//!
//! A guess that failed counts against the address that it came from and against the room. When too many failed for a
//! room, only addresses that did not fail lately may try, so that guessing locks nobody else out. The room's host is told.

use std::net::IpAddr;

use traversal_core::id::RoomId;
use traversal_core::wire::message::{RequestError, ToPlayer};

use super::wishes::Entry;
use super::{Others, Rooms};
use crate::guesses::Guesses;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// Told to whoever guessed too often.
const AGAIN_S: u32 = 10;

impl Rooms {
    /// Checks whether the player has the room's password. Whoever the host, or its own ticket, lets in needs none.
    pub(super) fn check_password(
        &mut self,
        others: &mut Others<'_>,
        entry: &Entry,
        from: IpAddr,
    ) -> Result<(), RequestError> {
        let now = others.cx.now;
        let room = self.rooms.get_mut(&entry.room).ok_or(RequestError::NoSuchRoom)?;
        if room.setup.password.is_none() || entry.allowed {
            return Ok(());
        }
        if entry.wish.password.is_none() {
            return Err(RequestError::WrongPassword);
        }
        let right = room.opens(entry.wish.password.as_deref().map(String::as_str));
        let rate = others.cx.config.room_guess_rate;
        let of_room = room.guesses.get_or_insert_with(|| Guesses::new(rate, now));
        let many = of_room.are_many(rate, now);
        if !self.guess_limit.would_allow(from, now) || (many && !self.guess_limit.is_unused(from, now)) {
            others.cx.counters.limit(Refusal::PasswordRate);
            return Err(RequestError::Limited { retry_after_s: AGAIN_S });
        }
        if right {
            return Ok(());
        }
        of_room.count(rate, now);
        if !others.cx.timers.is_set(Timer::Guesses(entry.room)) {
            others.cx.timers.set(Timer::Guesses(entry.room), Some(of_room.tell_at(now)));
        }
        self.guess_limit.allow(from, now);
        others.cx.counters.wrong_passwords += 1;
        Err(RequestError::WrongPassword)
    }

    /// Tells a room's host how many passwords were wrong within the last minute.
    pub(crate) fn tell_guesses(&mut self, others: &mut Others<'_>, id: RoomId) {
        let now = others.cx.now;
        others.cx.timers.set(Timer::Guesses(id), None);
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let host = room.host();
        let Some(guesses) = &mut room.guesses else { return };
        guesses.telling(now);
        let in_last_minute = guesses.in_last_minute(now);
        others.tell(host, ToPlayer::WrongPasswords { room: id, in_last_minute });
    }

    /// Checks whether somebody at this address may look for a room by a code.
    pub(super) fn may_try_code(&mut self, others: &mut Others<'_>, from: IpAddr) -> Result<(), RequestError> {
        if self.code_limit.allow(from, others.cx.now) {
            return Ok(());
        }
        others.cx.counters.limit(Refusal::CodeRate);
        Err(RequestError::Limited { retry_after_s: AGAIN_S })
    }
}
