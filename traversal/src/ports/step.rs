//! M4: the distance between successive external ports.

use super::distance;

/// How the step is taken from the intervals between probes (S1 E1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StepRule {
    /// The smallest interval.
    Min,
    /// The greatest common divisor of the intervals. With other machines' ports in between it finds the step of a
    /// counter even if no two probes got neighbouring ports.
    #[default]
    Gcd,
}

pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The signed step behind the ports of probes that each left from their own fresh local socket, in the order of
/// sending (M4): the rule over the absolute differences, the sign of the majority (up, where there is none).
///
/// `None` with fewer than two different ports. Equal neighbours are passed over: two live mappings to one server
/// port cannot share an external port, so such a pair is one probe seen twice.
pub fn detect_step(ports: &[u16], rule: StepRule) -> Option<i32> {
    let intervals = ports.windows(2).map(|pair| distance(pair[0], pair[1])).filter(|d| *d != 0);
    let (mut magnitude, mut balance) = (0u32, 0i32);
    for interval in intervals {
        balance += interval.signum();
        magnitude = match (rule, magnitude) {
            (_, 0) => interval.unsigned_abs(),
            (StepRule::Min, m) => m.min(interval.unsigned_abs()),
            (StepRule::Gcd, m) => gcd(m, interval.unsigned_abs()),
        };
    }
    // At most 65,535.
    let magnitude = i32::try_from(magnitude).ok().filter(|m| *m != 0)?;
    Some(if balance < 0 { -magnitude } else { magnitude })
}

/// S1 E4's own rule for four probes: P5, P6, P7 from three sockets, P8 from the third socket to another port of
/// the server. If P8 differs from P7 the NAT is port-sensitive and P8 is one more sample.
pub fn detect_step_e4(p5: u16, p6: u16, p7: u16, p8: u16) -> Option<i32> {
    if p8 == p7 {
        detect_step(&[p5, p6, p7], StepRule::Min)
    } else {
        detect_step(&[p5, p6, p7, p8], StepRule::Min)
    }
}

/// The steps to try one after the other when no reply comes (M4): after [`StepRule::Min`] straight to 1, after
/// [`StepRule::Gcd`] each divisor down to 1. The sign stays. Empty for step 0.
pub fn step_ladder(step: i32, rule: StepRule) -> impl Iterator<Item = i32> + Clone {
    let size = step.unsigned_abs().min(u16::MAX.into());
    let sign = step.signum();
    // No two ports are farther apart than 65,535, whatever somebody claims.
    (1..=size)
        .rev()
        .filter(move |d| match rule {
            StepRule::Min => *d == size || *d == 1,
            StepRule::Gcd => size.is_multiple_of(*d),
        })
        .map(move |d| d as i32 * sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(first: u16, intervals: &[i32]) -> Vec<u16> {
        let mut at = i32::from(first);
        let mut all = vec![first];
        for interval in intervals {
            at += interval;
            all.push(at as u16);
        }
        all
    }

    #[test]
    fn m4_smallest_interval() {
        assert_eq!(detect_step(&ports(2_000, &[12, 6, 18]), StepRule::Min), Some(6));
    }

    #[test]
    fn m4_greatest_common_divisor() {
        assert_eq!(detect_step(&ports(2_000, &[12, 6, 9]), StepRule::Gcd), Some(3));
        assert_eq!(detect_step(&ports(2_000, &[12, 6, 9]), StepRule::Min), Some(6));
        assert_eq!(detect_step(&ports(2_000, &[8, 4, 8]), StepRule::Gcd), Some(4));
    }

    #[test]
    fn m4_steps_are_signed_by_the_majority() {
        assert_eq!(detect_step(&ports(50_000, &[-4, -2, -6]), StepRule::Min), Some(-2));
        assert_eq!(detect_step(&ports(50_000, &[-4, 2, -6]), StepRule::Gcd), Some(-2));
        assert_eq!(detect_step(&ports(50_000, &[4, -2, 6]), StepRule::Min), Some(2));
    }

    #[test]
    fn m4_a_counter_may_start_again_at_the_range_end() {
        assert_eq!(detect_step(&[65_533, 65_535, 1_025], StepRule::Min), Some(2));
        assert_eq!(detect_step(&[1_026, 1_024, 65_534], StepRule::Min), Some(-2));
    }

    #[test]
    fn m4_nothing_to_measure() {
        for rule in [StepRule::Min, StepRule::Gcd] {
            assert_eq!(detect_step(&[], rule), None);
            assert_eq!(detect_step(&[5_000], rule), None);
            assert_eq!(detect_step(&[5_000, 5_000], rule), None);
        }
    }

    #[test]
    fn m4_e4_counts_p8_only_where_the_nat_is_port_sensitive() {
        // P8 differs: the smallest of three differences.
        assert_eq!(detect_step_e4(4_000, 4_006, 4_012, 4_014), Some(2));
        // P8 equals P7: the smaller of the first two.
        assert_eq!(detect_step_e4(4_000, 4_004, 4_010, 4_010), Some(4));
    }

    #[test]
    fn m4_ladder() {
        let ladder = |step, rule| step_ladder(step, rule).collect::<Vec<_>>();
        assert_eq!(ladder(6, StepRule::Min), [6, 1]);
        assert_eq!(ladder(4, StepRule::Gcd), [4, 2, 1]);
        assert_eq!(ladder(-6, StepRule::Gcd), [-6, -3, -2, -1]);
        assert_eq!(ladder(1, StepRule::Min), [1]);
        assert_eq!(ladder(1, StepRule::Gcd), [1]);
        assert!(ladder(0, StepRule::Gcd).is_empty());
    }
}
