//! Those who have not logged in yet, by where they come from: who gives way when places run out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Prefix, nested, widest};

/// See the module. Tokens are given in the order in which they come, so the smallest is the oldest.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_prefix: BTreeMap<Prefix, BTreeMap<u64, IpAddr>>,
    /// This says how many each prefix has, and its oldest.
    ranks: BTreeSet<(usize, Reverse<u64>, Prefix)>,
}

impl Waiting {
    fn change(&mut self, prefix: Prefix, change: impl FnOnce(&mut BTreeMap<u64, IpAddr>)) {
        let tokens = self.by_prefix.entry(prefix).or_default();
        if let Some((oldest, _)) = tokens.first_key_value() {
            self.ranks.remove(&(tokens.len(), Reverse(*oldest), prefix));
        }
        change(tokens);
        if let Some((oldest, _)) = tokens.first_key_value() {
            self.ranks.insert((tokens.len(), Reverse(*oldest), prefix));
        } else {
            self.by_prefix.remove(&prefix);
        }
    }

    pub(crate) fn insert(&mut self, ip: IpAddr, token: u64) {
        self.change(widest(ip), |tokens| {
            tokens.insert(token, ip);
        });
    }

    pub(crate) fn remove(&mut self, ip: IpAddr, token: u64) {
        self.change(widest(ip), |tokens| {
            tokens.remove(&token);
        });
    }

    /// Returns the oldest that comes from this part of the address `ip`.
    pub(crate) fn oldest_in(&self, part: Prefix, ip: IpAddr) -> Option<u64> {
        let tokens = self.by_prefix.get(&widest(ip))?;
        tokens
            .iter()
            .find(|(_, ip)| nested(**ip).any(|(its_part, _)| its_part == part))
            .map(|(token, _)| *token)
    }

    /// Returns the oldest of the customer that has the most; of several such customers, the oldest.
    pub(crate) fn oldest_of_the_most(&self) -> Option<u64> {
        self.ranks.last().map(|(_, oldest, _)| oldest.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_whoever_has_most_gives_way() {
        let [a, b]: [IpAddr; 2] = ["203.0.113.1", "203.0.113.2"].map(|ip| ip.parse().unwrap());
        let mut waiting = Waiting::default();
        assert_eq!(waiting.oldest_of_the_most(), None);
        for (ip, token) in [(b, 1), (a, 2), (a, 3)] {
            waiting.insert(ip, token);
        }
        assert_eq!(waiting.oldest_of_the_most(), Some(2));
        assert_eq!(waiting.oldest_in(widest(b), b), Some(1));
        waiting.remove(a, 2);
        assert_eq!(waiting.oldest_of_the_most(), Some(1), "one each: the oldest");
        waiting.remove(b, 1);
        waiting.remove(b, 1);
        waiting.remove(a, 3);
        assert_eq!((waiting.oldest_in(widest(a), a), waiting.oldest_of_the_most()), (None, None));
        assert!(waiting.by_prefix.is_empty() && waiting.ranks.is_empty());
    }
}
