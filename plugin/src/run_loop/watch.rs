//! Whether the app still ticks.

use std::time::{Duration, Instant};

/// A thread that wakes so much later than it wanted was not let run.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// This is what is known of the app's ticks.
#[derive(Debug)]
pub(super) struct AppWatch {
    ticks: u64,
    last_tick: Instant,
    /// This thread wanted to run again at this time.
    wake_at: Option<Instant>,
    timeout: Duration,
    stalled: bool,
}

/// This is what a look at the app has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It has ticked since the last look.
    Ticked,
    /// It has not, and not for so long that its players are let go. Told once.
    Stalled,
    /// It has not, which is no news.
    Same,
}

impl AppWatch {
    pub(super) fn new(now: Instant, timeout: Duration) -> Self {
        Self { ticks: 0, last_tick: now, wake_at: None, timeout, stalled: false }
    }

    /// The thread sleeps now, until then if nothing comes.
    pub(super) fn sleeps(&mut self, until: Option<Instant>) {
        self.wake_at = until;
    }

    /// Returns when the app counts as stalled; none: it does so already.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        (!self.stalled).then(|| self.last_tick + self.timeout)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Looks at the app's count of its ticks.
    pub(super) fn look(&mut self, now: Instant, ticks: u64) -> Look {
        // A machine or a process that slept is no game that does not tick: this thread did not run either.
        let overslept = self.wake_at.take().map(|at| now.saturating_duration_since(at));
        if let Some(overslept) = overslept.filter(|overslept| *overslept >= OVERSLEPT) {
            self.last_tick += overslept;
        }
        if ticks != self.ticks {
            (self.ticks, self.last_tick, self.stalled) = (ticks, now, false);
            return Look::Ticked;
        }
        if self.stalled || now.saturating_duration_since(self.last_tick) < self.timeout {
            return Look::Same;
        }
        self.stalled = true;
        Look::Stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_app_that_does_not_tick_is_told_once_and_may_tick_again() {
        let start = Instant::now();
        let mut watch = AppWatch::new(start, 30 * SECOND);
        assert_eq!(watch.look(start + 10 * SECOND, 1), Look::Ticked);
        assert_eq!(watch.stalls_at(), Some(start + 40 * SECOND));
        assert_eq!(watch.look(start + 39 * SECOND, 1), Look::Same);
        assert_eq!(watch.look(start + 40 * SECOND, 1), Look::Stalled);
        assert_eq!(watch.look(start + 41 * SECOND, 1), Look::Same);
        assert_eq!(watch.stalls_at(), None);
        assert_eq!(watch.look(start + 42 * SECOND, 2), Look::Ticked);
    }

    #[test]
    fn a_process_that_was_stopped_is_no_app_that_does_not_tick() {
        let start = Instant::now();
        let mut watch = AppWatch::new(start, 30 * SECOND);
        assert_eq!(watch.look(start, 1), Look::Ticked);
        watch.sleeps(Some(start + SECOND));
        // Stopped for 50 s; the network thread runs first afterwards.
        assert_eq!(watch.look(start + 51 * SECOND, 1), Look::Same);
        assert_eq!(watch.stalls_at(), Some(start + 80 * SECOND));
        // A thread that was only busy does not excuse the app.
        watch.sleeps(Some(start + 79 * SECOND));
        assert_eq!(watch.look(start + 80 * SECOND - OVERSLEPT / 2, 1), Look::Same);
        assert_eq!(watch.look(start + 80 * SECOND, 1), Look::Stalled);
    }
}
