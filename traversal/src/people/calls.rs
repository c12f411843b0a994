//! The calls of a player: one that it makes, and those that come in.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{draw_call, send};
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::id::{CallId, PlayerId, RequestId};
use crate::wire::message::{
    CallAnswer, CallEnd, CallNews, CallPlace, CallRequest, Request, RequestError, Response,
};

/// A call of which nothing was heard for so long is over, whatever became of the server: it rings for 30 s there.
const LONGEST: Duration = Duration::from_secs(45);
/// So many calls that were over are remembered, since news may overtake each other.
const REMEMBERED: usize = 8;
/// So many requests about calls may wait for an answer.
const MAX_ASKED: usize = 16;

/// This is a call that goes on.
#[derive(Debug)]
struct Call {
    player: PlayerId,
    /// The other one calls.
    incoming: bool,
    until: Instant,
}

/// This is all calls of a player.
#[derive(Debug, Default)]
pub(super) struct Calls {
    going_on: BTreeMap<CallId, Call>,
    /// These were over lately.
    over: VecDeque<CallId>,
    /// In these both have said yes; the room is closed if the other one does not come.
    met: VecDeque<(CallId, PlayerId)>,
    asked: BTreeMap<RequestId, (RequestKind, CallRequest)>,
}

impl Calls {
    /// Calls a player. The game hears of the call in any case, and of its end.
    pub(super) fn call(&mut self, cx: &mut Cx<'_>, id: RequestId, player: PlayerId) {
        if self.going_on.values().any(|call| !call.incoming) {
            let error = RequestFailure::Server(RequestError::AlreadyCalling);
            return cx.emit(Event::RequestFailed { request: RequestKind::Call, error });
        }
        let call = draw_call(cx);
        if self.ask(cx, id, RequestKind::Call, CallRequest::Ring { call, player }) {
            let until = cx.now + LONGEST;
            self.going_on.insert(call, Call { player, incoming: false, until });
            cx.emit(Event::Calling { call, player });
        }
    }

    /// Asks the server. False: the game was told why not.
    pub(super) fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        id: RequestId,
        kind: RequestKind,
        request: CallRequest,
    ) -> bool {
        let refused = match &request {
            CallRequest::Answer { call, .. } | CallRequest::HangUp { call } => {
                let known = self.going_on.contains_key(call);
                (!known).then_some(RequestFailure::Server(RequestError::NoSuchCall))
            }
            _ => None,
        };
        let refused = refused.or_else(|| {
            (self.asked.len() >= MAX_ASKED)
                .then_some(RequestFailure::Server(RequestError::Limited { retry_after_s: 1 }))
        });
        if let Some(error) = refused {
            cx.emit(Event::RequestFailed { request: kind, error });
            return false;
        }
        if !send(cx, id, Request::Call(request.clone())) {
            let error = RequestFailure::NotLoggedIn;
            cx.emit(Event::RequestFailed { request: kind, error });
            return false;
        }
        self.asked.insert(id, (kind, request));
        true
    }

    pub(super) fn handle_response(
        &mut self,
        cx: &mut Cx<'_>,
        id: RequestId,
        result: &Result<Response, RequestError>,
    ) {
        let Some((kind, request)) = self.asked.remove(&id) else { return };
        match (result, request) {
            (Ok(_), CallRequest::Answer { call, answer }) if answer != CallAnswer::Yes => {
                self.forget(call);
            }
            (Ok(_), CallRequest::HangUp { call }) => {
                if let Some(player) = self.forget(call) {
                    cx.emit(Event::CallEnded { call, player, why: CallEnd::HungUp });
                }
            }
            (Ok(_), _) => {}
            (Err(error), request) => {
                if let CallRequest::Ring { call, .. } = request {
                    self.forget(call);
                }
                let error = RequestFailure::Server(error.clone());
                cx.emit(Event::RequestFailed { request: kind, error });
            }
        }
    }

    /// A call is over: it does not ring if its beginning is yet to come.
    fn forget(&mut self, call: CallId) -> Option<PlayerId> {
        self.over.push_front(call);
        self.over.truncate(REMEMBERED);
        self.going_on.remove(&call).map(|call| call.player)
    }

    /// Takes news of a call. Returns where both meet, if they do.
    pub(super) fn handle_news(&mut self, cx: &mut Cx<'_>, news: CallNews) -> Option<CallPlace> {
        match news {
            CallNews::Ringing { call } => {
                let player = self.going_on.get(&call)?.player;
                cx.emit(Event::CallRinging { call, player });
            }
            CallNews::Ring { call, from, contact } => {
                if self.over.contains(&call) || self.going_on.contains_key(&call) {
                    return None;
                }
                // The server lets in one at a time.
                let former = self.going_on.iter().find(|(_, call)| call.incoming).map(|(call, _)| *call);
                if let Some(former) = former
                    && let Some(player) = self.forget(former)
                {
                    cx.emit(Event::CallEnded { call: former, player, why: CallEnd::Gone });
                }
                let until = cx.now + LONGEST;
                self.going_on.insert(call, Call { player: from.id, incoming: true, until });
                cx.emit(Event::IncomingCall { call, from, contact });
            }
            CallNews::Accepted { call, place } => {
                let player = self.forget(call)?;
                // The two may have called each other: that is one and the same.
                let other = self.going_on.iter().find(|(_, other)| other.player == player);
                if let Some(other) = other.map(|(other, _)| *other) {
                    self.forget(other);
                }
                self.met.push_front((call, player));
                self.met.truncate(REMEMBERED);
                cx.emit(Event::CallAccepted { call, player });
                return Some(place);
            }
            CallNews::Ended { call, why } => {
                let met = self.met.iter().position(|(met, _)| *met == call);
                let met = met.and_then(|at| self.met.remove(at)).map(|(_, player)| player);
                if let Some(player) = self.forget(call).or(met) {
                    cx.emit(Event::CallEnded { call, player, why });
                }
            }
        }
        None
    }

    /// A new session has begun: the server has ended the calls of the older one.
    pub(super) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        self.asked.clear();
        let calls: Vec<CallId> = self.going_on.keys().copied().collect();
        for call in calls {
            if let Some(player) = self.forget(call) {
                cx.emit(Event::CallEnded { call, player, why: CallEnd::Gone });
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let late = self.going_on.iter().filter(|(_, call)| call.until <= cx.now);
        let late: Vec<CallId> = late.map(|(call, _)| *call).collect();
        for call in late {
            if let Some(player) = self.forget(call) {
                cx.emit(Event::CallEnded { call, player, why: CallEnd::NoAnswer });
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.going_on.values().map(|call| call.until).min()
    }
}
