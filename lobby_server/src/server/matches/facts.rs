//! Facts about a player's ports, passed on to the other side of a match: what the server has seen (E1), and what the player
//! says (E2).

use std::net::SocketAddr;
use traversal_core::id::{MatchId, PlayerId};
use traversal_core::nat::PortAllocation;
use traversal_core::ports::FIRST_PORT;
use traversal_core::wire::message::{Facts, MAX_KEPT_PORTS, ProbePurpose, ToPlayer};

use super::{Context, Matches, Roster};
use crate::claims::RangeClaim;
use crate::ids::SessionId;
use crate::server::roster::{ProbeSeen, Prober};

impl Matches {
    /// A player's probe was seen at `observed`: what that means for its matches.
    pub(crate) fn learn_from_probe(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        seen: ProbeSeen,
        purpose: ProbePurpose,
        observed: SocketAddr,
    ) {
        if seen.learnt {
            self.replan(cx, roster, seen.player);
        }
        if let Some((peer, match_id, facts)) =
            self.rendezvous.probe(seen.player, seen.validated, seen.step, purpose, observed)
        {
            self.tell_facts(cx, roster, seen.player, peer, match_id, facts);
        }
    }

    fn tell_facts(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        about: PlayerId,
        to: PlayerId,
        match_id: MatchId,
        facts: Facts,
    ) {
        // Facts are addresses: a player over the relay alone gets and gives none.
        let hidden =
            [about, to].iter().any(|side| roster.party(cx, *side).is_none_or(|side| side.relay_only));
        if roster.may_cause(cx, about, 1.0) && !hidden {
            roster.tell(cx, to, ToPlayer::Facts { match_id, facts });
        }
    }

    /// Takes a range that the player has measured itself (E2).
    pub(crate) fn handle_claim(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        id: SessionId,
        match_id: MatchId,
        claim: RangeClaim,
    ) {
        // They are as many as brackets, which are pairs of probes.
        let Some(prober) = roster.take_probe(cx, id) else { return };
        let player = prober.player;
        let facts = match roster.check_claim(cx, id, prober.validated, claim) {
            Ok(facts) if self.rendezvous.peer(match_id, player).is_some() => facts,
            refused => {
                tracing::debug!(%player, error = ?refused.err(), "claimed range refused");
                cx.counters.claims_refused += 1;
                return;
            }
        };
        cx.counters.claims += 1;
        let Facts::Range { round, .. } = facts else { return };
        if let Some(peer) = self.rendezvous.tell_once(player, match_id, round, &facts) {
            self.tell_facts(cx, roster, player, peer, match_id, facts);
        }
    }

    /// Takes the ports that the player's next packets leave by, since its NAT keeps inner ports. Only the player
    /// knows them, but the IP is the session's, and few ports are passed on, once a round.
    pub(crate) fn handle_kept_ports(
        &mut self,
        cx: &mut Context,
        roster: &mut Roster,
        id: SessionId,
        match_id: MatchId,
        round: u16,
        ports: Vec<u16>,
    ) {
        let Some(Prober { player, validated: ip, allocation }) = roster.take_probe(cx, id) else {
            return;
        };
        let fits =
            (1..=MAX_KEPT_PORTS).contains(&ports.len()) && ports.iter().all(|port| *port >= FIRST_PORT);
        if !fits || allocation != PortAllocation::Preserving {
            tracing::debug!(%player, "kept ports refused");
            cx.counters.claims_refused += 1;
            return;
        }
        let facts = Facts::Kept { round, ip, ports };
        if let Some(peer) = self.rendezvous.tell_once(player, match_id, round, &facts) {
            cx.counters.claims += 1;
            self.tell_facts(cx, roster, player, peer, match_id, facts);
        }
    }
}
