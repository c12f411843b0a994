//! The permit to search by many sockets or ports: one match of a player has it at a time, and both sides of it together.
//!
//! The server gives the permits, since it alone knows whether both sides are free. The player's own [`Budget`](crate::punch::Budget) holds
//! whatever the server says: a permit that comes while another match still searches is used when that has ended.

use std::time::{Duration, Instant};

use super::Attempt;
use crate::config::AgentConfig;
use crate::cx::Cx;
use crate::method::Method;
use crate::punch::SEARCH_TURN;
use crate::wire::message::{SearchPermit, ToServer};

/// This is what the server says of the permit to search by one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanPermit {
    /// This is the edition of the plan that it is for.
    pub(crate) edition: u8,
    /// This is what this match may do.
    pub(crate) permit: SearchPermit,
}

/// This says whether this match may search by many sockets or ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PermitState {
    /// The attempt has not come to a search.
    #[default]
    NotAsked,
    /// It was asked for then; the other side has not asked, as far as is known.
    Asked(Instant),
    /// It was asked for then; one of the two players takes part in another search.
    Waiting(Instant),
    /// This match may search until then.
    Granted(Instant),
    /// No search follows in this plan.
    Over,
    /// No search follows in this plan, because the permit never came.
    InVain,
}

impl PermitState {
    /// Returns the permit at the start of a plan: if a search comes first in it, the server counts that as asked.
    pub(super) fn of(now: Instant, first: Option<Method>) -> Self {
        if first.is_some_and(Method::searches) { Self::Asked(now) } else { Self::NotAsked }
    }
}

impl Attempt {
    /// Returns what the server said of this plan before it came.
    pub(crate) fn permit_in_time(&mut self) -> Option<PlanPermit> {
        let edition = self.context.edition;
        self.early_permit.take_if(|early| early.edition <= edition)
    }

    /// The server gives or takes the permit. Returns how long this match has waited for it, if it has it now.
    pub(crate) fn handle_permit(&mut self, now: Instant, told: PlanPermit) -> Option<Duration> {
        if told.edition != self.context.edition {
            if told.edition > self.context.edition {
                self.early_permit = Some(told);
            }
            return None;
        }
        match (told.permit, self.permit) {
            (SearchPermit::Wait, PermitState::Asked(at)) => self.permit = PermitState::Waiting(at),
            (SearchPermit::Begin, PermitState::Asked(at) | PermitState::Waiting(at)) => {
                self.permit = PermitState::Granted(now + SEARCH_TURN);
                // The attempt may have ended meanwhile.
                self.over = false;
                if self.waiting.is_empty() && !self.searches_by_permit() {
                    self.waiting.extend(self.methods.iter().filter(|planned| planned.method.searches()));
                }
                return Some(now.saturating_duration_since(at));
            }
            (SearchPermit::Off, PermitState::Asked(_) | PermitState::Waiting(_)) => {
                self.end_permit(now, PermitState::Over)
            }
            (SearchPermit::Off, PermitState::Granted(_)) => self.permit = PermitState::Granted(now),
            _ => {}
        }
        None
    }

    /// Returns whether a search may begin now. Asks for the permit where that has not been done.
    pub(super) fn may_search(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.permit == PermitState::NotAsked {
            self.ask_permit(cx);
        }
        matches!(self.permit, PermitState::Granted(until) if cx.now < until)
            && cx.budget.take_search(self.match_id, true)
    }

    fn ask_permit(&mut self, cx: &mut Cx<'_>) {
        if !cx.link.is_online() {
            // Nobody is there to ask. The other side fares likely the same.
            self.permit = PermitState::Granted(cx.now + SEARCH_TURN);
            return;
        }
        let (match_id, edition) = (self.match_id, self.context.edition);
        cx.tell(ToServer::AskSearch { match_id, edition });
        self.permit = PermitState::Asked(cx.now);
    }

    /// Asks for a permit again after a better plan: a search that goes on needs one by the new plan, without which the
    /// other side may not begin.
    pub(crate) fn ask_permit_again(&mut self, cx: &mut Cx<'_>) {
        if self.permit == PermitState::NotAsked && self.searches_by_permit() {
            self.ask_permit(cx);
        }
    }

    /// Returns whether a method that searches is running, though it may have to wait for the budget.
    pub(crate) fn is_searching(&self) -> bool {
        self.running.iter().any(|running| running.puncher.searches())
    }

    /// Returns whether this match waits for its permit, or has waited in vain.
    pub(crate) fn waits_for_permit(&self) -> bool {
        matches!(self.permit, PermitState::Waiting(_) | PermitState::InVain)
    }

    /// Returns whether this match is in line for the permit, or has it: to begin anew would cost it its place.
    pub(crate) fn is_in_line(&self) -> bool {
        matches!(self.permit, PermitState::Asked(_) | PermitState::Waiting(_) | PermitState::Granted(_))
    }

    /// Gives back the permit, or the wish for it, when nothing can come of it any more; the server is told. `punching`: a
    /// direct way is still looked for, or will be when the permit comes.
    pub(crate) fn check_permit(&mut self, cx: &mut Cx<'_>, punching: bool) {
        let end = match self.permit {
            PermitState::NotAsked | PermitState::Over | PermitState::InVain => return,
            PermitState::Asked(_) if !punching || self.over => PermitState::Over,
            PermitState::Waiting(at) if cx.now >= at + cx.config.search_wait => PermitState::InVain,
            PermitState::Waiting(_) if !punching => PermitState::Over,
            PermitState::Granted(until) => {
                let begins = self.waiting.iter().any(|planned| planned.method.searches()) && !self.over;
                if punching && cx.now < until && (self.searches_by_permit() || begins) {
                    return;
                }
                PermitState::Over
            }
            _ => return,
        };
        self.end_permit(cx.now, end);
        let (match_id, edition) = (self.match_id, self.context.edition);
        cx.tell(ToServer::SearchOver { match_id, edition });
    }

    /// No search follows in this plan: what only waits for one would wait for ever.
    fn end_permit(&mut self, now: Instant, end: PermitState) {
        self.permit = end;
        self.stop_running_if(now, |planned| planned.method.searches());
        self.waiting.retain(|planned| !planned.method.searches());
    }

    fn searches_by_permit(&self) -> bool {
        self.running.iter().any(|running| running.puncher.method().searches() && running.puncher.searches())
    }

    /// Returns when the permit, or the wait for it, ends.
    pub(crate) fn permit_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        match self.permit {
            PermitState::Waiting(at) => Some(at + config.search_wait),
            PermitState::Granted(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        match self.permit {
            PermitState::Waiting(at) => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// Returns how much longer the attempt may last because it has to wait for the permit.
    pub(crate) fn grace(&self, config: &AgentConfig) -> Duration {
        if matches!(self.permit, PermitState::Waiting(_)) { config.search_wait } else { Duration::ZERO }
    }
}
