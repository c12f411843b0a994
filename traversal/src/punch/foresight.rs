//! How far a NAT's counter has gone on meanwhile, and which ports a row of packets then covers (M24's n).
//!
//! A side's counter was seen at port P and will be used again an age T later. Others took about rate x T ports until
//! then, spread as a Poisson variable is. A row of packets covers so many ports from there on; the other side has sent
//! to a few ports, and one of them must be among those. T is what both sides' round trips make it, never a fixed time.

use std::time::Duration;

use crate::ports::{UNKNOWN_RATE, poisson_cdf, poisson_quantile};
use crate::wire::message::Ahead;

/// So sure is n to be that the counter has not passed it by.
const SURE: f64 = 0.995;

/// So sure is the first port of a row to lie before n.
const NOT_YET: f64 = 0.003;

/// This player's other methods may take so many ports meanwhile: a bubble and its two probes.
pub(super) const OWN_NOISE: u32 = 3;

/// These longer ages than expected are foreseen, too: a message that was lost comes a retransmission later.
const LATER: [f64; 4] = [1.1, 1.5, 2.2, 3.5];

/// No counter is foreseen further: a thousand foreign ports a second for the longest attempt.
const FURTHEST: u32 = 16_384;

/// This is the rate of foreign ports a second at a NAT, with how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ForeignRate {
    least: f64,
    likely: f64,
    most: f64,
}

impl ForeignRate {
    /// Takes the rate from a profile: it was measured over about a second, so it is known to within a few, and a third.
    pub(super) fn of_profile(rate: Option<f32>) -> Self {
        let rate = rate.filter(|rate| rate.is_finite()).unwrap_or(UNKNOWN_RATE);
        let likely = f64::from(rate.clamp(0.0, 1e4));
        Self { least: (likely / 1.3 - 3.0).max(0.0), likely, most: likely * 1.3 + 3.0 }
    }

    /// Takes the rate from a count: so many ports in this time. Two standard deviations of a Poisson count either way.
    pub(super) fn counted(ports: u32, time: Duration) -> Self {
        let (ports, seconds) = (f64::from(ports), time.as_secs_f64().max(1e-3));
        let spread = 2.0 * ports.sqrt();
        Self {
            least: (ports - spread).max(0.0) / seconds,
            likely: ports / seconds,
            most: (ports + spread + 2.0) / seconds,
        }
    }

    /// Returns how many ports are taken in this time, at the least and at the most.
    fn passed(self, age: Duration) -> (u32, u32) {
        let mean = |rate: f64| rate * age.as_secs_f64();
        (
            poisson_quantile(mean(self.least), NOT_YET, FURTHEST),
            poisson_quantile(mean(self.most), SURE, FURTHEST),
        )
    }

    /// Returns M24's n for some ages from `age` on, rising, 0 where the next one would be the same. A row covers
    /// `width` ports.
    pub(super) fn ahead(self, age: Duration, width: u32) -> Ahead {
        let mut ahead = Ahead::default();
        let mut next = ahead.iter_mut();
        let mut last = 0;
        for later in LATER {
            let age = age.mul_f64(later);
            let (least, most) = self.passed(age);
            let n = if most - least + 1 + OWN_NOISE <= width {
                most + 1 + OWN_NOISE
            } else {
                // No row covers it all: its middle is the likeliest.
                (self.likely * age.as_secs_f64()) as u32 + width.div_ceil(2)
            };
            if n > last
                && let Some(slot) = next.next()
            {
                *slot = n.min(FURTHEST) as u16;
                last = n;
            }
        }
        ahead
    }

    /// Returns the packets to send in a row `age` after the counter was seen, of which this side has used `own` ports
    /// itself.
    pub(super) fn row(self, age: Duration, own: u32, ahead: &Ahead, width: u32) -> Option<Row> {
        let (least, _) = self.passed(age);
        let best = ahead
            .iter()
            .enumerate()
            .take_while(|(_, n)| **n > 0)
            .filter_map(|(guess, n)| {
                // The row's packets leave by the ports from own + foreign + 1 on.
                let room = u32::from(*n).checked_sub(own.saturating_add(1))?;
                let packets = (room.saturating_sub(least) + 1).min(width);
                let chance = self.chance(age, room, packets);
                Some(Row { guess, packets, chance })
            })
            // The first of the best ones: it needs the fewest packets.
            .reduce(|best, row| if row.chance > best.chance + 1e-3 { row } else { best })?;
        (best.chance > 0.01).then_some(best)
    }

    /// Returns the chance that foreign ports meanwhile were at most `room`, and fewer by less than `packets`; the
    /// rate is mostly the likely one.
    fn chance(self, age: Duration, room: u32, packets: u32) -> f64 {
        let rates = [self.least, self.likely, self.likely, self.most];
        let likelihood = |rate: f64| {
            let mean = rate * age.as_secs_f64();
            let before = room.checked_sub(packets).map_or(0.0, |k| poisson_cdf(mean, k));
            poisson_cdf(mean, room) - before
        };
        rates.map(likelihood).iter().sum::<f64>() / 4.0
    }
}

/// These packets leave in a row, each by a port of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// This says which of the ports that the other side has sent to they are to meet.
    pub(super) guess: usize,
    /// So many packets leave.
    pub(super) packets: u32,
    /// This is how likely one of them leaves by that port.
    pub(super) chance: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: u32 = 96;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn m24_n_is_about_ten_where_nothing_is_known_and_the_round_trips_are_usual() {
        let [n, ..] = ForeignRate::of_profile(None).ahead(ms(150), WIDTH);
        assert!((8..=14).contains(&n), "{n}");
    }

    #[test]
    fn m24_a_row_meets_the_port_whatever_the_round_trips() {
        // Round trips to the server of 20 to 1,200 ms on each side; up to 50 foreign ports a second.
        for age in [40, 200, 500, 1_000, 1_600, 2_400] {
            for rate in [0.0, 10.0, 50.0] {
                let known = ForeignRate::of_profile(Some(rate));
                let ahead = known.ahead(ms(age), WIDTH);
                for late in [1.0, 1.3, 2.0] {
                    let row = known.row(ms(age).mul_f64(late), 0, &ahead, WIDTH).unwrap();
                    assert!(row.packets <= WIDTH);
                    // The rate is what the profile says.
                    let room = u32::from(ahead[row.guess]) - 1;
                    let mean = f64::from(rate) * age as f64 * late / 1e3;
                    let before = room.checked_sub(row.packets).map_or(0.0, |k| poisson_cdf(mean, k));
                    let met = poisson_cdf(mean, room) - before;
                    // Far beyond what was expected the likeliest port may lie between two guesses, one and a half standard
                    // deviations from the edge of either row.
                    let goal = if late > 1.5 { 0.9 } else { 0.95 };
                    assert!(met > goal, "{rate}/s, {age} ms, {late} times: {met} by {row:?} of {ahead:?}");
                }
            }
        }
    }

    #[test]
    fn m24_a_counted_rate_is_narrower_than_a_profiles() {
        let profile = ForeignRate::of_profile(Some(350.0));
        let counted = ForeignRate::counted(700, ms(2_000));
        assert!(counted.most - counted.least < (profile.most - profile.least) / 2.0);
        let age = ms(400);
        let row = counted.row(age, 0, &counted.ahead(age, WIDTH), WIDTH).unwrap();
        assert!(row.chance > 0.95, "{row:?}");
    }

    #[test]
    fn m24_own_ports_since_then_are_counted() {
        let quiet = ForeignRate::of_profile(Some(0.0));
        let ahead = [10, 0, 0, 0];
        let none = quiet.row(ms(100), 0, &ahead, WIDTH).unwrap();
        let nine = quiet.row(ms(100), 9, &ahead, WIDTH).unwrap();
        assert_eq!((none.packets, nine.packets), (10, 1));
        assert_eq!(quiet.row(ms(100), 10, &ahead, WIDTH), None, "passed by");
    }

    #[test]
    fn nonsense_is_bounded() {
        for rate in [f32::NAN, f32::INFINITY, -5.0, 1e30] {
            let known = ForeignRate::of_profile(Some(rate));
            for age in [Duration::ZERO, Duration::from_secs(3_600)] {
                let ahead = known.ahead(age, 1);
                assert!(ahead.iter().all(|n| u32::from(*n) <= FURTHEST));
                let _ = known.row(age, u32::MAX - 1, &ahead, 0);
                let _ = known.row(age, 0, &[u16::MAX; 4], WIDTH);
            }
        }
    }
}
