//! Matches that run: whose they are, and the facts about ports that the server sees and passes on (E1).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use traversal_core::id::{MatchId, PlayerId};
use traversal_core::nat::NatProfile;
use traversal_core::plan::{Plan, PlanInForce, Revision};
use traversal_core::wire::message::{Facts, MatchOutcome, ProbePurpose};

use crate::ids::{PlanId, Sides};
use crate::outcomes::{PairOutcome, PairResult};

/// So many rounds of one method of one side are kept: a plan is repeated a few times, and late probes of older rounds
/// are of no use.
const ROUNDS_KEPT: usize = 4;
/// So many rounds of one side are kept in all: a few methods run side by side, and a plan follows another.
const ROUNDS_IN_ALL: usize = 6 * ROUNDS_KEPT;
/// A match is punched again no more often than that, whoever asks: longer than an attempt lasts.
const AGAIN: Duration = Duration::from_secs(12);

#[derive(Debug, Default)]
struct ProbeRound {
    first: Option<SocketAddr>,
    second: Option<SocketAddr>,
    told: Option<Facts>,
}

#[derive(Debug)]
struct Match {
    /// These are the host, then the player who joined: the index of a side is the same in the fields below.
    sides: [PlayerId; 2],
    rounds: [BTreeMap<u16, ProbeRound>; 2],
    /// A direct path stands.
    settled: bool,
    /// This says when it began; `None`: it went on after a restart of the server.
    began: Option<Instant>,
    /// This says when both were last told to try again.
    again: Option<Instant>,
    /// This is what each side has reported.
    reported: [BTreeSet<MatchOutcome>; 2],
    /// These results were counted of the match.
    counted: BTreeSet<PairResult>,
    /// Both try this plan. The one who joined is the caller (M10).
    plan: PlanInForce,
}

/// Forgets the oldest rounds of the method that `newest` belongs to, then the oldest of all.
fn forget_old(rounds: &mut BTreeMap<u16, ProbeRound>, newest: u16) {
    let of_method = || newest & !0xff..=newest | 0xff;
    while rounds.range(of_method()).count() > ROUNDS_KEPT {
        let Some((oldest, _)) = rounds.range(of_method()).next() else { break };
        let oldest = *oldest;
        rounds.remove(&oldest);
    }
    while rounds.len() > ROUNDS_IN_ALL {
        rounds.pop_first();
    }
}

/// A new round begins: what the one before it has shown, if one of its probes never came (M19). That may be news for the
/// other side for as long as no round is complete.
fn open_range(rounds: &mut BTreeMap<u16, ProbeRound>, newest: u16, step: i32) -> Option<Facts> {
    let (round, before) = rounds.range_mut(newest & !0xff..newest).next_back()?;
    let step = if step == 0 { 1 } else { step };
    let (seen, step) = match (before.first, before.second) {
        (Some(first), None) => (first, step),
        (None, Some(second)) => (second, step.saturating_neg()),
        _ => return None,
    };
    if before.told.is_some() {
        return None;
    }
    let facts = Facts::OpenRange { round: *round, ip: seen.ip(), bound: seen.port(), step };
    before.told = Some(facts.clone());
    Some(facts)
}

impl Match {
    fn side(&self, player: PlayerId) -> Option<usize> {
        self.sides.iter().position(|side| *side == player)
    }

    fn players(&self) -> Sides<PlayerId> {
        let [host, joiner] = self.sides;
        Sides { host, joiner }
    }
}

/// These are all running matches of this node.
#[derive(Debug, Default)]
pub(crate) struct Rendezvous {
    matches: BTreeMap<MatchId, Match>,
    of_player: BTreeMap<PlayerId, BTreeSet<MatchId>>,
}

impl Rendezvous {
    pub(crate) fn len(&self) -> usize {
        self.matches.len()
    }

    /// Begins a match; the older ones between the same two players, which it replaces, come back.
    pub(crate) fn begin(&mut self, id: MatchId, players: Sides<PlayerId>, plan: PlanInForce) -> Vec<MatchId> {
        let replaced = self.between(players.host, players.joiner);
        for old in &replaced {
            self.end(*old);
        }
        let sides = players.both();
        for player in sides {
            self.of_player.entry(player).or_default().insert(id);
        }
        let (rounds, reported, counted) = Default::default();
        let running =
            Match { sides, rounds, settled: false, began: None, again: None, reported, counted, plan };
        self.matches.insert(id, running);
        replaced
    }

    /// Notes that a match begins now.
    pub(crate) fn note_begin(&mut self, id: MatchId, now: Instant) {
        if let Some(running) = self.matches.get_mut(&id) {
            running.began = Some(now);
        }
    }

    /// Returns for how long a match has run, unless it is tried anew since.
    pub(crate) fn age(&self, id: MatchId, now: Instant) -> Option<Duration> {
        let running = self.matches.get(&id).filter(|running| running.again.is_none())?;
        Some(now.saturating_duration_since(running.began?))
    }

    /// Returns whether there is such a match.
    pub(crate) fn has(&self, id: MatchId) -> bool {
        self.matches.contains_key(&id)
    }

    /// Returns the matches between two players.
    pub(crate) fn between(&self, a: PlayerId, b: PlayerId) -> Vec<MatchId> {
        let Some(of_a) = self.of_player.get(&a) else { return Vec::new() };
        of_a.iter()
            .filter(|id| self.matches.get(id).is_some_and(|running| running.side(b).is_some()))
            .copied()
            .collect()
    }

    /// Ends a match; who was in it comes back.
    pub(crate) fn end(&mut self, id: MatchId) -> Option<[PlayerId; 2]> {
        let ended = self.matches.remove(&id)?;
        for player in ended.sides {
            if let Some(own) = self.of_player.get_mut(&player) {
                own.remove(&id);
                if own.is_empty() {
                    self.of_player.remove(&player);
                }
            }
        }
        Some(ended.sides)
    }

    /// Returns the player's matches, and the other one in each.
    pub(crate) fn matches_of(&self, player: PlayerId) -> Vec<(MatchId, PlayerId)> {
        let Some(own) = self.of_player.get(&player) else { return Vec::new() };
        own.iter()
            .filter_map(|id| {
                let running = self.matches.get(id)?;
                Some((*id, running.sides[1 - running.side(player)?]))
            })
            .collect()
    }

    /// A direct path stands.
    pub(crate) fn settle(&mut self, id: MatchId) {
        if let Some(running) = self.matches.get_mut(&id) {
            running.settled = true;
        }
    }

    /// Returns whether it is time to punch this match anew, which `player` takes part in.
    pub(crate) fn may_begin_again(
        &self,
        now: Instant,
        id: MatchId,
        player: PlayerId,
    ) -> Option<Sides<PlayerId>> {
        let running = self.matches.get(&id)?;
        running.side(player)?;
        let lately = running.again.is_some_and(|at| now.saturating_duration_since(at) < AGAIN);
        (!lately).then(|| running.players())
    }

    /// A match is punched anew: the plan to send both, unless they have had too many.
    pub(crate) fn begin_again(
        &mut self,
        now: Instant,
        id: MatchId,
        plan: &Plan,
        nats: [NatProfile; 2],
    ) -> Option<PlanInForce> {
        let running = self.matches.get_mut(&id)?;
        if !running.plan.begin_again(plan, nats) {
            return None;
        }
        (running.again, running.settled) = (Some(now), false);
        Some(running.plan.clone())
    }

    /// The player reports; true when it has not said so before.
    pub(crate) fn report(&mut self, id: MatchId, player: PlayerId, outcome: MatchOutcome) -> bool {
        let Some(running) = self.matches.get_mut(&id) else { return false };
        running.side(player).is_some_and(|side| running.reported[side].insert(outcome))
    }

    /// Returns whether an outcome is to be counted: once a match, whichever side says it first.
    pub(crate) fn count(&mut self, id: MatchId, outcome: &PairOutcome) -> bool {
        let Some(running) = self.matches.get_mut(&id) else { return false };
        running.counted.insert(outcome.outcome)
    }

    /// Returns the player's matches without a direct path, with host and joiner.
    pub(crate) fn unsettled(&self, player: PlayerId) -> Vec<(MatchId, Sides<PlayerId>)> {
        let own = self.of_player.get(&player).into_iter().flatten();
        own.filter_map(|id| {
            self.matches.get(id).filter(|running| !running.settled).map(|running| (*id, running.players()))
        })
        .collect()
    }

    /// Takes facts about a player's ports in one round, and says whom to tell, unless that round's were told already.
    pub(crate) fn tell_once(
        &mut self,
        player: PlayerId,
        id: MatchId,
        round: u16,
        facts: &Facts,
    ) -> Option<PlayerId> {
        let running = self.matches.get_mut(&id)?;
        let side = running.side(player)?;
        let rounds = &mut running.rounds[side];
        let entry = rounds.entry(round).or_default();
        let news = entry.told.is_none();
        entry.told.get_or_insert_with(|| facts.clone());
        forget_old(rounds, round);
        news.then_some(running.sides[1 - side])
    }

    /// More is known of the NATs of joiner and host, and `plan` comes of it: what to send them, if there is anything new.
    pub(crate) fn learn(&mut self, id: MatchId, plan: &Plan, nats: [NatProfile; 2]) -> Option<PlanInForce> {
        let running = self.matches.get_mut(&id)?;
        (running.plan.learn(plan, nats) != Revision::Nothing).then(|| running.plan.clone())
    }

    /// Returns host and joiner, if this is the newest plan of their match.
    pub(crate) fn sides(&self, plan: PlanId) -> Option<[PlayerId; 2]> {
        self.matches
            .get(&plan.match_id)
            .filter(|running| running.plan.edition == plan.edition)
            .map(|running| running.sides)
    }

    /// Returns the other player of a match that `player` is in.
    pub(crate) fn peer(&self, id: MatchId, player: PlayerId) -> Option<PlayerId> {
        let running = self.matches.get(&id)?;
        Some(running.sides[1 - running.side(player)?])
    }

    /// A probe of `player` was seen at `observed`; what it means for whom. It counts only when its IP is the one
    /// that the player's session was validated at.
    pub(crate) fn probe(
        &mut self,
        player: PlayerId,
        validated: IpAddr,
        step: i32,
        purpose: ProbePurpose,
        observed: SocketAddr,
    ) -> Option<(PlayerId, MatchId, Facts)> {
        if observed.ip() != validated {
            return None;
        }
        match purpose {
            ProbePurpose::Range { match_id, round, second } => {
                let running = self.matches.get_mut(&match_id)?;
                let side = running.side(player)?;
                let rounds = &mut running.rounds[side];
                let entry = rounds.entry(round).or_default();
                let slot = if second { &mut entry.second } else { &mut entry.first };
                // The first sight of a probe counts: a repeated one may have got another mapping.
                slot.get_or_insert(observed);
                let (Some(first), Some(last)) = (entry.first, entry.second) else {
                    let open = open_range(rounds, round, step);
                    forget_old(rounds, round);
                    return open.map(|facts| (running.sides[1 - side], match_id, facts));
                };
                let facts = Facts::Range {
                    round,
                    ip: observed.ip(),
                    first: first.port(),
                    last: last.port(),
                    step: if step == 0 { 1 } else { step },
                };
                if entry.told.as_ref() == Some(&facts) {
                    return None;
                }
                entry.told = Some(facts.clone());
                Some((running.sides[1 - side], match_id, facts))
            }
            ProbePurpose::Newest { match_id, round, ahead } => {
                let facts = Facts::Newest { round, address: observed, ahead };
                Some((self.tell_once(player, match_id, round, &facts)?, match_id, facts))
            }
            _ => None,
        }
    }
}
