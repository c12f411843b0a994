//! What a driver does about a core that breaks the run-loop contract.

use std::time::{Duration, Instant};

/// Keeps a driver's thread from running hot, should [`Agent`](crate::Agent) (or the lobby server's core) ask again and
/// again for an instant that has passed.
///
/// The contract forbids that, and the simulator fails any run in which it happens; this is the belt to those braces. A
/// driver tells the guard of each wake-up and sleeps at least [`least_wait`](Self::least_wait), unless a socket is
/// ready. A core that keeps the contract is never slowed down.
#[derive(Clone, Copy, Debug, Default)]
pub struct WakeGuard {
    in_vain: u32,
    told: bool,
}

impl WakeGuard {
    /// This many wake-ups in a row may end in a wish for the same instant: what one part of the core finds out may make
    /// several others due, each of which sends something.
    pub const PATIENCE: u32 = 64;
    /// This much is slept from then on between two wake-ups: it is short against any round trip to another player over
    /// the internet, and with it a faulty core costs under 1 % of a processor.
    pub const REST: Duration = Duration::from_millis(10);

    /// The core's `handle_timeout` was called with `now`, and its `poll_timeout` says `next`. True once in the guard's
    /// life: the core breaks its contract, which should be logged.
    pub fn woken(&mut self, now: Instant, next: Option<Instant>) -> bool {
        if next.is_none_or(|next| next > now) {
            self.in_vain = 0;
            return false;
        }
        self.in_vain = self.in_vain.saturating_add(1);
        self.in_vain > Self::PATIENCE && !std::mem::replace(&mut self.told, true)
    }

    /// Returns the least time to sleep while no socket is ready; zero for a core that keeps its contract.
    pub fn least_wait(&self) -> Duration {
        if self.in_vain > Self::PATIENCE { Self::REST } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_instant_many_times_over_is_told_once_and_waited_out() {
        let start = Instant::now();
        let mut guard = WakeGuard::default();
        let told = (0..1000).filter(|_| guard.woken(start, Some(start))).count();
        assert_eq!((told, guard.least_wait()), (1, WakeGuard::REST));
        assert!(!guard.woken(start, Some(start + Duration::from_millis(1))), "all is well again");
        assert_eq!(guard.least_wait(), Duration::ZERO);
        let told = (0..1000).filter(|_| guard.woken(start, Some(start))).count();
        assert_eq!((told, guard.least_wait()), (0, WakeGuard::REST), "it was told before");
    }

    #[test]
    fn a_core_that_asks_for_later_instants_is_never_slowed_down() {
        let start = Instant::now();
        let mut guard = WakeGuard::default();
        for n in 0..1000 {
            let now = start + Duration::from_nanos(n);
            assert!(!guard.woken(now, Some(now + Duration::from_nanos(1))));
            assert!(!guard.woken(now, None));
            assert_eq!(guard.least_wait(), Duration::ZERO);
        }
    }
}
