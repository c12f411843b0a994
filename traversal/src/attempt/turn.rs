//! This match's turn to search by many sockets or ports: one match of a player at a time, both sides of it together.
//!
//! The server hands out the turns, since it alone knows whether both sides are free. The player's own [`Budget`](crate::punch::Budget) holds
//! whatever the server says: a turn that comes while another match still searches begins when that has ended.

use std::time::{Duration, Instant};

use super::Attempt;
use crate::config::AgentConfig;
use crate::cx::Cx;
use crate::method::Method;
use crate::punch::SPRAY_TURN;
use crate::wire::message::{SprayTurn, ToServer};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// The attempt has not come to its search.
    #[default]
    None,
    /// Asked for then; the other side has not, as far as is known.
    Asked(Instant),
    /// Asked for then; one of the two takes part in another search.
    Waiting(Instant),
    /// It is this match's turn until then.
    Granted(Instant),
    /// No more in this plan.
    Over,
    /// The same, because it never came.
    InVain,
}

impl Turn {
    /// The first one of a plan: if a search comes first in it, the server counts that as asked.
    pub(super) fn of(now: Instant, first: Option<Method>) -> Self {
        if first.is_some_and(Method::sprays) { Self::Asked(now) } else { Self::None }
    }
}

impl Attempt {
    /// What the server said of this plan before it came.
    pub(crate) fn turn_in_time(&mut self) -> Option<(u8, SprayTurn)> {
        let edition = self.context.edition;
        self.early_turn.take_if(|(of, _)| *of <= edition)
    }

    /// The server says whose turn it is. Returns how long was waited, if it is this match's now.
    pub(crate) fn handle_turn(&mut self, now: Instant, edition: u8, turn: SprayTurn) -> Option<Duration> {
        if edition != self.context.edition {
            if edition > self.context.edition {
                self.early_turn = Some((edition, turn));
            }
            return None;
        }
        match (turn, self.turn) {
            (SprayTurn::Wait, Turn::Asked(at)) => self.turn = Turn::Waiting(at),
            (SprayTurn::Begin, Turn::Asked(at) | Turn::Waiting(at)) => {
                self.turn = Turn::Granted(now + SPRAY_TURN);
                // The attempt may have ended meanwhile.
                self.over = false;
                if self.waiting.is_empty() && !self.sprays_by_turn() {
                    self.waiting.extend(self.methods.iter().filter(|planned| planned.method.sprays()));
                }
                return Some(now.saturating_duration_since(at));
            }
            (SprayTurn::Off, Turn::Asked(_) | Turn::Waiting(_)) => self.end_turn(now, Turn::Over),
            (SprayTurn::Off, Turn::Granted(_)) => self.turn = Turn::Granted(now),
            _ => {}
        }
        None
    }

    /// Whether a search may begin now. Asks for a turn where that has not been done.
    pub(super) fn may_spray(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.turn == Turn::None {
            self.ask_turn(cx);
        }
        matches!(self.turn, Turn::Granted(until) if cx.now < until)
            && cx.budget.take_spray(self.match_id, true)
    }

    fn ask_turn(&mut self, cx: &mut Cx<'_>) {
        if !cx.link.is_online() {
            // Nobody is there to ask. The other side fares likely the same.
            self.turn = Turn::Granted(cx.now + SPRAY_TURN);
            return;
        }
        let (match_id, edition) = (self.match_id, self.context.edition);
        cx.tell(ToServer::AskSpray { match_id, edition });
        self.turn = Turn::Asked(cx.now);
    }

    /// After a better plan: a search that goes on asks for a turn by the new plan, which the other side may need in order to
    /// begin.
    pub(crate) fn ask_turn_again(&mut self, cx: &mut Cx<'_>) {
        if self.turn == Turn::None && self.sprays_by_turn() {
            self.ask_turn(cx);
        }
    }

    /// It searches, or would if it were let.
    pub(crate) fn is_spraying(&self) -> bool {
        self.running.iter().any(|running| running.puncher.sprays())
    }

    /// It waits for its turn, or did in vain.
    pub(crate) fn waits_for_turn(&self) -> bool {
        matches!(self.turn, Turn::Waiting(_) | Turn::InVain)
    }

    /// It is in line: to begin anew would cost it its place.
    pub(crate) fn is_in_line(&self) -> bool {
        matches!(self.turn, Turn::Asked(_) | Turn::Waiting(_) | Turn::Granted(_))
    }

    /// Ends the turn, or the wish for it, when nothing can come of it any more; the server hears of it. `punching`: a
    /// direct way is still looked for, or will be when the turn comes.
    pub(crate) fn check_turn(&mut self, cx: &mut Cx<'_>, punching: bool) {
        let end = match self.turn {
            Turn::None | Turn::Over | Turn::InVain => return,
            Turn::Asked(_) if !punching || self.over => Turn::Over,
            Turn::Waiting(at) if cx.now >= at + cx.config.spray_wait => Turn::InVain,
            Turn::Waiting(_) if !punching => Turn::Over,
            Turn::Granted(until) => {
                let begins = self.waiting.iter().any(|planned| planned.method.sprays()) && !self.over;
                if punching && cx.now < until && (self.sprays_by_turn() || begins) {
                    return;
                }
                Turn::Over
            }
            _ => return,
        };
        self.end_turn(cx.now, end);
        let (match_id, edition) = (self.match_id, self.context.edition);
        cx.tell(ToServer::SprayOver { match_id, edition });
    }

    /// No search follows in this plan: what only waits for one would wait for ever.
    fn end_turn(&mut self, now: Instant, end: Turn) {
        self.turn = end;
        self.stop_running_if(now, |planned| planned.method.sprays());
        self.waiting.retain(|planned| !planned.method.sprays());
    }

    fn sprays_by_turn(&self) -> bool {
        self.running.iter().any(|running| running.puncher.method().sprays() && running.puncher.sprays())
    }

    /// When the turn, or the wait for it, ends.
    pub(crate) fn turn_timeout(&self, config: &AgentConfig) -> Option<Instant> {
        match self.turn {
            Turn::Waiting(at) => Some(at + config.spray_wait),
            Turn::Granted(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        match self.turn {
            Turn::Waiting(at) => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// How much longer the attempt may last for having to wait.
    pub(crate) fn grace(&self, config: &AgentConfig) -> Duration {
        if matches!(self.turn, Turn::Waiting(_)) { config.spray_wait } else { Duration::ZERO }
    }
}
