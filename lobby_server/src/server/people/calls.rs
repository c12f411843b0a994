//! Calls: one player rings at another one, and if that says yes both come into one room.
//!
//! The caller's node keeps the call, and the other player's node that it rings there. Each side ends by itself, whatever
//! becomes of the other node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use traversal_core::id::{CallId, PlayerId, RoomId};
use traversal_core::wire::message::{
    CallEnd, CallNews, CallPlace, PlayerInfo, RequestError, RoomEnd, ToPlayer,
};

use super::super::Server;
use super::post::{CallWord, Envelope};
use crate::ids::Asker;
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// A call that does not ring within this is over. It is the same time whether the player is not there, does not exist or has
/// not allowed the caller, at this node or at another one, so that nothing shows in it.
pub(in crate::server) const UNREACHED: Duration = Duration::from_secs(2);
/// It rings so long.
pub(in crate::server) const RINGS_FOR: Duration = Duration::from_secs(30);
/// The callee's side waits so much longer for the end that the caller's node tells.
const GRACE: Duration = Duration::from_secs(3);
/// The one who was called has come into the room of two by then, or it is closed.
const COMES: Duration = Duration::from_secs(30);
/// Opening a room takes no longer than the registry may take, and some more.
const OPENS: Duration = Duration::from_secs(6);
/// A caller that was refused waits so long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// This says how far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not rung yet.
    Trying,
    Ringing,
    /// It was taken, and a room is being opened.
    Opening(RoomId),
    /// The other player is on the way into this room.
    Awaiting(RoomId),
}

/// A player calls another one.
#[derive(Debug)]
struct Outgoing {
    call: CallId,
    callee: PlayerId,
    /// It rings at this node.
    node: Option<u64>,
    stage: Stage,
}

/// A player is called.
#[derive(Debug)]
struct Incoming {
    call: CallId,
    caller: PlayerId,
    /// The caller is at this node.
    node: u64,
    /// The player knows the call by this number: where two call each other it is that of its own call.
    told_as: CallId,
    /// The player said yes.
    taken: bool,
}

/// This owner has the calls of the players who are here: each calls one other, and is called by one.
#[derive(Default)]
pub(super) struct Calls {
    outgoing: BTreeMap<PlayerId, Outgoing>,
    incoming: BTreeMap<PlayerId, Incoming>,
}

impl Server {
    fn tell_call(&mut self, player: PlayerId, news: CallNews) {
        self.roster.tell(&mut self.cx, player, ToPlayer::Call(news));
    }

    fn call_word(&mut self, from: PlayerId, to: PlayerId, word: CallWord) {
        let game = self.roster.client_of(from).map(|client| client.login().game().to_owned());
        // A player who has just left is not asked for its game: the other side knows the call.
        let game = game.unwrap_or_default();
        self.people.post.push(Envelope::of_call(&game, from, to, word));
    }

    /// A player calls another one.
    pub(super) fn ring(&mut self, asker: Asker, call: CallId, callee: PlayerId) -> Result<(), RequestError> {
        let (now, caller) = (self.cx.now, asker.player);
        if callee == caller {
            return Err(RequestError::Malformed { what: "you cannot call yourself".into() });
        }
        match self.people.calls.outgoing.get(&caller).map(|outgoing| outgoing.stage) {
            // That one is done as far as this player is concerned.
            Some(Stage::Awaiting(_)) => _ = self.forget_outgoing(caller),
            Some(_) => return Err(RequestError::AlreadyCalling),
            None => {}
        }
        if let Err(error) = self.people.contacts.may_call(now, caller, callee) {
            self.cx.counters.limit(Refusal::CallRate);
            return Err(error);
        }
        self.cx.counters.calls += 1;
        let mutual = self.people.calls.incoming.get_mut(&caller);
        if let Some(incoming) = mutual.filter(|incoming| incoming.caller == callee && !incoming.taken) {
            let call_of_other = incoming.call;
            incoming.told_as = call;
            return self.take_call_as(caller, call_of_other);
        }
        let outgoing = Outgoing { call, callee, node: None, stage: Stage::Trying };
        self.people.calls.outgoing.insert(caller, outgoing);
        self.cx.timers.set(Timer::Calling(caller), Some(now + UNREACHED));
        self.send_ring(caller);
        Ok(())
    }

    fn send_ring(&mut self, caller: PlayerId) {
        let Some(Outgoing { call, callee, .. }) = self.people.calls.outgoing.get(&caller) else { return };
        let (call, callee) = (*call, *callee);
        let name = self.roster.session_of(caller).map(|session| self.roster.name_of(session));
        let from = PlayerInfo { id: caller, name: name.unwrap_or_default() };
        self.call_word(caller, callee, CallWord::Ring { call, from });
    }

    /// A player says yes to a call.
    pub(super) fn take_call(&mut self, callee: PlayerId, told_as: CallId) -> Result<(), RequestError> {
        let incoming = self.people.calls.incoming.get(&callee);
        let known = incoming.filter(|incoming| incoming.told_as == told_as && !incoming.taken);
        let call = known.ok_or(RequestError::NoSuchCall)?.call;
        self.take_call_as(callee, call)
    }

    fn take_call_as(&mut self, callee: PlayerId, call: CallId) -> Result<(), RequestError> {
        let room = self.roster.present_room(callee);
        if room.is_none() {
            // It is to enter a room, and nothing else stands in the way.
            self.roster.may_seek_room(callee)?;
            if self.rooms.is_queued(callee) {
                return Err(RequestError::AlreadyQueued);
            }
        }
        let Some(incoming) = self.people.calls.incoming.get_mut(&callee) else {
            return Err(RequestError::NoSuchCall);
        };
        incoming.taken = true;
        self.cx.counters.calls_taken += 1;
        let caller = incoming.caller;
        let room = room.and_then(|room| Some((room, self.rooms.code_of(room)?)));
        if let Some((room, _)) = &room {
            self.rooms.invite(self.cx.now, *room, callee, caller);
        }
        self.cx.timers.set(Timer::Called(callee), Some(self.cx.now + OPENS + GRACE));
        self.call_word(callee, caller, CallWord::Yes { call, room });
        Ok(())
    }

    /// A player does not take a call.
    pub(super) fn refuse_call(
        &mut self,
        callee: PlayerId,
        told_as: CallId,
        why: CallEnd,
    ) -> Result<(), RequestError> {
        let now = self.cx.now;
        let incoming = self.people.calls.incoming.get(&callee);
        let known = incoming.filter(|incoming| incoming.told_as == told_as && !incoming.taken);
        let caller = known.ok_or(RequestError::NoSuchCall)?.caller;
        if matches!(why, CallEnd::Refused { .. }) {
            self.people.contacts.refuse(now, callee, caller, now + REFUSED_FOR);
        }
        self.end_incoming(callee, why);
        Ok(())
    }

    /// The caller wants it no longer.
    pub(super) fn hang_up(&mut self, caller: PlayerId, call: CallId) -> Result<(), RequestError> {
        let known = self.people.calls.outgoing.get(&caller).is_some_and(|outgoing| outgoing.call == call);
        if !known {
            return Err(RequestError::NoSuchCall);
        }
        self.end_outgoing(caller, CallEnd::HungUp);
        Ok(())
    }

    fn forget_outgoing(&mut self, caller: PlayerId) -> Option<Outgoing> {
        self.cx.timers.set(Timer::Calling(caller), None);
        self.people.calls.outgoing.remove(&caller)
    }

    fn forget_incoming(&mut self, callee: PlayerId) -> Option<Incoming> {
        self.cx.timers.set(Timer::Called(callee), None);
        self.people.calls.incoming.remove(&callee)
    }

    /// Ends a call at the caller's side, and tells the other one why.
    fn end_outgoing(&mut self, caller: PlayerId, why: CallEnd) {
        if let Some(Outgoing { call, callee, .. }) = self.forget_outgoing(caller) {
            self.call_word(caller, callee, CallWord::End { call, why });
        }
    }

    /// Ends a call at the side of the one who was called, and tells the caller why.
    fn end_incoming(&mut self, callee: PlayerId, why: CallEnd) {
        if let Some(Incoming { call, caller, .. }) = self.forget_incoming(callee) {
            self.call_word(callee, caller, CallWord::End { call, why });
        }
    }

    /// A player is off line, or has logged in anew: its calls are over.
    pub(super) fn end_calls_of(&mut self, player: PlayerId) {
        self.end_outgoing(player, CallEnd::Gone);
        self.end_incoming(player, CallEnd::Gone);
    }

    /// A call has not rung, or was not answered, in time; or nobody came.
    pub(in crate::server) fn calling_timeout(&mut self, caller: PlayerId) {
        let Some(outgoing) = self.people.calls.outgoing.get(&caller) else { return };
        let call = outgoing.call;
        let why = match outgoing.stage {
            Stage::Trying => CallEnd::NotReached,
            Stage::Ringing => CallEnd::NoAnswer,
            Stage::Opening(_) => CallEnd::NoRoom,
            // The other one did not come.
            Stage::Awaiting(room) if self.rooms.is_alone_in(room, caller) => {
                let (rooms, mut others) = self.split();
                rooms.close_for_call(&mut others, room, RoomEnd::Closed);
                CallEnd::Gone
            }
            Stage::Awaiting(_) => {
                self.forget_outgoing(caller);
                return;
            }
        };
        self.end_outgoing(caller, if why == CallEnd::NotReached { CallEnd::HungUp } else { why.clone() });
        self.tell_call(caller, CallNews::Ended { call, why });
        self.hand_out_words();
    }

    /// It has rung for long enough.
    pub(in crate::server) fn called_timeout(&mut self, callee: PlayerId) {
        let Some(incoming) = self.forget_incoming(callee) else { return };
        let why = if incoming.taken { CallEnd::Gone } else { CallEnd::NoAnswer };
        self.tell_call(callee, CallNews::Ended { call: incoming.told_as, why });
    }

    /// These nodes are gone, and with them whoever was there.
    pub(super) fn call_nodes_gone(&mut self, gone: &BTreeSet<u64>) {
        let Self { people, .. } = self;
        let far = |node: &Option<u64>| node.is_some_and(|node| gone.contains(&node));
        let outgoing = people.calls.outgoing.iter().filter(|(_, outgoing)| far(&outgoing.node));
        let outgoing: Vec<(PlayerId, CallId)> = outgoing.map(|(player, one)| (*player, one.call)).collect();
        let incoming = people.calls.incoming.iter().filter(|(_, incoming)| gone.contains(&incoming.node));
        let incoming: Vec<(PlayerId, CallId)> =
            incoming.map(|(player, one)| (*player, one.told_as)).collect();
        for (caller, call) in outgoing {
            self.forget_outgoing(caller);
            self.tell_call(caller, CallNews::Ended { call, why: CallEnd::Gone });
        }
        for (callee, call) in incoming {
            self.forget_incoming(callee);
            self.tell_call(callee, CallNews::Ended { call, why: CallEnd::Gone });
        }
    }

    /// The other side's node says something about a call.
    pub(super) fn take_call_word(
        &mut self,
        node: u64,
        game: &str,
        from: PlayerId,
        to: PlayerId,
        word: CallWord,
    ) {
        match word {
            CallWord::Ring { call, from: info } => self.called(node, game, (call, info), to),
            CallWord::Ringing { call } => {
                let outgoing = self.people.calls.outgoing.get_mut(&to);
                let own = outgoing.filter(|one| one.call == call && one.callee == from);
                if let Some(outgoing) = own.filter(|one| one.stage == Stage::Trying) {
                    (outgoing.stage, outgoing.node) = (Stage::Ringing, Some(node));
                    self.cx.timers.set(Timer::Calling(to), Some(self.cx.now + RINGS_FOR));
                    self.tell_call(to, CallNews::Ringing { call });
                }
            }
            CallWord::Yes { call, room } => self.call_taken(node, (call, from), to, room),
            CallWord::Met { call, code } => {
                let incoming = self.people.calls.incoming.get(&to);
                if incoming.is_some_and(|one| one.call == call && one.caller == from)
                    && let Some(incoming) = self.forget_incoming(to)
                {
                    let place = code.map_or(CallPlace::Stay, |code| CallPlace::Enter { code });
                    self.tell_call(to, CallNews::Accepted { call: incoming.told_as, place });
                }
            }
            CallWord::End { call, why } => {
                let outgoing = self.people.calls.outgoing.get(&to);
                let incoming = self.people.calls.incoming.get(&to);
                if outgoing.is_some_and(|one| one.call == call && one.callee == from) {
                    self.forget_outgoing(to);
                    self.tell_call(to, CallNews::Ended { call, why });
                } else if incoming.is_some_and(|one| one.call == call && one.caller == from)
                    && let Some(incoming) = self.forget_incoming(to)
                {
                    self.tell_call(to, CallNews::Ended { call: incoming.told_as, why });
                }
            }
        }
    }

    /// A player of this node is called. What it has not allowed is not answered.
    fn called(&mut self, node: u64, game: &str, (call, from): (CallId, PlayerInfo), callee: PlayerId) {
        let (now, caller) = (self.cx.now, from.id);
        let calls_back = self.people.calls.outgoing.get(&callee);
        let calls_back = calls_back
            .filter(|one| one.callee == caller && matches!(one.stage, Stage::Trying | Stage::Ringing));
        if let Some(own) = calls_back.map(|one| one.call) {
            return self.both_call(node, (call, caller), (own, callee));
        }
        let Some(contact) = self.people.contacts.lets_ring(game, callee, caller) else { return };
        if !self.people.contacts.take_ring(&mut self.cx, callee, contact) {
            return;
        }
        let why = if let Some(left) = self.people.contacts.refused_for(now, callee, caller) {
            Some(CallEnd::TooSoon { retry_after_s: left.as_secs() as u32 + 1 })
        } else {
            let busy = self.people.calls.incoming.contains_key(&callee)
                || self
                    .people
                    .calls
                    .outgoing
                    .get(&callee)
                    .is_some_and(|one| !matches!(one.stage, Stage::Awaiting(_)));
            busy.then_some(CallEnd::Busy)
        };
        if let Some(why) = why {
            return self.call_word(callee, caller, CallWord::End { call, why });
        }
        let incoming = Incoming { call, caller, node, told_as: call, taken: false };
        self.people.calls.incoming.insert(callee, incoming);
        self.cx.timers.set(Timer::Called(callee), Some(now + RINGS_FOR + GRACE));
        self.cx.counters.calls_rung += 1;
        self.tell_call(callee, CallNews::Ring { call, from, contact });
        self.call_word(callee, caller, CallWord::Ringing { call });
    }

    /// Two players call each other: both have said that they want to. The call of the one with the smaller id counts.
    fn both_call(
        &mut self,
        node: u64,
        (call, caller): (CallId, PlayerId),
        (own, callee): (CallId, PlayerId),
    ) {
        if caller > callee {
            // Perhaps ours came before the other one had called, and was not allowed then.
            return self.send_ring(callee);
        }
        self.end_incoming(callee, CallEnd::Busy);
        let incoming = Incoming { call, caller, node, told_as: own, taken: false };
        self.people.calls.incoming.insert(callee, incoming);
        match self.take_call_as(callee, call) {
            Ok(()) => _ = self.forget_outgoing(callee),
            Err(error) => {
                tracing::debug!(%error, "two call each other, and one of them cannot come");
                self.forget_outgoing(callee);
                self.end_incoming(callee, CallEnd::Busy);
                self.tell_call(callee, CallNews::Ended { call: own, why: CallEnd::Busy });
            }
        }
    }

    /// The other player takes a call of one of ours.
    fn call_taken(
        &mut self,
        node: u64,
        (call, callee): (CallId, PlayerId),
        caller: PlayerId,
        room: Option<(RoomId, String)>,
    ) {
        let outgoing = self.people.calls.outgoing.get_mut(&caller);
        let own = outgoing.filter(|one| one.call == call && one.callee == callee);
        let Some(outgoing) = own.filter(|one| matches!(one.stage, Stage::Trying | Stage::Ringing)) else {
            // It was over in this moment.
            return self.call_word(caller, callee, CallWord::End { call, why: CallEnd::HungUp });
        };
        outgoing.node = Some(node);
        let own_room = self.roster.present_room(caller);
        let (place, code) = match (own_room, room) {
            (None, Some((_, code))) => (CallPlace::Enter { code }, None),
            (Some(own), Some((other, _))) if own == other => (CallPlace::Stay, None),
            (Some(_), Some(_)) => return self.call_fails(caller, CallEnd::BothInRooms),
            (Some(own), None) => {
                let Some(code) = self.rooms.code_of(own) else {
                    return self.call_fails(caller, CallEnd::NoRoom);
                };
                self.rooms.invite(self.cx.now, own, caller, callee);
                (CallPlace::Stay, Some(code))
            }
            (None, None) => return self.open_room_for(caller),
        };
        self.forget_outgoing(caller);
        self.tell_call(caller, CallNews::Accepted { call, place });
        self.call_word(caller, callee, CallWord::Met { call, code });
    }

    /// Nothing comes of a call that both wanted.
    fn call_fails(&mut self, caller: PlayerId, why: CallEnd) {
        if let Some(call) = self.people.calls.outgoing.get(&caller).map(|one| one.call) {
            self.end_outgoing(caller, why.clone());
            self.tell_call(caller, CallNews::Ended { call, why });
        }
    }

    fn open_room_for(&mut self, caller: PlayerId) {
        let (rooms, mut others) = self.split();
        match rooms.open_for_call(&mut others, caller) {
            Ok(room) => {
                if let Some(outgoing) = self.people.calls.outgoing.get_mut(&caller) {
                    outgoing.stage = Stage::Opening(room);
                }
                self.cx.timers.set(Timer::Calling(caller), Some(self.cx.now + OPENS));
            }
            Err(error) => {
                tracing::debug!(%error, "no room for a call");
                self.call_fails(caller, CallEnd::NoRoom);
            }
        }
    }

    /// The registry has taken the room of a call, or has not.
    pub(super) fn call_room_opened(&mut self, room: RoomId, open: bool) {
        let opening = Stage::Opening(room);
        let found = self.people.calls.outgoing.iter().find(|(_, one)| one.stage == opening);
        let found = found.map(|(caller, one)| (*caller, one.call, one.callee));
        let Some((caller, call, callee)) = found else {
            // The caller has hung up, or is gone.
            let (rooms, mut others) = self.split();
            return rooms.close_for_call(&mut others, room, RoomEnd::Closed);
        };
        let (rooms, mut others) = self.split();
        let entered = open.then(|| rooms.enter_for_call(&mut others, room, caller)).flatten();
        let Some(info) = entered else {
            rooms.close_for_call(&mut others, room, RoomEnd::Closed);
            return self.call_fails(caller, CallEnd::NoRoom);
        };
        self.rooms.invite(self.cx.now, room, caller, callee);
        let code = Some(info.code.clone());
        if let Some(outgoing) = self.people.calls.outgoing.get_mut(&caller) {
            outgoing.stage = Stage::Awaiting(room);
        }
        self.cx.timers.set(Timer::Calling(caller), Some(self.cx.now + COMES));
        self.tell_call(caller, CallNews::Accepted { call, place: CallPlace::Opened(Box::new(info)) });
        self.call_word(caller, callee, CallWord::Met { call, code });
    }
}
