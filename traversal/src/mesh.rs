//! Keeps a mesh whole: of each pair the one who came later asks the server for a new match when the pair has no
//! connection, because it was lost, or because the server was away while it should have been made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::PlayerId;
use crate::rtt::RttEstimate;

/// Plans and lists of members may overtake each other; what is missing after so long was not sent. Where the server takes
/// long to answer, the time of [`ANSWERS`]: a message that was lost comes again after one, or after two more.
const SETTLE: Duration = Duration::from_secs(3);
/// So much time passes from the loss to the first wish, and between wishes: more than the server takes to see that a
/// player is silent, so that nobody waits for one who is gone. It is the time of [`ANSWERS`] where that is longer.
const RETRY: Duration = Duration::from_secs(9);
/// So many times the time of an answer is waited where that is longer than [`SETTLE`] or [`RETRY`].
const ANSWERS: u32 = 4;
/// A player that is lost is wished for so many times.
const TRIES: u8 = 4;

/// These are the pairs of a mesh that this player has to ask for.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    /// These members came before this one, without the host: a room without the host's channel is left.
    elders: Vec<PlayerId>,
    asks: BTreeMap<PlayerId, Ask>,
    /// These are not to be asked for: no way was found, or somebody ended it.
    given_up: BTreeSet<PlayerId>,
}

#[derive(Debug)]
struct Ask {
    at: Instant,
    tries: u8,
}

impl Mesh {
    /// Takes who is inside now, the host first. `timing` says how long the server takes to answer.
    pub(crate) fn members(
        &mut self,
        (now, timing): (Instant, RttEstimate),
        own: PlayerId,
        members: &[PlayerId],
        is_live: impl Fn(PlayerId) -> bool,
    ) {
        let before = members.iter().skip(1).take_while(|member| **member != own);
        self.elders = if members.first() == Some(&own) { Vec::new() } else { before.copied().collect() };
        self.asks.retain(|player, _| self.elders.contains(player));
        self.given_up.retain(|player| self.elders.contains(player));
        for player in self.elders.iter().filter(|player| !self.given_up.contains(player)) {
            if !is_live(*player) {
                self.asks
                    .entry(*player)
                    .or_insert(Ask { at: now + timing.at_least(SETTLE, ANSWERS), tries: 0 });
            }
        }
    }

    /// A match with this player begins.
    pub(crate) fn planned(&mut self, player: PlayerId) {
        self.asks.remove(&player);
        self.given_up.remove(&player);
    }

    /// Notes that the channel to this player was lost.
    pub(crate) fn lost(&mut self, (now, timing): (Instant, RttEstimate), player: PlayerId) {
        if self.elders.contains(&player) {
            self.asks.insert(player, Ask { at: now + timing.at_least(RETRY, ANSWERS), tries: 0 });
        }
    }

    /// There is no channel to this player, and none is wanted or possible.
    pub(crate) fn give_up(&mut self, player: PlayerId) {
        self.asks.remove(&player);
        if self.elders.contains(&player) {
            self.given_up.insert(player);
        }
    }

    /// Returns the players to ask the server for now.
    pub(crate) fn handle_timeout(
        &mut self,
        (now, timing): (Instant, RttEstimate),
        is_live: impl Fn(PlayerId) -> bool,
    ) -> Vec<PlayerId> {
        self.asks.retain(|player, ask| ask.tries < TRIES && !is_live(*player));
        let mut wanted = Vec::new();
        for (player, ask) in self.asks.iter_mut().filter(|(_, ask)| ask.at <= now) {
            wanted.push(*player);
            (ask.at, ask.tries) = (now + timing.at_least(RETRY, ANSWERS), ask.tries + 1);
        }
        wanted
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.asks.values().map(|ask| ask.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: PlayerId = PlayerId([0; 16]);
    const A: PlayerId = PlayerId([1; 16]);
    const B: PlayerId = PlayerId([2; 16]);
    const C: PlayerId = PlayerId([3; 16]);

    fn near(now: Instant) -> (Instant, RttEstimate) {
        (now, RttEstimate::of(Duration::from_millis(50)))
    }

    #[test]
    fn a_far_server_is_given_the_time_to_repeat_what_was_lost() {
        let now = Instant::now();
        let mut timing = RttEstimate::of(Duration::from_millis(1200));
        timing.sample(Duration::from_millis(1800));
        let mut mesh = Mesh::default();
        mesh.members((now, timing), B, &[HOST, A, B], |_| false);
        assert!(mesh.handle_timeout((now + timing.overdue() * 3, timing), |_| false).is_empty());
        assert_eq!(mesh.handle_timeout((now + timing.overdue() * 4, timing), |_| false), [A]);
    }

    #[test]
    fn the_later_one_asks_for_the_earlier_one_and_nobody_for_the_host() {
        let now = Instant::now();
        let asked = |own: PlayerId| {
            let mut mesh = Mesh::default();
            mesh.members(near(now), own, &[HOST, A, B, C], |_| false);
            assert!(mesh.handle_timeout(near(now), |_| false).is_empty(), "plans may be on their way");
            mesh.handle_timeout(near(now + SETTLE), |_| false)
        };
        assert!(asked(HOST).is_empty() && asked(A).is_empty());
        assert_eq!(asked(B), [A]);
        assert_eq!(asked(C), [A, B]);
    }

    #[test]
    fn only_what_is_missing_is_asked_for_and_not_for_ever() {
        let now = Instant::now();
        let mut mesh = Mesh::default();
        mesh.members(near(now), C, &[HOST, A, B, C], |player| player == A);
        let mut at = now + SETTLE;
        for _ in 0..TRIES {
            assert_eq!(mesh.handle_timeout(near(at), |_| false), [B]);
            at += RETRY;
        }
        assert!(mesh.handle_timeout(near(at), |_| false).is_empty());
        assert_eq!(mesh.poll_timeout(), None);
        mesh.lost(near(at), A);
        mesh.lost(near(at), HOST);
        assert!(mesh.handle_timeout(near(at), |_| false).is_empty());
        assert_eq!(mesh.handle_timeout(near(at + RETRY), |_| false), [A]);
        mesh.planned(A);
        assert_eq!(mesh.poll_timeout(), None);
    }

    #[test]
    fn what_cannot_be_or_is_not_wanted_is_left_alone() {
        let now = Instant::now();
        let mut mesh = Mesh::default();
        mesh.members(near(now), B, &[HOST, A, B], |_| true);
        mesh.give_up(A);
        mesh.members(near(now), B, &[HOST, A, B, C], |_| false);
        assert_eq!(mesh.poll_timeout(), None);
        // It left and came back: now it is the later one, and asks itself.
        mesh.members(near(now), B, &[HOST, B, C, A], |_| false);
        assert_eq!(mesh.poll_timeout(), None);
    }
}
