//! M24 and its relatives: ports that a NAT will use next, and how many to try.

use std::time::Duration;

use super::{PORT_SPACE, advance};

/// This many foreign ports a second are assumed while the rate is not measured: M24's n comes to about 10 with it.
pub const UNKNOWN_RATE: f32 = 15.0;

/// Returns the probability that a Poisson variable of this `mean` is at most `k`.
pub fn poisson_cdf(mean: f64, k: u32) -> f64 {
    if mean <= 0.0 {
        return 1.0;
    }
    // Terms in logarithms, so that large means do not underflow to 0.
    let (mut log_term, mut sum) = (-mean, (-mean).exp());
    for i in 1..=k {
        log_term += mean.ln() - f64::from(i).ln();
        sum += log_term.exp();
    }
    sum.min(1.0)
}

/// Returns the smallest k that a Poisson variable of this `mean` is at most, with this `probability`; at most
/// `limit`.
pub fn poisson_quantile(mean: f64, probability: f64, limit: u32) -> u32 {
    if mean <= 0.0 || !mean.is_finite() {
        return if mean.is_finite() || mean < 0.0 { 0 } else { limit };
    }
    let (mut log_term, mut sum) = (-mean, (-mean).exp());
    for k in 0..limit {
        if sum >= probability {
            return k;
        }
        log_term += mean.ln() - f64::from(k + 1).ln();
        sum += log_term.exp();
    }
    limit
}

/// Returns how many successive ports must be tried so that the NAT's next one is among them with `probability`, when
/// it was last seen `age` ago and other machines take `rate` ports a second (M24's n). At least 1, at most `limit`.
pub fn prediction_width(rate: f64, age: Duration, probability: f64, limit: u32) -> u32 {
    let taken = poisson_quantile(rate.max(0.0) * age.as_secs_f64(), probability, limit);
    (taken + 1).min(limit).max(1)
}

/// Returns the ports that follow `newest`: `newest + step`, `newest + 2 step`, ... (M24 with a measured step). (M24
/// with a measured step).
pub fn predicted_ports(newest: u16, step: i32, count: u32) -> impl Iterator<Item = u16> + Clone {
    (1..=i64::from(count)).map(move |i| advance(newest, i * i64::from(step)))
}

/// Returns the port of the other side to aim at with packet `i` (from 0), after its port `newest` was seen:
/// baby-step/giant-step. One side strides 1, the other 2; with eA and eB foreign ports meanwhile they meet at packet
/// `eA + 2 eB` of the side that strides 1.
pub fn giant_step_port(newest: u16, step: i32, stride: u32, i: u32) -> u16 {
    advance(newest, i64::from(step) * (1 + i64::from(stride) * i64::from(i)))
}

/// Returns the chance that at least one of `probes` different ports is among `open` ports chosen at random out of
/// `space`.
pub fn birthday_chance(space: u32, open: u32, probes: u32) -> f64 {
    if open.saturating_add(probes) > space {
        return if open > 0 && probes > 0 { 1.0 } else { 0.0 };
    }
    let log_miss: f64 = (0..probes).map(|i| (-f64::from(open) / f64::from(space - i)).ln_1p()).sum();
    1.0 - log_miss.exp()
}

/// Returns how many probes `probability` needs; `None` if `limit` is not enough.
pub fn birthday_probes(space: u32, open: u32, probability: f64, limit: u32) -> Option<u32> {
    let wanted = (1.0 - probability).ln();
    let mut log_miss = 0.0;
    for probes in 0..=limit {
        if log_miss <= wanted {
            return Some(probes);
        }
        if open + probes >= space {
            return Some(probes + 1).filter(|p| *p <= limit);
        }
        log_miss += (-f64::from(open) / f64::from(space - probes)).ln_1p();
    }
    None
}

/// This says how many sockets and probes a search by chance takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Birthday {
    /// The random side opens this many sockets.
    pub sockets: u32,
    /// The other side tries this many ports.
    pub probes: u32,
    /// This is the chance that one of these ports is hit, 0 to 1.
    pub chance: f64,
}

/// Chooses the numbers for random ports out of `block` ports (the whole space, if not given), inside the caps: as many
/// sockets as allowed but at most a quarter of the block (a CGN's quota is the block), then as many probes as bring
/// 99.9 %, or as allowed.
pub fn birthday(block: Option<u32>, max_sockets: u32, max_probes: u32) -> Birthday {
    let space = block.unwrap_or(PORT_SPACE).clamp(1, PORT_SPACE);
    let sockets = match block {
        Some(size) => max_sockets.min((size / 4).max(1)),
        None => max_sockets,
    };
    let limit = max_probes.min(space);
    let probes = birthday_probes(space, sockets, 0.999, limit).unwrap_or(limit);
    Birthday { sockets, probes, chance: birthday_chance(space, sockets, probes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, wanted: f64) {
        assert!((value - wanted).abs() < 0.002, "{value} is not {wanted}");
    }

    #[test]
    fn m24_poisson_numbers() {
        // 10 foreign ports a second, seen 100 ms ago, 5 ports tried; 50 a second with 20.
        close(poisson_cdf(1.0, 4), 0.9963);
        assert!(poisson_cdf(5.0, 19) > 0.9999);
        close(poisson_cdf(0.0, 0), 1.0);
        assert_eq!(poisson_quantile(1.0, 0.996, 100), 4);
        // Bracket spread of 1 ms: candidates = 1 + Poisson.
        assert_eq!(1 + poisson_quantile(0.1, 0.99, 100), 2);
        assert_eq!(1 + poisson_quantile(1.0, 0.99, 100), 5);
        assert_eq!(poisson_quantile(1e9, 0.99, 64), 64);
        assert_eq!(poisson_quantile(f64::INFINITY, 0.99, 64), 64);
        assert_eq!(poisson_quantile(f64::NAN, 0.99, 64), 64);
    }

    #[test]
    fn m24_width_follows_rate_and_age() {
        let ms = Duration::from_millis;
        assert_eq!(prediction_width(0.0, ms(500), 0.99, 64), 1);
        assert_eq!(prediction_width(10.0, ms(100), 0.996, 64), 5);
        assert!(prediction_width(50.0, ms(600), 0.99, 64) > 40);
        assert_eq!(prediction_width(1e6, ms(600), 0.99, 64), 64);
        assert_eq!(prediction_width(-1.0, ms(600), 0.99, 64), 1);
    }

    #[test]
    fn m24_ports_follow_the_measured_step() {
        assert_eq!(predicted_ports(20_000, 3, 3).collect::<Vec<_>>(), [20_003, 20_006, 20_009]);
        assert_eq!(predicted_ports(1_025, -2, 2).collect::<Vec<_>>(), [65_535, 65_533]);
    }

    #[test]
    fn giant_steps_meet_where_the_formula_says() {
        let (p, q, sa, sb) = (20_000u16, 40_000u16, 1i32, -2i32);
        for ea in 0..6u32 {
            for eb in 0..6u32 {
                let (i, j) = (ea + 2 * eb, ea + eb);
                let source_a = advance(p, i64::from(sa) * i64::from(1 + ea + i));
                let source_b = advance(q, i64::from(sb) * i64::from(1 + eb + j));
                assert_eq!(giant_step_port(q, sb, 1, i), source_b, "A aims where B sends from");
                assert_eq!(giant_step_port(p, sa, 2, j), source_a, "B aims where A sends from");
            }
        }
    }

    #[test]
    fn birthday_numbers_are_those_of_the_formula() {
        for (probes, chance) in [(175, 0.5), (577, 0.9), (977, 0.98), (1_148, 0.99), (1_715, 0.999)] {
            close(birthday_chance(64_512, 256, probes), chance);
            let needed = birthday_probes(64_512, 256, chance, 10_000).unwrap();
            assert!(needed.abs_diff(probes) <= 3, "{needed} for {chance}");
        }
        let needed = birthday_probes(4_032, 64, 0.98, 10_000).unwrap();
        assert!(needed.abs_diff(238) <= 1, "{needed}");
        assert_eq!(birthday_probes(64_512, 256, 0.999, 1_200), None);
        close(birthday_chance(100, 60, 60), 1.0);
    }

    #[test]
    fn birthday_stays_inside_the_caps() {
        let whole = birthday(None, 256, 1_200);
        assert_eq!((whole.sockets, whole.probes), (256, 1_200));
        assert!(whole.chance > 0.99);
        let block = birthday(Some(100), 256, 1_200);
        assert_eq!(block.sockets, 25);
        assert!(block.probes <= 100 && block.chance >= 0.999);
        assert!(birthday(Some(4_032), 256, 1_200).chance >= 0.999);
    }
}
