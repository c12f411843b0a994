//! What players say of their matches.

use traversal_core::failure::FailureReason;
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::nat::NatKind;
use traversal_core::wire::message::{MatchEnd, MatchOutcome, ToPlayer};

use super::{Context, Matches, Roster};
use crate::matchmaking::{choose, nats};
use crate::outcomes::{PairOutcome, PairResult};

impl Matches {
    /// It went so, as far as one side knows. True: it is lost, and over for both.
    pub(crate) fn match_report(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        player: PlayerId,
        match_id: MatchId,
        outcome: MatchOutcome,
        cause: Option<FailureReason>,
    ) -> bool {
        let over = matches!(outcome, MatchOutcome::Lost | MatchOutcome::Closed | MatchOutcome::Failed);
        let Some(peer) = self.rendezvous.peer(match_id, player) else {
            if over {
                self.forget_kept(player, match_id);
            }
            return false;
        };
        match outcome {
            MatchOutcome::Direct => self.rendezvous.settle(match_id),
            MatchOutcome::Relayed => {}
            _ => self.searches.left(cx.now, match_id, player),
        }
        if self.rendezvous.report(match_id, player, outcome) {
            match outcome {
                MatchOutcome::Direct => cx.counters.matches_direct += 1,
                MatchOutcome::Relayed => cx.counters.matches_relayed += 1,
                MatchOutcome::Failed => cx.counters.matches_failed += 1,
                _ => {}
            }
        }
        let kind = |player| roster.party(cx, player).map_or(NatKind::Unknown, |party| party.nat.kind());
        let result = PairOutcome::new(outcome, cause, [kind(player), kind(peer)]);
        if let Some(result) = result.filter(|result| self.rendezvous.count(match_id, result)) {
            tracing::debug!(outcome = result.outcome.name(), cause = result.cause_name(), nats = ?result.nats, "a match went so");
            let age = self.rendezvous.age(match_id, cx.now);
            let numbers = cx.games.at(roster.game_of(player));
            let (count, times) = match result.outcome {
                PairResult::Direct => (&mut numbers.direct, Some(&mut cx.timings.connect_direct)),
                PairResult::Relayed => (&mut numbers.relayed, Some(&mut cx.timings.connect_relayed)),
                PairResult::Failed => (&mut numbers.failed, None),
            };
            *count += 1;
            if let Some((times, age)) = times.zip(age) {
                times.observe(age);
            }
            *self.outcomes.entry(result).or_default() += 1;
        }
        let lost = outcome == MatchOutcome::Lost;
        if lost {
            // One side has waited long enough for the other one.
            self.end_match(cx, match_id);
            let ended = ToPlayer::MatchEnded { match_id, reason: MatchEnd::Gone };
            roster.tell(cx, peer, ended);
        }
        lost
    }

    /// A player of this match wants both to try for a direct path once more. Both ask at about the same time.
    pub(crate) fn punch_again(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        player: PlayerId,
        id: MatchId,
    ) {
        let now = cx.now;
        if self.searches.has(id) {
            return; // It would lose its place.
        }
        let Some(players) = self.rendezvous.may_begin_again(now, id, player) else { return };
        if !players.both().into_iter().all(|side| roster.is_fresh(cx, side)) {
            return; // Nobody answers where one of them was.
        }
        let Some(parties) = roster.parties(cx, players) else { return };
        if let Some(plan) = self.rendezvous.begin_again(now, id, &choose(&parties), nats(&parties)) {
            self.tell_replan(cx, roster, id, &parties, &plan);
        }
    }
}
