//! What players say of their matches.

use traversal_core::failure::FailureReason;
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::nat::NatKind;
use traversal_core::plan::PlanInForce;
use traversal_core::wire::message::{MatchOutcome, ToPlayer};

use super::Server;
use crate::matchmaking::{Party, choose, replans};
use crate::outcomes::PairOutcome;

impl Server {
    /// It went so, as far as one side knows.
    pub(super) fn match_report(
        &mut self,
        player: PlayerId,
        match_id: MatchId,
        outcome: MatchOutcome,
        cause: Option<FailureReason>,
    ) {
        let over = matches!(outcome, MatchOutcome::Lost | MatchOutcome::Closed | MatchOutcome::Failed);
        let Some(peer) = self.matches.peer(match_id, player) else {
            if over {
                self.forget_kept(player, match_id);
            }
            return;
        };
        match outcome {
            MatchOutcome::Direct => self.matches.settle(match_id),
            MatchOutcome::Relayed => {}
            _ => self.sprays.left(self.cx.now, match_id, player),
        }
        if self.matches.report(match_id, player, outcome) {
            match outcome {
                MatchOutcome::Direct => self.cx.counters.matches_direct += 1,
                MatchOutcome::Relayed => self.cx.counters.matches_relayed += 1,
                MatchOutcome::Failed => self.cx.counters.matches_failed += 1,
                _ => {}
            }
        }
        let kind =
            |player| self.roster.party(&self.cx, player).map_or(NatKind::Unknown, |party| party.nat.kind());
        let of = PairOutcome::new(outcome, cause, [kind(player), kind(peer)]);
        if let Some(of) = of.filter(|of| self.matches.count(match_id, of)) {
            tracing::debug!(outcome = of.outcome, cause = of.cause_name(), nats = ?of.nats, "a match went so");
            *self.outcomes.entry(of).or_default() += 1;
        }
        if outcome == MatchOutcome::Lost {
            self.lose_match(player, match_id, peer);
        }
    }

    /// A player of this match wants both to try for a direct path once more. Both ask at about the same time.
    pub(super) fn punch_again(&mut self, player: PlayerId, id: MatchId) {
        let now = self.cx.now;
        if self.sprays.has(id) {
            return; // It would lose its place.
        }
        let Some([host, joiner]) = self.matches.may_begin_again(now, id, player) else { return };
        if ![host, joiner].into_iter().all(|side| self.roster.is_fresh(&self.cx, side)) {
            return; // Nobody answers where one of them was.
        }
        let (Some(of_host), Some(of_joiner)) =
            (self.roster.party(&self.cx, host), self.roster.party(&self.cx, joiner))
        else {
            return;
        };
        let (chosen, nats) = (choose(&of_host, &of_joiner), [of_joiner.nat, of_host.nat]);
        if let Some(plan) = self.matches.begin_again(now, id, &chosen, nats) {
            self.tell_replan(id, (host, &of_host), (joiner, &of_joiner), &plan);
        }
    }

    /// Tells both players of a match the plan that is in force now.
    pub(super) fn tell_replan(
        &mut self,
        id: MatchId,
        (host, of_host): (PlayerId, &Party),
        (joiner, of_joiner): (PlayerId, &Party),
        plan: &PlanInForce,
    ) {
        let (for_host, for_joiner) = replans(id, of_host, of_joiner, plan);
        let first = plan.methods.first().map(|planned| planned.method);
        self.plan_spray((id, plan.edition), [host, joiner], first);
        self.roster.tell(&mut self.cx, joiner, ToPlayer::Replan(Box::new(for_joiner)));
        self.roster.tell(&mut self.cx, host, ToPlayer::Replan(Box::new(for_host)));
    }
}
