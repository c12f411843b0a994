//! Who may not come back into a room: put out by its host for a time or for good, listed, and let in again.

use std::time::Duration;

use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{BANS_PER_PAGE, Rejoin, RequestError, Response, RoomBan};

use super::{Others, Rooms};
use crate::kicked::{FOR_GOOD, Kick};

impl Rooms {
    /// Who was put out does not come back before its time, with its ticket neither.
    pub(super) fn keep_out(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        player: PlayerId,
        rejoin: Rejoin,
        words: (String, String),
    ) {
        let time = match rejoin {
            Rejoin::Now => return,
            Rejoin::After { seconds } => Duration::from_secs(seconds.into()),
            Rejoin::Never => FOR_GOOD,
        };
        let now = others.cx.now;
        let until_s = others.cx.time_of_day().map_or(u64::MAX, |seconds| seconds + time.as_secs());
        let members = self.next_generation(others, id);
        let Some(serial) = self.rooms.get(&id).map(|room| room.generation) else { return };
        let kick = Kick { until: now + time, until_s, serial, lifted: false, words };
        self.note_kick(others, id, &members, (player, kick));
    }

    /// Notes a kick, or that it is lifted, and gives these members the note.
    fn note_kick(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        members: &[PlayerId],
        (player, kick): (PlayerId, Kick),
    ) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.kicked.insert(others.cx.now, player, kick.clone());
        for member in members {
            self.tell_kick_notes(others, id, *member, &[(player, kick.clone())]);
        }
    }

    /// Gives the host a page of its room's ban list.
    pub(super) fn list_bans(
        &self,
        others: &Others<'_>,
        host: PlayerId,
        after: Option<PlayerId>,
    ) -> Result<Response, RequestError> {
        let id = self.hosted_room(others, host)?;
        let room = self.rooms.get(&id).ok_or(RequestError::NotInRoom)?;
        let now = others.cx.now;
        let mut out = room.kicked.list(now, after).map(|(player, kick)| {
            let (name, reason) = kick.words.clone();
            RoomBan { player, name, reason, left_s: kick.left_s(now) }
        });
        let bans = out.by_ref().take(BANS_PER_PAGE).collect();
        Ok(Response::Bans { bans, more: out.next().is_some() })
    }

    /// The host lets a player come back.
    pub(super) fn lift_ban(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        player: PlayerId,
    ) -> Result<Response, RequestError> {
        let id = self.hosted_room(others, host)?;
        let room = self.rooms.get(&id).ok_or(RequestError::NotInRoom)?;
        let kick = room.kicked.of(others.cx.now, player).cloned().ok_or(RequestError::NoSuchPlayer)?;
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        self.note_kick(others, id, &members, (player, Kick { lifted: true, ..kick }));
        Ok(Response::Done)
    }
}
