//! How many of something each customer of a network has, with nested limits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Prefix, nested};

/// Counts by the parts of addresses, see [`nested`].
#[derive(Debug, Default)]
pub(crate) struct Counts(BTreeMap<Prefix, usize>);

impl Counts {
    pub(crate) fn add(&mut self, ip: IpAddr) {
        for (part, _) in nested(ip) {
            *self.0.entry(part).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, ip: IpAddr) {
        for (part, _) in nested(ip) {
            if let Some(count) = self.0.get_mut(&part) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(&part);
                }
            }
        }
    }

    pub(crate) fn of(&self, part: Prefix) -> usize {
        self.0.get(&part).copied().unwrap_or(0)
    }

    /// Returns the part of this address that may have no more: `limit` is what the narrowest part may have. `without`
    /// is one that goes for this one.
    pub(crate) fn full(&self, ip: IpAddr, limit: usize, without: Option<IpAddr>) -> Option<Prefix> {
        let goes =
            |part| usize::from(without.is_some_and(|ip| nested(ip).any(|(its_part, _)| its_part == part)));
        nested(ip)
            .find(|(part, times)| {
                self.of(*part) - goes(*part).min(self.of(*part)) >= limit.saturating_mul(*times)
            })
            .map(|(part, _)| part)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_customer_with_a_wide_prefix_has_a_few_times_the_share_of_one_network() {
        let mut counts = Counts::default();
        // One address after another out of a /48, as an attacker at home has it (RIPE-690, 4.2).
        let mut inside = 0;
        for n in 0..65_536u32 {
            let address = ip(&format!("2001:db8:1:{n:x}::1"));
            if counts.full(address, 8, None).is_none() {
                counts.add(address);
                inside += 1;
            }
        }
        assert_eq!(inside, 4 * 8);
        assert!(counts.full(ip("2001:db8:2::1"), 8, None).is_none(), "the neighbour has its own");
        assert!(counts.full(ip("203.0.113.1"), 8, None).is_none());
    }

    #[test]
    fn one_that_goes_makes_room_where_it_was_and_nowhere_else() {
        let [a, b] = [ip("203.0.113.1"), ip("203.0.113.2")];
        let mut counts = Counts::default();
        counts.add(a);
        counts.add(a);
        assert!(counts.full(a, 2, None).is_some());
        assert!(counts.full(a, 2, Some(a)).is_none());
        assert!(counts.full(a, 2, Some(b)).is_some());
        counts.remove(a);
        counts.remove(a);
        assert_eq!(counts.len(), 0);
    }
}
