//! What theory allows two players whose NATs count their ports up for each destination (PS-PS, M24), whatever program
//! they use, as long as it keeps to a rate.

use std::time::Duration;

use traversal_core::AgentConfig;

use crate::nat::{Allocation, Filtering, Mapping, NatConfig};
use crate::oracle::{Effective, Relation};

/// The most that any program can hope for: the share of attempts in which two counting NATs meet before the deadline.
///
/// One side's port is told at the moment of its use, so its traffic does not count. The other side's must be foretold
/// over `answer`, a round trip to the server on each side: the server must tell the first side where that counter was
/// seen, and the second side must hear what came of it. Meanwhile others take a Poisson number of ports there with the
/// mean `rate x answer`; the quieter NAT is the better one to foretell. A row of packets covers as many successive ports
/// as it has packets, so a try succeeds with the weight of the best window of that width. Tries follow each other, each
/// as long as the answer takes and with the packets that the rate allows for that time, at most a second's at once.
/// That the rate is known exactly and nothing is lost makes this a bound.
pub fn share(rates: [f64; 2], answer: Duration, deadline: Duration, packets_per_second: u32) -> f64 {
    let (answer, deadline) = (answer.as_secs_f64().max(1e-3), deadline.as_secs_f64());
    let tries = (deadline / answer).floor().clamp(1.0, 1e4);
    let packets = f64::from(packets_per_second) * answer.min(1.0);
    let chance = widest_window(rates[0].min(rates[1]) * answer, packets.max(1.0) as usize);
    1.0 - (1.0 - chance).powf(tries)
}

/// [`share`] for two NATs that have nothing in common and both count their ports for each destination, behind filters
/// that want the exact port; none for other pairs, which need no port foretold. `answer`: a round trip to the server on each
/// side. The foreign traffic is what the NATs' names say.
pub fn of_pair(
    left: &[NatConfig],
    right: &[NatConfig],
    relation: Relation,
    answer: Duration,
    config: &AgentConfig,
) -> Option<f64> {
    let counts = |chain: &[NatConfig]| {
        let seen = Effective::of(chain);
        let counter = |nat: &NatConfig| matches!(nat.allocation, Allocation::Sequential(_));
        seen.mapping == Mapping::AddressAndPortDependent
            && seen.filtering == Filtering::AddressAndPortDependent
            && seen.predictable
            && chain.iter().any(counter)
    };
    let rate = |chain: &[NatConfig]| chain.iter().map(|nat| nat.cross).sum();
    let both = relation == Relation::Apart && counts(left) && counts(right);
    let (deadline, pace) = (config.connect_deadline, config.caps.datagrams_per_second);
    both.then(|| share([rate(left), rate(right)], answer, deadline, pace))
}

/// The most that so many successive values of a Poisson variable with this mean weigh together.
fn widest_window(mean: f64, width: usize) -> f64 {
    let last = (mean + 12.0 * mean.sqrt()) as usize + width;
    let mut log_weight = -mean;
    let weights: Vec<f64> = (0..=last)
        .map(|k| {
            if k > 0 {
                log_weight += mean.max(f64::MIN_POSITIVE).ln() - (k as f64).ln();
            }
            log_weight.exp()
        })
        .collect();
    let mut sum: f64 = weights.iter().take(width).sum();
    let mut best = sum;
    for first in 0..weights.len().saturating_sub(width) {
        sum += weights[first + width] - weights[first];
        best = best.max(sum);
    }
    best.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn percent(rates: [f64; 2], answer_ms: u64) -> f64 {
        100.0 * share(rates, Duration::from_millis(answer_ms), DEADLINE, 200)
    }

    #[test]
    fn a_window_of_a_poisson_variable() {
        assert!((widest_window(0.0, 1) - 1.0).abs() < 1e-9);
        // The mode of Poisson(4) is 3 and 4, with 0.1954 each.
        assert!((widest_window(4.0, 1) - 0.1954).abs() < 1e-3);
        assert!((widest_window(4.0, 2) - 0.3907).abs() < 1e-3);
        // About a normal variable: 40 of a spread of 10 are two standard deviations either way.
        assert!((widest_window(100.0, 40) - 0.954).abs() < 0.01);
    }

    #[test]
    fn a_quiet_side_is_all_that_is_needed_and_busy_ones_are_met_by_tries() {
        assert!(percent([0.0, 350.0], 200) > 99.999);
        assert!(percent([300.0, 300.0], 200) > 99.9);
        assert!(percent([1_000.0, 1_000.0], 400) > 99.9);
        // Far and very busy: three or four windows of 200 ports, a spread of 49.
        let far = percent([1_000.0, 1_000.0], 2_400);
        assert!((95.0..100.0).contains(&far), "{far}");
    }
}
