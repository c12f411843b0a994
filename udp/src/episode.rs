//! What comes again and again is told once.

use std::time::{Duration, Instant};

/// Two things of a kind that are farther apart belong to different episodes. This is longer than any pause between
/// two tries ([`Socket::mend`](crate::Socket::mend): five seconds), so a fault that lasts is one episode.
const QUIET: Duration = Duration::from_secs(10);

/// Errors of one kind, of which a fault may bring one with each datagram: the first of an episode is worth a line in a log.
///
/// An episode ends when nothing of the kind has happened for ten seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Episode {
    last: Option<Instant>,
}

impl Episode {
    /// One more happens at `now`. True: an episode begins with it.
    pub fn begins(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_what_comes_back_is_told_again() {
        let mut now = Instant::now();
        let mut episode = Episode::default();
        let told = (0..1000).filter(|_| {
            now += Duration::from_millis(9_999);
            episode.begins(now)
        });
        assert_eq!(told.count(), 1, "two hours and a half of it");
        assert!(episode.begins(now + QUIET), "it is back");
        assert!(!episode.begins(now + QUIET));
    }
}
