//! Who watches a room: it has no seat, hosts never, and is matched with the host alone.

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::Response;

use super::{Others, Rooms};
use crate::ids::{Asker, Sides};
use crate::server::matches::PairKind;

impl Rooms {
    /// The player watches from now on. `resume`: it did before a new login, and may still have its channel to the host.
    pub(super) fn admit_spectator(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        id: RoomId,
        resume: bool,
    ) {
        let player = asker.player;
        let Some(party) = others.roster.party(others.cx, player) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if !room.is_watched_by(player) {
            room.spectators.push(party.info);
        }
        room.seat_news = true;
        let (info, host, epoch) = (room.info(), room.host(), room.epoch);
        others.roster.enter_room(others.cx, player, id);
        others.respond(asker, Ok(Response::Room(info)));
        if resume {
            others.matches.tell_public(others.cx, others.roster, player);
            self.pair_later(others, id);
        } else {
            let sides = Sides { host, joiner: player };
            others.matches.begin_match(others.cx, others.roster, epoch, sides, PairKind::Spectator);
        }
        self.publish(others, id);
    }

    /// Returns those who watch this room and have a session.
    pub(super) fn spectators(&self, others: &Others<'_>, id: RoomId) -> Vec<PlayerId> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let present = |player: &PlayerId| others.roster.is_present(*player, id);
        room.spectators.iter().map(|spectator| spectator.id).filter(present).collect()
    }
}
