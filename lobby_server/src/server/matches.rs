//! Matches: pairs of players who are being connected, or play. What both are told, whose turn it is to search, and what goes
//! over the relay.
//!
//! A match knows nothing of the room that it was made for, but what its plans say of it.

mod facts;
mod keeping;
mod relaying;
mod reports;
mod searches;

use std::collections::BTreeMap;

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::plan::PlanInForce;
use traversal_core::wire::message::{Facts, MatchEnd, ToPlayer};

use super::context::Context;
use super::roster::Roster;
use crate::budget::{Budget, RelayBudgets, RelayUsage};
use crate::config::ServerConfig;
use crate::ids::{PlanId, Sides};
use crate::matchmaking::{Pairing, Party, choose, nats, plans, public_addresses, replans};
use crate::outcomes::Outcomes;
use crate::relay::{Relay, RelayLimits};
use crate::rendezvous::Rendezvous;
use crate::searches::Searches;
use keeping::KeptMatches;
use std::time::Instant;

/// This says what the two players of a match are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairKind {
    /// They are a host and a member of its room.
    Guest,
    /// They are two members of a mesh, neither of whom hosts.
    Mesh,
    /// They are a host and somebody who only watches.
    Spectator,
}

impl PairKind {
    /// Returns what a host is matched as with somebody who watches, or plays.
    pub(crate) fn with_host(watches: bool) -> Self {
        if watches { Self::Spectator } else { Self::Guest }
    }
}

/// Matches, with their searches, their relay and their history.
pub(super) struct Matches {
    rendezvous: Rendezvous,
    searches: Searches,
    relay: Relay,
    /// This is what players have said of the matches that they still play, and their peers have not confirmed.
    kept: BTreeMap<PlayerId, KeptMatches>,
    outcomes: Outcomes,
    budget: Budget,
}

impl Matches {
    pub(super) fn new(config: &ServerConfig, now: Instant) -> Self {
        Self {
            rendezvous: Rendezvous::default(),
            searches: Searches::default(),
            relay: Relay::new(config.relay_limits(), now),
            kept: BTreeMap::new(),
            outcomes: Outcomes::new(),
            budget: Budget::new(config.relay_budgets.clone()),
        }
    }

    /// Has the relay keep to these limits and budgets.
    pub(crate) fn set_relay_limits(&mut self, limits: RelayLimits, budgets: RelayBudgets) {
        self.relay.set_limits(limits);
        self.budget.set(budgets);
    }

    /// Brings two players together.
    pub(crate) fn begin_match(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        epoch: u32,
        players: Sides<PlayerId>,
        kind: PairKind,
    ) {
        let Some(parties) = roster.parties(cx, players) else { return };
        let Sides { host, joiner } = players;
        let id = MatchId(cx.rng.next_u64());
        let mut secret = [0; 32];
        cx.rng.fill_bytes(&mut secret);
        let chosen = choose(&parties);
        let plan = PlanInForce::new(&chosen, nats(&parties));
        for old in self.rendezvous.begin(id, players, plan) {
            self.relay.end(old);
            self.searches.end(cx.now, old);
            roster.tell(cx, host, ToPlayer::MatchEnded { match_id: old, reason: MatchEnd::Replaced });
        }
        let relay = self.grant_relay(cx, roster, id, players);
        let (mesh, spectator) = (kind == PairKind::Mesh, kind == PairKind::Spectator);
        let pairing = Pairing { match_id: id, pair_secret: secret, epoch, mesh, spectator };
        let told = plans(pairing, &parties, &chosen, relay, &cx.config.policy());
        cx.counters.matches += 1;
        let slot = roster.game_of(host);
        cx.games.at(slot).matches += 1;
        self.rendezvous.note_begin(id, cx.now);
        tracing::debug!(host = %host, joiner = %joiner, same_nat = told.host.same_nat, "match begins");
        let first_plan = PlanId { match_id: id, edition: 0 };
        self.plan_search(cx, first_plan, players, chosen.methods.first().copied());
        roster.tell(cx, joiner, ToPlayer::Plan(Box::new(told.joiner)));
        roster.tell(cx, host, ToPlayer::Plan(Box::new(told.host)));
    }

    /// Ends a match: what it searches and relays ends with it.
    pub(crate) fn end_match(&mut self, cx: &Context, id: MatchId) {
        self.rendezvous.end(id);
        self.searches.end(cx.now, id);
        self.relay.end(id);
    }

    /// Ends all matches of a player and tells the others.
    pub(crate) fn end_matches(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        player: PlayerId,
        why: MatchEnd,
    ) {
        for (match_id, peer) in self.rendezvous.matches_of(player) {
            self.end_match(cx, match_id);
            roster.tell(cx, peer, ToPlayer::MatchEnded { match_id, reason: why });
        }
    }

    /// Forgets all matches of a player and tells nobody: they go on at another node.
    pub(crate) fn let_go(&mut self, cx: &Context, player: PlayerId) {
        for (match_id, _) in self.rendezvous.matches_of(player) {
            self.end_match(cx, match_id);
        }
    }

    /// Ends all matches of a player who was put out, and tells it and the others.
    pub(crate) fn end_kicked_matches(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (match_id, peer) in self.rendezvous.matches_of(player) {
            self.end_match(cx, match_id);
            for side in [player, peer] {
                let ended = ToPlayer::MatchEnded { match_id, reason: MatchEnd::Kicked };
                roster.tell(cx, side, ended);
            }
        }
    }

    /// Matches that a player takes part in.
    pub(crate) fn match_count(&self, player: PlayerId) -> usize {
        self.rendezvous.matches_of(player).len()
    }

    /// Returns whether two players have a match.
    pub(crate) fn are_matched(&self, a: PlayerId, b: PlayerId) -> bool {
        !self.rendezvous.between(a, b).is_empty()
    }

    /// Returns the numbers of running matches, and of those of them that may use the relay.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rendezvous.len(), self.relay.len())
    }

    /// Goes on from what the relay had used before a restart.
    pub(crate) fn restore_relay_usage(&mut self, kept: &RelayUsage) {
        self.budget.restore(kept);
    }

    /// Returns what the relay has used, by the calendar of now.
    pub(crate) fn relay_usage(&mut self, cx: &Context) -> &RelayUsage {
        self.budget.set_time(cx.calendar());
        self.budget.usage()
    }

    /// Returns how matches went since the start, by cause and NATs.
    pub(crate) fn history(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Tells those who are being connected to this player where it is seen.
    pub(crate) fn tell_public(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (match_id, peer) in self.rendezvous.matches_of(player) {
            let (Some(shown), Some(to)) = (roster.party(cx, player), roster.party(cx, peer)) else {
                continue;
            };
            let addresses = public_addresses(&shown, &to, &cx.config.policy());
            if !addresses.is_empty() {
                roster.tell(cx, peer, ToPlayer::Facts { match_id, facts: Facts::PeerPublic(addresses) });
            }
        }
    }

    /// More is known about a player's NAT: its matches without a direct path get better plans.
    pub(crate) fn replan(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (id, players) in self.rendezvous.unsettled(player) {
            let Some(parties) = roster.parties(cx, players) else { continue };
            if let Some(plan) = self.rendezvous.learn(id, &choose(&parties), nats(&parties)) {
                self.tell_replan(cx, roster, id, &parties, &plan);
            }
        }
    }

    /// Tells both players of a match the plan that is in force now.
    pub(crate) fn tell_replan(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        id: MatchId,
        parties: &Sides<Party>,
        plan: &PlanInForce,
    ) {
        let players = parties.as_ref().map(|party| party.info.id);
        let told = replans(id, parties, plan);
        let first = plan.methods.first().map(|planned| planned.method);
        self.plan_search(cx, PlanId { match_id: id, edition: plan.edition }, players, first);
        roster.tell(cx, players.joiner, ToPlayer::Replan(Box::new(told.joiner)));
        roster.tell(cx, players.host, ToPlayer::Replan(Box::new(told.host)));
    }
}
