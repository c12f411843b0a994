//! Which of those who suit a player are taken.

use std::time::Instant;

use super::classes::Classes;
use super::ticket::Ticket;

/// One who can be reached without the relay is taken before one who has waited so many seconds longer.
const DIRECT_WORTH: f64 = 10.0;
/// The same for one whose round trip to this server is as long as the own one. A difference of 100 ms is worth nothing: the
/// way between two players is at least as long as that difference.
const NEAR_WORTH: f64 = 5.0;
/// The same for one whose first number is the own one; one at the edge of the tolerance is worth nothing.
const ALIKE_WORTH: f64 = 5.0;

/// Chooses players who all suit each other, among them the one at `slot`: those who are worth most, or else those who are
/// nearest.
pub(super) fn choose(
    tickets: &[Option<Ticket>],
    classes: &mut Classes,
    (slot, candidates): (u32, &[u32]),
    now: Instant,
    count: usize,
) -> Option<Vec<u32>> {
    let at = |slot: u32| tickets.get(slot as usize).and_then(Option::as_ref);
    let own = at(slot)?;
    let suiting: Vec<(u32, &Ticket)> = candidates
        .iter()
        .filter_map(|slot| Some((*slot, at(*slot)?)))
        .filter(|(_, other)| own.suits(other, now))
        .collect();
    if suiting.len() + 1 < count {
        return None;
    }
    let mut ranked: Vec<(f64, u32, &Ticket)> =
        suiting.iter().map(|(slot, other)| (worth(own, other, classes, now), *slot, *other)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.2.seq.cmp(&other.2.seq)));
    let first = pick((slot, own), ranked.iter().map(|(_, slot, other)| (*slot, *other)), now, count);
    first.or_else(|| {
        let mut near = suiting;
        near.sort_by_key(|(_, other)| (other.first.abs_diff(own.first), other.seq));
        pick((slot, own), near.into_iter(), now, count)
    })
}

fn pick<'a>(
    own: (u32, &'a Ticket),
    others: impl Iterator<Item = (u32, &'a Ticket)>,
    now: Instant,
    count: usize,
) -> Option<Vec<u32>> {
    let mut chosen = vec![own];
    for (slot, other) in others {
        if chosen.len() == count {
            break;
        }
        // The first one was compared already.
        if chosen[1..].iter().all(|(_, chosen)| chosen.suits(other, now)) {
            chosen.push((slot, other));
        }
    }
    (chosen.len() == count).then(|| chosen.into_iter().map(|(slot, _)| slot).collect())
}

/// Returns how much another player is worth to this one, in seconds of waiting.
fn worth(own: &Ticket, other: &Ticket, classes: &mut Classes, now: Instant) -> f64 {
    let direct = match classes.reach(own.class, other.class) {
        0 => 0.0,
        // By a search, which may fail.
        1 => DIRECT_WORTH / 2.0,
        _ => DIRECT_WORTH,
    };
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
