//! Notes of who has a seat in the room that this player hosts, and what a server that was restarted is shown of them.

use std::collections::BTreeMap;

use super::Lobby;
use crate::id::{PlayerId, RoomId};
use crate::wire::message::{MAX_INSIDE, MAX_SEAT_NOTES, SeatNote, ToServer};

/// These are the notes of one room, by player.
#[derive(Debug)]
pub(super) struct SeatNotes {
    room: RoomId,
    notes: BTreeMap<PlayerId, SeatNote>,
}

impl Lobby {
    /// Keeps notes that the server has given. They may come before the answer that lets this player into its room.
    pub(crate) fn handle_seat_notes(&mut self, id: RoomId, notes: Vec<SeatNote>) {
        if self.room.as_ref().is_some_and(|room| room.info.id != id) {
            return;
        }
        let inside: Vec<PlayerId> = self.member_ids();
        let kept = match &mut self.seat_notes {
            Some(kept) if kept.room == id => kept,
            kept => kept.insert(SeatNotes { room: id, notes: BTreeMap::new() }),
        };
        // Those who have left since make room for others.
        if kept.notes.len() >= usize::from(MAX_INSIDE) {
            kept.notes.retain(|player, _| inside.contains(player));
        }
        for note in notes {
            if kept.notes.len() < 2 * usize::from(MAX_INSIDE) {
                kept.notes.insert(note.player.id, note);
            }
        }
    }

    pub(super) fn member_ids(&self) -> Vec<PlayerId> {
        self.room.iter().flat_map(|room| &room.members).map(|member| member.id).collect()
    }

    /// Returns what the server is to be shown, which may have been started anew, after this player came back into the room
    /// that it hosts: who was a member when the server was lost.
    pub(crate) fn take_seats_to_show(&mut self) -> Vec<ToServer> {
        let seated = std::mem::take(&mut self.seats_to_show);
        let Some(room) = self.room.as_ref().filter(|room| room.hosting) else { return Vec::new() };
        let Some(kept) = self.seat_notes.as_ref().filter(|kept| kept.room == room.info.id) else {
            return Vec::new();
        };
        let noted = seated.iter().filter_map(|player| kept.notes.get(player));
        let (away, there): (Vec<_>, Vec<_>) =
            noted.cloned().partition(|note| room.seats.is_away(note.player.id));
        let id = room.info.id;
        let parts = |away: bool, notes: Vec<SeatNote>| {
            let part = |notes: &[SeatNote]| ToServer::SeatNotes { room: id, away, notes: notes.to_vec() };
            notes.chunks(MAX_SEAT_NOTES).map(part).collect::<Vec<_>>()
        };
        [parts(true, away), parts(false, there)].concat()
    }
}
