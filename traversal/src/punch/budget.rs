//! What one player may send, whatever a server or a peer says.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::Caps;
use crate::id::MatchId;

/// The budget holds the caps of all attempts of a player together: punch datagrams in any one second.
#[derive(Debug)]
pub struct Budget {
    caps: Caps,
    /// This says when the datagrams of the last second left; there are at most as many as the cap.
    sent: VecDeque<Instant>,
    /// This is the match that searches by many sockets or ports, and whether it is its turn.
    search: Option<(MatchId, bool)>,
}

/// This part of the rate is for answers and tests of ways that were opened: a search that uses up all of it would leave
/// its own hits unanswered.
const ANSWERS: usize = 32;

/// [`Caps::datagrams_per_second`] counts over this window.
const WINDOW: Duration = Duration::from_secs(1);

impl Budget {
    /// Returns a budget of which nothing is spent.
    pub fn new(caps: Caps) -> Self {
        Self { caps, sent: VecDeque::new(), search: None }
    }

    /// Returns whether this match may search by many sockets or ports: one does at a time. `turn` says that the other
    /// side does so, too, and does not wait; such a search comes before one that this side does alone.
    pub(crate) fn take_search(&mut self, match_id: MatchId, turn: bool) -> bool {
        match self.search {
            Some((holder, holders_turn)) if holder != match_id && (holders_turn || !turn) => false,
            Some((holder, held)) if holder == match_id => {
                self.search = Some((match_id, held || turn));
                true
            }
            _ => {
                self.search = Some((match_id, turn));
                true
            }
        }
    }

    /// Returns the match that searches, if one does.
    pub(crate) fn searching(&self) -> Option<MatchId> {
        self.search.map(|(match_id, _)| match_id)
    }

    /// Its search is over.
    pub(crate) fn end_search(&mut self) {
        self.search = None;
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|t| now.saturating_duration_since(*t) >= WINDOW) {
            self.sent.pop_front();
        }
    }

    /// Returns when `count` datagrams can leave in a row: now, or later. More than the cap counts as the cap.
    /// `reserve` leaves something for answers.
    fn free_at(&mut self, now: Instant, count: u32, reserve: bool) -> Instant {
        self.forget(now);
        let cap = self.caps.datagrams_per_second.max(1) as usize;
        let cap = if reserve { cap - cap / ANSWERS } else { cap };
        let count = (count.max(1) as usize).min(cap);
        match (self.sent.len() + count).checked_sub(cap) {
            None | Some(0) => now,
            // So many of the oldest must first leave the window.
            Some(over) => self.sent[over - 1] + WINDOW,
        }
    }
}

/// This is what one attempt has used.
#[derive(Clone, Debug, Default)]
pub struct Spending {
    /// This many datagrams were sent, probes among them.
    pub datagrams: u32,
    /// This many sockets were opened.
    pub sockets: u32,
    targets: BTreeSet<SocketAddr>,
}

impl Spending {
    /// Makes the spending ready for another attempt of the same match: however many it has, its targets stay the same
    /// ones.
    pub(crate) fn renew(&mut self) {
        (self.datagrams, self.sockets) = (0, 0);
    }

    /// Counts the distinct destinations, the lobby server's not among them.
    pub fn targets(&self) -> u32 {
        self.targets.len() as u32
    }
}

/// This is the answer to a wish to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is counted: send.
    Go,
    /// It may be sent at that time, and not before.
    Wait(Instant),
    /// It is never to be sent: a cap of the attempt is reached.
    Refused,
}

/// This is the budget of the player with the spending of one attempt, as a puncher is given them.
#[derive(Debug)]
pub struct Ledger<'a> {
    /// All attempts of this player share this budget.
    pub budget: &'a mut Budget,
    /// This is what this attempt has spent.
    pub attempt: &'a mut Spending,
}

impl Ledger<'_> {
    /// Asks for one datagram, the first of `row` that should leave in a row. `target`: where to, if it is not the
    /// lobby server.
    pub fn datagram(&mut self, now: Instant, row: u32, target: Option<SocketAddr>) -> Verdict {
        self.take(now, row, target, true)
    }

    /// Asks for one datagram to where the other side was heard, or may be reached without a search.
    pub(crate) fn answer(&mut self, now: Instant, target: SocketAddr) -> Verdict {
        self.take(now, 1, Some(target), false)
    }

    fn take(&mut self, now: Instant, row: u32, target: Option<SocketAddr>, reserve: bool) -> Verdict {
        let caps = self.budget.caps;
        let new_target = target.filter(|t| !self.attempt.targets.contains(t));
        if self.attempt.datagrams >= caps.datagrams_per_attempt
            || (new_target.is_some() && self.attempt.targets() >= caps.targets_per_attempt)
        {
            return Verdict::Refused;
        }
        let free = self.budget.free_at(now, row, reserve);
        if free > now {
            return Verdict::Wait(free);
        }
        self.budget.sent.push_back(now);
        self.attempt.datagrams += 1;
        self.attempt.targets.extend(new_target);
        Verdict::Go
    }

    /// Counts a destination that the other side has shown by sending from it; false when there are too many.
    pub fn admit(&mut self, target: SocketAddr) -> bool {
        let known = self.attempt.targets.contains(&target);
        if !known && self.attempt.targets() < self.budget.caps.targets_per_attempt {
            return self.attempt.targets.insert(target);
        }
        known
    }

    /// Asks for a search by many ports that is this side's alone: not while another match searches.
    pub(crate) fn wide(&mut self, match_id: MatchId) -> bool {
        self.budget.take_search(match_id, false)
    }

    /// Asks for one socket.
    pub fn socket(&mut self) -> bool {
        let free = self.attempt.sockets < self.budget.caps.sockets_per_attempt;
        self.attempt.sockets += u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([198, 51, 100, 1], port)))
    }

    #[test]
    fn never_more_in_any_second_than_the_cap() {
        let caps = Caps { datagrams_per_second: 10, ..Caps::default() };
        let mut budget = Budget::new(caps);
        let start = Instant::now();
        let mut left = Vec::new();
        // Two attempts share it.
        let mut attempts = [Spending::default(), Spending::default()];
        for ms in 0..5_000 {
            let now = start + Duration::from_millis(ms);
            for attempt in &mut attempts {
                let mut ledger = Ledger { budget: &mut budget, attempt };
                if ledger.datagram(now, 1, to(1)) == Verdict::Go {
                    left.push(now);
                }
            }
        }
        assert_eq!(left.len(), 50);
        for (i, first) in left.iter().enumerate() {
            let within = left[i..].iter().take_while(|t| **t - *first < WINDOW).count();
            assert!(within <= 10, "{within}");
        }
    }

    #[test]
    fn a_row_waits_until_all_of_it_can_leave() {
        let mut budget = Budget::new(Caps { datagrams_per_second: 10, ..Caps::default() });
        let mut attempt = Spending::default();
        let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
        let start = Instant::now();
        for _ in 0..8 {
            assert_eq!(ledger.datagram(start, 1, None), Verdict::Go);
        }
        assert_eq!(ledger.datagram(start, 3, None), Verdict::Wait(start + WINDOW));
        assert_eq!(ledger.datagram(start, 2, None), Verdict::Go);
        let later = start + WINDOW;
        assert_eq!(ledger.datagram(later, 500, None), Verdict::Go, "more than the cap counts as the cap");
    }

    #[test]
    fn destinations_that_the_other_side_shows_are_admitted_up_to_the_cap() {
        let mut budget = Budget::new(Caps { targets_per_attempt: 2, ..Caps::default() });
        let mut attempt = Spending::default();
        let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
        let admitted = [1, 2, 3, 1].map(|port| ledger.admit(to(port).unwrap()));
        assert_eq!(admitted, [true, true, false, true], "a known one stays admitted");
    }

    #[test]
    fn a_search_leaves_something_for_answers() {
        let mut budget = Budget::new(Caps { datagrams_per_second: 32, ..Caps::default() });
        let mut attempt = Spending::default();
        let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
        let now = Instant::now();
        let searched = (0..100).filter(|port| ledger.datagram(now, 1, to(*port)) == Verdict::Go).count();
        let answered = (0..100).filter(|port| ledger.answer(now, to(*port).unwrap()) == Verdict::Go).count();
        assert_eq!((searched, answered), (31, 1), "and all of it stays under the cap");
    }

    #[test]
    fn one_match_searches_at_a_time_and_its_turn_comes_before_what_one_side_does_alone() {
        let (a, b, c) = (MatchId(1), MatchId(2), MatchId(3));
        let mut budget = Budget::new(Caps::default());
        assert!(budget.take_search(a, false) && budget.take_search(a, false));
        assert!(!budget.take_search(b, false), "nobody is put out by another who has no turn either");
        assert!(budget.take_search(b, true));
        assert!(!budget.take_search(a, false) && !budget.take_search(c, true), "whatever a server says");
        assert!(budget.take_search(b, false) && !budget.take_search(c, true), "it keeps its turn");
        assert_eq!(budget.searching(), Some(b));
        budget.end_search();
        assert!(budget.take_search(c, true));
    }

    #[test]
    fn attempts_have_totals() {
        let caps = Caps {
            datagrams_per_attempt: 5,
            targets_per_attempt: 2,
            sockets_per_attempt: 1,
            ..Caps::default()
        };
        let mut budget = Budget::new(caps);
        let mut attempt = Spending::default();
        let mut ledger = Ledger { budget: &mut budget, attempt: &mut attempt };
        let now = Instant::now();
        assert_eq!(ledger.datagram(now, 1, to(1)), Verdict::Go);
        assert_eq!(ledger.datagram(now, 1, to(2)), Verdict::Go);
        assert_eq!(ledger.datagram(now, 1, to(3)), Verdict::Refused, "a third destination");
        assert_eq!(ledger.datagram(now, 1, to(2)), Verdict::Go);
        assert_eq!(ledger.datagram(now, 1, None), Verdict::Go);
        assert_eq!(ledger.datagram(now, 1, None), Verdict::Go);
        assert_eq!(ledger.datagram(now, 1, None), Verdict::Refused, "a sixth datagram");
        assert!(ledger.socket());
        assert!(!ledger.socket());
        assert_eq!((attempt.datagrams, attempt.targets(), attempt.sockets), (5, 2, 1));
    }
}
