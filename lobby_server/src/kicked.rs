//! Whom a room's host has put out for good: it belongs to the room, whoever hosts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;

/// Somebody stays out for so long; tickets do not live longer.
pub(crate) const OUT: Duration = Duration::from_secs(24 * 3600);
/// So many players are remembered; over that the one who was put out first is forgotten.
const MAX: usize = 256;

/// This says until when a player stays out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kick {
    /// The player stays out until then by the server's own clock.
    pub(crate) until: Instant,
    /// The same in seconds since 1970 is for notes that outlive the server; it is the greatest number where the server
    /// does not know the time.
    pub(crate) until_s: u64,
}

/// These players are out, each until some time.
#[derive(Debug, Default)]
pub(crate) struct Kicked(BTreeMap<PlayerId, Kick>);

impl Kicked {
    pub(crate) fn insert(&mut self, now: Instant, player: PlayerId, kick: Kick) {
        self.0.retain(|_, kick| now < kick.until);
        if self.0.len() >= MAX
            && let Some(first) = self.0.iter().min_by_key(|(_, kick)| kick.until).map(|(player, _)| *player)
        {
            self.0.remove(&first);
        }
        self.0.insert(player, kick);
    }

    pub(crate) fn has(&self, now: Instant, player: PlayerId) -> bool {
        self.0.get(&player).is_some_and(|kick| now < kick.until)
    }

    /// Returns who is out, and until when in seconds since 1970.
    pub(crate) fn all(&self, now: Instant) -> Vec<(PlayerId, u64)> {
        let out = self.0.iter().filter(|(_, kick)| now < kick.until);
        out.map(|(player, kick)| (*player, kick.until_s)).collect()
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
            let now = now + Duration::from_secs(n.into());
            kicked.insert(now, PlayerId(id), Kick { until: now + OUT, until_s: n.into() });
        }
        assert_eq!(kicked.0.len(), MAX);
        let mut last = [0; 16];
        last[..4].copy_from_slice(&999u32.to_le_bytes());
        assert!(kicked.has(now + Duration::from_secs(999), PlayerId(last)));
        assert!(!kicked.has(now, PlayerId([0; 16])), "forgotten");
        let over = now + Duration::from_secs(999) + OUT;
        assert!(!kicked.has(over, PlayerId(last)) && kicked.all(over).is_empty());
    }
}
