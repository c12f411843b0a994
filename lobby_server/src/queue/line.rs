//! One line: players who may meet by what has to be equal. They stand in the order of arrival, and in that of their first
//! number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::QueueKey;
use super::ticket::{Schedule, Ticket};
use crate::limits::Bucket;

/// The waits of so many players who were matched last are kept.
const KEPT_WAITS: usize = 32;
/// A wait tells of how long it takes for so long.
const WAIT_COUNTS: Duration = Duration::from_secs(600);
/// The estimate is of so many players at the least.
const ENOUGH_WAITS: usize = 4;

/// This says how long those waited who were matched lately.
#[derive(Debug, Default)]
pub(super) struct Waits(VecDeque<(Instant, u16)>);

impl Waits {
    pub(super) fn note(&mut self, now: Instant, waited: Duration) {
        if self.0.len() == KEPT_WAITS {
            self.0.pop_front();
        }
        self.0.push_back((now, u16::try_from(waited.as_secs()).unwrap_or(u16::MAX)));
    }

    /// Returns the median in seconds, if there were enough of late.
    pub(super) fn estimate(&self, now: Instant) -> Option<u16> {
        let counts = |at: &Instant| now.saturating_duration_since(*at) < WAIT_COUNTS;
        let mut waits: Vec<u16> =
            self.0.iter().filter(|(at, _)| counts(at)).map(|(_, waited)| *waited).collect();
        waits.sort_unstable();
        (waits.len() >= ENOUGH_WAITS).then(|| waits[waits.len() / 2])
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.0.back().map(|(at, _)| *at)
    }
}

/// This is one line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: Arc<QueueKey>,
    /// All who wait, by arrival: where each ticket is.
    pub(super) arrival: BTreeMap<u64, u32>,
    /// The same by their first number, where there is one.
    pub(super) by_number: BTreeMap<(i32, u64), u32>,
    schedules: BTreeSet<Arc<Schedule>>,
    /// So many tickets are of this line, with those of players who are being put together.
    pub(super) tickets: usize,
    /// So many players wait: a party has one ticket.
    players: usize,
    pub(super) waits: Waits,
    /// This says what the line may still be told.
    pub(super) news: Option<Bucket>,
    /// Of a long line some are told at a time: the next one came after this one, who had this place.
    pub(super) told_to: (u64, u32),
}

impl Line {
    pub(super) fn new(key: Arc<QueueKey>, waits: Waits) -> Self {
        Self {
            key,
            arrival: BTreeMap::new(),
            by_number: BTreeMap::new(),
            schedules: BTreeSet::new(),
            tickets: 0,
            players: 0,
            waits,
            news: None,
            told_to: (0, 0),
        }
    }

    /// Returns the same schedule as others have it.
    pub(super) fn share(&mut self, schedule: Schedule) -> Arc<Schedule> {
        if let Some(known) = self.schedules.get(&schedule) {
            return known.clone();
        }
        let shared = Arc::new(schedule);
        self.schedules.insert(shared.clone());
        shared
    }

    /// A ticket is thrown away.
    pub(super) fn unshare(&mut self, ticket: Ticket) {
        let schedule = ticket.schedule;
        // This one, and the one of the set.
        if Arc::strong_count(&schedule) == 2 {
            self.schedules.remove(&schedule);
        }
    }

    /// Returns how many players wait.
    pub(super) fn waiting(&self) -> usize {
        self.players
    }

    pub(super) fn put(&mut self, ticket: &Ticket, slot: u32) {
        if self.arrival.insert(ticket.seq, slot).is_none() {
            self.players += ticket.size();
        }
        if !self.key.wanted.rules.numbers.is_empty() {
            self.by_number.insert((ticket.first, ticket.seq), slot);
        }
        if self.told_to.1 > 0 && ticket.seq <= self.told_to.0 {
            self.told_to.1 += 1;
        }
    }

    pub(super) fn take(&mut self, ticket: &Ticket) {
        if self.arrival.remove(&ticket.seq).is_some() {
            self.players -= ticket.size();
            if ticket.seq <= self.told_to.0 {
                self.told_to.1 = self.told_to.1.saturating_sub(1);
            }
        }
        self.by_number.remove(&(ticket.first, ticket.seq));
    }

    /// Returns where tickets are who may suit this one: those who came first, and where there is a number those who are nearest,
    /// as far as this one's own tolerance goes.
    pub(super) fn candidates(&self, ticket: &Ticket, now: Instant, count: usize) -> Vec<u32> {
        let others = |(seq, slot): (&u64, &u32)| (*seq != ticket.seq).then_some(*slot);
        let numbers = !self.key.wanted.rules.numbers.is_empty();
        let oldest = if numbers { count / 4 } else { count };
        let mut found: Vec<u32> = self.arrival.iter().filter_map(others).take(oldest).collect();
        if numbers {
            let within = ticket.tolerance(0, now);
            let at = (ticket.first, ticket.seq);
            let away = |value: i32| value.abs_diff(ticket.first);
            let mut below = self.by_number.range(..at).rev().peekable();
            let mut above = self.by_number.range(at..).filter(|(key, _)| **key != at).peekable();
            for _ in 0..count - oldest {
                let next = match (below.peek(), above.peek()) {
                    (Some(((low, _), _)), Some(((high, _), _))) if away(*low) <= away(*high) => below.next(),
                    (Some(_), None) => below.next(),
                    _ => above.next(),
                };
                let Some(((value, _), slot)) = next else { break };
                if within.is_some_and(|within| away(*value) > within) {
                    break;
                }
                found.push(*slot);
            }
            found.sort_unstable();
            found.dedup();
        }
        found
    }
}
