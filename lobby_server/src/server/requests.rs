//! What players ask: rooms to open, enter, leave and list.

use std::net::IpAddr;
use std::time::Instant;

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{JoinId, PlayerId, RequestId, RoomId};
use traversal_core::wire::message::{
    MAX_REASON, MatchEnd, PlayerInfo, Request, RequestError, Response, RoomEnd, RoomOptions, RoomTarget,
    ToPlayer,
};

use super::liveness::Waiting;
use super::{Server, Timer};
use crate::registry::{RegistryCommand, RegistryDown, RegistryId, RegistryOperation, RegistryReply};
use crate::rooms::{self, PasswordHash, Room};

/// Rooms asked of the registry for a page of a listing; short ones fit about so many into a datagram.
const LIST_LIMIT: usize = 24;
/// Players that may wait for one host's answer.
const ASKS_PER_ROOM: usize = 64;
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

/// Someone wants to enter a room.
#[derive(Debug)]
pub(super) struct JoinWish {
    pub(super) session: u64,
    pub(super) player: PlayerId,
    pub(super) request: RequestId,
    pub(super) room: RoomId,
    pub(super) password: Option<String>,
    pub(super) resume: bool,
    /// The members of the full room were asked already.
    pub(super) checked: bool,
    /// The host said yes.
    pub(super) allowed: bool,
}

/// A wish that waits for the host.
#[derive(Debug)]
pub(super) struct Ask {
    wish: JoinWish,
}

/// What goes on when the registry answers.
#[derive(Debug)]
pub(super) enum Pending {
    Claim(Claim),
    Find(JoinWish),
    List { session: u64, request: RequestId },
    Gathering(RoomId),
    Nothing,
}

/// A host's words, cut to what others are told.
fn cut(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason.retain(|c| !c.is_control());
    reason
}

impl Server {
    pub(super) fn handle_request(&mut self, now: Instant, id: u64, request: RequestId, body: Request) {
        self.counters.requests += 1;
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        if !client.requests.take(self.config.request_rate, now) {
            self.counters.limited += 1;
            let limited = RequestError::Limited { retry_after_s: 1 };
            self.respond(now, id, request, Err(limited));
            return;
        }
        if self.stopping {
            self.respond(now, id, request, Err(RequestError::Stopping));
            return;
        }
        let result = match body {
            Request::CreateRoom { options } => self.create(now, id, player, request, options),
            Request::TakeUpRoom { ticket, code, options } => {
                self.take_up(now, (id, player, request), ticket, &code, options)
            }
            Request::JoinRoom { target, password } => {
                let wish = JoinWish {
                    session: id,
                    player,
                    request,
                    room: RoomId(0),
                    password,
                    resume: false,
                    checked: false,
                    allowed: false,
                };
                self.join(now, wish, target)
            }
            Request::LeaveRoom => self.leave(now, player).map(Some),
            Request::ListRooms { after } => {
                let game = self.sessions.get(&id).map(|client| client.login.game.clone()).unwrap_or_default();
                let list = RegistryOperation::List { game, after, limit: LIST_LIMIT };
                self.ask_registry(now, list, Pending::List { session: id, request });
                Ok(None)
            }
            Request::Kick { player: target, reason } => self.kick(now, player, target, reason).map(Some),
            Request::SetMetadata(metadata) => self.set_metadata(now, player, metadata).map(Some),
            Request::QuickMatch(wanted) => self.quick_match(now, id, player, wanted).map(Some),
            Request::LeaveQueue => self.leave_queue(now, player).map(Some),
            Request::Rematch { player: other } => self.rematch(now, player, other).map(Some),
            _ => Err(RequestError::Malformed { what: "request".into() }),
        };
        match result {
            Ok(None) => {}
            Ok(Some(response)) => self.respond(now, id, request, Ok(response)),
            Err(error) => self.respond(now, id, request, Err(error)),
        }
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        session: u64,
        id: RequestId,
        result: Result<Response, RequestError>,
    ) {
        if let Err(error) = &result {
            self.counters.requests_failed += 1;
            tracing::debug!(%error, "request failed");
        }
        let Some(player) = self.sessions.get(&session).map(|client| client.player) else { return };
        if let Some(player) = self.players.get_mut(&player)
            && player.busy == Some(id)
        {
            player.busy = None;
        }
        self.tell_session(now, session, ToPlayer::Response { id, result });
    }

    pub(super) fn ask_registry(&mut self, now: Instant, operation: RegistryOperation, pending: Pending) {
        let id = RegistryId(self.next_registry);
        self.next_registry += 1;
        self.pending.insert(id, pending);
        self.timers.set(Timer::Registry(id), Some(now + self.config.registry_timeout));
        self.commands.push_back(RegistryCommand { id, operation });
    }

    /// The registry answered a command.
    pub fn handle_registry_reply(
        &mut self,
        now: Instant,
        id: RegistryId,
        reply: Result<RegistryReply, RegistryDown>,
    ) {
        let Some(pending) = self.pending.remove(&id) else { return };
        self.timers.set(Timer::Registry(id), None);
        match (pending, reply) {
            (Pending::Claim(claim), Ok(RegistryReply::Claimed)) => self.claimed(now, claim),
            (Pending::Claim(claim), Ok(RegistryReply::NameTaken(owner))) => {
                let (session, request, room) = (claim.session, claim.request, claim.room);
                let local = owner.node == self.config.node;
                let ask = !claim.checked && local;
                if !(ask && self.check(now, owner.room, true, Waiting::Claim(claim))) {
                    self.rooms.remove(&room);
                    self.respond(now, session, request, Err(RequestError::NameTaken));
                }
            }
            (Pending::Claim(claim), Ok(RegistryReply::CodeTaken)) => self.redraw(now, claim),
            (Pending::Find(wish), Ok(RegistryReply::Found(Some(location))))
                if location.node == self.config.node =>
            {
                self.enter(now, JoinWish { room: location.room, ..wish });
            }
            (Pending::Find(wish), Ok(RegistryReply::Found(_))) => {
                self.respond(now, wish.session, wish.request, Err(RequestError::NoSuchRoom));
            }
            (Pending::List { session, request }, Ok(RegistryReply::Rooms { rooms, more })) => {
                let (rooms, more) = rooms::page(rooms, more);
                self.respond(now, session, request, Ok(Response::Rooms { rooms, more }));
            }
            (Pending::Gathering(room), reply) => self.gathering_claimed(now, room, reply.ok()),
            (Pending::Nothing, _) => {}
            (pending, _) => self.registry_failed(now, pending),
        }
        self.settle(now);
    }

    pub(super) fn registry_timeout(&mut self, now: Instant, id: RegistryId) {
        if let Some(pending) = self.pending.remove(&id) {
            self.registry_failed(now, pending);
        }
    }

    fn registry_failed(&mut self, now: Instant, pending: Pending) {
        let (session, request) = match pending {
            Pending::Claim(claim) => {
                // It may have been heard after all.
                self.release(now, claim.room);
                (claim.session, claim.request)
            }
            Pending::Find(wish) => (wish.session, wish.request),
            Pending::List { session, request } => (session, request),
            Pending::Gathering(room) => return self.gathering_claimed(now, room, None),
            Pending::Nothing => return,
        };
        self.respond(now, session, request, Err(RequestError::RegistryUnavailable));
    }

    fn create(
        &mut self,
        now: Instant,
        id: u64,
        player: PlayerId,
        request: RequestId,
        options: RoomOptions,
    ) -> Result<Option<Response>, RequestError> {
        rooms::check_options(&options)?;
        let Some(state) = self.players.get(&player) else { return Err(RequestError::NoSuchPlayer) };
        if state.busy.is_some() || (state.room.is_some() && !state.stale) {
            return Err(RequestError::AlreadyInRoom);
        }
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        self.leave_former(now, player);
        let Some(client) = self.sessions.get(&id) else { return Err(RequestError::NoSuchPlayer) };
        let from: IpAddr = client.route.peer.ip();
        let login = client.login.clone();
        self.room_for_one_more(from)?;
        let mut room_id = RoomId(self.rng.next_u64());
        while self.rooms.contains_key(&room_id) {
            room_id = RoomId(self.rng.next_u64());
        }
        let code = rooms::draw_code(&mut self.rng);
        let name = options.name.trim();
        let name_is_code = name.is_empty();
        let room = Room {
            id: room_id,
            game: login.game,
            game_protocol: login.game_protocol,
            name: if name_is_code { code.clone() } else { name.into() },
            code,
            capacity: options.capacity,
            public: options.public,
            auto_allow: options.auto_allow,
            metadata: options.metadata,
            topology: options.topology,
            password: options.password.map(|password| PasswordHash::new(&password, &mut self.rng)),
            members: vec![PlayerInfo { id: player, name: login.name }],
            revision: 0,
            opened_from: from,
            claimed: false,
            migrate: options.migrate,
            epoch: 0,
            restored: false,
        };
        self.rooms.insert(room_id, room);
        if let Some(state) = self.players.get_mut(&player) {
            state.busy = Some(request);
        }
        self.claim(
            now,
            Claim { session: id, request, room: room_id, name_is_code, tries: 0, checked: false },
        );
        Ok(None)
    }

    pub(super) fn claim(&mut self, now: Instant, claim: Claim) {
        let Some(room) = self.rooms.get(&claim.room) else { return };
        if !self.sessions.contains_key(&claim.session) {
            self.rooms.remove(&claim.room);
            return;
        }
        let record = room.record(self.config.node);
        self.ask_registry(now, RegistryOperation::Claim(record), Pending::Claim(claim));
    }

    fn redraw(&mut self, now: Instant, claim: Claim) {
        if claim.tries >= CODE_TRIES {
            self.rooms.remove(&claim.room);
            self.respond(now, claim.session, claim.request, Err(RequestError::Limited { retry_after_s: 1 }));
            return;
        }
        if let Some(room) = self.rooms.get_mut(&claim.room) {
            room.code = rooms::draw_code(&mut self.rng);
            if claim.name_is_code {
                room.name.clone_from(&room.code);
            }
        }
        self.claim(now, Claim { tries: claim.tries + 1, ..claim });
    }

    fn claimed(&mut self, now: Instant, claim: Claim) {
        let owner = self.sessions.get(&claim.session).map(|client| client.player);
        let state = owner.and_then(|owner| self.players.get_mut(&owner));
        let (Some(state), Some(room)) = (state, self.rooms.get_mut(&claim.room)) else {
            self.release(now, claim.room);
            return;
        };
        state.room = Some(claim.room);
        state.stale = false;
        room.claimed = true;
        self.counters.rooms_opened += 1;
        tracing::info!(room = %room.name, game = %room.game, "room opened");
        let info = room.info();
        let snapshot = room.snapshot();
        self.respond(now, claim.session, claim.request, Ok(Response::Room(info)));
        if let Some(owner) = owner {
            self.tell_ticket(now, claim.room, owner);
        }
        for part in snapshot {
            self.tell_session(now, claim.session, part);
        }
    }

    fn join(
        &mut self,
        now: Instant,
        wish: JoinWish,
        target: RoomTarget,
    ) -> Result<Option<Response>, RequestError> {
        let state = self.players.get_mut(&wish.player).ok_or(RequestError::NoSuchPlayer)?;
        let client = self.sessions.get(&wish.session).ok_or(RequestError::NoSuchPlayer)?;
        if state.busy.is_some() || (state.room.is_some() && !state.stale) {
            return Err(RequestError::AlreadyInRoom);
        }
        if self.queues.has(wish.player) {
            return Err(RequestError::AlreadyQueued);
        }
        state.busy = Some(wish.request);
        let find = RegistryOperation::Find { game: client.login.game.clone(), target };
        self.ask_registry(now, find, Pending::Find(wish));
        Ok(None)
    }

    /// The room was found here: may the player enter?
    pub(super) fn enter(&mut self, now: Instant, wish: JoinWish) {
        let (session, request) = (wish.session, wish.request);
        if let Err(error) = self.try_enter(now, wish) {
            self.respond(now, session, request, Err(error));
        }
    }

    fn try_enter(&mut self, now: Instant, wish: JoinWish) -> Result<(), RequestError> {
        let Some(client) = self.sessions.get(&wish.session) else { return Ok(()) };
        let Some(state) = self.players.get(&wish.player).filter(|state| state.session == wish.session) else {
            return Ok(());
        };
        let room = self
            .rooms
            .get(&wish.room)
            .filter(|room| room.claimed && room.game == client.login.game)
            .ok_or(RequestError::NoSuchRoom)?;
        if room.game_protocol != client.login.game_protocol {
            return Err(RequestError::OtherVersion {
                room: room.game_protocol,
                yours: client.login.game_protocol,
            });
        }
        if !room.opens(wish.password.as_deref()) {
            return Err(RequestError::WrongPassword);
        }
        let (inside, hosts) = (state.room, room.host() == wish.player);
        match inside {
            Some(inside) if inside == wish.room && !hosts => {
                self.admit(now, &wish);
                return Ok(());
            }
            // Of an earlier session that is not taken up again. If it was the host of this very room, another member
            // hosts it now, or it is gone.
            Some(_) => self.leave_former(now, wish.player),
            // Out of our sight meanwhile, and it does not come back as the host.
            None if hosts && !self.hand_over(now, wish.room, None) => {
                self.close_room(now, wish.room, wish.player, RoomEnd::HostLost);
            }
            None => {}
        }
        let room = self.rooms.get(&wish.room).ok_or(RequestError::NoSuchRoom)?;
        if room.is_full() {
            let (session, request, checked) = (wish.session, wish.request, wish.checked);
            if checked || !self.check(now, wish.room, false, Waiting::Join(wish)) {
                return Err(RequestError::RoomFull);
            }
            tracing::trace!(session, ?request, "room is full: its members are asked for a sign of life");
            return Ok(());
        }
        if room.auto_allow || wish.allowed {
            self.admit(now, &wish);
            return Ok(());
        }
        let host = room.host();
        if self.asks.values().filter(|ask| ask.wish.room == wish.room).count() >= ASKS_PER_ROOM {
            return Err(RequestError::Limited { retry_after_s: 5 });
        }
        let name = client_name(self, wish.session);
        let join = JoinId(self.rng.next_u64());
        let player = PlayerInfo { id: wish.player, name };
        self.asks.insert(join, Ask { wish });
        self.timers.set(Timer::Ask(join), Some(now + self.config.join_answer_timeout));
        self.tell(now, host, ToPlayer::JoinRequest { join, player });
        Ok(())
    }

    pub(super) fn handle_join_answer(
        &mut self,
        now: Instant,
        host: PlayerId,
        join: JoinId,
        allow: bool,
        reason: String,
    ) {
        let Some(ask) = self.asks.get(&join) else { return };
        if self.rooms.get(&ask.wish.room).is_none_or(|room| room.host() != host) {
            return;
        }
        let Some(Ask { wish }) = self.asks.remove(&join) else { return };
        self.timers.set(Timer::Ask(join), None);
        if allow {
            self.enter(now, JoinWish { allowed: true, ..wish });
        } else {
            let refused = RequestError::Refused { reason: cut(reason) };
            self.respond(now, wish.session, wish.request, Err(refused));
        }
    }

    pub(super) fn ask_timeout(&mut self, now: Instant, join: JoinId) {
        if let Some(Ask { wish }) = self.asks.remove(&join) {
            self.respond(now, wish.session, wish.request, Err(RequestError::HostSilent));
        }
    }

    /// The room has another host: it is asked what the former one did not answer.
    pub(super) fn ask_again(&mut self, now: Instant, room: RoomId) {
        let Some(host) = self.rooms.get(&room).map(Room::host) else { return };
        let open: Vec<(JoinId, u64, PlayerId)> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.wish.room == room)
            .map(|(join, ask)| (*join, ask.wish.session, ask.wish.player))
            .collect();
        for (join, session, id) in open {
            let player = PlayerInfo { id, name: client_name(self, session) };
            self.timers.set(Timer::Ask(join), Some(now + self.config.join_answer_timeout));
            self.tell(now, host, ToPlayer::JoinRequest { join, player });
        }
    }

    /// The room is gone: nobody waits for its host any more.
    pub(super) fn abandon_asks(&mut self, now: Instant, room: RoomId) {
        let open: Vec<JoinId> =
            self.asks.iter().filter(|(_, ask)| ask.wish.room == room).map(|(join, _)| *join).collect();
        for join in open {
            self.timers.set(Timer::Ask(join), None);
            if let Some(Ask { wish }) = self.asks.remove(&join) {
                self.respond(now, wish.session, wish.request, Err(RequestError::NoSuchRoom));
            }
        }
    }

    fn kick(
        &mut self,
        now: Instant,
        host: PlayerId,
        target: PlayerId,
        reason: String,
    ) -> Result<Response, RequestError> {
        let room = self.hosted_room(host)?;
        if target == host || !self.rooms.get(&room).is_some_and(|room| room.has(target)) {
            return Err(RequestError::NoSuchPlayer);
        }
        self.put_out(now, room, target, cut(reason));
        Ok(Response::Done)
    }

    fn set_metadata(
        &mut self,
        now: Instant,
        host: PlayerId,
        metadata: std::collections::BTreeMap<String, String>,
    ) -> Result<Response, RequestError> {
        rooms::check_metadata(&metadata)?;
        let id = self.hosted_room(host)?;
        let Some(room) = self.rooms.get_mut(&id) else { return Err(RequestError::NotInRoom) };
        room.metadata = metadata;
        let changed = ToPlayer::RoomChanged(room.info());
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            self.tell(now, member, changed.clone());
        }
        self.update_record(now, id);
        Ok(Response::Done)
    }

    /// The room that this player hosts.
    fn hosted_room(&self, player: PlayerId) -> Result<RoomId, RequestError> {
        let room = self
            .players
            .get(&player)
            .filter(|player| !player.stale)
            .and_then(|player| player.room)
            .ok_or(RequestError::NotInRoom)?;
        match self.rooms.get(&room) {
            Some(of) if of.host() == player => Ok(room),
            _ => Err(RequestError::NotHost),
        }
    }

    fn leave(&mut self, now: Instant, player: PlayerId) -> Result<Response, RequestError> {
        if self.players.get(&player).is_none_or(|player| player.room.is_none()) {
            return Err(RequestError::NotInRoom);
        }
        self.leave_room(now, player, MatchEnd::Left);
        Ok(Response::Done)
    }
}

fn client_name(server: &Server, session: u64) -> String {
    server.sessions.get(&session).map(|client| client.login.name.clone()).unwrap_or_default()
}
