//! Seats: a member of a room of whom nothing is heard keeps its place, its id and its matches for a while, and plays on when
//! it is back.
//!
//! A seat is a session that may be silent for longer (`RoomOptions::keep_seat`, and no longer than
//! [`ServerConfig::keep_seat`](crate::ServerConfig::keep_seat)): so it is bound to the player's key, there is one for each
//! player, and it counts against all limits like any session. Where the room keeps none, a silent member gives way to
//! somebody who is there (`liveness`).

use std::time::Duration;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{KeptMatch, MAX_KEPT, RoomInfo, ToPlayer, Topology};

use super::{Others, Rooms};
use crate::ids::{SessionId, Sides};
use crate::room::Room;
use crate::server::matches::PairKind;
use crate::server::timers::Timer;

/// Two members who are there may have no match for so long before they get a fresh one: by then both have said which
/// match goes on. It is two answers' time of the farthest member where that is longer.
const SAID: Duration = Duration::from_secs(3);

/// A player in a room may have been silent anyway for so long when it went away: it gives a sign of life every 4 s,
/// and one may get lost.
pub(super) const QUIET: Duration = Duration::from_secs(8);

impl Rooms {
    /// Returns how long this session may be silent. One whose player is in a room with others has a seat there.
    pub(crate) fn silence(&self, others: &Others<'_>, id: SessionId) -> Duration {
        let Some(client) = others.roster.client(id) else { return Duration::ZERO };
        let usual = others.cx.config.silence(client.is_confirmed());
        let kept = self.seat_of(others, id).map(|(_, room)| self.keep_seat(others, room));
        kept.filter(|kept| !kept.is_zero()).map_or(usual, |kept| kept + QUIET)
    }

    /// Returns whose seat this session has, and the room, if there is anybody to keep it for.
    pub(super) fn seat_of(&self, others: &Others<'_>, id: SessionId) -> Option<(PlayerId, &Room)> {
        let player = others.roster.player_in(id)?;
        let room = self.rooms.get(&others.roster.room_of(player)?)?;
        let shared = room.members.len() > 1 || !room.setup.options.seat;
        (shared && room.has(player)).then_some((player, room))
    }

    /// Returns for how long this room keeps a seat.
    pub(super) fn keep_seat(&self, others: &Others<'_>, room: &Room) -> Duration {
        room.setup.options.keep_seat.min(others.cx.config.keep_seat)
    }

    /// A host that was replaced while nobody heard it keeps its seat, as the last of the members.
    pub(super) fn seat_former_host(&mut self, others: &mut Others<'_>, host: PlayerId, info: &RoomInfo) {
        if others.roster.room_of(host) != Some(info.id) {
            return;
        }
        let Some(party) = others.roster.party(others.cx, host) else { return };
        let Some(room) = self.rooms.get_mut(&info.id) else { return };
        room.members.push(party.info);
        if others.roster.is_present(host, info.id) {
            others.tell(host, ToPlayer::HostChanged { room: info.clone(), previous: host });
            self.tell_ticket(others, info.id, host);
            others.roster.await_sign(host);
        }
    }

    /// A session gave a sign of life: perhaps of a member who is matched with the others as soon as it is back.
    pub(super) fn awaited_heard(&mut self, others: &mut Others<'_>, session: SessionId) {
        let Some(player) = others.roster.take_awaited(session) else { return };
        let Some(id) = others.roster.present_room(player) else { return };
        let members = self.rooms.get(&id).map(|room| room.members.iter().map(|member| member.id).collect());
        let members: Vec<PlayerId> = members.unwrap_or_default();
        let unmatched = |other: &PlayerId| !others.matches.are_matched(*other, player);
        let members: Vec<PlayerId> = members.into_iter().filter(unmatched).collect();
        self.match_with(others, id, player, &members);
    }

    /// Somebody is back, or has lost a match: soon each member has one with the host, an old one or a fresh one.
    pub(super) fn pair_later(&mut self, others: &mut Others<'_>, id: RoomId) {
        if others.cx.timers.is_set(Timer::Pairs(id)) {
            return;
        }
        let Some(room) = self.rooms.get(&id) else { return };
        let sessions = room.members.iter().filter_map(|member| others.roster.session_of(member.id));
        let wait = others.roster.wait_for(SAID, sessions);
        others.cx.timers.set(Timer::Pairs(id), Some(others.cx.now + wait));
    }

    /// Gives members without a match with the host one; those of whom nothing is heard get it when they are back.
    pub(crate) fn pair_up(&mut self, others: &mut Others<'_>, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        // Pairs of a mesh ask by themselves.
        let (host, epoch, mut absent) = (room.host(), room.epoch, false);
        let present = |player: PlayerId| others.roster.is_present(player, id);
        let guests = room.inside().skip(1);
        let unmatched = guests
            .filter(|member| present(host) && present(*member) && !others.matches.are_matched(host, *member));
        let unmatched: Vec<(PlayerId, PairKind)> =
            unmatched.map(|player| (player, PairKind::with_host(room.is_watched_by(player)))).collect();
        for (member, kind) in unmatched {
            if others.roster.is_fresh(others.cx, host) && others.roster.is_fresh(others.cx, member) {
                others.matches.begin_match(
                    others.cx,
                    others.roster,
                    epoch,
                    Sides { host, joiner: member },
                    kind,
                );
            } else {
                absent = true;
            }
        }
        if absent {
            self.pair_later(others, id);
        }
    }

    /// A match is lost: soon its player has one with its room's host again.
    pub(crate) fn pair_soon(&mut self, others: &mut Others<'_>, player: PlayerId) {
        if let Some(id) = others.roster.room_of(player) {
            self.pair_later(others, id);
        }
    }

    /// A player is back in its room and still plays these matches.
    pub(crate) fn keep_matches(&mut self, others: &mut Others<'_>, player: PlayerId, kept: Vec<KeptMatch>) {
        let Some(room) = others.roster.present_room(player).and_then(|id| self.rooms.get(&id)) else {
            return;
        };
        // In a mesh everybody plays with everybody.
        let (id, host) = (
            room.setup.id,
            (room.setup.options.topology == Topology::Star || !room.has(player)).then(|| room.host()),
        );
        for kept in kept.into_iter().take(MAX_KEPT) {
            others.matches.keep_match(others.cx, others.roster, player, (id, host), kept);
        }
    }
}
