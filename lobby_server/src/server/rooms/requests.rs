//! What players ask, and what the registry answers: `creating` and `joining` have the ways into a room.

use traversal_core::id::{PlayerId, RequestId, RoomId};
use traversal_core::text::{self, Metadata};
use traversal_core::wire::message::{MatchEnd, Rejoin, Request, RequestError, Response};

use super::wishes::{Entry, JoinWish, Pending, Waiting};
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::registry::{RegistryCommand, RegistryDown, RegistryId, RegistryOperation, RegistryReply};
use crate::server::timers::Timer;

impl Rooms {
    /// Answers a request of a player, or notes what its answer waits for.
    pub(crate) fn handle_request(
        &mut self,
        others: &mut Others<'_>,
        id: SessionId,
        request: RequestId,
        body: Request,
    ) {
        others.cx.counters.requests += 1;
        let Some(player) = others.roster.player_of(id) else { return };
        let asker = Asker { session: id, player, request };
        if !others.roster.take_request(others.cx, id) {
            let limited = RequestError::Limited { retry_after_s: 1 };
            others.respond(asker, Err(limited));
            return;
        }
        let cost = self.effects_of_request(others, player, &body);
        if !others.roster.may_cause(others.cx, player, cost) {
            others.respond(asker, Err(RequestError::Limited { retry_after_s: 10 }));
            return;
        }
        let opens_a_room =
            matches!(body, Request::CreateRoom { .. } | Request::TakeUpRoom { .. } | Request::QuickMatch(_));
        if others.cx.stopping || opens_a_room && others.cx.is_closing() {
            others.respond(asker, Err(RequestError::Stopping));
            return;
        }
        let result = match body {
            Request::CreateRoom { options } => self.create(others, asker, options),
            Request::TakeUpRoom { ticket, code, options } => {
                self.take_up(others, asker, ticket, &code, options)
            }
            Request::JoinRoom { target, password } => {
                others.roster.note_wish(others.cx, asker);
                self.join(others, JoinWish { asker, password, invite: None, watch: None }, target)
            }
            Request::JoinInvited { code, token } => self.join_invited(others, asker, code, token),
            Request::MakeInvite(terms) => self.make_invite(others, player, terms),
            Request::RevokeInvites => self.revoke_invites(others, player).map(Some),
            Request::Spectate { target, password, resume } => {
                others.roster.note_wish(others.cx, asker);
                self.join(others, JoinWish { asker, password, invite: None, watch: Some(resume) }, target)
            }
            Request::TakeSeat => self.take_seat(others, asker),
            Request::ListBans { after } => self.list_bans(others, player, after).map(Some),
            Request::LiftBan { player: target } => self.lift_ban(others, player, target).map(Some),
            Request::LeaveRoom => self.leave(others, player).map(Some),
            Request::ListRooms { query } => self.list(others, asker, query),
            Request::WatchRooms { watch, query, pause_ms } => {
                self.watch(others, asker, (watch, pause_ms), query)
            }
            Request::StopWatching => {
                self.stop_watching(id);
                Ok(Some(Response::Done))
            }
            Request::Kick { player: target, reason, rejoin } => {
                self.kick(others, player, (target, rejoin), reason).map(Some)
            }
            Request::SetMetadata(metadata) => self.set_metadata(others, player, metadata).map(Some),
            Request::QuickMatch(wanted) => self.quick_match(others, asker, wanted).map(Some),
            Request::LeaveQueue => self.leave_queue(others, player).map(Some),
            Request::AnswerMatch { proposal, accept } => {
                self.answer_match(others, player, (proposal, accept)).map(Some)
            }
            Request::Rematch { player: other } => self.rematch(others, player, other).map(Some),
            Request::InRoom(asked) => self.in_room(others, player, asked).map(Some),
            Request::Party(request) => self.party_request(others, asker, request),
            _ => Err(RequestError::Malformed { what: "request".into() }),
        };
        match result {
            Ok(None) => {}
            Ok(Some(response)) => others.respond(asker, Ok(response)),
            Err(error) => others.respond(asker, Err(error)),
        }
    }

    /// Returns how many messages to others this request may cause at the most. Going out is paid when coming in, so
    /// that nobody has to stay.
    fn effects_of_request(&self, others: &Others<'_>, player: PlayerId, request: &Request) -> f64 {
        match request {
            Request::JoinRoom { .. }
            | Request::JoinInvited { .. }
            | Request::Spectate { .. }
            | Request::TakeUpRoom { .. } => 8.0,
            // Each of them is asked for a sign of life, and a party's members are told.
            Request::QuickMatch(wanted) => {
                8.0 * self.parties.members(player).len().max(1) as f64 + f64::from(wanted.players)
            }
            Request::Party(request) => self.effects_of_party(player, request),
            Request::Kick { .. }
            | Request::SetMetadata(_)
            | Request::RevokeInvites
            | Request::LiftBan { .. }
            | Request::TakeSeat => {
                let room = others.roster.room_of(player).and_then(|room| self.rooms.get(&room));
                let inside = room.map_or(0, |room| room.inside().count()) as f64;
                match request {
                    Request::TakeSeat => 8.0 + 2.0 * inside,
                    // A new ticket for each, and a note about who is out.
                    Request::Kick { .. } => 4.0 + 2.0 * inside,
                    _ => inside,
                }
            }
            Request::Rematch { .. } => 2.0,
            Request::InRoom(asked) => self.effects_in_room(others, player, asked),
            _ => 0.0,
        }
    }

    /// Hands the registry a command; `pending` goes on with its answer.
    pub(super) fn ask_registry(
        &mut self,
        others: &mut Others<'_>,
        operation: RegistryOperation,
        pending: Pending,
    ) {
        let id = RegistryId(self.next_registry);
        self.next_registry += 1;
        self.pending.insert(id, pending);
        others.cx.timers.set(Timer::Registry(id), Some(others.cx.now + others.cx.config.registry_timeout));
        others.cx.commands.push_back(RegistryCommand { id, operation });
    }

    /// Takes the registry's answer to a command.
    pub(crate) fn registry_answered(
        &mut self,
        others: &mut Others<'_>,
        id: RegistryId,
        reply: Result<RegistryReply, RegistryDown>,
    ) {
        let Some(pending) = self.pending.remove(&id) else { return };
        others.cx.timers.set(Timer::Registry(id), None);
        match (pending, reply) {
            (Pending::Claim(claim), Ok(RegistryReply::Claimed)) => self.claimed(others, claim),
            (Pending::Claim(claim), Ok(RegistryReply::NameTaken(owner))) => {
                let (asker, room) = (claim.asker, claim.room);
                let local = owner.node == others.cx.config.node;
                let ask = !claim.checked && local;
                if !(ask && self.check(others, owner.room, true, Waiting::Claim(claim))) {
                    self.rooms.remove(&room);
                    others.respond(asker, Err(RequestError::NameTaken));
                }
            }
            (Pending::Claim(claim), Ok(RegistryReply::CodeTaken)) => self.redraw(others, claim),
            (Pending::Claim(claim), Ok(RegistryReply::Held(site))) => {
                self.rooms.remove(&claim.room);
                self.send_to(others, claim.asker, site);
            }
            (Pending::Claim(claim), Ok(RegistryReply::Stale { epoch })) => {
                let owner =
                    self.rooms.remove(&claim.room).is_some_and(|room| room.host() == claim.asker.player);
                let error = if owner { RequestError::StaleHost { epoch } } else { RequestError::NoSuchRoom };
                others.respond(claim.asker, Err(error));
            }
            (Pending::Claim(claim), Ok(RegistryReply::Moving)) => self.claim_again(others, claim),
            (Pending::Find(search), Ok(RegistryReply::Found(Some(site))))
                if site.location.node == others.cx.config.node =>
            {
                self.enter(others, Entry::new(search.wish, site.location.room));
            }
            (Pending::Find(search), Ok(RegistryReply::Found(Some(site)))) => {
                self.send_to(others, search.wish.asker, site);
            }
            (Pending::Find(search), Ok(RegistryReply::Found(None))) => {
                others.respond(search.wish.asker, Err(RequestError::NoSuchRoom));
            }
            (Pending::Find(search), Ok(RegistryReply::Moving)) => self.search_again(others, search),
            (Pending::Locate(session), Ok(RegistryReply::At(node))) => self.located(others, session, node),
            (Pending::Again(room), reply) => self.claimed_again(others, room, reply.ok()),
            (Pending::Changes(game), reply) => self.take_changes(others, &game, reply),
            (Pending::Gathering(room), reply) => self.gathering_claimed(others, room, reply.ok()),
            (Pending::Call(room), reply) => {
                self.opened_for_calls.push((room, reply == Ok(RegistryReply::Claimed)));
            }
            (Pending::FindParty(search), reply) => self.party_found(others, search, reply.ok()),
            (Pending::ClaimParty(id, asker), reply) => {
                self.party_claimed(others, (id, asker), reply.ok());
            }
            (Pending::Nothing, _) => {}
            (pending, _) => self.registry_failed(others, pending),
        }
    }

    /// The registry has not answered a command in time.
    pub(crate) fn registry_timeout(&mut self, others: &mut Others<'_>, id: RegistryId) {
        if let Some(pending) = self.pending.remove(&id) {
            self.registry_failed(others, pending);
        }
    }

    fn registry_failed(&mut self, others: &mut Others<'_>, pending: Pending) {
        let asker = match pending {
            Pending::Claim(claim) => {
                // It may have been heard after all.
                self.release(others, claim.room);
                claim.asker
            }
            Pending::Find(search) => search.wish.asker,
            Pending::Changes(game) => return self.take_changes(others, &game, Err(RegistryDown)),
            Pending::Gathering(room) => return self.gathering_claimed(others, room, None),
            Pending::Call(room) => return self.opened_for_calls.push((room, false)),
            Pending::FindParty(search) => return self.party_found(others, search, None),
            Pending::ClaimParty(id, asker) => return self.party_claimed(others, (id, asker), None),
            Pending::Locate(_) | Pending::Again(_) | Pending::Nothing => return,
        };
        others.respond(asker, Err(RequestError::RegistryUnavailable));
    }

    fn kick(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        (target, rejoin): (PlayerId, Rejoin),
        reason: String,
    ) -> Result<Response, RequestError> {
        let room = self.hosted_room(others, host)?;
        let rejoin = rejoin.checked()?;
        let name = self.rooms.get(&room).and_then(|room| room.name_of(target));
        let Some(name) = name.filter(|_| target != host) else { return Err(RequestError::NoSuchPlayer) };
        let reason = text::REASON.clean(&reason);
        self.put_out(others, room, target, reason.clone());
        self.keep_out(others, room, target, rejoin, (name, reason));
        Ok(Response::Done)
    }

    fn set_metadata(
        &mut self,
        others: &mut Others<'_>,
        host: PlayerId,
        metadata: Metadata,
    ) -> Result<Response, RequestError> {
        let metadata = text::check_metadata(&metadata)?;
        let id = self.hosted_room(others, host)?;
        let Some(room) = self.rooms.get_mut(&id) else { return Err(RequestError::NotInRoom) };
        room.setup.options.metadata = metadata;
        self.tell_changed(others, id);
        Ok(Response::Done)
    }

    /// Returns the room that this player hosts.
    pub(super) fn hosted_room(&self, others: &Others<'_>, player: PlayerId) -> Result<RoomId, RequestError> {
        let room = others.roster.present_room(player).ok_or(RequestError::NotInRoom)?;
        match self.rooms.get(&room) {
            Some(hosted) if hosted.host() == player => Ok(room),
            _ => Err(RequestError::NotHost),
        }
    }

    fn leave(&mut self, others: &mut Others<'_>, player: PlayerId) -> Result<Response, RequestError> {
        if others.roster.room_of(player).is_none() {
            return Err(RequestError::NotInRoom);
        }
        self.leave_room(others, player, MatchEnd::Left);
        Ok(Response::Done)
    }
}
