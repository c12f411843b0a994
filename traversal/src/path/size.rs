//! The longest datagram that passes one way: found by probing, and lost again when it stops passing (DPLPMTUD, RFC 8899).
//!
//! A probe is a test message that is padded. It goes only to an address that has confirmed a short one, and is answered by a
//! short confirmation. Lengths are those of UDP's content, a relay's header included.

use std::time::{Duration, Instant};

use crate::pulse::Pulse;
use crate::wire::sizes::{FULL_DATAGRAM, LEAST_DATAGRAM, MAX_DATAGRAM, MAX_DATAGRAM_V6};

/// The search ends when no more than this is left to be found, in bytes.
const GRAIN: usize = 8;
/// Between two probes of one length, once the first is late.
const HURRY: Duration = Duration::from_millis(30);
/// It is asked so often whether long datagrams still pass, while the game sends some.
const CONFIRM: Duration = Duration::from_millis(250);
/// Longer ones are tried again after so long (RFC 8899 section 5.1.1: PMTU_RAISE_TIMER).
const RAISE: Duration = Duration::from_secs(600);
/// A way that does not carry [`FULL_DATAGRAM`] is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);
/// So many probes in a row without an answer, at the usual loss, end the search for a length (RFC 8899: MAX_PROBES).
const TOO_LONG: f32 = 3.0;
/// So many losses speak against the length in use.
const LOST: f32 = 4.0;
/// This is the same for the length that makes a way a full one: the game may move by it.
const LESSER: f32 = 6.0;
/// So many further probes leave while short tests are not answered either; then the way is dead, whatever passes it.
const NO_SIGN: usize = 8;

/// This is what a way is worth by what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carries {
    /// Only short datagrams arrive.
    Short,
    /// It is not known yet.
    Unknown,
    /// Datagrams of [`FULL_DATAGRAM`] bytes at the least arrive.
    Full,
}

/// These are the states of RFC 8899 section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// [`FULL_DATAGRAM`] is being tried.
    Base,
    /// It did not pass.
    Error,
    /// Longer datagrams are being tried.
    Search,
    /// The longest is found.
    Complete,
}

/// This is one length under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    length: usize,
    probes: usize,
    /// This counts the short tests that left meanwhile and were answered: the way was not dead.
    alive: usize,
    first: Instant,
    last: Instant,
    next: Instant,
}

impl Trial {
    fn new(now: Instant, length: usize) -> Self {
        Self { length, probes: 0, alive: 0, first: now, last: now, next: now }
    }
}

/// This is the search on one way.
#[derive(Clone, Debug)]
pub(crate) struct SizeSearch {
    phase: Phase,
    present: usize,
    /// Nothing of this length or above is tried.
    too_long: usize,
    limit: usize,
    /// This is what passed before it was lost.
    before: Option<usize>,
    trial: Option<Trial>,
    /// The way was too narrow for full datagrams before, and has not shown that it takes them by now.
    doubtful: bool,
    /// [`FULL_DATAGRAM`] did not pass so often.
    errors: u32,
    /// This says when more is tried again.
    again: Option<Instant>,
    /// The longest datagram of the game's since it was last asked whether such pass.
    used: usize,
    /// This says when that may be asked next.
    confirm_at: Option<Instant>,
}

impl SizeSearch {
    /// Returns the search on a way of which nothing is known.
    pub(crate) fn new(v6: bool) -> Self {
        let limit = if v6 { MAX_DATAGRAM_V6 } else { MAX_DATAGRAM };
        Self {
            phase: Phase::Base,
            present: LEAST_DATAGRAM,
            too_long: limit + 1,
            limit,
            before: None,
            trial: None,
            doubtful: false,
            errors: 0,
            again: None,
            used: 0,
            confirm_at: None,
        }
    }

    /// Returns the longest datagram that is sent.
    pub(crate) fn present(&self) -> usize {
        self.present
    }

    pub(crate) fn carries(&self) -> Carries {
        match self.phase {
            Phase::Base => Carries::Unknown,
            Phase::Error => Carries::Short,
            Phase::Search | Phase::Complete => Carries::Full,
        }
    }

    /// The way is used, or would be if it carried enough: begins, if it has not.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.plan(now);
    }

    /// Forgets what was too little: it may be enough by now.
    pub(crate) fn forget_error(&mut self) {
        if self.phase == Phase::Error {
            (self.phase, self.again, self.trial, self.doubtful) = (Phase::Base, None, None, true);
        }
    }

    /// Returns how often it was found to carry short datagrams only.
    pub(crate) fn errors(&self) -> u32 {
        self.errors
    }

    /// Returns whether the way carried too little before, and has not shown that it carries enough by now.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Notes that a datagram of the game's went this way.
    pub(crate) fn sent(&mut self, length: usize) {
        if length > LEAST_DATAGRAM {
            self.used = self.used.max(length);
        }
    }

    /// Notes that a test that left at `sent` was answered; it had this length if it was a probe.
    pub(crate) fn answered(&mut self, now: Instant, sent: Instant, probe: Option<usize>) {
        let Some(length) = probe else {
            if let Some(trial) =
                self.trial.as_mut().filter(|trial| (trial.first..=trial.last).contains(&sent))
            {
                trial.alive += 1;
            }
            return;
        };
        if self.trial.is_some_and(|trial| trial.length <= length) {
            self.trial = None;
        }
        self.present = self.present.max(length);
        self.too_long = self.too_long.max(length + 1);
        self.confirm_at = Some(now + CONFIRM);
        if matches!(self.phase, Phase::Base | Phase::Error) && length >= FULL_DATAGRAM {
            (self.phase, self.again, self.doubtful) = (Phase::Search, None, false);
        }
        self.plan(now);
    }

    /// Notes that the system refused to send a datagram of this length.
    pub(crate) fn refused(&mut self, now: Instant, length: usize) {
        if length <= LEAST_DATAGRAM {
            return;
        }
        self.too_long = self.too_long.min(length);
        let aborted = self.trial.take_if(|trial| trial.length >= length);
        if self.present >= length {
            self.present = if length > FULL_DATAGRAM { FULL_DATAGRAM } else { LEAST_DATAGRAM };
            self.used = self.used.min(self.present);
            self.phase = if length > FULL_DATAGRAM { Phase::Search } else { Phase::Error };
        } else if aborted.is_some() && length <= FULL_DATAGRAM {
            self.phase = Phase::Error;
        }
        if self.phase == Phase::Error {
            self.again = Some(now + RETRY);
            self.errors += 1;
        }
        self.plan(now);
    }

    /// Plans the next length to be tried, if there is any now.
    fn plan(&mut self, now: Instant) {
        if self.trial.is_some() {
            return;
        }
        let length = match self.phase {
            Phase::Base => Some(FULL_DATAGRAM),
            Phase::Search => {
                let longer = self.longer();
                if longer.is_none() {
                    (self.phase, self.again, self.before) = (Phase::Complete, Some(now + RAISE), None);
                }
                longer
            }
            Phase::Error | Phase::Complete => None,
        };
        self.trial = length.map(|length| Trial::new(now, length));
    }

    /// Returns what is worth trying above the present length: what passed before, then the most, since most ways
    /// carry that, then what is in the middle.
    fn longer(&self) -> Option<usize> {
        if let Some(before) = self.before.filter(|length| (self.present + 1..self.too_long).contains(length))
        {
            return Some(before);
        }
        if self.too_long > self.limit {
            return (self.present < self.limit).then_some(self.limit);
        }
        (self.too_long - self.present > GRAIN).then_some((self.present + self.too_long) / 2)
    }

    /// It did not pass, though shorter ones did.
    fn failed(&mut self, now: Instant, length: usize) {
        self.trial = None;
        match self.phase {
            Phase::Base | Phase::Error => {
                (self.phase, self.present, self.again) = (Phase::Error, LEAST_DATAGRAM, Some(now + RETRY));
                self.errors += 1;
            }
            Phase::Search => self.too_long = length,
            // What is in use is lost. How much still passes takes a round trip to know, and everything passes until then.
            Phase::Complete => {
                self.before = Some(self.present);
                (self.phase, self.present, self.used) = (Phase::Base, LEAST_DATAGRAM, 0);
            }
        }
        self.plan(now);
    }

    /// Returns what is due by itself, without a trial.
    fn due(&self) -> Option<Instant> {
        let confirm = self.confirm_at.filter(|_| self.phase == Phase::Complete && self.used > 0);
        crate::timer::earliest(confirm, self.again)
    }

    /// Begins what is due by itself.
    fn start(&mut self, now: Instant) {
        if self.trial.is_some() || self.due().is_none_or(|at| at > now) {
            return;
        }
        let length = if self.again.is_none_or(|at| at > now) {
            std::mem::take(&mut self.used)
        } else {
            self.again = None;
            self.too_long = self.limit + 1;
            if self.phase == Phase::Complete {
                self.phase = Phase::Search;
                return self.plan(now);
            }
            FULL_DATAGRAM
        };
        self.trial = Some(Trial::new(now, length));
    }

    /// Puts the lengths of the tests that are to leave now into `tests`; 0 is a short one. False: the way is dead.
    pub(crate) fn handle_timeout(&mut self, now: Instant, pulse: &Pulse, tests: &mut Vec<usize>) -> bool {
        loop {
            self.start(now);
            let Some(trial) = self.trial.as_mut().filter(|trial| trial.next <= now) else { return true };
            let tries = pulse.in_a_row(match self.phase {
                Phase::Base | Phase::Error => LESSER,
                Phase::Search => TOO_LONG,
                Phase::Complete => LOST,
            });
            // All but the first had a short one beside them. Where those got lost, too, it was the way, not the length.
            if trial.probes >= tries && trial.alive + 1 >= tries {
                let length = trial.length;
                self.failed(now, length);
                continue;
            }
            if trial.probes >= tries + NO_SIGN {
                // Nothing was learnt of its length.
                (self.trial, self.confirm_at) = (None, Some(now + CONFIRM));
                if self.phase == Phase::Error {
                    self.again = Some(now + RETRY);
                }
                return false;
            }
            trial.last = now;
            if trial.probes == 0 {
                trial.first = now;
            } else {
                // Is it the length, or the way?
                tests.push(0);
            }
            tests.push(trial.length);
            trial.probes += 1;
            let waits = trial.probes == 1 || trial.probes >= tries;
            trial.next = now + if waits { pulse.overdue() } else { HURRY };
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.trial.map_or_else(|| self.due(), |trial| Some(trial.next))
    }
}

#[cfg(test)]
mod tests;
