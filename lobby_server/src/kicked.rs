//! Whom a room's host has put out for good: it belongs to the room, whoever hosts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;

/// How long somebody stays out; tickets do not live longer.
pub(crate) const OUT: Duration = Duration::from_secs(24 * 3600);
/// Players remembered; over that the one who was put out first is forgotten.
const MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Kicked(BTreeMap<PlayerId, Instant>);

impl Kicked {
    pub(crate) fn insert(&mut self, now: Instant, player: PlayerId) {
        self.0.retain(|_, until| now < *until);
        if self.0.len() >= MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until).map(|(player, _)| *player)
        {
            self.0.remove(&first);
        }
        self.0.insert(player, now + OUT);
    }

    pub(crate) fn has(&self, now: Instant, player: PlayerId) -> bool {
        self.0.get(&player).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_ends() {
        let now = Instant::now();
        let mut kicked = Kicked::default();
        for n in 0..1000u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            kicked.insert(now + Duration::from_secs(n.into()), PlayerId(id));
        }
        assert_eq!(kicked.0.len(), MAX);
        let mut last = [0; 16];
        last[..4].copy_from_slice(&999u32.to_le_bytes());
        assert!(kicked.has(now + Duration::from_secs(999), PlayerId(last)));
        assert!(!kicked.has(now, PlayerId([0; 16])), "forgotten");
        assert!(!kicked.has(now + Duration::from_secs(999) + OUT, PlayerId(last)), "over");
    }
}
