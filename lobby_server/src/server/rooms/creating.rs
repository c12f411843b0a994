//! Opening a room: its name and code are claimed in the registry.

use rand_chacha::rand_core::RngCore;
use traversal_core::id::RoomId;
use traversal_core::wire::message::{PlayerInfo, RequestError, Response, RoomOptions};

use super::wishes::{Pending, RoomClaim};
use super::{Others, Rooms};
use crate::ids::Asker;
use crate::registry::RegistryOperation;
use crate::room::{self, Origin, PasswordHash, Room, Setup};

/// So many codes are drawn before it is called a failure: with 729 million, a second try is rare already.
const CODE_TRIES: u8 = 8;

impl Rooms {
    /// Opens a room for a player: it is there as soon as the registry has taken it.
    pub(super) fn create(
        &mut self,
        others: &mut Others<'_>,
        asker: Asker,
        options: RoomOptions,
    ) -> Result<Option<Response>, RequestError> {
        let mut options = options.checked()?;
        options.keep_seat = options.keep_seat.min(others.cx.config.keep_seat);
        others.roster.may_seek_room(asker.player)?;
        if self.queues.has(asker.player) {
            return Err(RequestError::AlreadyQueued);
        }
        self.leave_former(others, asker.player);
        let client = others.roster.client(asker.session).ok_or(RequestError::NoSuchPlayer)?;
        let (from, login) = (client.ip(), client.login());
        let (game, game_protocol) = (String::from(login.game()), login.game_protocol);
        let name_of_player = String::from(login.name());
        self.room_for_one_more(others, from)?;
        let mut room_id = RoomId(others.cx.rng.next_u64());
        while self.rooms.contains_key(&room_id) {
            room_id = RoomId(others.cx.rng.next_u64());
        }
        let code = room::draw_code(&mut others.cx.rng);
        let name_is_code = options.name.is_empty();
        let name = if name_is_code { code.clone() } else { options.name };
        let password =
            options.password.as_ref().map(|password| PasswordHash::new(password, &mut others.cx.rng));
        let setup = Setup {
            id: room_id,
            game,
            game_protocol,
            code,
            options: RoomOptions { name, ..options },
            password,
        };
        let members = vec![PlayerInfo { id: asker.player, name: name_of_player }];
        let room = Room::new(setup, members, from, Origin::New, others.cx.now);
        self.rooms.insert(room_id, room);
        others.roster.set_busy(asker);
        let (tries, checked, until) = (0, false, None);
        self.claim(others, RoomClaim { asker, room: room_id, name_is_code, tries, checked, until });
        Ok(None)
    }

    /// Asks the registry to take the room, whose opener may be gone by now.
    pub(super) fn claim(&mut self, others: &mut Others<'_>, claim: RoomClaim) {
        let Some(room) = self.rooms.get(&claim.room) else { return };
        if others.roster.client(claim.asker.session).is_none() {
            self.rooms.remove(&claim.room);
            return;
        }
        let record = Self::record_of(others, room);
        self.ask_registry(others, RegistryOperation::Claim(record), Pending::Claim(claim));
    }

    /// The code is taken by another room: another one is drawn.
    pub(super) fn redraw(&mut self, others: &mut Others<'_>, claim: RoomClaim) {
        if claim.tries >= CODE_TRIES {
            self.rooms.remove(&claim.room);
            others.respond(claim.asker, Err(RequestError::Limited { retry_after_s: 1 }));
            return;
        }
        if let Some(room) = self.rooms.get_mut(&claim.room) {
            room.setup.code = room::draw_code(&mut others.cx.rng);
            if claim.name_is_code {
                room.setup.options.name.clone_from(&room.setup.code);
            }
        }
        self.claim(others, RoomClaim { tries: claim.tries + 1, ..claim });
    }

    /// The registry has taken the room: its opener is in it.
    pub(super) fn claimed(&mut self, others: &mut Others<'_>, claim: RoomClaim) {
        let owner = others
            .roster
            .player_of(claim.asker.session)
            .filter(|owner| others.roster.session_of(*owner).is_some());
        let Some(owner) = owner.filter(|_| self.rooms.contains_key(&claim.room)) else {
            self.release(others, claim.room);
            return;
        };
        others.roster.enter_room(others.cx, owner, claim.room);
        let Some(room) = self.rooms.get_mut(&claim.room) else { return };
        room.open();
        let record = Self::record_of(others, room);
        others.cx.count_room(&record.game);
        tracing::info!(room = %room.setup.options.name, game = %room.setup.game, "room opened");
        let (info, restored) = (room.info(), room.is_restored());
        let snapshot = room.snapshot(&[]);
        others.respond(claim.asker, Ok(Response::Room(info)));
        self.list_room(&record);
        self.tell_ticket(others, claim.room, owner);
        if restored {
            self.tell_shared(others, claim.room, owner);
        }
        for part in snapshot {
            others.tell_session(claim.asker.session, part);
        }
    }
}
