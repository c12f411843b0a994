//! What players ask, and what the registry answers: `creating` and `joining` have the ways into a room.

use std::time::Instant;

use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::text::{self, Metadata};
use traversal_core::wire::message::{MatchEnd, Request, RequestError, Response, ToPlayer};

use super::creating::Claim;
use super::joining::JoinWish;
use super::liveness::Waiting;
use super::{Server, Timer};
use crate::registry::{RegistryCommand, RegistryDown, RegistryId, RegistryOperation, RegistryReply};
use crate::rooms;

/// Rooms asked of the registry for a page of a listing; short ones fit about so many into a datagram.
const LIST_LIMIT: usize = 24;

/// What goes on when the registry answers.
#[derive(Debug)]
pub(super) enum Pending {
    Claim(Claim),
    Find(JoinWish),
    List { session: u64, request: RequestId },
    Gathering(RoomId),
    Nothing,
}

impl Server {
    pub(super) fn handle_request(&mut self, id: u64, request: RequestId, body: Request) {
        self.cx.counters.requests += 1;
        let Some(player) = self.roster.player_of(id) else { return };
        if !self.roster.take_request(&mut self.cx, id) {
            let limited = RequestError::Limited { retry_after_s: 1 };
            self.roster.respond(&mut self.cx, id, request, Err(limited));
            return;
        }
        let cost = self.effects_of_request(player, &body);
        if !self.roster.may_cause(&mut self.cx, player, cost) {
            self.roster.respond(&mut self.cx, id, request, Err(RequestError::Limited { retry_after_s: 10 }));
            return;
        }
        if self.cx.stopping {
            self.roster.respond(&mut self.cx, id, request, Err(RequestError::Stopping));
            return;
        }
        let result = match body {
            Request::CreateRoom { options } => self.create(id, player, request, options),
            Request::TakeUpRoom { ticket, code, options } => {
                self.take_up((id, player, request), ticket, &code, options)
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
                self.join(wish, target)
            }
            Request::LeaveRoom => self.leave(player).map(Some),
            Request::ListRooms { after } => {
                let after = after.map(|name| text::ROOM_NAME.clean(&name));
                let game =
                    self.roster.client(id).map(|client| client.login().game.clone()).unwrap_or_default();
                let list = RegistryOperation::List { game, after, limit: LIST_LIMIT };
                self.ask_registry(list, Pending::List { session: id, request });
                Ok(None)
            }
            Request::Kick { player: target, reason, rejoin } => {
                self.kick(player, (target, rejoin), reason).map(Some)
            }
            Request::SetMetadata(metadata) => self.set_metadata(player, metadata).map(Some),
            Request::QuickMatch(wanted) => self.quick_match(id, player, wanted).map(Some),
            Request::LeaveQueue => self.leave_queue(player).map(Some),
            Request::Rematch { player: other } => self.rematch(player, other).map(Some),
            _ => Err(RequestError::Malformed { what: "request".into() }),
        };
        match result {
            Ok(None) => {}
            Ok(Some(response)) => self.roster.respond(&mut self.cx, id, request, Ok(response)),
            Err(error) => self.roster.respond(&mut self.cx, id, request, Err(error)),
        }
    }

    /// How many messages to others this request may cause at the most. Going out is paid when coming in, so that nobody
    /// has to stay.
    fn effects_of_request(&self, player: PlayerId, request: &Request) -> f64 {
        match request {
            Request::JoinRoom { .. } | Request::TakeUpRoom { .. } | Request::QuickMatch(_) => 8.0,
            Request::Kick { .. } => 4.0,
            Request::SetMetadata(_) => {
                let room = self.roster.room_of(player).and_then(|room| self.rooms.get(&room));
                room.map_or(0, |room| room.members.len()) as f64
            }
            Request::Rematch { .. } => 2.0,
            _ => 0.0,
        }
    }

    pub(super) fn ask_registry(&mut self, operation: RegistryOperation, pending: Pending) {
        let id = RegistryId(self.next_registry);
        self.next_registry += 1;
        self.pending.insert(id, pending);
        self.cx.timers.set(Timer::Registry(id), Some(self.cx.now + self.cx.config.registry_timeout));
        self.cx.commands.push_back(RegistryCommand { id, operation });
    }

    /// The registry answered a command.
    pub fn handle_registry_reply(
        &mut self,
        now: Instant,
        id: RegistryId,
        reply: Result<RegistryReply, RegistryDown>,
    ) {
        self.cx.now = now;
        let Some(pending) = self.pending.remove(&id) else { return };
        self.cx.timers.set(Timer::Registry(id), None);
        match (pending, reply) {
            (Pending::Claim(claim), Ok(RegistryReply::Claimed)) => self.claimed(claim),
            (Pending::Claim(claim), Ok(RegistryReply::NameTaken(owner))) => {
                let (session, request, room) = (claim.session, claim.request, claim.room);
                let local = owner.node == self.cx.config.node;
                let ask = !claim.checked && local;
                if !(ask && self.check(owner.room, true, Waiting::Claim(claim))) {
                    self.rooms.remove(&room);
                    self.roster.respond(&mut self.cx, session, request, Err(RequestError::NameTaken));
                }
            }
            (Pending::Claim(claim), Ok(RegistryReply::CodeTaken)) => self.redraw(claim),
            (Pending::Find(wish), Ok(RegistryReply::Found(Some(location))))
                if location.node == self.cx.config.node =>
            {
                self.enter(JoinWish { room: location.room, ..wish });
            }
            (Pending::Find(wish), Ok(RegistryReply::Found(_))) => {
                self.roster.respond(&mut self.cx, wish.session, wish.request, Err(RequestError::NoSuchRoom));
            }
            (Pending::List { session, request }, Ok(RegistryReply::Rooms { rooms, more })) => {
                let (rooms, more) = rooms::page(rooms, more);
                self.roster.respond(&mut self.cx, session, request, Ok(Response::Rooms { rooms, more }));
            }
            (Pending::Gathering(room), reply) => self.gathering_claimed(room, reply.ok()),
            (Pending::Nothing, _) => {}
            (pending, _) => self.registry_failed(pending),
        }
        self.settle();
    }

    pub(super) fn registry_timeout(&mut self, id: RegistryId) {
        if let Some(pending) = self.pending.remove(&id) {
            self.registry_failed(pending);
        }
    }

    fn registry_failed(&mut self, pending: Pending) {
        let (session, request) = match pending {
            Pending::Claim(claim) => {
                // It may have been heard after all.
                self.release(claim.room);
                (claim.session, claim.request)
            }
            Pending::Find(wish) => (wish.session, wish.request),
            Pending::List { session, request } => (session, request),
            Pending::Gathering(room) => return self.gathering_claimed(room, None),
            Pending::Nothing => return,
        };
        self.roster.respond(&mut self.cx, session, request, Err(RequestError::RegistryUnavailable));
    }

    fn kick(
        &mut self,
        host: PlayerId,
        (target, rejoin): (PlayerId, bool),
        reason: String,
    ) -> Result<Response, RequestError> {
        let room = self.hosted_room(host)?;
        if target == host || !self.rooms.get(&room).is_some_and(|room| room.has(target)) {
            return Err(RequestError::NoSuchPlayer);
        }
        self.put_out(room, target, text::REASON.clean(&reason));
        if !rejoin {
            self.keep_out(room, target);
        }
        Ok(Response::Done)
    }

    fn set_metadata(&mut self, host: PlayerId, metadata: Metadata) -> Result<Response, RequestError> {
        let metadata = text::check_metadata(&metadata)?;
        let id = self.hosted_room(host)?;
        let Some(room) = self.rooms.get_mut(&id) else { return Err(RequestError::NotInRoom) };
        room.metadata = metadata;
        let changed = ToPlayer::RoomChanged(room.info());
        let members: Vec<PlayerId> = room.members.iter().map(|member| member.id).collect();
        for member in members {
            self.roster.tell(&mut self.cx, member, changed.clone());
        }
        self.update_record(id);
        Ok(Response::Done)
    }

    /// The room that this player hosts.
    fn hosted_room(&self, player: PlayerId) -> Result<RoomId, RequestError> {
        let room = self.roster.present_room(player).ok_or(RequestError::NotInRoom)?;
        match self.rooms.get(&room) {
            Some(of) if of.host() == player => Ok(room),
            _ => Err(RequestError::NotHost),
        }
    }

    fn leave(&mut self, player: PlayerId) -> Result<Response, RequestError> {
        if self.roster.room_of(player).is_none() {
            return Err(RequestError::NotInRoom);
        }
        self.leave_room(player, MatchEnd::Left);
        Ok(Response::Done)
    }
}
