//! Members who are away: the others are told, and who is back takes its seat.

use std::time::{Duration, Instant};

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{AwaySeat, MatchEnd, RequestError, Response, SeatKept, ToPlayer};

use super::seats::QUIET;
use super::wishes::{Entry, JoinWish};
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId, Sides};
use crate::server::matches::PairKind;
use crate::server::timers::Timer;

/// This is a member whose seat is kept.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) room: RoomId,
    /// The seat is kept until then.
    pub(super) until: Instant,
    /// The others are told.
    pub(super) shown: bool,
}

fn seconds(time: Duration) -> u16 {
    u16::try_from(time.as_secs()).unwrap_or(u16::MAX)
}

impl Rooms {
    /// Returns how long this session may be silent before something follows from it: its member is away, or it is over.
    pub(crate) fn look_after(&self, others: &Others<'_>, id: SessionId) -> Duration {
        let silence = self.silence(others, id);
        if self.may_be_away(others, id).is_some() { silence.min(QUIET) } else { silence }
    }

    /// Returns the member with this session, and its room, unless it is away already.
    fn may_be_away(&self, others: &Others<'_>, id: SessionId) -> Option<(PlayerId, RoomId)> {
        let (player, room) = self.seat_of(others, id)?;
        let id = room.setup.id;
        (others.roster.is_present(player, id) && !self.away.contains_key(&player)).then_some((player, id))
    }

    /// A session's timer is due: perhaps its member is away.
    pub(crate) fn note_silence(&mut self, others: &mut Others<'_>, id: SessionId) {
        let Some((player, room)) = self.may_be_away(others, id) else { return };
        let heard = others.roster.client(id).map(|client| client.heard_at());
        let Some(heard) = heard.filter(|heard| others.cx.now.saturating_duration_since(*heard) >= QUIET)
        else {
            return;
        };
        let until = heard + self.silence(others, id);
        self.away.insert(player, Away { room, until, shown: true });
        self.tell_seats(others, room);
    }

    /// A session gave a sign of life: perhaps of a member who was away.
    pub(super) fn seat_heard(&mut self, others: &mut Others<'_>, id: SessionId) {
        if self.away.is_empty() {
            return;
        }
        let Some(player) = others.roster.player_in(id) else { return };
        let Some(room) = self.away.get(&player).map(|away| away.room) else { return };
        if others.roster.is_present(player, room) {
            self.away.remove(&player);
            self.tell_seats(others, room);
        }
    }

    fn tell_seats(&mut self, others: &mut Others<'_>, id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.seat_news = true;
            self.publish(others, id);
        }
    }

    /// Returns the members of this room who are away, as the others are told.
    pub(super) fn away_seats(&self, now: Instant, id: RoomId) -> Vec<AwaySeat> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let seat = |player: PlayerId| {
            let away = self.away.get(&player).filter(|away| away.shown && away.room == id)?;
            Some(AwaySeat { player, kept_s: seconds(away.until.saturating_duration_since(now)) })
        };
        room.members.iter().filter_map(|member| seat(member.id)).collect()
    }

    /// A player who has its place in this room has logged in anew: it has its time to take it, and may not know of it.
    pub(super) fn keep_stale(&mut self, others: &mut Others<'_>, player: PlayerId, id: RoomId) {
        let now = others.cx.now;
        let Some(room) = self.rooms.get(&id) else { return };
        let kept = self.away.get(&player).map_or(now + self.keep_seat(others, room), |away| away.until);
        // It is there again, so it gets the time of a session at the least.
        let until = kept.max(now + others.cx.config.session_timeout);
        if !room.has(player) {
            others.cx.timers.set(Timer::Stale(player), Some(until));
            return;
        }
        let kept = SeatKept {
            name: room.setup.options.name.clone(),
            code: room.setup.code.clone(),
            hosting: room.host() == player,
            kept_s: seconds(until - now),
        };
        let shown = self.away.get(&player).is_some_and(|away| away.shown);
        self.away.insert(player, Away { room: id, until, shown });
        others.cx.timers.set(Timer::Stale(player), Some(if shown { until } else { now + QUIET }));
        others.tell(player, ToPlayer::SeatKept(kept));
    }

    /// A player has not taken up the room of its earlier session: the others are told that it is away, and in the end its
    /// place is free.
    pub(crate) fn stale_timeout(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let absent = others.roster.session_of(player).is_none();
        if !absent && !others.roster.is_stale(player) {
            return;
        }
        match self.away.get_mut(&player) {
            Some(away) if !away.shown && others.cx.now < away.until => {
                away.shown = true;
                let (until, room) = (away.until, away.room);
                others.cx.timers.set(Timer::Stale(player), Some(until));
                self.tell_seats(others, room);
            }
            _ if absent => self.give_up_absent(others, player),
            _ => self.leave_room(others, player, MatchEnd::Gone),
        }
    }

    /// The player is in no room (any more). The one that it was in comes back.
    pub(super) fn part(&mut self, others: &mut Others<'_>, player: PlayerId) -> Option<RoomId> {
        self.away.remove(&player);
        others.roster.part_from_room(others.cx, player)
    }

    /// A player takes the seat that was kept for it.
    pub(super) fn take_seat(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
    ) -> Result<Option<Response>, RequestError> {
        let player = asker.player;
        others.roster.may_seek_room(player)?;
        let id = others.roster.room_of(player).ok_or(RequestError::NoSeat)?;
        let room = self.rooms.get(&id).filter(|room| room.is_open() && room.has(player));
        let room = room.ok_or(RequestError::NoSeat)?;
        if room.host() == player {
            self.host_takes_seat(others, asker, id);
        } else {
            let wish = JoinWish { asker, password: None, invite: None, watch: None };
            self.admit(others, &Entry::new(wish, id));
        }
        Ok(None)
    }

    /// A host that was started anew hosts its room on, and is matched with all who are inside.
    fn host_takes_seat(&mut self, others: &mut Others<'_>, asker: Asker, id: RoomId) {
        let host = asker.player;
        let Some(info) = self.take_in(others, host, id) else { return };
        self.abandon_loss(others, id);
        let epoch = info.epoch;
        others.respond(asker, Ok(Response::Room(info)));
        self.tell_ticket(others, id, host);
        self.tell_kicked(others, id, host);
        let Some(room) = self.rooms.get(&id) else { return };
        let inside = room.inside().filter(|player| *player != host);
        let present = inside.filter(|player| others.roster.is_present(*player, id));
        let pairs: Vec<(PlayerId, PairKind)> =
            present.map(|player| (player, PairKind::with_host(room.is_watched_by(player)))).collect();
        for (joiner, kind) in pairs {
            others.matches.begin_match(others.cx, others.roster, epoch, Sides { host, joiner }, kind);
        }
        self.publish(others, id);
    }
}
