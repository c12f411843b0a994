//! Calls: one player rings at another one, and if that says yes both come into one room.
//!
//! The caller's node keeps the call, and the other player's node that it rings there. Each side ends by itself, whatever
//! becomes of the other node.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use traversal_core::id::{CallId, PlayerId, RoomId};
use traversal_core::wire::message::{CallEnd, CallNews, PlayerInfo, RequestError, RoomEnd, ToPlayer};

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
}
