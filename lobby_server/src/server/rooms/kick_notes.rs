//! Notes of who was put out of a room, sealed by the server and held by the members, so that a kick outlives a restart.
//!
//! Any member may show them: it cannot make one, and one that keeps them to itself is alone in that.

use std::time::Duration;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{KickNote, MAX_KICK_NOTES, ToPlayer};
use traversal_core::wire::secret::same;

use super::{Others, Rooms};
use crate::kicked::{FOR_GOOD, Kick, OUT};

/// Keeps notes apart from whatever else the server's key may sign.
const PURPOSE: &[u8] = b"bevy_traversal kick note 2";

impl Rooms {
    fn kick_seal(&self, others: &Others<'_>, room: RoomId, note: &KickNote) -> Option<[u8; 16]> {
        let mut content = Vec::with_capacity(48);
        content.extend_from_slice(&room.0.to_le_bytes());
        content.extend_from_slice(&note.player.0);
        content.extend_from_slice(&note.until_s.to_le_bytes());
        content.extend_from_slice(&note.serial.to_le_bytes());
        content.push(u8::from(note.lifted));
        others.roster.identity().mac(PURPOSE, &content)
    }

    /// Gives a member the notes of all who are out.
    pub(super) fn tell_kicked(&mut self, others: &mut Others<'_>, id: RoomId, member: PlayerId) {
        let Some(room) = self.rooms.get(&id) else { return };
        for part in room.kicked.all(others.cx.now).chunks(MAX_KICK_NOTES) {
            self.tell_kick_notes(others, id, member, part);
        }
    }

    /// Gives a member notes of these players.
    pub(super) fn tell_kick_notes(
        &mut self,
        others: &mut Others<'_>,
        room: RoomId,
        member: PlayerId,
        out: &[(PlayerId, Kick)],
    ) {
        let note = |(player, kick): &(PlayerId, Kick)| {
            let Kick { until_s, serial, lifted, .. } = *kick;
            let blank = KickNote { player: *player, until_s, seal: [0; 16], serial, lifted };
            Some(KickNote { seal: self.kick_seal(others, room, &blank)?, ..blank })
        };
        let notes: Vec<KickNote> = out.iter().filter_map(note).collect();
        if !notes.is_empty() {
            others.tell(member, ToPlayer::KickNotes { room, notes });
        }
    }

    /// Returns how many players these notes may put out, for the member's rate.
    pub(crate) fn put_out_by(&self, room: RoomId, notes: &[KickNote]) -> usize {
        let Some(room) = self.rooms.get(&room).filter(|room| room.is_restored()) else { return 0 };
        notes.iter().take(MAX_KICK_NOTES).filter(|note| room.has(note.player)).count()
    }

    /// A member shows who was put out before a restart of the server.
    pub(crate) fn handle_kick_notes(
        &mut self,
        others: &mut Others<'_>,
        member: PlayerId,
        id: RoomId,
        notes: Vec<KickNote>,
    ) {
        let now = others.cx.now;
        if !others.roster.is_present(member, id) {
            return;
        }
        for note in notes.into_iter().take(MAX_KICK_NOTES) {
            // A server that was not restarted knows them all.
            let Some(room) = self.rooms.get(&id).filter(|room| room.is_restored()) else { return };
            let known =
                room.kicked.serial(note.player).is_some_and(|known| known >= (note.serial, note.lifted));
            let left = match others.cx.time_of_day() {
                Some(seconds) if note.until_s != u64::MAX => {
                    Duration::from_secs(note.until_s.saturating_sub(seconds)).min(FOR_GOOD)
                }
                _ => OUT,
            };
            let sealed = self.kick_seal(others, id, &note);
            let fits = sealed.is_some_and(|seal| same(&seal, &note.seal));
            if known || left.is_zero() || !fits || room.host() == note.player {
                continue;
            }
            let is_inside = !note.lifted && room.inside().any(|player| player == note.player);
            if let Some(room) = self.rooms.get_mut(&id) {
                let kick = Kick {
                    until: now + left,
                    until_s: note.until_s,
                    serial: note.serial,
                    lifted: note.lifted,
                    words: Default::default(),
                };
                room.generation = room.generation.max(note.serial);
                room.kicked.insert(now, note.player, kick);
            }
            if is_inside {
                self.put_out(others, id, note.player, "the host put you out".into());
            }
        }
    }
}
