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
use crate::config::ServerConfig;
use crate::matchmaking::{Party, choose, plans, public_addresses, replans};
use crate::outcomes::Outcomes;
use crate::relay::Relay;
use crate::rendezvous::Rendezvous;
use crate::sprays::Sprays;
use keeping::KeptMatches;
use std::time::Instant;

/// See the module.
pub(super) struct Matches {
    rendezvous: Rendezvous,
    searches: Sprays,
    relay: Relay,
    /// What players have said of the matches that they still play, and their peers have not confirmed.
    kept: BTreeMap<PlayerId, KeptMatches>,
    outcomes: Outcomes,
}

impl Matches {
    pub(super) fn new(config: &ServerConfig, now: Instant) -> Self {
        Self {
            rendezvous: Rendezvous::default(),
            searches: Sprays::default(),
            relay: Relay::new(config.relay_limits(), now),
            kept: BTreeMap::new(),
            outcomes: Outcomes::new(),
        }
    }

    /// Brings two players together; `host` hosts the room, or was there first in a pair of a mesh.
    pub(crate) fn begin_match(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        epoch: u32,
        host: PlayerId,
        joiner: PlayerId,
        mesh: bool,
    ) {
        let (Some(of_host), Some(of_joiner)) = (roster.party(cx, host), roster.party(cx, joiner)) else {
            return;
        };
        let id = MatchId(cx.rng.next_u64());
        let mut secret = [0; 32];
        cx.rng.fill_bytes(&mut secret);
        let chosen = choose(&of_host, &of_joiner);
        let plan = PlanInForce::new(&chosen, [of_joiner.nat, of_host.nat]);
        for old in self.rendezvous.begin(id, (host, joiner), plan) {
            self.relay.end(old);
            self.searches.end(cx.now, old);
            roster.tell(cx, host, ToPlayer::MatchEnded { match_id: old, reason: MatchEnd::Replaced });
        }
        let relay = self.grant_relay(cx, roster, id, [host, joiner]);
        let (mut for_host, mut for_joiner) =
            plans(id, secret, (&of_host, &of_joiner), &chosen, relay, &cx.config.policy());
        (for_host.epoch, for_joiner.epoch) = (epoch, epoch);
        (for_host.mesh, for_joiner.mesh) = (mesh, mesh);
        cx.counters.matches += 1;
        tracing::debug!(host = %host, joiner = %joiner, same_nat = for_host.same_nat, "match begins");
        self.plan_spray(cx, (id, 0), [host, joiner], chosen.methods.first().copied());
        roster.tell(cx, joiner, ToPlayer::Plan(Box::new(for_joiner)));
        roster.tell(cx, host, ToPlayer::Plan(Box::new(for_host)));
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
        for (match_id, peer) in self.rendezvous.of(player) {
            self.end_match(cx, match_id);
            roster.tell(cx, peer, ToPlayer::MatchEnded { match_id, reason: why });
        }
    }

    /// Ends all matches of a player who was put out, and tells it and the others.
    pub(crate) fn end_kicked_matches(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (match_id, peer) in self.rendezvous.of(player) {
            self.end_match(cx, match_id);
            for side in [player, peer] {
                let ended = ToPlayer::MatchEnded { match_id, reason: MatchEnd::Kicked };
                roster.tell(cx, side, ended);
            }
        }
    }

    /// Matches that a player takes part in.
    pub(crate) fn match_count(&self, player: PlayerId) -> usize {
        self.rendezvous.of(player).len()
    }

    /// Whether two players have a match.
    pub(crate) fn are_matched(&self, a: PlayerId, b: PlayerId) -> bool {
        !self.rendezvous.between(a, b).is_empty()
    }

    /// Running matches, and those of them that may use the relay.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rendezvous.len(), self.relay.len())
    }

    /// How matches went since the start, by cause and NATs.
    pub(crate) fn history(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Those who are being connected to this player hear where it is seen.
    pub(crate) fn tell_public(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (match_id, peer) in self.rendezvous.of(player) {
            let (Some(of), Some(to)) = (roster.party(cx, player), roster.party(cx, peer)) else {
                continue;
            };
            let addresses = public_addresses(&of, &to, &cx.config.policy());
            if !addresses.is_empty() {
                roster.tell(cx, peer, ToPlayer::Facts { match_id, facts: Facts::PeerPublic(addresses) });
            }
        }
    }

    /// More is known about a player's NAT: its matches without a direct path get better plans.
    pub(crate) fn replan(&mut self, cx: &mut Context, roster: &mut Roster, player: PlayerId) {
        for (id, [host, joiner]) in self.rendezvous.unsettled(player) {
            let (Some(of_host), Some(of_joiner)) = (roster.party(cx, host), roster.party(cx, joiner)) else {
                continue;
            };
            let (chosen, nats) = (choose(&of_host, &of_joiner), [of_joiner.nat, of_host.nat]);
            if let Some(plan) = self.rendezvous.learn(id, &chosen, nats) {
                self.tell_replan(cx, roster, id, (host, &of_host), (joiner, &of_joiner), &plan);
            }
        }
    }

    /// Tells both players of a match the plan that is in force now.
    pub(crate) fn tell_replan(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        id: MatchId,
        (host, of_host): (PlayerId, &Party),
        (joiner, of_joiner): (PlayerId, &Party),
        plan: &PlanInForce,
    ) {
        let (for_host, for_joiner) = replans(id, of_host, of_joiner, plan);
        let first = plan.methods.first().map(|planned| planned.method);
        self.plan_spray(cx, (id, plan.edition), [host, joiner], first);
        roster.tell(cx, joiner, ToPlayer::Replan(Box::new(for_joiner)));
        roster.tell(cx, host, ToPlayer::Replan(Box::new(for_host)));
    }
}
