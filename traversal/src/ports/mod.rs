//! Arithmetic of external ports: steps between successive mappings, ranges for replies and bubbles, predictions.
//!
//! A NAT that counts its ports up or down starts again at the other end of its range. Where exactly that is, it
//! does not say; 1,024..=65,535 is assumed (RFC 6335 section 6: the ports that are not system ports), and ranges
//! over the seam are anchored on both of the ports that were really seen.

mod allocation;
mod counter;
mod drift;
mod predict;
mod range;
mod step;
mod widen;

pub use allocation::{Estimate, FreshMapping, allocation};
pub use drift::foreign_rate;
pub use predict::{
    Birthday, UNKNOWN_RATE, birthday, birthday_chance, birthday_probes, giant_step_port, poisson_cdf,
    poisson_quantile, predicted_ports, prediction_width,
};
pub use range::{End, PortRange, PortRangeIter};
pub use step::{StepRule, step_ladder};
pub use widen::{PortSet, Widened, Widening};

/// This is the first port that is not well-known (RFC 6335 section 6, M19).
pub const FIRST_PORT: u16 = 1024;

/// There are this many ports from [`FIRST_PORT`] on.
pub const PORT_SPACE: u32 = 64_512;

/// Returns the signed distance from one port to another, by the shorter way round (a counter may have started again).
pub fn distance(from: u16, to: u16) -> i32 {
    let plain = i32::from(to) - i32::from(from);
    let space = PORT_SPACE as i32;
    if from < FIRST_PORT || to < FIRST_PORT || plain.abs() <= space / 2 {
        plain
    } else if plain < 0 {
        plain + space
    } else {
        plain - space
    }
}

/// Returns the port that lies `by` further on; starts again at the other end and is never a well-known one.
pub fn advance(port: u16, by: i64) -> u16 {
    let first = i64::from(FIRST_PORT);
    let wrapped = (i64::from(port) - first + by).rem_euclid(i64::from(PORT_SPACE)) + first;
    // In 1,024..=65,535 by construction.
    wrapped as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_takes_the_shorter_way_round() {
        assert_eq!(distance(10_135, 10_145), 10);
        assert_eq!(distance(10_145, 10_135), -10);
        assert_eq!(distance(65_534, 1_025), 3);
        assert_eq!(distance(1_025, 65_534), -3);
        assert_eq!(distance(600, 65_534), 64_934, "below the floor nothing wraps");
    }

    #[test]
    fn advance_starts_again_and_skips_well_known_ports() {
        assert_eq!(advance(65_535, 1), 1_024);
        assert_eq!(advance(1_024, -2), 65_534);
        assert_eq!(advance(40_000, -7), 39_993);
        for port in [0u16, 80, 1_023] {
            assert!(advance(port, 0) >= FIRST_PORT);
        }
        for by in [-200_000i64, -1, 0, 1, 200_000] {
            assert_eq!(distance(advance(30_000, by), advance(30_000, by + 1)).abs(), 1);
        }
    }
}
