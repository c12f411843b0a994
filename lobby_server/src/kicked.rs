//! The room's ban list: whom its host has put out, each until a time or for as long as the room exists. It belongs to the room,
//! whoever hosts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::MAX_OUT;

/// Tickets live so long, and so does a kick of which a server without a calendar does not know the end.
pub(crate) const OUT: Duration = Duration::from_secs(24 * 3600);
/// Who is put out for good stays out for so long.
pub(crate) const FOR_GOOD: Duration = Duration::from_secs(366 * 24 * 3600);
/// So many players are remembered; over that the one who was put out first is forgotten.
const MAX: usize = 256;

/// This says until when a player stays out.
#[derive(Clone, Debug)]
pub(crate) struct Kick {
    /// The player stays out until then by the server's own clock.
    pub(crate) until: Instant,
    /// The same in seconds since 1970 is for notes that outlive the server; it is the greatest number where the server
    /// does not know the time.
    pub(crate) until_s: u64,
    /// Of two kicks of one player the one with the greater number counts.
    pub(crate) serial: u32,
    /// The host has lifted it.
    pub(crate) lifted: bool,
    /// The player had this name, and the host gave this reason; a server that was restarted knows neither.
    pub(crate) words: (String, String),
}

impl Kick {
    /// Returns after how many seconds the player may come back; `None`: it is put out for good.
    pub(crate) fn left_s(&self, now: Instant) -> Option<u32> {
        let left = self.until.saturating_duration_since(now);
        let for_good = left > MAX_OUT;
        (!for_good).then(|| u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX))
    }
}

/// These players are out, each until some time.
#[derive(Debug, Default)]
pub(crate) struct Kicked(BTreeMap<PlayerId, Kick>);

impl Kicked {
    pub(crate) fn insert(&mut self, now: Instant, player: PlayerId, kick: Kick) {
        self.0.retain(|_, kick| now < kick.until);
        let first = |(_, kick): &(&PlayerId, &Kick)| (!kick.lifted, kick.until);
        if self.0.len() >= MAX
            && !self.0.contains_key(&player)
            && let Some(first) = self.0.iter().min_by_key(first).map(|(player, _)| *player)
        {
            self.0.remove(&first);
        }
        self.0.insert(player, kick);
    }

    /// Returns the kick that keeps a player out now, if there is one.
    pub(crate) fn of(&self, now: Instant, player: PlayerId) -> Option<&Kick> {
        self.0.get(&player).filter(|kick| now < kick.until && !kick.lifted)
    }

    /// Returns the number of what is known last of a player, and whether that is lifted.
    pub(crate) fn serial(&self, player: PlayerId) -> Option<(u32, bool)> {
        self.0.get(&player).map(|kick| (kick.serial, kick.lifted))
    }

    /// Returns who is out, after this player, in the order of their ids.
    pub(crate) fn list(
        &self,
        now: Instant,
        after: Option<PlayerId>,
    ) -> impl Iterator<Item = (PlayerId, &Kick)> {
        let all = self.0.iter().filter(move |(player, _)| after.is_none_or(|after| **player > after));
        all.filter(move |(_, kick)| now < kick.until && !kick.lifted).map(|(player, kick)| (*player, kick))
    }

    /// Returns all that is known, of those who may come back again, too.
    pub(crate) fn all(&self, now: Instant) -> Vec<(PlayerId, Kick)> {
        let known = self.0.iter().filter(|(_, kick)| now < kick.until);
        known.map(|(player, kick)| (*player, kick.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_lift_a_ban_lifts_no_other_one_and_lifted_ones_give_way_first() {
        let now = Instant::now();
        let mut kicked = Kicked::default();
        let id = |n: usize| PlayerId([(n >> 8) as u8, n as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let kick = |n: usize, lifted| Kick {
            until: now + OUT + Duration::from_secs(n as u64),
            until_s: n as u64,
            serial: n as u32,
            lifted,
            words: Default::default(),
        };
        for n in 0..MAX {
            kicked.insert(now, id(n), kick(n, false));
        }
        kicked.insert(now, id(MAX - 1), kick(MAX - 1, true));
        assert_eq!((kicked.0.len(), kicked.of(now, id(0)).is_some()), (MAX, true));
        kicked.insert(now, id(MAX), kick(MAX, false));
        assert!(!kicked.0.contains_key(&id(MAX - 1)) && kicked.of(now, id(0)).is_some());
    }

    #[test]
    fn the_list_is_bounded_and_ends() {
        let now = Instant::now();
        let mut kicked = Kicked::default();
        for n in 0..1000u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let now = now + Duration::from_secs(n.into());
            let kick = Kick {
                until: now + OUT,
                until_s: n.into(),
                serial: n,
                lifted: false,
                words: Default::default(),
            };
            kicked.insert(now, PlayerId(id), kick);
        }
        assert_eq!(kicked.0.len(), MAX);
        let mut last = [0; 16];
        last[..4].copy_from_slice(&999u32.to_le_bytes());
        assert!(kicked.of(now + Duration::from_secs(999), PlayerId(last)).is_some());
        assert!(kicked.of(now, PlayerId([0; 16])).is_none(), "forgotten");
        let over = now + Duration::from_secs(999) + OUT;
        assert!(kicked.of(over, PlayerId(last)).is_none() && kicked.all(over).is_empty());
    }
}
