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
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let player = client.player;
        if !client.requests.take(self.cx.config.request_rate, self.cx.now) {
            self.cx.counters.limited += 1;
            let limited = RequestError::Limited { retry_after_s: 1 };
            self.respond(id, request, Err(limited));
            return;
        }
        if !self.may_affect(id, &body) {
            self.cx.counters.limited += 1;
            self.respond(id, request, Err(RequestError::Limited { retry_after_s: 10 }));
            return;
        }
        if self.cx.stopping {
            self.respond(id, request, Err(RequestError::Stopping));
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
                let game = self.sessions.get(&id).map(|client| client.login.game.clone()).unwrap_or_default();
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
            Ok(Some(response)) => self.respond(id, request, Ok(response)),
            Err(error) => self.respond(id, request, Err(error)),
        }
    }

    /// Whether the player may cause as many messages to others as this request does. Going out is paid when coming in,
    /// so that nobody has to stay.
    fn may_affect(&mut self, id: u64, request: &Request) -> bool {
        let Some(player) = self.sessions.get(&id).map(|client| client.player) else { return false };
        let room = self.players.get(&player).and_then(|state| state.room);
        let members = room.and_then(|room| self.rooms.get(&room)).map_or(0, |room| room.members.len());
        let cost = match request {
            Request::JoinRoom { .. } | Request::TakeUpRoom { .. } | Request::QuickMatch(_) => 8.0,
            Request::Kick { .. } => 4.0,
            Request::SetMetadata(_) => members as f64,
            Request::Rematch { .. } => 2.0,
            _ => 0.0,
        };
        let rate = self.cx.config.effect_rate;
        self.sessions.get_mut(&id).is_some_and(|client| client.effects.take_many(rate, self.cx.now, cost))
    }

    pub(super) fn respond(&mut self, session: u64, id: RequestId, result: Result<Response, RequestError>) {
        if let Err(error) = &result {
            self.cx.counters.requests_failed += 1;
            tracing::debug!(%error, "request failed");
        }
        let Some(player) = self.sessions.get(&session).map(|client| client.player) else { return };
        if let Some(player) = self.players.get_mut(&player)
            && player.busy == Some(id)
        {
            player.busy = None;
        }
        self.tell_session(session, ToPlayer::Response { id, result });
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
                    self.respond(session, request, Err(RequestError::NameTaken));
                }
            }
            (Pending::Claim(claim), Ok(RegistryReply::CodeTaken)) => self.redraw(claim),
            (Pending::Find(wish), Ok(RegistryReply::Found(Some(location))))
                if location.node == self.cx.config.node =>
            {
                self.enter(JoinWish { room: location.room, ..wish });
            }
            (Pending::Find(wish), Ok(RegistryReply::Found(_))) => {
                self.respond(wish.session, wish.request, Err(RequestError::NoSuchRoom));
            }
            (Pending::List { session, request }, Ok(RegistryReply::Rooms { rooms, more })) => {
                let (rooms, more) = rooms::page(rooms, more);
                self.respond(session, request, Ok(Response::Rooms { rooms, more }));
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
        self.respond(session, request, Err(RequestError::RegistryUnavailable));
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
            self.tell(member, changed.clone());
        }
        self.update_record(id);
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

    fn leave(&mut self, player: PlayerId) -> Result<Response, RequestError> {
        if self.players.get(&player).is_none_or(|player| player.room.is_none()) {
            return Err(RequestError::NotInRoom);
        }
        self.leave_room(player, MatchEnd::Left);
        Ok(Response::Done)
    }
}
