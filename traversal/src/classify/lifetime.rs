//! How long an idle mapping lives (M31's period adapts to it), measured in the background.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::RttEstimate;
use crate::wire::port_report::PortReport;

#[cfg(test)]
mod tests;

/// This is what the search wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeOrder {
    /// Open a fresh socket.
    OpenSocket {
        /// This is the number that the socket is called by from now on.
        slot: u16,
    },
    /// Send a [`SignedReport`](crate::wire::message::ProbePurpose::SignedReport) probe from it to the server, always to
    /// the same socket of the server. Nothing else may ever leave from it.
    Probe {
        /// This is the socket that it leaves from.
        slot: u16,
    },
    /// Ask the server, from the session's own socket, for a [`Knock`](crate::wire::message::ProbePurpose::Knock).
    Knock {
        /// The socket whose mapping is knocked at.
        slot: u16,
        /// This is the report that the server gave of the mapping.
        report: PortReport,
    },
    /// It is not needed any more.
    CloseSocket {
        /// This is the socket to be closed.
        slot: u16,
    },
}

/// This says how long an idle mapping lives, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// The mapping has survived a silence of this length. `None`: no such bound was found.
    pub at_least: Option<Duration>,
    /// The mapping lives for less than this. `None`: no such bound was found.
    pub below: Option<Duration>,
}

/// Has the server send to a mapping after a silence, while the socket behind it stays silent (RFC 5780 section 4.6, RFC
/// 3489 section 10.1.4): what arrives shows that the mapping was still there, with whatever NAT, even one that gives the
/// same port again. One socket a silence, all at once, so the search ends after the longest of them.
///
/// The request travels by the session, whose own mapping is another one. The server acknowledges each knock there, so that
/// a lost request, a server that refuses or one that was restarted is not taken for a mapping that is gone. A NAT that
/// refreshes on inbound traffic makes no difference: the first knock that arrives is the last one of its mapping.
#[derive(Debug)]
pub struct LifetimeSearch {
    trials: Vec<Trial>,
    orders: VecDeque<LifetimeOrder>,
    rtt: RttEstimate,
}

#[derive(Debug)]
struct Trial {
    silence: Duration,
    report: Option<PortReport>,
    tries: u32,
    acknowledged: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Opening,
    Asking { until: Instant },
    Silent { until: Instant },
    Knocking { until: Instant },
    Done { lived: Option<bool> },
}

/// Timeouts in use are 10 s (a few carriers), 20 s (some CGNs), 30 s and 120 s (Linux), 60 s, and the 2 minutes that RFC
/// 4787 demands: each silence lies just below one, the last one above all. What was lost and asked for again fits between.
const SILENCES: [u64; 6] = [8, 18, 28, 58, 118, 178];
/// At 10 % loss each way, all are lost once in 20,000 times.
const TRIES: u32 = 6;
/// Knocks that the server has sent in vain before the mapping counts as gone: at 10 % loss all of them are lost once in
/// 10,000 times.
const KNOCKS: u32 = 4;
/// So many requests are made for them at the most.
const REQUESTS: u32 = 12;

impl LifetimeSearch {
    /// This is the longest silence that is tried: a search takes this and a few round trips.
    pub const LONGEST: Duration = Duration::from_secs(SILENCES[SILENCES.len() - 1]);

    /// Starts with opening its sockets.
    pub fn new(rtt: RttEstimate) -> Self {
        let trial = |s: u64| Trial {
            silence: Duration::from_secs(s),
            report: None,
            tries: 0,
            acknowledged: 0,
            state: State::Opening,
        };
        Self {
            trials: SILENCES.map(trial).into(),
            orders: (0..SILENCES.len() as u16).map(|slot| LifetimeOrder::OpenSocket { slot }).collect(),
            rtt,
        }
    }

    /// Takes an input: a socket is open, or could not be opened.
    pub fn handle_socket(&mut self, now: Instant, slot: u16, open: bool) {
        let Some(trial) = self.trials.get_mut(usize::from(slot)) else { return };
        if trial.state != State::Opening {
            return;
        }
        if open {
            self.ask(now, slot);
        } else {
            trial.state = State::Done { lived: None };
        }
    }

    /// Takes an input: the server has seen a probe of this slot.
    pub fn handle_report(&mut self, now: Instant, slot: u16, report: PortReport) {
        let Some(trial) = self.trials.get_mut(usize::from(slot)) else { return };
        // The answer to a probe that was sent again may refresh the mapping: the silence begins anew.
        if matches!(trial.state, State::Asking { .. } | State::Silent { .. }) {
            trial.report = Some(report);
            trial.state = State::Silent { until: now + trial.silence };
        }
    }

    /// Takes an input: the server has sent to this slot's mapping once.
    pub fn handle_acknowledged(&mut self, now: Instant, slot: u16) {
        let overdue = self.rtt.overdue();
        let Some(trial) = self.trials.get_mut(usize::from(slot)) else { return };
        if let State::Knocking { .. } = trial.state {
            trial.acknowledged += 1;
            if trial.acknowledged == KNOCKS {
                // It left the server when this word did.
                trial.state = State::Knocking { until: now + overdue };
            }
        }
    }

    /// Takes an input: what the server has sent to this slot's mapping came in, at this slot's socket.
    pub fn handle_knock(&mut self, slot: u16) {
        if self
            .trials
            .get(usize::from(slot))
            .is_some_and(|trial| matches!(trial.state, State::Knocking { .. }))
        {
            self.finish(slot, Some(true));
        }
    }

    /// Takes an input: [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in 0..self.trials.len() as u16 {
            let trial = &mut self.trials[usize::from(slot)];
            match trial.state {
                State::Silent { until } if until <= now => {
                    trial.tries = 0;
                    self.knock(now, slot);
                }
                State::Asking { until } if until <= now && trial.tries >= TRIES => self.finish(slot, None),
                State::Asking { until } if until <= now => self.ask(now, slot),
                State::Knocking { until } if until <= now => {
                    if trial.acknowledged >= KNOCKS {
                        self.finish(slot, Some(false));
                    } else if trial.tries > REQUESTS {
                        self.finish(slot, None);
                    } else {
                        self.knock(now, slot);
                    }
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, now: Instant, slot: u16) {
        let trial = &mut self.trials[usize::from(slot)];
        let patience = self.rtt.overdue() * 2u32.saturating_pow(trial.tries).min(8);
        trial.tries += 1;
        trial.state = State::Asking { until: now + patience };
        self.orders.push_back(LifetimeOrder::Probe { slot });
    }

    /// Asks for a knock, and again after half the time in which it would arrive: silence is the answer of a mapping that is
    /// gone, so nothing is gained by waiting. After the last request it is waited for.
    fn knock(&mut self, now: Instant, slot: u16) {
        let trial = &mut self.trials[usize::from(slot)];
        trial.tries += 1;
        let Some(report) = trial.report.filter(|_| trial.tries <= REQUESTS) else {
            trial.state = State::Knocking { until: now + self.rtt.overdue() };
            return;
        };
        trial.state = State::Knocking { until: now + self.rtt.overdue() / 2 };
        self.orders.push_back(LifetimeOrder::Knock { slot, report });
    }

    fn finish(&mut self, slot: u16, lived: Option<bool>) {
        self.trials[usize::from(slot)].state = State::Done { lived };
        self.orders.push_back(LifetimeOrder::CloseSocket { slot });
    }

    /// Returns what to do next.
    pub fn poll_order(&mut self) -> Option<LifetimeOrder> {
        self.orders.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |t: &Trial| match t.state {
            State::Asking { until } | State::Silent { until } | State::Knocking { until } => Some(until),
            State::Opening | State::Done { .. } => None,
        };
        self.trials.iter().filter_map(due).min()
    }

    /// Returns whether all silences are over.
    pub fn is_done(&self) -> bool {
        self.trials.iter().all(|t| matches!(t.state, State::Done { .. }))
    }

    /// Returns what is known so far: the shortest silence that a mapping has not outlived, and the longest one below
    /// that it has. Gets better while the search runs.
    pub fn lifetime(&self) -> Lifetime {
        let ended = |lived| move |t: &&Trial| t.state == State::Done { lived: Some(lived) };
        let below = self.trials.iter().find(ended(false)).map(|t| t.silence);
        let mut shorter = self.trials.iter().filter(|t| below.is_none_or(|below| t.silence < below));
        Lifetime { at_least: shorter.rfind(ended(true)).map(|t| t.silence), below }
    }
}
