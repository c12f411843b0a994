//! The party of this player: kept over new logins by a ticket, and the quick match that its leader waits for with all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::queue::Queued;
use super::{Lobby, Pending};
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::id::PartyId;
use crate::text;
use crate::timer::due;
use crate::wire::message::{
    PartyEnd, PartyInfo, PartyMember, PartyNews, PartyRequest, PartyTicket, QueueStatus, Request,
    RequestError,
};

/// A party that is at another node, or cannot be had back yet, is asked for again so often.
const RESUME_AGAIN: Duration = Duration::from_secs(3);

/// This is the party that this player is in, and what is left of a former one.
#[derive(Debug, Default)]
pub(super) struct Party {
    info: Option<PartyInfo>,
    ticket: Option<PartyTicket>,
    /// These are the player's own numbers, which the server is told in each session.
    numbers: BTreeMap<String, i32>,
    /// The server is to be told that this player is in the party, at this time; none: it knows.
    resume_at: Option<Instant>,
    /// The player has left this one, and wants to hear nothing of it.
    left: Option<PartyId>,
    /// The player has taken the party out of the line, and the server has yet to hear.
    cancelled: bool,
    /// This came before the news that the party waits.
    early_status: Option<QueueStatus>,
}

impl Party {
    /// Returns whether the server has yet to learn that this player is in a party.
    pub(super) fn is_unsettled(&self) -> bool {
        self.info.is_some() && self.resume_at.is_some()
    }
}

/// Returns the request that puts the player back into its party.
fn is_resume(request: &Request) -> bool {
    matches!(request, Request::Party(PartyRequest::Resume { .. }))
}

impl Lobby {
    /// Returns whether this player may be put into a quick match that it has not asked for itself.
    pub(super) fn follows_party(&self) -> bool {
        self.party.info.is_some() && !self.party.cancelled
    }

    /// Returns the party that this player is in.
    pub(crate) fn party(&self) -> Option<PartyId> {
        self.party.info.as_ref().map(|party| party.id)
    }

    /// Returns the members of this player's party as the server last told them, this player among them; none: it is in no party.
    pub(crate) fn party_members(&self) -> impl Iterator<Item = &PartyMember> {
        self.party.info.iter().flat_map(|party| &party.members)
    }

    /// The game wants something of the party.
    pub(crate) fn ask_party(&mut self, cx: &mut Cx<'_>, request: PartyRequest) {
        let request = match request {
            // It is the agent's own.
            PartyRequest::Resume { .. } => return,
            PartyRequest::Leave => return self.leave_party(cx),
            PartyRequest::Numbers(numbers) => {
                self.party.numbers.clone_from(&numbers);
                if self.party.info.is_none() || self.party.is_unsettled() {
                    return;
                }
                PartyRequest::Numbers(numbers)
            }
            PartyRequest::Join { code } => {
                self.party.left = None;
                PartyRequest::Join { code: text::CODE.clean(&code) }
            }
            PartyRequest::Create { most } => {
                self.party.left = None;
                PartyRequest::Create { most }
            }
            request => request,
        };
        self.ask(cx, RequestKind::Party, Request::Party(request), Duration::ZERO);
    }

    fn leave_party(&mut self, cx: &mut Cx<'_>) {
        let Some(info) = &self.party.info else {
            let error = RequestFailure::Server(RequestError::NotInParty);
            return cx.emit(Event::RequestFailed { request: RequestKind::Party, error });
        };
        self.party.left = Some(info.id);
        self.party_ended(cx, PartyEnd::Left);
        self.ask_silently(cx, Request::Party(PartyRequest::Leave));
    }

    /// This player is in no party any more.
    fn party_ended(&mut self, cx: &mut Cx<'_>, why: PartyEnd) {
        self.end_queue_of_party(cx);
        let Party { info, numbers, left, .. } = std::mem::take(&mut self.party);
        (self.party.numbers, self.party.left) = (numbers, left);
        self.pending.retain(|_, pending| !is_resume(&pending.request));
        if info.is_some() {
            cx.emit(Event::PartyEnded(why));
        }
    }

    fn end_queue_of_party(&mut self, cx: &mut Cx<'_>) {
        if self.queue.as_ref().is_some_and(|queued| queued.of_party) {
            self.end_queue(cx);
        }
    }

    /// The player does not want to wait with its party any longer.
    pub(super) fn party_cancelled(&mut self) {
        self.party.cancelled = self.party.info.is_some();
        self.party.early_status = None;
    }

    /// A new session has begun.
    pub(super) fn party_logged_in(&mut self, now: Instant) {
        self.pending.retain(|_, pending| !is_resume(&pending.request));
        self.party.resume_at = self.party.ticket.is_some().then_some(now);
        if let Some(info) = &mut self.party.info {
            // A server that makes the party anew counts from the beginning.
            info.revision = 0;
        }
    }

    /// The player is to log out for good: its party goes on without it.
    pub(crate) fn forget_party(&mut self, cx: &mut Cx<'_>) {
        self.party_ended(cx, PartyEnd::Left);
    }

    /// Takes news of a party.
    pub(crate) fn handle_party(&mut self, cx: &mut Cx<'_>, news: PartyNews) {
        match news {
            PartyNews::State(info) => self.party_is(cx, info),
            PartyNews::Ticket(ticket) if self.party.left != Some(ticket.party) => {
                let newer =
                    |known: &PartyTicket| known.party != ticket.party || known.edition < ticket.edition;
                if self.party.ticket.as_ref().is_none_or(newer) {
                    self.party.ticket = Some(ticket);
                }
            }
            PartyNews::Ticket(_) => {}
            PartyNews::Invited { code, from, contact } => {
                cx.emit(Event::PartyInvited { code, from, contact });
            }
            PartyNews::Ended { party, why } => {
                if self.party.info.as_ref().is_some_and(|info| info.id == party) {
                    self.party_ended(cx, why);
                }
            }
        }
    }

    fn party_is(&mut self, cx: &mut Cx<'_>, info: PartyInfo) {
        if self.party.left == Some(info.id) {
            // The leaving got lost.
            let leaves = |pending: &Pending| pending.request == Request::Party(PartyRequest::Leave);
            if !self.pending.values().any(leaves) {
                self.ask_silently(cx, Request::Party(PartyRequest::Leave));
            }
            return;
        }
        let known = self.party.info.as_ref().filter(|known| known.id == info.id);
        if known.is_some_and(|known| known.revision > info.revision) {
            return;
        }
        let news = known != Some(&info);
        let fresh = known.is_none();
        if self.party.ticket.as_ref().is_some_and(|ticket| ticket.party != info.id) {
            self.party.ticket = None;
        }
        let queued = info.queued;
        self.party.info = Some(info.clone());
        if news {
            cx.emit(Event::Party(info));
        }
        if fresh && !self.party.numbers.is_empty() {
            self.tell_party_numbers(cx);
        }
        match (queued, &self.queue) {
            (true, None) if !self.party.cancelled => {
                self.queue = Some(Queued::of_party(cx.now));
                if let Some(status) = self.party.early_status.take() {
                    self.handle_queue(cx, status);
                }
            }
            (true, _) => {}
            (false, _) => {
                (self.party.cancelled, self.party.early_status) = (false, None);
                self.end_queue_of_party(cx);
            }
        }
    }

    fn tell_party_numbers(&mut self, cx: &mut Cx<'_>) {
        let numbers = self.party.numbers.clone();
        self.ask_silently(cx, Request::Party(PartyRequest::Numbers(numbers)));
    }

    /// Takes news of how a wait comes along that this player knows nothing of. False: it is in no party, either.
    pub(super) fn early_status(&mut self, status: QueueStatus) -> bool {
        if self.party.info.is_some() {
            self.party.early_status = Some(status);
        }
        self.party.info.is_some()
    }

    /// Takes the answer to what the agent asked about a party. The game hears of what failed.
    pub(super) fn party_answered(
        &mut self,
        cx: &mut Cx<'_>,
        request: &PartyRequest,
        error: Option<RequestError>,
    ) {
        if error == Some(RequestError::NotInParty) && self.party.info.is_some() {
            // The server has let go of it, since another one has it.
            self.party.resume_at = Some(cx.now);
        }
        if !matches!(request, PartyRequest::Resume { .. }) {
            return;
        }
        match error {
            None => {
                self.party.resume_at = None;
                if !self.party.numbers.is_empty() {
                    self.tell_party_numbers(cx);
                }
            }
            Some(RequestError::NoSuchParty) => self.party_ended(cx, PartyEnd::Away),
            Some(RequestError::BadTicket | RequestError::AlreadyInParty) => {
                self.party_ended(cx, PartyEnd::Lost);
            }
            Some(_) => self.party.resume_at = Some(cx.now + RESUME_AGAIN),
        }
    }

    /// The server has not answered in time whether this player is in its party.
    pub(super) fn party_unanswered(&mut self, now: Instant, request: &Request) {
        if is_resume(request) {
            self.party.resume_at = Some(now);
        }
    }

    /// Puts this player back into its party, if that is due. Its room comes first.
    pub(super) fn resume_party(&mut self, cx: &mut Cx<'_>) {
        if !due(self.resume_party_at(), cx.now) || cx.link.online().is_none() {
            return;
        }
        let (Some(info), Some(ticket)) = (&self.party.info, &self.party.ticket) else { return };
        let (ticket, code) = (ticket.clone(), info.code.clone());
        self.ask_silently(cx, Request::Party(PartyRequest::Resume { ticket, code }));
    }

    /// Returns when this player is to be put back into its party.
    pub(super) fn resume_party_at(&self) -> Option<Instant> {
        let room = self.room.as_ref().is_none_or(|room| room.told_in);
        let asked = || self.pending.values().any(|pending| is_resume(&pending.request));
        self.party.resume_at.filter(|_| room && self.party.info.is_some() && !asked())
    }
}
