//! How fast other machines behind the same NAT take ports, told from how far its counter went between bursts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PORT_SPACE;
use super::allocation::FreshMapping;
use super::counter::forward;

/// Bursts over a shorter time tell nothing, for 5 ports a second are one port then, unless they tell of many ports:
/// 30 are known to within a fifth (the deviation of a Poisson count).
const SHORTEST: Duration = Duration::from_millis(200);
const MANY: f64 = 30.0;
/// No NAT's address gives out more ports a second for long (its 64,512 ports would be gone in 13 s, less than any
/// timeout): a counter that seems to has started again at an end that is not known.
const BUSIEST: f64 = 5_000.0;

/// This is the step from the last port of one burst to the first port of the next.
#[derive(Clone, Copy, Debug)]
struct Leg {
    time: Duration,
    way: u32,
    own: u32,
}

/// Returns how many ports a second other machines behind the same NAT took between the bursts. `None` if the bursts
/// lie too near to each other in time to tell, or there is no `step`. A counter may have gone round meanwhile: how
/// often follows from the rate over shorter times.
pub fn foreign_rate(mappings: &[FreshMapping], step: i32) -> Option<f32> {
    if step == 0 {
        return None;
    }
    let (size, up) = (step.unsigned_abs(), step > 0);
    let (mut taken, mut time) = (0.0, 0.0);
    for leg in legs(mappings, up) {
        let seconds = leg.time.as_secs_f64();
        let mut way = f64::from(leg.way);
        if time > 0.0 {
            let expected = taken / time * seconds * f64::from(size);
            let turns = ((expected - way) / f64::from(PORT_SPACE)).round().max(0.0);
            way += turns * f64::from(PORT_SPACE);
        }
        let foreign = (way / f64::from(size) - 1.0 - f64::from(leg.own)).max(0.0);
        // A step or two of slack, for times of some milliseconds.
        if foreign <= BUSIEST * seconds + 8.0 {
            taken += foreign;
            time += seconds;
        }
    }
    (time >= SHORTEST.as_secs_f64() || (time > 0.0 && taken >= MANY)).then(|| (taken / time) as f32)
}

/// Gives the steps between successive bursts of the address with the most ports, the shortest time first.
fn legs(mappings: &[FreshMapping], up: bool) -> Vec<Leg> {
    let mut addresses = BTreeMap::new();
    for mapping in mappings {
        *addresses.entry(mapping.address).or_insert(0u32) += 1;
    }
    let Some((address, _)) = addresses.into_iter().max_by_key(|(_, count)| *count) else { return Vec::new() };
    let here: Vec<&FreshMapping> = mappings.iter().filter(|m| m.address == address).collect();
    let mut bursts: BTreeMap<u8, Vec<&FreshMapping>> = BTreeMap::new();
    // The moment of a repeated one's port is not known; its port is an own one all the same.
    for mapping in here.iter().filter(|mapping| !mapping.repeated) {
        bursts.entry(mapping.burst).or_default().push(mapping);
    }
    let way = |from: u16, to: u16| if up { forward(from, to) } else { forward(to, from) };
    // By the shorter way round from the burst's first port: overtaken ones lie a little behind.
    let place = |first: u16, port: u16| {
        let on = way(first, port);
        if on > PORT_SPACE / 2 { i64::from(on) - i64::from(PORT_SPACE) } else { i64::from(on) }
    };
    let bursts: Vec<Vec<&FreshMapping>> = bursts.into_values().collect();
    let leg = |pair: &[Vec<&FreshMapping>]| {
        let ends = |burst: &[&FreshMapping]| {
            let first = burst.first()?.external;
            let ports = || burst.iter().map(|mapping| mapping.external);
            let low = ports().min_by_key(|port| place(first, *port))?;
            let high = ports().max_by_key(|port| place(first, *port))?;
            Some((burst.iter().map(|mapping| mapping.sent).min()?, low, high))
        };
        let ((sent, _, from), (later, to, _)) = (ends(&pair[0])?, ends(&pair[1])?);
        let length = way(from, to);
        let between = |m: &&&FreshMapping| {
            let on = way(from, m.external);
            on > 0 && on < length
        };
        let own = here.iter().filter(between).count() as u32;
        Some(Leg { time: later.saturating_sub(sent), way: length, own })
    };
    let mut legs: Vec<Leg> = bursts.windows(2).filter_map(leg).collect();
    legs.sort_by_key(|leg| leg.time);
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(burst: u8, ms: u64, external: u16) -> FreshMapping {
        FreshMapping {
            sent: Duration::from_millis(ms),
            burst,
            order: 0,
            local: 1,
            external,
            address: [203, 0, 113, 1].into(),
            repeated: false,
        }
    }

    #[test]
    fn m24_foreign_rate_leaves_out_the_own_ports() {
        // Five own ports and 20 foreign ones over one second, step 2.
        let mappings =
            [at(0, 0, 3_000), at(0, 0, 3_002), at(1, 300, 3_020), at(2, 600, 3_030), at(3, 1_000, 3_048)];
        let rate = foreign_rate(&mappings, 2).unwrap();
        assert!((rate - 20.0).abs() < 0.01, "{rate}");
        assert_eq!(foreign_rate(&mappings[..2], 2), None, "no time went by");
        // A port made at the start, but seen late, does not hide what others took; it is an own one still.
        let late = FreshMapping { repeated: true, ..at(0, 1_200, 3_004) };
        let with_late = [&mappings[..], &[late]].concat();
        let rate = foreign_rate(&with_late, 2).unwrap();
        assert!((rate - 19.0).abs() < 0.01, "{rate}");
        assert_eq!(foreign_rate(&[], 1), None);
        assert_eq!(foreign_rate(&mappings, 0), None);
    }

    #[test]
    fn m24_a_short_time_says_a_rate_only_if_much_happened_in_it() {
        // 50 ms are too short to count five ports in; forty say something.
        assert_eq!(foreign_rate(&[at(0, 0, 3_000), at(1, 50, 3_006)], 1), None);
        let rate = foreign_rate(&[at(0, 0, 3_000), at(1, 50, 3_041)], 1).unwrap();
        assert!((rate - 800.0).abs() < 0.01, "{rate}");
        assert_eq!(foreign_rate(&[at(0, 0, 3_000), at(1, 0, 3_041)], 1), None, "no time went by");
    }

    #[test]
    fn m24_a_counter_that_went_round_is_followed_from_the_short_times_to_the_long_ones() {
        for step in [64i64, -64, 1] {
            let port = |foreign: i64| crate::ports::advance(60_000, foreign * step);
            // 900 a second; 0.9 s are 51,840 ports at a step of 64, 1.2 s more than the whole space.
            let mappings = [
                at(0, 0, port(0)),
                at(1, 1_200, port(1_081)),
                at(2, 1_260, port(1_081 + 55)),
                at(3, 2_160, port(1_081 + 55 + 811)),
            ];
            let rate = foreign_rate(&mappings, step as i32).unwrap();
            assert!((rate - 900.0).abs() < 1.0, "step {step}: {rate}");
        }
    }
}
