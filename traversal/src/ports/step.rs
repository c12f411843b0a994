//! M4: how the distance between successive external ports is taken, and which distances are tried when it does not serve.

/// This says how the step is taken from the intervals between probes (S1 E1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StepRule {
    /// The step is the smallest interval that was seen.
    Min,
    /// The greatest common divisor of the intervals is taken. With other machines' ports in between it finds the step
    /// of a counter even if no two probes got neighbouring ports.
    #[default]
    Gcd,
}

pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Returns the steps to try one after the other when no reply comes (M4): after [`StepRule::Min`] straight to 1,
/// after [`StepRule::Gcd`] each divisor down to 1. The sign stays. Empty for step 0.
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
