//! How long an idle mapping lives (M31's period adapts to it), measured in the background.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::RttEstimate;

/// What the search wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeOrder {
    /// Open a fresh socket.
    OpenSocket {
        /// To be called so.
        slot: u16,
    },
    /// Send a [`Report`](crate::wire::message::ProbePurpose::Report) probe from it, always to the same socket of
    /// the server.
    Probe {
        /// From which.
        slot: u16,
        /// Comes back with the answer.
        tag: u32,
    },
    /// It is not needed any more.
    CloseSocket {
        /// Which.
        slot: u16,
    },
}

/// Sends a probe from a fresh socket, keeps silent, and probes again: the same external port means that the
/// mapping was still there. One socket a silence, all at once, so the search ends after the longest of them.
///
/// Tells something only where a new mapping gets a new port, so not with port-preserving NATs.
#[derive(Debug)]
pub struct LifetimeSearch {
    trials: Vec<Trial>,
    orders: VecDeque<LifetimeOrder>,
    rtt: RttEstimate,
}

#[derive(Debug)]
struct Trial {
    silence: Duration,
    first: Option<SocketAddr>,
    tries: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Opening,
    Asking { again: bool, until: Instant },
    Silent { until: Instant },
    Done { lived: Option<bool> },
}

/// Timeouts in use are 20 s (some CGNs), 30 s and 120 s (Linux), 60 s, and the 2 minutes that RFC 4787 demands:
/// each silence lies just below one, the last one above all.
const SILENCES: [u64; 5] = [18, 28, 58, 118, 178];
const TRIES: u32 = 4;

impl LifetimeSearch {
    /// Starts with opening its sockets.
    pub fn new(rtt: RttEstimate) -> Self {
        let trial =
            |s: u64| Trial { silence: Duration::from_secs(s), first: None, tries: 0, state: State::Opening };
        Self {
            trials: SILENCES.map(trial).into(),
            orders: (0..SILENCES.len() as u16).map(|slot| LifetimeOrder::OpenSocket { slot }).collect(),
            rtt,
        }
    }

    /// Input: a socket is open, or could not be opened.
    pub fn handle_socket(&mut self, now: Instant, slot: u16, open: bool) {
        let Some(trial) = self.trials.get_mut(usize::from(slot)) else { return };
        if trial.state != State::Opening {
            return;
        }
        if open {
            self.ask(now, slot, false);
        } else {
            trial.state = State::Done { lived: None };
        }
    }

    /// Input: a probe was seen there.
    pub fn handle_seen(&mut self, now: Instant, tag: u32, observed: SocketAddr) {
        let slot = tag as u16;
        let Some(trial) = self.trials.get_mut(usize::from(slot)) else { return };
        match trial.state {
            State::Asking { again: false, .. } => {
                trial.first = Some(observed);
                trial.state = State::Silent { until: now + trial.silence };
            }
            State::Asking { again: true, .. } => {
                let lived = trial.first == Some(observed);
                self.finish(slot, Some(lived));
            }
            _ => {}
        }
    }

    /// Input: [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.trials.len() as u16 {
            let trial = &mut self.trials[usize::from(slot)];
            match trial.state {
                State::Silent { until } if until <= now => {
                    trial.tries = 0;
                    self.ask(now, slot, true);
                }
                State::Asking { until, .. } if until <= now && trial.tries >= TRIES => {
                    self.finish(slot, None)
                }
                State::Asking { again, until } if until <= now => self.ask(now, slot, again),
                _ => {}
            }
        }
    }

    fn ask(&mut self, now: Instant, slot: u16, again: bool) {
        let trial = &mut self.trials[usize::from(slot)];
        let patience = self.rtt.overdue() * 2u32.saturating_pow(trial.tries);
        trial.tries += 1;
        trial.state = State::Asking { again, until: now + patience };
        self.orders.push_back(LifetimeOrder::Probe { slot, tag: slot.into() });
    }

    fn finish(&mut self, slot: u16, lived: Option<bool>) {
        self.trials[usize::from(slot)].state = State::Done { lived };
        self.orders.push_back(LifetimeOrder::CloseSocket { slot });
    }

    /// Output: what to do next.
    pub fn poll_order(&mut self) -> Option<LifetimeOrder> {
        self.orders.pop_front()
    }

    /// Output: when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |t: &Trial| match t.state {
            State::Asking { until, .. } | State::Silent { until } => Some(until),
            State::Opening | State::Done { .. } => None,
        };
        self.trials.iter().filter_map(due).min()
    }

    /// All silences are over.
    pub fn is_done(&self) -> bool {
        self.trials.iter().all(|t| matches!(t.state, State::Done { .. }))
    }

    /// The longest silence that a mapping has outlived, with no shorter one that it has not; so it lives at least
    /// so long. Grows while the search runs.
    pub fn lives_at_least(&self) -> Option<Duration> {
        self.trials
            .iter()
            .take_while(|t| t.state != State::Done { lived: Some(false) })
            .filter(|t| t.state == State::Done { lived: Some(true) })
            .map(|t| t.silence)
            .last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A NAT that counts and forgets a mapping after `lifetime`.
    fn search(lifetime: u64, lose_every: u32) -> (Option<Duration>, Duration) {
        let start = Instant::now();
        let mut now = start;
        let mut search = LifetimeSearch::new(RttEstimate::new(Some(Duration::from_millis(50))));
        let (mut port, mut sent) = (40_000u16, 0u32);
        let mut mapped: std::collections::BTreeMap<u16, (u16, Instant)> = std::collections::BTreeMap::new();
        while !search.is_done() {
            while let Some(order) = search.poll_order() {
                match order {
                    LifetimeOrder::OpenSocket { slot } => search.handle_socket(now, slot, true),
                    LifetimeOrder::CloseSocket { .. } => {}
                    LifetimeOrder::Probe { slot, tag } => {
                        sent += 1;
                        let entry = mapped.entry(slot).or_insert((0, now));
                        if entry.0 == 0 || now - entry.1 > Duration::from_secs(lifetime) {
                            port += 1;
                            entry.0 = port;
                        }
                        entry.1 = now;
                        if lose_every == 0 || !sent.is_multiple_of(lose_every) {
                            search.handle_seen(now, tag, SocketAddr::from(([198, 51, 100, 1], entry.0)));
                        }
                    }
                }
            }
            let Some(due) = search.poll_timeout() else { break };
            now = due;
            search.handle_timeout(now);
        }
        (search.lives_at_least(), now - start)
    }

    #[test]
    fn m31_finds_the_timeouts_in_use() {
        for (lifetime, at_least) in [(20, 18), (30, 28), (60, 58), (120, 118), (300, 178)] {
            assert_eq!(search(lifetime, 0).0, Some(Duration::from_secs(at_least)), "{lifetime}");
        }
        assert_eq!(search(5, 0).0, None);
    }

    #[test]
    fn m31_is_bounded_and_outlives_loss() {
        let (found, took) = search(120, 3);
        assert_eq!(found, Some(Duration::from_secs(118)));
        assert!(took < Duration::from_secs(190), "{took:?}");
        let (_, nothing_answers) = search(120, 1);
        assert!(nothing_answers < Duration::from_secs(60));
    }
}
