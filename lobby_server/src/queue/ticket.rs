//! One player who waits: its numbers, and how its tolerance widens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::QuickRules;

use super::classes::Classes;
use crate::host_choice::HostCandidate;

/// A player with rules, whose tolerance does not widen any more, is looked at again so often: for a match of three and more
/// another choice of players may have become possible.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// This is how the tolerance of a player widens. Many players have the same, and share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Schedule {
    numbers: Vec<Widening>,
    /// These texts count for so many seconds: name, text, seconds.
    texts: Vec<(String, String, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Widening {
    within: Vec<u32>,
    every_s: u16,
    then_any: bool,
}

impl Widening {
    /// Returns how far others may be away after such a wait; none: as far as they like.
    fn tolerance(&self, waited: Duration) -> Option<u32> {
        let step = usize::try_from(waited.as_secs() / u64::from(self.every_s.max(1))).unwrap_or(usize::MAX);
        match self.within.get(step) {
            Some(within) => Some(*within),
            None if self.then_any => None,
            None => self.within.last().copied(),
        }
    }

    /// Returns after which wait the tolerance widens next.
    fn next(&self, waited: Duration) -> Option<Duration> {
        let every = u64::from(self.every_s.max(1));
        let step = waited.as_secs() / every + 1;
        let last = self.within.len() as u64 - u64::from(!self.then_any);
        (step <= last).then(|| Duration::from_secs(step * every))
    }
}

impl Schedule {
    pub(super) fn of(rules: &QuickRules) -> Self {
        let numbers = rules.numbers.iter().map(|number| Widening {
            within: number.within.clone(),
            every_s: number.every_s,
            then_any: number.then_any,
        });
        let texts = rules
            .texts
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), text.value.clone(), text.for_s?)));
        Self { numbers: numbers.collect(), texts: texts.collect() }
    }

    /// Returns whether the texts of this one that still count are those of the other one.
    fn texts_suit(&self, waited: Duration, other: &Self) -> bool {
        self.texts.iter().all(|(name, text, for_s)| {
            waited.as_secs() >= u64::from(*for_s)
                || other.texts.iter().any(|(its_name, its_text, _)| its_name == name && its_text == text)
        })
    }
}

/// This is a player who comes to wait.
#[derive(Clone, Debug)]
pub(crate) struct Comer {
    pub(crate) player: PlayerId,
    pub(crate) from: IpAddr,
    pub(crate) nat: HostCandidate,
    /// These are its numbers, in the order of the rules.
    pub(crate) numbers: Vec<i32>,
}

/// These players wait as one: one player, or all of a party.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) first: Comer,
    pub(crate) mates: Vec<Comer>,
}

impl Unit {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Comer> {
        [&self.first].into_iter().chain(&self.mates)
    }
}

/// This is a player of a party who waits with the one whose ticket it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mate {
    pub(super) player: PlayerId,
    pub(super) from: IpAddr,
    class: u16,
    /// This is its own first number.
    first: i32,
}

/// This is what a player stands in line with, or a party.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) player: PlayerId,
    /// These wait as one with the player.
    pub(super) mates: Box<[Mate]>,
    /// This is the player's own first number; `first` and `more` are the means of all.
    own: i32,
    /// It stands in this line.
    pub(super) line: u32,
    /// It came as this one of all.
    pub(super) seq: u64,
    /// It waits since then.
    pub(super) since: Instant,
    /// It is among those who are due to be looked at, at this time.
    pub(super) due: Option<Instant>,
    pub(super) from: IpAddr,
    /// Its NAT is of this class.
    class: u16,
    /// This is its round trip to this server, in milliseconds; none: it was not measured.
    pub(super) rtt_ms: Option<u16>,
    pub(super) first: i32,
    pub(super) more: Box<[i32]>,
    pub(super) schedule: Arc<Schedule>,
}

impl Ticket {
    /// Makes the ticket of players who wait as one, for a line and with a number of arrival. Their numbers are the means of all,
    /// and so is their round trip.
    pub(super) fn new(now: Instant, unit: &Unit, (line, seq): (u32, u64), classes: &mut Classes) -> Self {
        let Unit { first: Comer { player, from, nat, numbers }, mates } = unit;
        let all = 1 + mates.len() as i64;
        let mean = |index: usize, own: i32| {
            let others = mates.iter().map(|mate| i64::from(mate.numbers.get(index).copied().unwrap_or(own)));
            i32::try_from((i64::from(own) + others.sum::<i64>()).div_euclid(all)).unwrap_or(own)
        };
        let mut means = numbers.iter().enumerate().map(|(index, own)| mean(index, *own));
        let own = numbers.first().copied().unwrap_or(0);
        let rtts: Vec<u128> = unit.all().filter_map(|comer| Some(comer.nat.rtt?.as_millis())).collect();
        let rtt = rtts.iter().sum::<u128>().checked_div(rtts.len() as u128);
        let mut mate = |comer: &Comer| Mate {
            player: comer.player,
            from: comer.from,
            class: classes.of(&comer.nat),
            first: comer.numbers.first().copied().unwrap_or(own),
        };
        let mates = mates.iter().map(&mut mate).collect();
        Self {
            player: *player,
            mates,
            own,
            line,
            seq,
            since: now,
            due: None,
            from: *from,
            class: classes.of(nat),
            rtt_ms: rtt.map(|rtt| u16::try_from(rtt).unwrap_or(u16::MAX)),
            first: means.next().unwrap_or(0),
            more: means.collect(),
            schedule: Arc::default(),
        }
    }

    /// Gives it the schedule by which its tolerance widens.
    pub(super) fn with(self, schedule: Arc<Schedule>) -> Self {
        Self { schedule, ..self }
    }

    /// Returns how many players wait with it.
    pub(super) fn size(&self) -> usize {
        1 + self.mates.len()
    }

    /// Gives the players who wait with it, who came first the first one.
    pub(super) fn players(&self) -> impl Iterator<Item = PlayerId> + '_ {
        [self.player].into_iter().chain(self.mates.iter().map(|mate| mate.player))
    }

    /// Gives the first number of each of them.
    pub(super) fn firsts(&self) -> impl Iterator<Item = i32> + '_ {
        [self.own].into_iter().chain(self.mates.iter().map(|mate| mate.first))
    }

    /// Gives the kind of NAT of each of them.
    pub(super) fn classes(&self) -> impl Iterator<Item = u16> + '_ {
        [self.class].into_iter().chain(self.mates.iter().map(|mate| mate.class))
    }

    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Returns how far others may be away in this number now; none: as far as they like.
    pub(super) fn tolerance(&self, number: usize, now: Instant) -> Option<u32> {
        self.schedule.numbers.get(number).and_then(|widening| widening.tolerance(self.waited(now)))
    }

    /// Returns whether what this one tolerates now is kept by the other one.
    fn takes(&self, other: &Self, now: Instant) -> bool {
        let values = |ticket: &Self| [ticket.first].into_iter().chain(ticket.more.to_vec());
        let near = |(index, (own, its)): (usize, (i32, i32))| {
            self.tolerance(index, now).is_none_or(|within| own.abs_diff(its) <= within)
        };
        let first = near((0, (self.first, other.first)));
        first
            && (self.more.is_empty() || values(self).zip(values(other)).enumerate().all(near))
            && self.schedule.texts_suit(self.waited(now), &other.schedule)
    }

    /// Returns whether the two take each other.
    pub(super) fn suits(&self, other: &Self, now: Instant) -> bool {
        self.takes(other, now) && other.takes(self, now)
    }

    /// Returns when it has to be looked at again.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let waited = self.waited(now);
        let numbers = self.schedule.numbers.iter().filter_map(|widening| widening.next(waited));
        let texts = self.schedule.texts.iter().map(|(_, _, for_s)| Duration::from_secs((*for_s).into()));
        let next = numbers.chain(texts.filter(|at| *at > waited)).min();
        let has_rules = !(self.schedule.numbers.is_empty() && self.schedule.texts.is_empty());
        next.map(|wait| self.since + wait).or(has_rules.then(|| now + LOOK_AGAIN))
    }
}
