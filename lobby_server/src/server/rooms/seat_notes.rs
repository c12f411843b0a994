//! Notes of who has a seat, sealed by the server and held by the room's host, so that the seat of somebody who is away
//! outlives a restart of the server, or the end of a node.
//!
//! The host cannot make one. It may show one of a player who has left since: that player then reads, for as long as a seat
//! is kept, that it has one in a room that it was in.

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{MAX_SEAT_NOTES, PlayerInfo, SeatNote, ToPlayer};
use traversal_core::wire::secret::same;

use super::away::Away;
use super::seats::QUIET;
use super::{Others, Rooms};
use crate::kicked::OUT;
use crate::server::timers::Timer;

/// Keeps notes apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal seat note 1";

impl Rooms {
    fn seat_seal(&self, others: &Others<'_>, room: RoomId, note: &SeatNote) -> Option<[u8; 16]> {
        let mut content = Vec::with_capacity(80);
        content.extend_from_slice(&room.0.to_le_bytes());
        content.extend_from_slice(&note.player.id.0);
        content.extend_from_slice(&note.until_s.to_le_bytes());
        content.extend_from_slice(note.player.name.as_bytes());
        others.roster.identity().mac(PURPOSE, &content)
    }

    /// A player is in a room: its host gets a note of that, and a host gets one of each of the others.
    pub(super) fn tell_seat_notes(&mut self, others: &mut Others<'_>, id: RoomId, player: PlayerId) {
        let Some(room) = self.rooms.get(&id).filter(|room| !self.keep_seat(others, room).is_zero()) else {
            return;
        };
        let host = room.host();
        let until_s = others.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + OUT.as_secs());
        let told = room.members.iter().skip(1).filter(|member| player == host || member.id == player);
        let note = |player: &PlayerInfo| {
            let blank = SeatNote { player: player.clone(), until_s, seal: [0; 16] };
            Some(SeatNote { seal: self.seat_seal(others, id, &blank)?, ..blank })
        };
        let notes: Vec<SeatNote> = told.filter_map(note).collect();
        for part in notes.chunks(MAX_SEAT_NOTES) {
            others.tell(host, ToPlayer::SeatNotes { room: id, notes: part.to_vec() });
        }
    }

    /// The host of a room that was taken up again says who had a seat there: it is kept from when the room was taken up.
    pub(crate) fn handle_seat_notes(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        (id, away): (RoomId, bool),
        notes: Vec<SeatNote>,
    ) {
        let now = others.cx.now;
        let mut there = Vec::new();
        let before = self.rooms.get(&id).map(|room| room.members.len());
        for note in notes.into_iter().take(MAX_SEAT_NOTES) {
            // A server that was not restarted knows them all.
            let Some(room) = self.rooms.get(&id).filter(|room| room.is_restored() && room.is_open()) else {
                return;
            };
            if room.host() != host || !others.roster.is_present(host, id) {
                return;
            }
            let player = note.player.id;
            let until = room.opened_at + self.keep_seat(others, room);
            let fits = self.seat_seal(others, id, &note).is_some_and(|seal| same(&seal, &note.seal));
            let over = others.cx.time_of_day().is_some_and(|seconds| note.until_s < seconds) || now >= until;
            let is_out = room.kicked.of(now, player).is_some();
            let inside = room.inside().any(|inside| inside == player);
            if !fits || over || is_out || inside || room.is_full() || !others.roster.is_idle(player) {
                continue;
            }
            if let Some(room) = self.rooms.get_mut(&id) {
                room.members.push(note.player);
            }
            // Who is about to take the room up is not away.
            self.away.insert(player, Away { room: id, until, shown: away });
            others.cx.timers.set(Timer::Stale(player), Some(if away { until } else { now + QUIET }));
            there.extend(others.roster.session_of(player).map(|_| player));
        }
        if before != self.rooms.get(&id).map(|room| room.members.len()) {
            self.publish(others, id);
        }
        for player in there {
            self.keep_absent(others, player);
        }
    }

    /// A player has logged in: perhaps it has a seat in a room that was taken up while it was away.
    pub(crate) fn keep_absent(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(room) = self.away.get(&player).map(|away| away.room) else { return };
        let Some(client) = others.roster.client_of(player) else { return };
        let game = String::from(client.login().game());
        others.roster.was_in(player, room);
        self.keep_place(others, player, room, &game);
    }

    /// A player who has never been here has not come for its seat.
    pub(super) fn give_up_absent(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(id) = self.away.remove(&player).map(|away| away.room) else { return };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.remove(player);
            self.publish(others, id);
        }
    }
}
