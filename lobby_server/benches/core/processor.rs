//! How much processor time this thread has used.

use std::time::Duration;
#[cfg(not(target_os = "linux"))]
use std::time::Instant;

/// This is a point in the thread's own time: what other programs do meanwhile does not count. Where the system does not say
/// it, all time counts.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    #[cfg(target_os = "linux")]
    at: Duration,
    #[cfg(not(target_os = "linux"))]
    at: Instant,
}

impl Used {
    pub(crate) fn now() -> Self {
        #[cfg(target_os = "linux")]
        {
            // The kernel counts a running thread's time when it looks at it: this makes it look.
            std::thread::yield_now();
            let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            let nanoseconds = line.split_whitespace().next().unwrap().parse().unwrap();
            Self { at: Duration::from_nanos(nanoseconds) }
        }
        #[cfg(not(target_os = "linux"))]
        Self { at: Instant::now() }
    }

    pub(crate) fn since(self) -> Duration {
        #[cfg(target_os = "linux")]
        {
            Self::now().at - self.at
        }
        #[cfg(not(target_os = "linux"))]
        {
            self.at.elapsed()
        }
    }
}

/// Returns how much processor time this takes, in microseconds for each of `count`.
pub(crate) fn microseconds(count: u32, work: impl FnOnce()) -> f64 {
    let before = Used::now();
    work();
    before.since().as_secs_f64() * 1e6 / f64::from(count)
}
