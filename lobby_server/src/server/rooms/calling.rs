//! Rooms of calls: opened for two players, of whom one has called the other, or one into which a player is called.

use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{PlayerInfo, RequestError, RoomEnd, RoomInfo, RoomOptions};

use super::wishes::Pending;
use super::{Others, Rooms};
use crate::registry::RegistryOperation;
use crate::room::{self, Origin, Room, Setup};

/// Who was called into a room has so long to come: over another node it takes some seconds.
const INVITED: Duration = Duration::from_secs(60);

impl Rooms {
    /// Returns the name of a room.
    pub(crate) fn room_name(&self, id: RoomId) -> Option<String> {
        self.rooms.get(&id).map(|room| room.setup.options.name.clone())
    }

    /// Returns whether a player hosts a room in which there is nobody else.
    pub(crate) fn is_alone_in(&self, id: RoomId, host: PlayerId) -> bool {
        self.rooms.get(&id).is_some_and(|room| room.host() == host && room.members.len() == 1)
    }

    /// Returns whether a player waits for a quick match.
    pub(crate) fn is_queued(&self, player: PlayerId) -> bool {
        self.queues.has(player)
    }

    /// A member has said yes to a player who comes into its room. Where it is the host, that player need not ask again.
    pub(crate) fn invite(&mut self, now: Instant, id: RoomId, member: PlayerId, player: PlayerId) {
        if let Some(room) = self.rooms.get_mut(&id).filter(|room| room.host() == member) {
            room.invited.retain(|_, until| *until > now);
            room.invited.insert(player, now + INVITED);
        }
    }

    /// Opens a room of two, which this player hosts as soon as the registry has taken it.
    pub(crate) fn open_for_call(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
    ) -> Result<RoomId, RequestError> {
        others.roster.may_seek_room(host)?;
        if self.queues.has(host) {
            return Err(RequestError::AlreadyQueued);
        }
        self.leave_former(others, host);
        let client = others.roster.client_of(host).ok_or(RequestError::NoSuchPlayer)?;
        let (from, login) = (client.ip(), client.login());
        let (game, game_protocol) = (String::from(login.game()), login.game_protocol);
        let name = String::from(login.name());
        self.room_for_one_more(others, from)?;
        let mut id = RoomId(others.cx.rng.next_u64());
        while self.rooms.contains_key(&id) {
            id = RoomId(others.cx.rng.next_u64());
        }
        let code = room::draw_code(&mut others.cx.rng);
        let options = RoomOptions {
            name: code.clone(),
            capacity: 2,
            public: false,
            auto_allow: false,
            migrate: true,
            ..RoomOptions::default()
        };
        let setup = Setup { id, game, game_protocol, code, options, password: None };
        let members = vec![PlayerInfo { id: host, name }];
        let room = Room::new(setup, members, from, Origin::New, others.cx.now);
        let record = Self::record_of(others, &room);
        self.rooms.insert(id, room);
        self.ask_registry(others, RegistryOperation::Claim(record), Pending::Call(id));
        Ok(id)
    }

    /// The caller is in the room that was opened for its call.
    pub(crate) fn enter_for_call(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        host: PlayerId,
    ) -> Option<RoomInfo> {
        others.roster.may_seek_room(host).ok()?;
        if self.queues.has(host) {
            return None;
        }
        let room = self.rooms.get_mut(&id)?;
        room.open();
        let game = room.setup.game.clone();
        others.cx.count_room(&game);
        let info = self.take_in(others, host, id)?;
        self.tell_ticket(others, id, host);
        self.publish(others, id);
        Some(info)
    }

    /// Nobody comes into the room of a call.
    pub(crate) fn close_for_call(&mut self, others: &mut Others<'_>, id: RoomId, reason: RoomEnd) {
        if self.rooms.get(&id).is_some_and(Room::is_open) {
            self.close_room(others, id, None, reason);
        } else {
            self.release(others, id);
        }
    }

    /// Returns the rooms of calls that the registry has decided about, and whether it has taken them.
    pub(crate) fn take_opened_for_calls(&mut self) -> Vec<(RoomId, bool)> {
        std::mem::take(&mut self.opened_for_calls)
    }
}
