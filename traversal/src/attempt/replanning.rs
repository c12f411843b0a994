//! The plan of an attempt and the better ones that follow it: what goes on, what stops, and which facts belong to which.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::permit::PermitState;
use super::{Attempt, EARLY};
use crate::config::{AgentConfig, RelayPolicy};
use crate::cx::Cx;
use crate::method::{Method, PlannedMethod};
use crate::punch::{PunchInput, edition_of};
use crate::wire::message::{Facts, Replan};

/// Returns what an agent with these settings tries of a plan's methods.
pub(super) fn methods_of(config: &AgentConfig, planned: &[PlannedMethod], edition: u8) -> Vec<PlannedMethod> {
    match config.method {
        _ if config.relay == RelayPolicy::Only => Vec::new(),
        Some(forced) => {
            let known = planned.iter().find(|planned| planned.method == forced).copied();
            vec![known.unwrap_or(PlannedMethod { method: forced, since: edition })]
        }
        None => {
            let mut methods: Vec<PlannedMethod> = Vec::with_capacity(planned.len());
            for planned in planned {
                // One of each, whatever a server says.
                if methods.iter().all(|known| known.method != planned.method) {
                    methods.push(*planned);
                }
            }
            methods
        }
    }
}

/// Returns the try that facts are about.
fn round_of(facts: &Facts) -> Option<u16> {
    match facts {
        Facts::Range { round, .. }
        | Facts::Newest { round, .. }
        | Facts::Kept { round, .. }
        | Facts::OpenRange { round, .. } => Some(*round),
        Facts::PeerPublic(_) => None,
    }
}

impl Attempt {
    /// Takes better facts for what starts later; what runs goes on, since the other side does, too.
    pub(crate) fn learn(&mut self, better: &Replan) {
        (self.context.own, self.context.peer) = (better.own_nat, better.peer_nat);
    }

    /// Follows a better plan from now on: what it goes on with goes on, what it does not have stops, the rest begins. What
    /// was spent stays spent. Returns how long a turn was waited for.
    pub(crate) fn replan(&mut self, cx: &Cx<'_>, better: &Replan) -> Duration {
        let waited = self.waited(cx.now);
        self.learn(better);
        self.context.role = better.role;
        self.context.edition = better.edition;
        self.methods = methods_of(cx.config, &better.methods, better.edition);
        let methods = std::mem::take(&mut self.methods);
        self.stop_running_if(cx.now, |planned| !methods.contains(&planned));
        let begins = |planned: &&PlannedMethod| {
            let runs = self.running.iter().any(|running| running.planned == **planned);
            planned.method != Method::Cone && !runs && !self.done.contains(planned)
        };
        self.waiting = methods.iter().filter(begins).copied().collect();
        self.methods = methods;
        self.permit = PermitState::of(cx.now, self.methods.first().map(|planned| planned.method));
        self.switch_at = None;
        self.over = false;
        waited
    }

    /// Returns whether a socket of this name belongs to a method that runs.
    pub(crate) fn uses(&self, method: Method, slot: u16) -> bool {
        let mut running = self.running.iter().map(|running| running.planned);
        running.any(|planned| planned.method == method && planned.since == edition_of(slot))
    }

    /// The attempt is over, and the next one may send as much again, but not to more targets.
    pub(crate) fn renew(&mut self, now: Instant) {
        if self.over {
            self.spending.renew();
            self.started = now;
            self.tried.clear();
        }
    }

    /// Returns facts for this plan that came before it; to be given once its methods run.
    pub(crate) fn facts_in_time(&mut self) -> VecDeque<Facts> {
        let edition = self.context.edition;
        let in_time = |facts: &Facts| round_of(facts).is_none_or(|round| edition_of(round) <= edition);
        let (now, later) = self.early.drain(..).partition(in_time);
        self.early = later;
        now
    }

    pub(crate) fn handle_facts(&mut self, now: Instant, facts: &Facts) {
        if round_of(facts).is_some_and(|round| edition_of(round) > self.context.edition) {
            if self.early.len() >= EARLY {
                self.early.pop_front();
            }
            return self.early.push_back(facts.clone());
        }
        if let Facts::PeerPublic(addresses) = facts {
            self.context.peer_public.clone_from(addresses);
        }
        self.tell(now, PunchInput::Facts(facts), |_| true);
    }
}
