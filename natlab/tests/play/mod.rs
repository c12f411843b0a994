//! Two players with renet between them, in virtual time.

use std::time::Duration;

use natlab::scenario::{PairWorld, PairWorldSettings};

use crate::stream::{SharedTally, Streams};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// They are two players who play.
pub(crate) struct Play {
    pub(crate) pair: PairWorld,
    /// What each side sent and got.
    pub(crate) tallies: [SharedTally; 2],
}

impl Play {
    /// Joins, and plays for a while.
    pub(crate) fn new(settings: PairWorldSettings) -> Self {
        let mut pair = PairWorld::new(settings);
        let tallies = [SharedTally::default(), SharedTally::default()];
        for (host, tally) in [pair.left, pair.right].into_iter().zip(&tallies) {
            let streams = Streams::new(tally.clone());
            pair.act(host, |player, _| player.play(Box::new(streams)));
        }
        assert!(pair.prepare(), "not ready");
        pair.request();
        assert!(pair.wait(12 * SECOND, PairWorld::is_played), "not played");
        let mut play = Self { pair, tallies };
        play.run(15 * SECOND);
        play
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.pair.world.now() + time;
        self.pair.world.run_until(end);
    }

    /// Counts the unreliable messages that arrived in the last second, on the side that got fewer.
    pub(crate) fn flow(&self) -> usize {
        let since = self.pair.world.instant() - SECOND;
        let lately = |tally: &SharedTally| {
            tally.borrow().unreliable_got.values().filter(|arrived| **arrived > since).count()
        };
        self.tallies.iter().map(lately).min().unwrap_or(0)
    }
}
