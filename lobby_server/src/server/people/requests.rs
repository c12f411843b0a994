//! What players ask about contacts and calls.

use traversal_core::id::{PlayerId, RequestId};
use traversal_core::text;
use traversal_core::wire::message::{
    CallAnswer, CallEnd, CallRequest, ContactsRequest, RequestError, Response,
};

use super::super::Server;
use super::{Around, People};
use crate::ids::{Asker, SessionId};

/// This is a request about people.
pub(in crate::server) enum PeopleRequest {
    Contacts(ContactsRequest),
    Call(CallRequest),
    PartyInvite(PlayerId),
}

impl Server {
    /// Answers a request about contacts or calls. The answer never depends on whether another player exists, is on line or
    /// allows this one.
    pub(in crate::server) fn handle_people_request(
        &mut self,
        id: SessionId,
        request: RequestId,
        body: PeopleRequest,
    ) {
        let Some((asker, admitted)) = self.admit(id, request) else { return };
        let player = asker.player;
        let result = match admitted {
            Err(error) => Err(error),
            Ok(()) => match body {
                PeopleRequest::Contacts(request) => self.contacts_request(asker, request),
                PeopleRequest::Call(CallRequest::Ring { call, player: callee }) => {
                    self.ring(asker, call, callee)
                }
                PeopleRequest::Call(CallRequest::Answer { call, answer }) => match answer {
                    CallAnswer::Yes => self.take_call(player, call),
                    CallAnswer::No { reason } => {
                        let reason = text::REASON.clean(&reason);
                        self.refuse_call(player, call, CallEnd::Refused { reason })
                    }
                    CallAnswer::Busy => self.refuse_call(player, call, CallEnd::Busy),
                    _ => Err(RequestError::Malformed { what: "answer to a call".into() }),
                },
                PeopleRequest::Call(CallRequest::HangUp { call }) => self.hang_up(player, call),
                PeopleRequest::PartyInvite(other) => self.invite_to_party(player, other),
                PeopleRequest::Call(_) => Err(RequestError::Malformed { what: "request".into() }),
            },
        };
        self.roster.respond(&mut self.cx, asker, result.map(|()| Response::Done));
        self.hand_out_words();
    }

    fn contacts_request(&mut self, asker: Asker, request: ContactsRequest) -> Result<(), RequestError> {
        let People { contacts, post, .. } = &mut *self.people;
        let around = &mut Around { cx: &mut self.cx, roster: &mut self.roster, rooms: &self.rooms };
        contacts.request(around, post, asker, request)
    }
}
