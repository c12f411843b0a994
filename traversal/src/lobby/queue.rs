//! Waiting for a quick match.

use std::time::{Duration, Instant};

use super::{Lobby, LobbyNews, Pending};
use crate::api::{Event, RequestFailure, RequestKind};
use crate::cx::Cx;
use crate::login::ServerLink;
use crate::text;
use crate::wire::message::{MatchFound, QueueStatus, QuickMatch, QuickMatched, Request, RequestError, Teams};

/// This is the quick match that this player waits for.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) wanted: QuickMatch,
    /// The game has heard how it comes along.
    told: bool,
    /// This says when the game has to hear something, if the server is gone by then.
    deadline: Instant,
    /// The leader of this player's party waits with all of it.
    pub(super) of_party: bool,
    /// The players are together: a plan for it has come, the room has not.
    planned: bool,
}

impl Queued {
    /// The party waits: for what, its leader knows.
    pub(super) fn of_party(now: Instant) -> Self {
        Self { wanted: QuickMatch::default(), told: true, deadline: now, of_party: true, planned: false }
    }

    /// The wish was made again in a new session; the game hears something by then.
    pub(super) fn asked_again(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Lobby {
    /// Waits for players who want the same.
    pub(crate) fn quick_match(&mut self, cx: &mut Cx<'_>, wanted: QuickMatch) {
        let kind = RequestKind::QuickMatch;
        let error = match (&self.room, &self.queue) {
            (Some(_), _) => RequestError::AlreadyInRoom,
            (_, Some(_)) => RequestError::AlreadyQueued,
            (None, None) => match checked(wanted) {
                Err(error) => error,
                Ok(wanted) => {
                    if self.ask(cx, kind, Request::QuickMatch(wanted.clone()), Duration::ZERO) {
                        let deadline = cx.now + Self::patience(cx);
                        self.queue =
                            Some(Queued { wanted, told: false, deadline, of_party: false, planned: false });
                    }
                    return;
                }
            },
        };
        cx.emit(Event::RequestFailed { request: kind, error: RequestFailure::Server(error) });
    }

    /// The game wants it no longer.
    pub(crate) fn cancel_quick_match(&mut self, cx: &mut Cx<'_>) {
        if self.queue.is_none() {
            let error = RequestFailure::Server(RequestError::NotQueued);
            return cx.emit(Event::RequestFailed { request: RequestKind::CancelQuickMatch, error });
        }
        self.end_queue(cx);
        self.party_cancelled();
        self.ask_silently(cx, Request::LeaveQueue);
    }

    /// This player waits no longer.
    pub(crate) fn end_queue(&mut self, cx: &mut Cx<'_>) {
        self.pending.retain(|_, pending| pending.kind != Some(RequestKind::QuickMatch));
        if self.queue.take().is_some_and(|queued| queued.told) {
            cx.emit(Event::Queue(None));
        }
    }

    /// A plan has come. Before the news of a room it can only be for a quick match.
    pub(crate) fn planned(&mut self) {
        if let Some(queued) = self.queue.as_mut().filter(|_| self.room.is_none()) {
            queued.planned = true;
        }
    }

    /// Returns when the game hears that the server is gone, of which it knows only that it was asked.
    pub(super) fn queue_deadline(&self, link: &ServerLink) -> Option<Instant> {
        let asked = || self.pending.values().any(|pending| pending.kind == Some(RequestKind::QuickMatch));
        let queued = self.queue.as_ref().filter(|queued| !queued.told && !link.is_online() && !asked())?;
        Some(link.answered_until().map_or(queued.deadline, |until| queued.deadline.max(until)))
    }

    /// Waits again in a new session. Returns true if its players were together already: the server does not know of
    /// that any more, or lets go of it.
    pub(super) fn wait_again(&mut self) -> bool {
        self.queue.as_mut().is_some_and(|queued| std::mem::take(&mut queued.planned))
    }

    /// The server gives it up.
    pub(crate) fn queue_closed(&mut self, cx: &mut Cx<'_>, error: RequestError) {
        self.queue_closed_by(cx, RequestFailure::Server(error));
    }

    pub(super) fn queue_closed_by(&mut self, cx: &mut Cx<'_>, error: RequestFailure) {
        if self.queue.is_some() {
            self.end_queue(cx);
            cx.emit(Event::RequestFailed { request: RequestKind::QuickMatch, error });
        }
    }

    /// Takes the news of how it comes along.
    pub(crate) fn handle_queue(&mut self, cx: &mut Cx<'_>, status: QueueStatus) {
        if let Some(queued) = &mut self.queue {
            queued.told = true;
            cx.emit(Event::Queue(Some(status)));
            return;
        }
        // The wish overtook its withdrawal.
        let leaves = |pending: &Pending| pending.request == Request::LeaveQueue;
        if !self.early_status(status) && !self.pending.values().any(leaves) {
            self.ask_silently(cx, Request::LeaveQueue);
        }
    }

    /// The players are together, and this one is in their room.
    pub(crate) fn handle_quick_matched(
        &mut self,
        cx: &mut Cx<'_>,
        matched: QuickMatched,
    ) -> Option<LobbyNews> {
        let QuickMatched { room, wanted } = matched;
        let own = self.queue.as_ref().filter(|queued| !queued.of_party);
        let asked = own.map_or(self.follows_party(), |queued| queued.wanted.without_rules() == wanted);
        if !asked {
            // The game changed its mind in the same moment.
            self.leave(cx);
            return Some(LobbyNews::Unwanted);
        }
        self.end_queue(cx);
        let id = room.id;
        let news = self.entered(cx, room, None);
        self.show_shared(cx, None);
        if let Some(teams) = self.early_teams.take().filter(|teams| teams.room == id) {
            self.handle_teams(cx, teams);
        }
        Some(news)
    }

    /// Players were found, and the server asks whether this one plays.
    pub(crate) fn handle_match_found(&mut self, cx: &mut Cx<'_>, found: MatchFound) {
        if self.queue.is_some() || self.follows_party() {
            cx.emit(Event::MatchFound(found));
        }
    }

    /// The game says whether it plays.
    pub(crate) fn answer_match(&mut self, cx: &mut Cx<'_>, proposal: u64, accept: bool) {
        let kind = RequestKind::AnswerMatch;
        if self.queue.is_none() && !self.follows_party() {
            let error = RequestFailure::Server(RequestError::NotQueued);
            return cx.emit(Event::RequestFailed { request: kind, error });
        }
        self.ask(cx, kind, Request::AnswerMatch { proposal, accept }, Duration::ZERO);
    }

    /// The teams may overtake the news of their room.
    pub(crate) fn handle_teams(&mut self, cx: &mut Cx<'_>, teams: Teams) {
        if self.room.as_ref().is_some_and(|room| room.info.id == teams.room) {
            cx.emit(Event::Teams(teams.teams));
        } else {
            self.early_teams = Some(teams);
        }
    }
}

/// Checks a wish as the server does.
pub(super) fn checked(wanted: QuickMatch) -> Result<QuickMatch, RequestError> {
    let mode = text::MODE.check(&wanted.mode)?;
    let rules = wanted.rules.checked(wanted.players)?;
    Ok(QuickMatch { mode, rules, ..wanted })
}
