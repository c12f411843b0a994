//! Which of those who suit a player are taken.

use std::time::Instant;

use super::classes::Classes;
use super::teams::fit;
use super::ticket::Ticket;

/// One who can be reached without the relay is taken before one who has waited so many seconds longer.
const DIRECT_WORTH: f64 = 10.0;
/// The same for one whose round trip to this server is as long as the own one. A difference of 100 ms is worth nothing: the
/// way between two players is at least as long as that difference.
const NEAR_WORTH: f64 = 5.0;
/// The same for one whose first number is the own one; one at the edge of the tolerance is worth nothing.
const ALIKE_WORTH: f64 = 5.0;

/// Chooses players who all suit each other, among them those at `slot`, so many in all, who can be put into teams of these sizes
/// with each party in one team: those who are worth most, or else those who are nearest, or where there are parties those who
/// come to the number.
pub(super) fn choose(
    tickets: &[Option<Ticket>],
    classes: &mut Classes,
    (slot, candidates): (u32, &[u32]),
    now: Instant,
    (count, teams): (usize, &[u16]),
) -> Option<Vec<u32>> {
    let at = |slot: u32| tickets.get(slot as usize).and_then(Option::as_ref);
    let own = at(slot)?;
    let suiting: Vec<(u32, &Ticket)> = candidates
        .iter()
        .filter_map(|slot| Some((*slot, at(*slot)?)))
        .filter(|(_, other)| own.size() + other.size() <= count && own.suits(other, now))
        .collect();
    if own.size() + suiting.iter().map(|(_, other)| other.size()).sum::<usize>() < count {
        return None;
    }
    let mut ranked: Vec<(f64, u32, &Ticket)> =
        suiting.iter().map(|(slot, other)| (worth(own, other, classes, now), *slot, *other)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.2.seq.cmp(&other.2.seq)));
    let ranked: Vec<(u32, &Ticket)> = ranked.into_iter().map(|(_, slot, other)| (slot, other)).collect();
    let wanted = Wanted { own: (slot, own), now, count, teams };
    let first = wanted.pick(&ranked);
    let parties = own.size() > 1 || suiting.iter().any(|(_, other)| other.size() > 1);
    first
        .or_else(|| {
            let mut near = suiting;
            near.sort_by_key(|(_, other)| (other.first.abs_diff(own.first), other.seq));
            wanted.pick(&near)
        })
        .or_else(|| parties.then(|| wanted.add_up(&ranked)).flatten())
}

/// This is what is looked for.
struct Wanted<'a> {
    own: (u32, &'a Ticket),
    now: Instant,
    count: usize,
    teams: &'a [u16],
}

impl<'a> Wanted<'a> {
    /// Takes one after the other as they stand, those who suit all who are taken already and for whom there is a place.
    fn pick(&self, others: &[(u32, &'a Ticket)]) -> Option<Vec<u32>> {
        let mut chosen = vec![self.own];
        let mut size = self.own.1.size();
        for one in others {
            if size == self.count {
                break;
            }
            if self.may_add(&chosen, *one) {
                chosen.push(*one);
                size += one.1.size();
            }
        }
        (size == self.count).then(|| chosen.into_iter().map(|(slot, _)| slot).collect())
    }

    /// Finds parties and single players who come to the number: for each number the first ones with whom it is reached, which
    /// is bounded by the number of players times that of the candidates.
    fn add_up(&self, others: &[(u32, &'a Ticket)]) -> Option<Vec<u32>> {
        let mut reached: Vec<Option<Vec<(u32, &Ticket)>>> = vec![None; self.count + 1];
        reached[self.own.1.size()] = Some(vec![self.own]);
        for one in others {
            let size = one.1.size();
            for sum in (size..=self.count).rev() {
                if reached[sum].is_none()
                    && let Some(before) = &reached[sum - size]
                    && self.may_add(before, *one)
                {
                    let mut with = before.clone();
                    with.push(*one);
                    reached[sum] = Some(with);
                }
            }
        }
        let all = reached.pop().flatten()?;
        Some(all.into_iter().map(|(slot, _)| slot).collect())
    }

    /// Returns whether one more suits all who are chosen, and has a place beside them.
    fn may_add(&self, chosen: &[(u32, &'a Ticket)], (_, other): (u32, &'a Ticket)) -> bool {
        let size: usize = chosen.iter().map(|(_, ticket)| ticket.size()).sum();
        // The first one was compared already.
        if size + other.size() > self.count
            || !chosen[1..].iter().all(|(_, chosen)| chosen.suits(other, self.now))
        {
            return false;
        }
        let mut sizes: Vec<usize> = chosen.iter().map(|(_, ticket)| ticket.size()).collect();
        sizes.push(other.size());
        sizes.iter().all(|size| *size == 1) || fit(&sizes, self.teams)
    }
}

/// Returns how much another player is worth to this one, in seconds of waiting; of parties the ways between all count.
pub(super) fn worth(own: &Ticket, other: &Ticket, classes: &mut Classes, now: Instant) -> f64 {
    let mut direct = 0.0;
    for one in own.classes() {
        for its in other.classes() {
            direct += match classes.reach(one, its) {
                0 => 0.0,
                // By a search, which may fail.
                1 => DIRECT_WORTH / 2.0,
                _ => DIRECT_WORTH,
            };
        }
    }
    direct /= (own.size() * other.size()) as f64;
    let near = match (own.rtt_ms, other.rtt_ms) {
        (Some(own), Some(its)) => NEAR_WORTH * (1.0 - f64::from(own.abs_diff(its)) / 100.0).max(0.0),
        _ => 0.0,
    };
    let alike = match own.tolerance(0, now) {
        Some(within) => {
            ALIKE_WORTH
                * (1.0 - f64::from(own.first.abs_diff(other.first)) / f64::from(within.max(1))).max(0.0)
        }
        None => 0.0,
    };
    other.waited(now).as_secs_f64() + direct + near + alike
}
