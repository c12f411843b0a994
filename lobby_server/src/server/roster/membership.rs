//! Which room each player is in, and whether it is on its way into one.

use std::collections::BTreeSet;

use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::wire::message::RequestError;

use super::client::Membership;
use super::{Context, Roster};
use crate::ids::Asker;
use crate::ids::SessionId;
use crate::server::timers::Timer;

impl Roster {
    /// Returns the room that a player is in, or was in in an earlier session.
    pub(crate) fn room_of(&self, player: PlayerId) -> Option<RoomId> {
        self.players.get(&player)?.membership.room()
    }

    /// Returns the room that a player is in.
    pub(crate) fn present_room(&self, player: PlayerId) -> Option<RoomId> {
        match self.players.get(&player)?.membership {
            Membership::In(room) => Some(room),
            Membership::Outside | Membership::Left(_) => None,
        }
    }

    /// Returns whether a player is in this room.
    pub(crate) fn is_present(&self, player: PlayerId, room: RoomId) -> bool {
        self.present_room(player) == Some(room)
    }

    /// Returns whether a player has not taken up the room of its earlier session.
    pub(crate) fn is_stale(&self, player: PlayerId) -> bool {
        self.players.get(&player).is_some_and(|player| matches!(player.membership, Membership::Left(_)))
    }

    /// Checks whether a player may open, enter or take up a room now.
    ///
    /// # Errors
    /// The player is not here, is in a room, or is on its way into one.
    pub(crate) fn may_seek_room(&self, player: PlayerId) -> Result<(), RequestError> {
        let player = self.players.get(&player).ok_or(RequestError::NoSuchPlayer)?;
        if player.busy.is_some() || matches!(player.membership, Membership::In(_)) {
            return Err(RequestError::AlreadyInRoom);
        }
        Ok(())
    }

    /// Notes that this request of a player to create or to enter a room waits for others.
    pub(crate) fn set_busy(&mut self, asker: Asker) {
        if let Some(player) = self.players.get_mut(&asker.player) {
            player.busy = Some(asker.request);
        }
    }

    /// Notes that this request of a player is answered.
    pub(crate) fn is_served(&mut self, player: PlayerId, request: RequestId) {
        if let Some(player) = self.players.get_mut(&player) {
            player.busy.take_if(|busy| *busy == request);
        }
    }

    /// Notes that a player is in this room.
    pub(crate) fn enter_room(&mut self, cx: &mut Context, player: PlayerId, room: RoomId) {
        if let Some(player) = self.players.get_mut(&player) {
            player.membership = Membership::In(room);
        }
        self.moved.insert(player);
        cx.timers.set(Timer::Stale(player), None);
    }

    /// Notes that a player is in no room. The one that it was in comes back.
    pub(crate) fn part_from_room(&mut self, cx: &mut Context, player: PlayerId) -> Option<RoomId> {
        cx.timers.set(Timer::Stale(player), None);
        self.moved.insert(player);
        let player = self.players.get_mut(&player)?;
        std::mem::replace(&mut player.membership, Membership::Outside).room()
    }

    /// Returns the players who came into a room, left one, or are gone since the last time.
    pub(crate) fn take_moved(&mut self) -> BTreeSet<PlayerId> {
        std::mem::take(&mut self.moved)
    }

    /// Returns whether a player is in no room, and not on its way into one: perhaps it is not here at all.
    pub(crate) fn is_idle(&self, player: PlayerId) -> bool {
        let player = self.players.get(&player);
        player.is_none_or(|player| player.membership == Membership::Outside && player.busy.is_none())
    }

    /// Notes that a player was in this room before it came here.
    pub(crate) fn was_in(&mut self, player: PlayerId, room: RoomId) {
        if let Some(player) = self.players.get_mut(&player) {
            player.membership = Membership::Left(room);
        }
    }

    /// Notes that a player is to be matched with the members of its room as soon as it is heard.
    pub(crate) fn await_sign(&mut self, player: PlayerId) {
        if let Some(player) = self.players.get_mut(&player) {
            player.awaited = true;
        }
    }

    /// Returns the player of this session, if a sign of life of it was awaited; it is no more.
    pub(crate) fn take_awaited(&mut self, id: SessionId) -> Option<PlayerId> {
        let id = self.player_in(id)?;
        let player = self.players.get_mut(&id)?;
        std::mem::take(&mut player.awaited).then_some(id)
    }
}
