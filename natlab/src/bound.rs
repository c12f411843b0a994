//! How often two players can meet at best, where the network leaves something to chance: derived from the NATs' settings,
//! the round trip and what a player may send, never from what the product does.
//!
//! # Ports predicted on both sides (M24)
//! Both NATs count, and both filters want the exact port. A sends from fresh ports to one port `q` of B, B to one port `p`
//! of A; they meet when one of A's packets leaves by `p` and one of B's by `q`. A, that sends `R` packets a second among
//! `a` foreign allocations, gets the share `f = R / (R + a)` of the ports that its counter passes. Where the counter stands
//! is known as it was a round trip `D` ago, so it is off by `s = sqrt(a D)` (Poisson). A window of `W` seconds moves the
//! counter by `(R + a) W`, and holds the aimed port with the probability `erf((R + a) W / (2 s sqrt 2))`. One window succeeds
//! with the product of both over A and B, and there are `T / W` of them:
//!
//! ```text
//! P = 1 - (1 - fA eA(W) fB eB(W)) ^ (T / W), for the best W from 1 / R on
//! ```
//!
//! Several targets at a time change nothing: each has its part of the packets. Steps drop out, since they are known.
//!
//! # A search among random ports
//! `h` open ports on one side and `m` probes on the other meet among `N` ports with `1 - (1 - h / N) ^ m`. The ports are
//! open towards the other side's only port, or behind a filter that looks at no port.

use std::time::Duration;

use crate::nat::{Allocation, Filtering, NatConfig};
use crate::oracle::{Effective, Outlook, Relation, outlook};

/// What a player may send in an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// It sends at most this many datagrams in any second.
    pub per_second: u32,
    /// It sends at most this many datagrams in the whole attempt.
    pub in_all: u32,
    /// Its datagrams go to at most this many addresses and ports.
    pub targets: u32,
    /// It has at most this many sockets open at a time.
    pub sockets: u32,
    /// How long the attempt may take.
    pub time: Duration,
}

/// Returns how often these two meet at best; none where nothing is left to chance, or nothing can be done.
pub fn share(left: &[NatConfig], right: &[NatConfig], round_trip: Duration, means: Means) -> Option<f64> {
    let (a, b) = (Effective::of(left), Effective::of(right));
    // The request, its plan and the last confirmation take two.
    let time = means.time.saturating_sub(2 * round_trip).as_secs_f64();
    let rate = f64::from(means.per_second.max(1));
    let strict = |side: &Effective| side.filtering == Filtering::AddressAndPortDependent;
    if !a.is_fixed() && !b.is_fixed() && a.predictable && b.predictable && strict(&a) && strict(&b) {
        if a.scattered || b.scattered {
            return None;
        }
        let time = time.min(f64::from(means.in_all) / rate);
        let foreign = [left, right].map(counter_traffic);
        return Some(predicted(foreign, round_trip.as_secs_f64(), rate, time));
    }
    if outlook(left, right, Relation::Apart) != Outlook::Search || a.scattered || b.scattered {
        return None;
    }
    // One side opens random ports, the other one tries.
    let random = |own: &Effective, other: &Effective, chain| {
        (!own.is_fixed() && !own.predictable && own.collects_for(other)).then(|| random_ports(chain))
    };
    let ports = [random(&a, &b, left), random(&b, &a, right)].into_iter().flatten().reduce(f64::min)?;
    let probes = (rate * time).min(f64::from(means.targets));
    let open = f64::from(means.sockets).min(ports);
    Some(1.0 - (1.0 - open / ports).powf(probes))
}

/// Returns how many ports per second other machines take at this side's counter; 0 where it has no counter.
pub fn counter_traffic(chain: &[NatConfig]) -> f64 {
    let counters =
        chain.iter().filter(|nat| nat.translates() && matches!(nat.allocation, Allocation::Sequential(_)));
    counters.map(|nat| nat.cross).fold(0.0, f64::max)
}

/// Returns the number of ports among which the outermost random NAT chooses.
fn random_ports(chain: &[NatConfig]) -> f64 {
    let random =
        chain.iter().rev().find(|nat| nat.translates()).map_or(64_512.0, |nat| match nat.allocation {
            Allocation::RandomInBlock(size) => f64::from(size),
            _ => f64::from(*nat.port_range.end()) - f64::from(*nat.port_range.start()) + 1.0,
        });
    random.max(1.0)
}

fn predicted(foreign: [f64; 2], round_trip: f64, rate: f64, time: f64) -> f64 {
    if time <= 0.0 {
        return 0.0;
    }
    let once = |window: f64| -> f64 {
        foreign
            .iter()
            .map(|foreign| {
                let off = (foreign * round_trip).sqrt();
                let reach = (rate + foreign) * window / 2.0;
                let held = if off > 0.0 { erf(reach / (off * std::f64::consts::SQRT_2)) } else { 1.0 };
                held * rate / (rate + foreign)
            })
            .product()
    };
    // From one packet to all of the time, in steps of 5 %: the maximum is flat.
    let mut window: f64 = 1.0 / rate;
    let mut best: f64 = 0.0;
    while window <= time {
        best = best.max(1.0 - (1.0 - once(window)).powf(time / window));
        window *= 1.05;
    }
    best
}

/// Approximates the error function (Abramowitz and Stegun 7.1.26) to within 1.5e-7 for `x >= 0`.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    1.0 - poly * (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::nat::NatSpec;

    const MEANS: Means =
        Means { per_second: 200, in_all: 2400, targets: 1200, sockets: 256, time: Duration::from_secs(10) };

    fn bound(left: &str, right: &str, round_trip_ms: u64) -> Option<f64> {
        let [left, right] = [left, right].map(|spec| spec.parse::<NatSpec>().unwrap().chain);
        share(&left, &right, Duration::from_millis(round_trip_ms), MEANS)
    }

    #[test]
    fn known_values() {
        assert!(
            (erf(0.5) - 0.520_500).abs() < 1e-6
                && (erf(1.0) - 0.842_701).abs() < 1e-6
                && erf(0.0).abs() < 1e-6
        );
        // 1 - (1 - 256 / 64,512)^1200.
        assert!((bound("psrandom", "portrestricted", 50).unwrap() - 0.991_5).abs() < 1e-3);
        assert!(bound("psrandom", "firewall", 50).is_some(), "its own port is as fixed");
        for nothing in ["none", "restricted", "as", "ps", "psrandom"] {
            assert_eq!(bound("psrandom", nothing, 50), None, "{nothing}");
        }
        let behind_a_filter_of_addresses = bound("as,ports=random", "ps", 50).unwrap();
        assert!((behind_a_filter_of_addresses - 0.991_5).abs() < 1e-3);
        assert!(bound("as,ports=block:1024", "ps", 50).unwrap() > 0.999_999, "a small block");
        assert_eq!(bound("ps", "portrestricted", 50), None, "a bracket leaves nothing to chance");
        assert!(bound("ps", "ps", 100).unwrap() > 0.999_999);
        let rates = [100, 300, 1000].map(|rate| {
            let side = format!("ps,cross={rate}");
            bound(&side, &side, 600).unwrap()
        });
        assert!(rates[0] > rates[1] && rates[1] > rates[2], "{rates:?}");
        assert!(rates[1] > 0.99 && (0.8..0.99).contains(&rates[2]), "{rates:?}");
        let preserving = bound("ps,ports=preserving,cross=1000", "ps,cross=1000", 600).unwrap();
        assert!(preserving > rates[2], "one side's port is known: {preserving}");
    }

    /// Plays the counters out, with the best window for each: the formula is what comes out, and no more.
    #[test]
    fn the_formula_is_what_counters_do() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (rate, time, round_trip) = (200.0, 10.0, 1.0);
        for foreign in [600.0, 1000.0] {
            let mut most: f64 = 0.0;
            for window in [0.02, 0.05, 0.08, 0.12, 0.2] {
                let tries = 400;
                let met = (0..tries).filter(|_| {
                    (0..(time / window) as u32)
                        .any(|_| (0..2).all(|_| hit(&mut rng, foreign, rate, window, round_trip)))
                });
                most = most.max(met.count() as f64 / f64::from(tries));
            }
            let bound = predicted([foreign, foreign], round_trip, rate, time);
            // 400 tries: two standard deviations are 5 %.
            assert!((most - bound).abs() < 0.06, "{foreign}: {most} of {bound}");
        }
    }

    /// Draws whether one side's part of a window succeeds: a port is aimed at in its middle, and one of the packets
    /// leaves by it.
    fn hit(rng: &mut ChaCha8Rng, foreign: f64, rate: f64, window: f64, round_trip: f64) -> bool {
        // How far the counter is from where it was expected: near enough to a normal one at these rates.
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let off = normal * (foreign * round_trip).sqrt();
        let passed = (rate + foreign) * window;
        off.abs() <= passed / 2.0 && rng.random_bool(rate / (rate + foreign))
    }
}
