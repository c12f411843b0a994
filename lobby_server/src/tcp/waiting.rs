//! Connections whose players have not logged in yet, by where they come from: who gives way when places run out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A household's part of an address, see [`prefix`](crate::limits::prefix).
type Prefix = [u8; 9];

/// See the module. Tokens are given in the order in which connections come, so the smallest is the oldest.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_prefix: BTreeMap<Prefix, BTreeSet<usize>>,
    /// How many each prefix has, and its oldest.
    ranks: BTreeSet<(usize, Reverse<usize>, Prefix)>,
}

impl Waiting {
    fn change(&mut self, prefix: Prefix, change: impl FnOnce(&mut BTreeSet<usize>)) {
        let tokens = self.by_prefix.entry(prefix).or_default();
        if let Some(oldest) = tokens.first() {
            self.ranks.remove(&(tokens.len(), Reverse(*oldest), prefix));
        }
        change(tokens);
        if let Some(oldest) = tokens.first() {
            self.ranks.insert((tokens.len(), Reverse(*oldest), prefix));
        } else {
            self.by_prefix.remove(&prefix);
        }
    }

    pub(super) fn insert(&mut self, prefix: Prefix, token: usize) {
        self.change(prefix, |tokens| {
            tokens.insert(token);
        });
    }

    pub(super) fn remove(&mut self, prefix: Prefix, token: usize) {
        self.change(prefix, |tokens| {
            tokens.remove(&token);
        });
    }

    /// The oldest of this prefix.
    pub(super) fn oldest_of(&self, prefix: Prefix) -> Option<usize> {
        self.by_prefix.get(&prefix)?.first().copied()
    }

    /// The oldest of the prefix that has the most; of several such prefixes, the oldest.
    pub(super) fn oldest_of_the_most(&self) -> Option<(Prefix, usize)> {
        self.ranks.last().map(|(_, oldest, prefix)| (*prefix, oldest.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_whoever_has_most_gives_way() {
        let [a, b] = [[1; 9], [2; 9]];
        let mut waiting = Waiting::default();
        assert_eq!(waiting.oldest_of_the_most(), None);
        for (prefix, token) in [(b, 1), (a, 2), (a, 3)] {
            waiting.insert(prefix, token);
        }
        assert_eq!(waiting.oldest_of_the_most(), Some((a, 2)));
        assert_eq!(waiting.oldest_of(b), Some(1));
        waiting.remove(a, 2);
        assert_eq!(waiting.oldest_of_the_most(), Some((b, 1)), "one each: the oldest");
        waiting.remove(b, 1);
        waiting.remove(b, 1);
        waiting.remove(a, 3);
        assert_eq!((waiting.oldest_of(a), waiting.oldest_of_the_most()), (None, None));
        assert!(waiting.by_prefix.is_empty() && waiting.ranks.is_empty());
    }
}
