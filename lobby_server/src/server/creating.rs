//! Opening a room: its name and code are claimed in the registry.

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::wire::message::{PlayerInfo, RequestError, Response, RoomOptions};

use super::Server;
use super::requests::Pending;
use crate::kicked::Kicked;
use crate::limits::Bucket;
use crate::registry::RegistryOperation;
use crate::rooms::{self, PasswordHash, Room};

/// Codes that are drawn before it is called a failure: with 729 million, a second try is rare already.
const CODE_TRIES: u8 = 8;

/// Someone wants to open a room.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) session: u64,
    pub(super) request: RequestId,
    pub(super) room: RoomId,
    pub(super) name_is_code: bool,
    pub(super) tries: u8,
    /// The owner of the name was asked already.
    pub(super) checked: bool,
}

impl Server {
    pub(super) fn create(
        &mut self,
        id: u64,
        player: PlayerId,
        request: RequestId,
        options: RoomOptions,
    ) -> Result<Option<Response>, RequestError> {
        let options = options.checked()?;
        self.roster.may_seek_room(player)?;
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        self.leave_former(player);
        let client = self.roster.client(id).ok_or(RequestError::NoSuchPlayer)?;
        let (from, login) = (client.ip(), client.login().clone());
        self.room_for_one_more(from)?;
        let mut room_id = RoomId(self.cx.rng.next_u64());
        while self.rooms.contains_key(&room_id) {
            room_id = RoomId(self.cx.rng.next_u64());
        }
        let code = rooms::draw_code(&mut self.cx.rng);
        let name_is_code = options.name.is_empty();
        let room = Room {
            id: room_id,
            game: login.game,
            game_protocol: login.game_protocol,
            name: if name_is_code { code.clone() } else { options.name },
            code,
            capacity: options.capacity,
            public: options.public,
            auto_allow: options.auto_allow,
            metadata: options.metadata,
            topology: options.topology,
            password: options.password.map(|password| PasswordHash::new(&password, &mut self.cx.rng)),
            members: vec![PlayerInfo { id: player, name: login.name }],
            revision: 0,
            news: Bucket::full(rooms::ROOM_NEWS, self.cx.now),
            opened_from: from,
            claimed: false,
            migrate: options.migrate,
            epoch: 0,
            restored: false,
            generation: 0,
            kicked: Kicked::default(),
            guesses: None,
        };
        self.rooms.insert(room_id, room);
        self.roster.set_busy(player, request);
        self.claim(Claim { session: id, request, room: room_id, name_is_code, tries: 0, checked: false });
        Ok(None)
    }

    pub(super) fn claim(&mut self, claim: Claim) {
        let Some(room) = self.rooms.get(&claim.room) else { return };
        if self.roster.client(claim.session).is_none() {
            self.rooms.remove(&claim.room);
            return;
        }
        let record = room.record(self.cx.config.node);
        self.ask_registry(RegistryOperation::Claim(record), Pending::Claim(claim));
    }

    pub(super) fn redraw(&mut self, claim: Claim) {
        if claim.tries >= CODE_TRIES {
            self.rooms.remove(&claim.room);
            self.roster.respond(
                &mut self.cx,
                claim.session,
                claim.request,
                Err(RequestError::Limited { retry_after_s: 1 }),
            );
            return;
        }
        if let Some(room) = self.rooms.get_mut(&claim.room) {
            room.code = rooms::draw_code(&mut self.cx.rng);
            if claim.name_is_code {
                room.name.clone_from(&room.code);
            }
        }
        self.claim(Claim { tries: claim.tries + 1, ..claim });
    }

    pub(super) fn claimed(&mut self, claim: Claim) {
        let owner =
            self.roster.player_of(claim.session).filter(|owner| self.roster.session_of(*owner).is_some());
        let Some(owner) = owner.filter(|_| self.rooms.contains_key(&claim.room)) else {
            self.release(claim.room);
            return;
        };
        self.roster.enter_room(&mut self.cx, owner, claim.room);
        let Some(room) = self.rooms.get_mut(&claim.room) else { return };
        room.claimed = true;
        self.cx.counters.rooms_opened += 1;
        tracing::info!(room = %room.name, game = %room.game, "room opened");
        let info = room.info();
        let snapshot = room.snapshot();
        self.roster.respond(&mut self.cx, claim.session, claim.request, Ok(Response::Room(info)));
        self.tell_ticket(claim.room, owner);
        for part in snapshot {
            self.roster.tell_session(&mut self.cx, claim.session, part);
        }
    }
}
