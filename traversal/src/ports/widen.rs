//! M19: where else to look when the range did not answer.

use super::{FIRST_PORT, PORT_SPACE, PortRange, PortRangeIter, StepRule, advance, step_ladder};

/// This says which ports were named already; it takes 8 KiB.
#[derive(Clone)]
pub struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    /// Makes a set without ports.
    pub fn new() -> Self {
        Self(Box::new([0; 1024]))
    }

    /// Adds a port; false if it was in already.
    pub fn insert(&mut self, port: u16) -> bool {
        let word = &mut self.0[usize::from(port / 64)];
        let bit = 1u64 << (port % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PortSet({} ports)", self.0.iter().map(|w| w.count_ones()).sum::<u32>())
    }
}

/// This says how far a search has been widened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Widened {
    /// It searches inside the range, at this step of the ladder.
    Range {
        /// The counter goes so far from port to port; negative: downwards.
        step: i32,
    },
    /// It searches outside of the range, on the side(s) where the bound is not sure.
    Side,
    /// It searches anywhere but at the well-known ports.
    Everywhere,
}

/// This is M19's search as a lazy sequence: it gives the range at each step of the ladder, then goes outwards from it,
/// nearest first, on the sides whose bound is not known, then takes all ports but the well-known ones. No port comes
/// twice, so there are at most 64,512; the caller's caps end it long before.
#[derive(Clone, Debug)]
pub struct Widening {
    ladder: Vec<i32>,
    range: PortRange,
    inside: Option<(i32, PortRangeIter)>,
    sides: (bool, bool),
    out: u32,
    second_side: bool,
    everywhere: u32,
    seen: PortSet,
}

impl Widening {
    /// `unsure` tells for the first and the last port of `range` whether that bound is a guess.
    pub fn new(range: PortRange, rule: StepRule, unsure: (bool, bool)) -> Self {
        let mut ladder: Vec<i32> = step_ladder(range.step(), rule).collect();
        ladder.reverse();
        Self {
            ladder,
            range,
            inside: None,
            sides: unsure,
            out: 1,
            second_side: false,
            everywhere: 0,
            seen: PortSet::new(),
        }
    }

    fn next_inside(&mut self) -> Option<(Widened, u16)> {
        loop {
            if let Some((step, ports)) = &mut self.inside {
                let step = *step;
                if let Some(port) = ports.find(|p| self.seen.insert(*p)) {
                    return Some((Widened::Range { step }, port));
                }
            }
            let step = self.ladder.pop()?;
            self.inside = Some((step, self.range.with_step(step).iter()));
        }
    }

    fn next_side(&mut self) -> Option<(Widened, u16)> {
        while self.out < PORT_SPACE && self.sides != (false, false) {
            let away = i64::from(self.out) * i64::from(self.range.step().signum());
            let (wanted, port) = if self.second_side {
                (self.sides.0, advance(self.range.first(), -away))
            } else {
                (self.sides.1, advance(self.range.last(), away))
            };
            // "All ports on that side": up to the end of the port space, not round it.
            let beyond = if self.second_side == (away > 0) {
                port > self.range.first().max(self.range.last())
            } else {
                port < self.range.first().min(self.range.last())
            };
            if self.second_side {
                self.out += 1;
            }
            self.second_side = !self.second_side;
            if wanted && !beyond && self.seen.insert(port) {
                return Some((Widened::Side, port));
            }
        }
        None
    }

    fn next_everywhere(&mut self) -> Option<(Widened, u16)> {
        while self.everywhere < PORT_SPACE {
            // Below 64,512, so the sum is a port.
            let port = FIRST_PORT + self.everywhere as u16;
            self.everywhere += 1;
            if self.seen.insert(port) {
                return Some((Widened::Everywhere, port));
            }
        }
        None
    }
}

impl Iterator for Widening {
    type Item = (Widened, u16);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_inside().or_else(|| self.next_side()).or_else(|| self.next_everywhere())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m19_ladder_then_sides_then_everywhere() {
        let range = PortRange::new(5_000, 5_008, 4);
        let mut search = Widening::new(range, StepRule::Gcd, (false, true));
        let inside: Vec<_> = search.by_ref().take(9).collect();
        assert_eq!(inside[..3].iter().map(|x| x.1).collect::<Vec<_>>(), [5_000, 5_004, 5_008]);
        assert_eq!(inside[3], (Widened::Range { step: 2 }, 5_002));
        assert!(inside[5..].iter().all(|x| x.0 == Widened::Range { step: 1 }));
        assert_eq!(search.next(), Some((Widened::Side, 5_009)));
        assert_eq!(search.next(), Some((Widened::Side, 5_010)));
        let everywhere: Vec<_> = search.by_ref().skip_while(|x| x.0 == Widened::Side).collect();
        assert_eq!(everywhere.first(), Some(&(Widened::Everywhere, 1_024)));
        assert_eq!(everywhere.last(), Some(&(Widened::Everywhere, 4_999)), "the upper side came before");
    }

    #[test]
    fn m19_min_goes_straight_to_one() {
        let steps: Vec<_> = Widening::new(PortRange::new(5_000, 5_012, 6), StepRule::Min, (false, false))
            .map_while(|(w, _)| match w {
                Widened::Range { step } => Some(step),
                _ => None,
            })
            .collect();
        assert_eq!(steps.len(), 13);
        assert!(steps.iter().all(|s| *s == 6 || *s == 1));
    }

    #[test]
    fn m19_covers_each_port_but_the_well_known_once() {
        for (range, unsure) in [
            (PortRange::new(65_530, 1_030, 3), (true, true)),
            (PortRange::new(30_000, 29_990, -2), (true, false)),
            (PortRange::single(40_000), (false, false)),
        ] {
            let mut all: Vec<u16> = Widening::new(range, StepRule::Gcd, unsure).map(|x| x.1).collect();
            assert_eq!(all.len(), PORT_SPACE as usize);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), PORT_SPACE as usize);
            assert_eq!(all[0], FIRST_PORT);
        }
    }

    #[test]
    fn m19_goes_outwards_in_both_directions() {
        let near: Vec<u16> = Widening::new(PortRange::new(9_000, 8_999, -1), StepRule::Min, (true, true))
            .skip(2)
            .take(4)
            .map(|x| x.1)
            .collect();
        assert_eq!(near, [8_998, 9_001, 8_997, 9_002]);
    }
}
