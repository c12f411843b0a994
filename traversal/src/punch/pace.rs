//! A steady rate of sending, however late the wake-ups come.

use std::time::{Duration, Instant};

/// New bindings are made no faster than one in 5 ms (RFC 8445 section 14).
pub(super) const PACE: Duration = Duration::from_millis(5);

/// A wake-up makes up for so much of its lateness, so at most ten datagrams leave in a row at [`PACE`]. Windows wakes
/// a program in steps of 15.6 ms, and a busy machine lets it wait for one or two more; after a longer pause (a
/// suspended machine, a debugger) what was not sent is sent later, not in a burst.
const CATCH_UP: Duration = Duration::from_millis(50);

/// Returns when the next one of a row is due that are `gap` apart: this one was due at `due`, and is sent at `now`.
pub(super) fn next_due(due: Instant, now: Instant, gap: Duration) -> Instant {
    let late = now.saturating_duration_since(due);
    due + late.saturating_sub(CATCH_UP) + gap
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends in `time` when woken in steps of `step`, and the most at one wake-up.
    fn sent(start: Instant, time: Duration, step: Duration) -> (u32, u32) {
        let (mut due, mut now, mut sent, mut most) = (start, start, 0, 0);
        while now < start + time {
            let before = sent;
            while due <= now {
                due = next_due(due, now, PACE);
                sent += 1;
            }
            most = most.max(sent - before);
            now += step;
        }
        (sent, most)
    }

    #[test]
    fn coarse_timers_send_as_much_as_exact_ones() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(sent(start, second, Duration::from_millis(1)), (200, 1));
        let (count, most) = sent(start, second, Duration::from_micros(15_625));
        assert!((197..=200).contains(&count) && most == 4, "{count}, at most {most} at once");
    }

    #[test]
    fn a_long_pause_is_no_burst() {
        let start = Instant::now();
        for pause in [Duration::from_millis(60), Duration::from_secs(2), Duration::from_secs(7200)] {
            let (mut due, mut burst, now) = (start, 0, start + pause);
            while due <= now {
                due = next_due(due, now, PACE);
                burst += 1;
            }
            assert!((10..=12).contains(&burst), "{burst} after {pause:?}");
            assert!(due <= now + PACE, "and the rate goes on");
        }
    }
}
