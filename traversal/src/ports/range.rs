//! M15, M16, M20, M21: ports between two probes.

use super::{FIRST_PORT, PORT_SPACE, advance, distance};

/// This says whether the port of a range probe can be the wanted port itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum End {
    /// It can: probe and bubble left from the same socket, and an endpoint-independent mapping gives both one
    /// port (M15).
    #[default]
    Included,
    /// It cannot: they left from different sockets, so the range ends one step inside (M16).
    Excluded,
}

/// Probes that overtook each other lie no farther apart: what a counter by 64 covers in 20 ms (one row of packets)
/// among 1,000 foreign ports a second, with room. Farther apart, against the step, the counter has started again at an
/// end that nobody knows (RFC 4787 section 4.2 leaves the range to the NAT; 32,768 to 60,999 and 49,152 to 65,535
/// are in use).
const OVERTAKEN: u32 = 2_048;

/// Over an unknown seam, so many ports on either side of it are aimed at: what others take during a bracket (99 of
/// 100 times 5 at most with 1,000 a second over 1 ms), with room.
const BESIDE_SEAM: u32 = 16;

/// A range holds every `step`-th port from the first to the last, both included, in the direction of the step (M15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
    step: i32,
}

impl PortRange {
    /// Makes the range from a first probe's port to a second's (M15). Ports below 1,024 are moved up to it; a step of 0
    /// counts as 1. Where the two lie a little against the step's direction the probes overtook each other on the way,
    /// and change places; where they lie far against it the counter started again in between, and the range is what
    /// follows the first one and what precedes the second.
    pub fn new(first: u16, last: u16, step: i32) -> Self {
        let (first, last) = (first.max(FIRST_PORT), last.max(FIRST_PORT));
        let step = if step == 0 { 1 } else { step.clamp(-65_535, 65_535) };
        let range = Self { first, last, step };
        if range.is_against() && !range.has_unknown_seam() {
            Self { first: last, last: first, step }
        } else {
            range
        }
    }

    fn is_against(&self) -> bool {
        distance(self.first, self.last).signum() == -self.step.signum()
    }

    fn has_unknown_seam(&self) -> bool {
        self.is_against() && distance(self.first, self.last).unsigned_abs() > OVERTAKEN
    }

    /// Makes the range of one port.
    pub fn single(port: u16) -> Self {
        Self::new(port, port, 1)
    }

    /// Does as [`new`](Self::new), but an excluded end lies one step inside its probe's port (M16, M20, M21). Returns
    /// `None` where nothing is left in between.
    pub fn between(first: (u16, End), last: (u16, End), step: i32) -> Option<Self> {
        let whole = Self::new(first.0, last.0, step);
        let inside = i64::from(whole.step);
        let start = match first.1 {
            End::Included => whole.first,
            End::Excluded => advance(whole.first, inside),
        };
        let end = match last.1 {
            End::Included => whole.last,
            End::Excluded => advance(whole.last, -inside),
        };
        let inner = Self { first: start, last: end, step: whole.step };
        (!inner.is_against() || whole.has_unknown_seam()).then_some(inner)
    }

    /// Returns the first port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// Returns the last port, which is part of the range.
    pub fn last(&self) -> u16 {
        self.last
    }

    /// Returns the signed step, which is never 0.
    pub fn step(&self) -> i32 {
        self.step
    }

    /// Returns the same range with another step of the ladder (M4).
    pub fn with_step(&self, step: i32) -> Self {
        Self::new(self.first, self.last, step)
    }

    /// Gives the ports, without repetition, lazily. There are at most 64,512.
    pub fn iter(&self) -> PortRangeIter {
        let size = self.step.unsigned_abs();
        let way = distance(self.first, self.last).unsigned_abs();
        let plain = i32::from(self.last) - i32::from(self.first);
        let wrapped = way != plain.unsigned_abs();
        let unknown = self.has_unknown_seam();
        if wrapped || unknown {
            // Over the seam the counter may fall out of rhythm: go up to it from the first port, and back down to
            // it from the last.
            let (before, after) = if self.step > 0 {
                (u32::from(u16::MAX - self.first), u32::from(self.last - FIRST_PORT))
            } else {
                (u32::from(self.first - FIRST_PORT), u32::from(u16::MAX - self.last))
            };
            let most = if unknown { BESIDE_SEAM } else { PORT_SPACE };
            let count = |ports: u32| (ports / size + 1).min(most);
            PortRangeIter {
                head: Walk { at: self.first.into(), by: self.step, left: count(before) },
                tail: Walk { at: self.last.into(), by: -self.step, left: count(after) },
            }
        } else {
            PortRangeIter {
                head: Walk { at: self.first.into(), by: self.step, left: way / size + 1 },
                tail: Walk {
                    at: self.last.into(),
                    by: self.step,
                    left: u32::from(!way.is_multiple_of(size)),
                },
            }
        }
    }

    /// Returns how many ports [`iter`](Self::iter) gives.
    pub fn count(&self) -> u32 {
        let all = self.iter();
        all.head.left + all.tail.left
    }
}

impl IntoIterator for &PortRange {
    type Item = u16;
    type IntoIter = PortRangeIter;

    fn into_iter(self) -> PortRangeIter {
        self.iter()
    }
}

#[derive(Clone, Debug)]
struct Walk {
    at: i32,
    by: i32,
    left: u32,
}

impl Iterator for Walk {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let port = u16::try_from(self.at).ok()?;
        self.at += self.by;
        Some(port)
    }
}

/// This iterates over the ports of a [`PortRange`].
#[derive(Clone, Debug)]
pub struct PortRangeIter {
    head: Walk,
    tail: Walk,
}

impl Iterator for PortRangeIter {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        self.head.next().or_else(|| self.tail.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: PortRange) -> Vec<u16> {
        let all: Vec<u16> = range.iter().collect();
        assert_eq!(all.len() as u32, range.count());
        all
    }

    #[test]
    fn m15_probes_at_10135_and_10145_make_eleven_replies_at_step_1() {
        let replies = ports(PortRange::new(10_135, 10_145, 1));
        assert_eq!(replies.len(), 11);
        assert_eq!(replies.iter().filter(|p| **p == 10_142).count(), 1);
    }

    #[test]
    fn m15_three_replies_at_step_5() {
        assert_eq!(ports(PortRange::new(10_135, 10_145, 5)), [10_135, 10_140, 10_145]);
    }

    #[test]
    fn m15_counts_down_with_a_negative_step() {
        assert_eq!(ports(PortRange::new(9_010, 9_004, -2)), [9_010, 9_008, 9_006, 9_004]);
    }

    #[test]
    fn m15_the_last_port_is_always_included() {
        assert_eq!(ports(PortRange::new(5_000, 5_007, 3)), [5_000, 5_003, 5_006, 5_007]);
        assert_eq!(ports(PortRange::new(5_000, 5_000, 3)), [5_000]);
    }

    #[test]
    fn m15_probes_that_overtook_each_other_change_places() {
        assert_eq!(ports(PortRange::new(5_002, 5_000, 1)), [5_000, 5_001, 5_002]);
    }

    #[test]
    fn m15_over_the_end_of_the_port_space() {
        assert_eq!(ports(PortRange::new(65_534, 1_025, 1)), [65_534, 65_535, 1_025, 1_024]);
        assert_eq!(ports(PortRange::new(65_533, 1_026, 3)), [65_533, 1_026]);
        assert_eq!(ports(PortRange::new(1_025, 65_533, -1)), [1_025, 1_024, 65_533, 65_534, 65_535]);
    }

    #[test]
    fn m15_over_an_end_of_the_range_that_nobody_knows() {
        // Linux's range: the counter was at 60,998, went to 60,999 and began at 32,768 again.
        let range = ports(PortRange::new(60_998, 32_769, 1));
        assert_eq!(range[..2], [60_998, 60_999]);
        assert!(range.contains(&32_768) && range.len() == 32, "{range:?}");
        let down = ports(PortRange::new(49_153, 65_535, -1));
        assert!(down.contains(&49_152) && down.contains(&65_535), "{down:?}");
        let inside =
            PortRange::between((60_996, End::Excluded), (32_770, End::Excluded), 2).map(ports).unwrap();
        assert!(
            inside.contains(&60_998) && inside.contains(&32_768) && !inside.contains(&60_996),
            "{inside:?}"
        );
    }

    #[test]
    fn m15_never_a_well_known_port() {
        assert_eq!(ports(PortRange::new(1_000, 1_026, 1)), [1_024, 1_025, 1_026]);
        assert_eq!(ports(PortRange::new(80, 80, -1)), [1_024]);
    }

    #[test]
    fn m16_ends_one_step_inside() {
        let inside = |first, last, step| {
            PortRange::between((first, End::Excluded), (last, End::Excluded), step).map(ports)
        };
        assert_eq!(inside(7_000, 7_006, 2), Some(vec![7_002, 7_004]));
        assert_eq!(inside(7_006, 7_000, -2), Some(vec![7_004, 7_002]));
        assert_eq!(inside(7_000, 7_002, 2), None, "nothing fits between neighbours");
    }

    #[test]
    fn m20_bubble_targets_end_one_step_before_the_last_probe() {
        let targets = PortRange::between((8_008, End::Included), (8_010, End::Excluded), 1).map(ports);
        assert_eq!(targets, Some(vec![8_008, 8_009]));
        // A cone keeps P8 for the port-assigning packet, and P10 is the next port.
        let cone = PortRange::between((8_008, End::Included), (8_009, End::Excluded), 1).map(ports);
        assert_eq!(cone, Some(vec![8_008]));
    }

    #[test]
    fn every_range_is_lazy_bounded_and_without_repetition() {
        for (first, last, step) in [
            (1_024, 65_535, 1),
            (0, 65_535, -1),
            (40_000, 7_745, 1),
            (1, 1, i32::MIN + 1),
            (2_000, 60_000, 40_000),
        ] {
            let all = ports(PortRange::new(first, last, step));
            let mut once = all.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), all.len(), "{first} {last} {step}");
            assert!(all.iter().all(|p| *p >= FIRST_PORT));
        }
    }
}
