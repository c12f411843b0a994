//! What the node of the other player of a call says, and what comes of a yes.

use traversal_core::id::{CallId, PlayerId, RoomId};
use traversal_core::wire::message::{CallEnd, CallNews, CallPlace, PlayerInfo, RoomEnd};

use super::{COMES, GRACE, Incoming, OPENS, RINGS_FOR, Stage};
use crate::server::Server;
use crate::server::people::post::CallWord;
use crate::server::timers::Timer;

impl Server {
    /// The other side's node says something about a call.
    pub(in crate::server::people) fn take_call_word(
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
    pub(in crate::server::people) fn call_room_opened(&mut self, room: RoomId, open: bool) {
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
