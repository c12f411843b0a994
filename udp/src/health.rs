//! When a socket whose receive call fails is read again.

use std::io;
use std::time::{Duration, Instant};

use crate::episode::Episode;

/// This is what the system says of a datagram that is longer than its way takes.
#[cfg(unix)]
pub(crate) const TOO_LONG: i32 = rustix::io::Errno::MSGSIZE.raw_os_error();
/// Windows says the same by this: WSAEMSGSIZE.
#[cfg(not(unix))]
pub(crate) const TOO_LONG: i32 = 10040;

/// After at most this many failed calls in a row the next one follows at once.
const AT_ONCE: u32 = 16;
/// This is the same for errors of earlier sends, which the system reports one with each call (Windows does), with
/// datagrams waiting behind them: a search sends 200 datagrams a second, for seconds, to ports that may be closed.
const OF_SENDS_AT_ONCE: u32 = 2048;
/// The first pause takes this long; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// This is the longest pause between two tries to read from a socket that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A socket whose every call has failed for this long is broken. The pauses add up to it after some 28 failures, so
/// it is never the first hiccup.
const BROKEN_AFTER: Duration = Duration::from_secs(2);

/// This is how the receive calls of one socket have gone lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    failures: u32,
    first_failure: Option<Instant>,
    retry_at: Option<Instant>,
    episode: Episode,
}

impl Health {
    /// Notes that a call brought datagrams, or found none.
    pub fn succeeded(&mut self) {
        *self = Self { episode: self.episode, ..Self::default() };
    }

    /// Notes that a call failed at `now`. Returns true if an [`Episode`] begins with it.
    pub fn failed(&mut self, now: Instant, error: &io::Error) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.first_failure.get_or_insert(now);
        let at_once = if of_an_earlier_send(error) { OF_SENDS_AT_ONCE } else { AT_ONCE };
        self.retry_at = self.failures.checked_sub(at_once).map(|late| {
            let doubled = FIRST_PAUSE.saturating_mul(1 << late.min(16));
            now + doubled.min(LONGEST_PAUSE)
        });
        self.episode.begins(now)
    }

    /// Returns the instant from which on the socket should be read again; none: at once.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns whether every call has failed for two seconds: the socket should be opened anew.
    pub fn is_broken(&self, now: Instant) -> bool {
        self.retry_at.is_some()
            && self.first_failure.is_some_and(|first| now.saturating_duration_since(first) >= BROKEN_AFTER)
    }
}

/// WSAENETRESET: a datagram's hop limit was used up on its way, as is meant with some bubbles. It has no kind of its own.
const HOP_LIMIT_USED_UP: i32 = 10052;

/// Returns whether a receive call reports what an ICMP message said of an earlier send: this says nothing about the
/// socket.
fn of_an_earlier_send(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionReset | ConnectionRefused | HostUnreachable | NetworkUnreachable)
        || cfg!(windows) && error.raw_os_error() == Some(HOP_LIMIT_USED_UP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_earlier_sends_are_read_through_and_do_not_spin_for_ever() {
        let now = Instant::now();
        let (mut health, error) = (Health::default(), io::Error::from(io::ErrorKind::ConnectionReset));
        for _ in 0..OF_SENDS_AT_ONCE - 1 {
            health.failed(now, &error);
            assert_eq!(health.retry_at(), None);
        }
        health.failed(now, &error);
        assert!(health.retry_at().is_some_and(|at| at > now));
    }

    #[test]
    fn a_few_errors_cost_nothing_and_lasting_ones_are_waited_out_and_end_in_a_new_socket() {
        let start = Instant::now();
        let (mut health, error) = (Health::default(), io::Error::from(io::ErrorKind::NotConnected));
        assert!(health.failed(start, &error), "the first one is told");
        for _ in 2..AT_ONCE {
            assert!(!health.failed(start, &error));
            assert_eq!(health.retry_at(), None);
        }
        let (mut now, mut calls) = (start, 0);
        while !health.is_broken(now) {
            health.failed(now, &error);
            calls += 1;
            now = health.retry_at().expect("a pause");
            assert!(now > start && calls < 100, "it neither spins nor takes for ever");
        }
        assert!(now >= start + BROKEN_AFTER && now <= start + 2 * BROKEN_AFTER);
        health.succeeded();
        assert!(!health.is_broken(now) && health.retry_at().is_none());
        assert!(!health.failed(now, &error), "a datagram between two errors does not make each of them news");
    }
}
