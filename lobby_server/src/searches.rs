//! Whose turn it is to search by many sockets or ports: a player takes part in one such search at a time.
//!
//! Both sides of a match ask; as soon as neither takes part in another search, both are told to begin. So the two begin
//! together, and nobody holds one side's turn while waiting for the other's: there is nothing to lock up.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use traversal_core::id::{MatchId, PlayerId};
use traversal_core::punch::SEARCH_TURN;
use traversal_core::wire::message::SearchPermit;

use crate::ids::PlanId;

/// A player who has not said that its search is over is free again after its turn, and what the message may take.
const OVERDUE: Duration = Duration::from_secs(3);

/// A match that has waited so long comes next for both of its players: until then one whose players are both free may
/// overtake it, so that more of them run side by side.
const PATIENCE: Duration = Duration::from_secs(20);

/// This is what a player is told about the search of its match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SearchNotice {
    pub(crate) player: PlayerId,
    pub(crate) plan: PlanId,
    pub(crate) turn: SearchPermit,
}

#[derive(Debug)]
struct Wish {
    sides: [PlayerId; 2],
    edition: u8,
    asked: [bool; 2],
    /// This is the match's place in the line, and since when it has it; once both have asked, until they are told to
    /// begin.
    place: Option<(u64, Instant)>,
}

/// These are the searches of all matches of this node.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    wishes: BTreeMap<MatchId, Wish>,
    /// Matches that wait, by player, in the order in which they came.
    waiting: BTreeMap<PlayerId, BTreeMap<u64, MatchId>>,
    busy: BTreeMap<PlayerId, (MatchId, Instant)>,
    ends: BTreeSet<(Instant, PlayerId)>,
    places: u64,
    notices: Vec<SearchNotice>,
}

impl Searches {
    /// A player's attempt has come to its search.
    pub(crate) fn ask(&mut self, now: Instant, plan: PlanId, sides: [PlayerId; 2], player: PlayerId) {
        let PlanId { match_id, edition } = plan;
        let Some(side) = sides.iter().position(|side| *side == player) else { return };
        if self.wishes.get(&match_id).is_some_and(|wish| wish.edition != edition) {
            self.end(now, match_id);
        }
        let wish =
            self.wishes.entry(match_id).or_insert(Wish { sides, edition, asked: [false; 2], place: None });
        if std::mem::replace(&mut wish.asked[side], true) {
            return;
        }
        if wish.asked != [true; 2] {
            return;
        }
        let place = self.places;
        self.places += 1;
        wish.place = Some((place, now));
        for side in sides {
            self.waiting.entry(side).or_default().insert(place, match_id);
        }
        if !self.start(now, match_id) {
            self.tell(sides, plan, SearchPermit::Wait);
        }
    }

    /// Both players get a plan. With `at_once` a search comes first in it, which counts as their wish.
    pub(crate) fn plan(&mut self, now: Instant, plan: PlanId, sides: [PlayerId; 2], at_once: bool) {
        if self.wishes.get(&plan.match_id).is_some_and(|wish| wish.edition != plan.edition) {
            self.end(now, plan.match_id);
        }
        for player in sides.into_iter().filter(|_| at_once) {
            self.ask(now, plan, sides, player);
        }
    }

    fn tell(&mut self, players: impl IntoIterator<Item = PlayerId>, plan: PlanId, turn: SearchPermit) {
        let told = players.into_iter().map(|player| SearchNotice { player, plan, turn });
        self.notices.extend(told);
    }

    /// Returns whether a match waits for its turn to search, or has it.
    pub(crate) fn has(&self, match_id: MatchId) -> bool {
        let runs = |wish: &Wish| {
            wish.sides
                .iter()
                .any(|side| self.busy.get(side).is_some_and(|(busy_with, _)| *busy_with == match_id))
        };
        self.wishes.get(&match_id).is_some_and(|wish| wish.place.is_some() || runs(wish))
    }

    /// A player's search by this plan is over, or not wanted any more. There is none by one side alone, so the other side
    /// hears of it.
    pub(crate) fn over(&mut self, now: Instant, plan: PlanId, player: PlayerId) {
        let PlanId { match_id, edition } = plan;
        let Some(wish) = self.wishes.get_mut(&match_id).filter(|wish| wish.edition == edition) else {
            return;
        };
        let sides = wish.sides;
        let Some(side) = sides.iter().position(|side| *side == player) else { return };
        if let Some((place, _)) = wish.place.take() {
            self.forget(sides, place);
            self.tell([sides[1 - side]], plan, SearchPermit::Off);
        } else if wish.asked[1 - side] && !wish.asked[side] {
            self.tell([sides[1 - side]], plan, SearchPermit::Off);
        } else if self.busy.get(&player).is_some_and(|(busy_with, _)| *busy_with == match_id) {
            let other = self.busy.get(&sides[1 - side]).is_some_and(|(busy_with, _)| *busy_with == match_id);
            let other = other.then_some(sides[1 - side]);
            self.tell(other, plan, SearchPermit::Off);
            self.release(now, match_id, player);
        }
        for side in sides {
            self.next_of(now, side);
        }
    }

    /// The same, whichever plan it has.
    pub(crate) fn left(&mut self, now: Instant, match_id: MatchId, player: PlayerId) {
        if let Some(edition) = self.wishes.get(&match_id).map(|wish| wish.edition) {
            self.over(now, PlanId { match_id, edition }, player);
        }
    }

    /// The match is over, or has another plan.
    pub(crate) fn end(&mut self, now: Instant, match_id: MatchId) {
        let Some(wish) = self.wishes.remove(&match_id) else { return };
        if let Some((place, _)) = wish.place {
            self.forget(wish.sides, place);
        }
        for side in wish.sides {
            self.release(now, match_id, side);
        }
        // Others may have waited for it to come first.
        for side in wish.sides {
            self.next_of(now, side);
        }
    }

    fn forget(&mut self, sides: [PlayerId; 2], place: u64) {
        for side in sides {
            if let Some(waiting) = self.waiting.get_mut(&side) {
                waiting.remove(&place);
                if waiting.is_empty() {
                    self.waiting.remove(&side);
                }
            }
        }
    }

    fn release(&mut self, now: Instant, match_id: MatchId, player: PlayerId) {
        if let Some((_, until)) =
            self.busy.get(&player).copied().filter(|(busy_with, _)| *busy_with == match_id)
        {
            self.busy.remove(&player);
            self.ends.remove(&(until, player));
            self.next_of(now, player);
        }
    }

    /// Starts the first of a player's matches that can.
    fn next_of(&mut self, now: Instant, player: PlayerId) {
        let Some(waiting) = self.waiting.get(&player) else { return };
        for match_id in waiting.values().copied().collect::<Vec<_>>() {
            if self.start(now, match_id) {
                return;
            }
        }
    }

    /// Some other match of this player has waited long enough to come first.
    fn is_kept_for_another(&self, now: Instant, player: PlayerId, match_id: MatchId) -> bool {
        let first = self.waiting.get(&player).and_then(|waiting| waiting.values().next());
        first
            .filter(|first| **first != match_id)
            .and_then(|first| self.wishes.get(first)?.place)
            .is_some_and(|(_, since)| now.saturating_duration_since(since) >= PATIENCE)
    }

    fn start(&mut self, now: Instant, match_id: MatchId) -> bool {
        let Some(wish) = self.wishes.get(&match_id) else { return false };
        let (sides, edition) = (wish.sides, wish.edition);
        let Some((place, _)) = wish.place else { return false };
        let free = |side: &PlayerId| {
            !self.busy.contains_key(side) && !self.is_kept_for_another(now, *side, match_id)
        };
        if !sides.iter().all(free) {
            return false;
        }
        if let Some(wish) = self.wishes.get_mut(&match_id) {
            wish.place = None;
        }
        self.forget(sides, place);
        let until = now + SEARCH_TURN + OVERDUE;
        for side in sides {
            self.busy.insert(side, (match_id, until));
            self.ends.insert((until, side));
        }
        self.tell(sides, PlanId { match_id, edition }, SearchPermit::Begin);
        true
    }

    /// Takes an input: [`poll_timeout`](Self::poll_timeout) has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, player)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            match self.busy.get(&player).copied() {
                Some((match_id, _)) => self.release(now, match_id, player),
                None => _ = self.ends.pop_first(),
            }
        }
    }

    /// Returns when the next player counts as free.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Returns what to tell, in this order.
    pub(crate) fn take_notices(&mut self) -> Vec<SearchNotice> {
        std::mem::take(&mut self.notices)
    }
}
