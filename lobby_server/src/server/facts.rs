//! Facts about a player's ports, passed on to the other side of a match: what the server has seen (E1), and what the player
//! says (E2).

use traversal_core::id::{MatchId, PlayerId};
use traversal_core::nat::PortAllocation;
use traversal_core::ports::FIRST_PORT;
use traversal_core::wire::message::{Facts, MAX_KEPT_PORTS, Probe, ToPlayer};

use super::roster::Prober;
use super::{Route, Server};
use crate::claims::Claim;

impl Server {
    pub(super) fn handle_probe(&mut self, id: u64, route: Route, probe: Probe, length: usize) {
        let Some(seen) = self.roster.see_probe(&mut self.cx, id, route, probe, length) else { return };
        if seen.learnt {
            self.replan(seen.player);
        }
        if let Some((peer, match_id, facts)) =
            self.matches.probe(seen.player, seen.validated, seen.step, probe.purpose, route.peer)
        {
            self.tell_facts(seen.player, peer, match_id, facts);
        }
    }

    fn tell_facts(&mut self, of: PlayerId, to: PlayerId, match_id: MatchId, facts: Facts) {
        // Facts are addresses: a player over the relay alone gets and gives none.
        let hidden =
            [of, to].iter().any(|side| self.roster.party(&self.cx, *side).is_none_or(|side| side.relay_only));
        if self.roster.may_cause(&mut self.cx, of, 1.0) && !hidden {
            self.roster.tell(&mut self.cx, to, ToPlayer::Facts { match_id, facts });
        }
    }

    /// A range that the player has measured itself (E2).
    pub(super) fn handle_claim(&mut self, id: u64, match_id: MatchId, claim: Claim) {
        // They are as many as brackets, which are pairs of probes.
        let Some(prober) = self.roster.take_probe(&mut self.cx, id) else { return };
        let player = prober.player;
        let facts = match self.roster.check_claim(&self.cx, id, prober.validated, claim) {
            Ok(facts) if self.matches.peer(match_id, player).is_some() => facts,
            refused => {
                tracing::debug!(%player, error = ?refused.err(), "claimed range refused");
                self.cx.counters.claims_refused += 1;
                return;
            }
        };
        self.cx.counters.claims += 1;
        let Facts::Range { round, .. } = facts else { return };
        if let Some(peer) = self.matches.tell_once(player, match_id, round, &facts) {
            self.tell_facts(player, peer, match_id, facts);
        }
    }

    /// Ports that the player's next packets leave by, since its NAT keeps inner ports. Only the player knows them, but the
    /// IP is the session's, and few ports are passed on, once a round.
    pub(super) fn handle_kept_ports(&mut self, id: u64, match_id: MatchId, round: u16, ports: Vec<u16>) {
        let Some(Prober { player, validated: ip, allocation }) = self.roster.take_probe(&mut self.cx, id)
        else {
            return;
        };
        let fits =
            (1..=MAX_KEPT_PORTS).contains(&ports.len()) && ports.iter().all(|port| *port >= FIRST_PORT);
        if !fits || allocation != PortAllocation::Preserving {
            tracing::debug!(%player, "kept ports refused");
            self.cx.counters.claims_refused += 1;
            return;
        }
        let facts = Facts::Kept { round, ip, ports };
        if let Some(peer) = self.matches.tell_once(player, match_id, round, &facts) {
            self.cx.counters.claims += 1;
            self.tell_facts(player, peer, match_id, facts);
        }
    }
}
