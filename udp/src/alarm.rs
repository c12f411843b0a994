//! Wakes a poll at an instant that its own timeout would miss.
//!
//! Windows counts a poll's timeout in steps of 15.6 ms (64 a second), while searches send every 5 ms. `std::thread::sleep` is
//! exact there: the standard library asks for a high-resolution timer (Windows 10, version 1803, and later; before that, steps
//! it is). But a thread that sleeps hears no socket. So a thread of its own sleeps, and then wakes the poll, which goes on
//! listening meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Waker;

/// The timeouts of Windows have steps of 15.625 ms; this is one, rounded up. A wait that is longer may end late by one
/// step: only shorter ones are paces.
const STEP: Duration = Duration::from_millis(16);
/// No sleep is longer than this: after it a wish for an earlier instant is seen.
const SLICE: Duration = Duration::from_millis(2);

/// This is a wake-up for a poll, for the short waits that the system's own timeouts make too long.
///
/// On systems whose polls end in time (all but Windows) it does nothing, and has no thread.
#[derive(Debug)]
pub struct Alarm {
    running: Option<(Arc<Shared>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Shared {
    wish: Mutex<Wish>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wish {
    at: Option<Instant>,
    stop: bool,
}

impl Shared {
    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps and wakes, until it is dropped.
    fn run(&self, waker: &Waker) {
        let mut wish = self.wish();
        while !wish.stop {
            let Some(at) = wish.at else {
                wish = self.changed.wait(wish).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                wish.at = None;
            }
            drop(wish);
            if left.is_zero() {
                // One that cannot be woken ends its wait by itself, a step later.
                let _ = waker.wake();
            } else {
                std::thread::sleep(left.min(SLICE));
            }
            wish = self.wish();
        }
    }
}

/// Returns the instant that a poll must be woken at which begins at `now`, where its timeout alone would come late.
fn wake_at(now: Instant, wait: Option<Duration>) -> Option<Instant> {
    wait.filter(|wait| !wait.is_zero() && *wait < STEP).map(|wait| now + wait)
}

impl Alarm {
    /// Makes an alarm for the poll of this waker. Where the system gives no thread for it, the poll's own timeouts have
    /// to do.
    pub fn new(waker: Arc<Waker>) -> Self {
        if cfg!(windows) { Self::start(waker) } else { Self { running: None } }
    }

    fn start(waker: Arc<Waker>) -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("traversal-alarm".into());
        let thread = thread.spawn(move || of_thread.run(&waker)).ok();
        Self { running: thread.map(|thread| (shared, thread)) }
    }

    /// Takes note of the timeout, `wait`, of a poll that begins at `now`: where the system would end the poll late, it is
    /// woken in time. Call it before each poll; what was said before counts no more.
    pub fn set(&self, now: Instant, wait: Option<Duration>) {
        let Some((shared, _)) = &self.running else { return };
        let at = wake_at(now, wait);
        let mut wish = shared.wish();
        wish.at = at;
        drop(wish);
        if at.is_some() {
            shared.changed.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some((shared, thread)) = self.running.take() else { return };
        shared.wish().stop = true;
        shared.changed.notify_one();
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    const WAKE: Token = Token(7);
    /// This is a poll's timeout that no test waits for.
    const NEVER: Duration = Duration::from_secs(60);

    #[test]
    fn only_waits_that_are_shorter_than_a_step_have_the_alarm() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        for wait in [None, Some(Duration::ZERO), Some(ms(16)), Some(ms(400))] {
            assert_eq!(wake_at(now, wait), None, "{wait:?}");
        }
        for wait in [Duration::from_nanos(1), ms(5), ms(15)] {
            assert_eq!(wake_at(now, Some(wait)), Some(now + wait));
        }
    }

    /// Runs on every system, also where [`Alarm::new`] has no thread.
    #[test]
    fn it_wakes_a_poll_not_before_the_instant_and_only_for_the_last_wish() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        let alarm = Alarm::start(waker);
        let mut events = Events::with_capacity(4);
        for wait in [1, 5, 15, 5].map(Duration::from_millis) {
            let now = Instant::now();
            alarm.set(now, Some(wait));
            poll.poll(&mut events, Some(NEVER)).unwrap();
            assert!(events.iter().any(|event| event.token() == WAKE));
            assert!((wait..NEVER).contains(&now.elapsed()), "{:?}", now.elapsed());
        }
        // An earlier instant counts, though the thread sleeps already.
        alarm.set(Instant::now() + 2 * NEVER, Some(SLICE));
        alarm.set(Instant::now(), Some(SLICE));
        poll.poll(&mut events, Some(NEVER)).unwrap();
        assert!(!events.is_empty());
        let (now, wait) = (Instant::now(), STEP - SLICE);
        alarm.set(now, Some(wait));
        alarm.set(now, None);
        let in_time = now.elapsed() < wait;
        poll.poll(&mut events, Some(2 * STEP)).unwrap();
        assert!(events.is_empty() || !in_time, "it was called off");
    }

    #[test]
    fn an_alarm_ends_with_its_owner_and_has_no_thread_where_polls_are_exact() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        let alarm = Alarm::start(Arc::clone(&waker));
        alarm.set(Instant::now(), Some(SLICE));
        drop(alarm);
        assert_eq!(Arc::strong_count(&waker), 1, "the thread is gone");
        assert_eq!(Alarm::new(waker).running.is_some(), cfg!(windows));
    }
}
