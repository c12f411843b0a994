//! Whether what is sent one way still arrives: pings, their answers, and how many in a row were missed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Unanswered pings that are remembered: more of them tell nothing new.
const REMEMBERED: usize = 16;
/// A ping is not missed before that, however short the way: the other side answers when its thread runs.
const PATIENCE: Duration = Duration::from_millis(100);
/// On top of round trip and variance: the other side's time to answer.
const SLACK: Duration = Duration::from_millis(40);
/// While no answer has told the round trip.
const UNKNOWN: Duration = Duration::from_millis(300);

/// How sure it is that a way is dead.
///
/// At 10 % loss each way a ping or its answer is lost in 19 of 100 cases, and a ping goes out every 400 ms: three in a
/// row (0.7 %) happen once a minute, so what follows from them must be cheap; six (0.005 %) once in two hours, so
/// they may move the game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Answers come.
    #[default]
    None,
    /// One is late: ask again at once, and faster.
    Late,
    /// Three are: get another way ready.
    Serious,
    /// Six are: any other way that answers is better.
    Dead,
}

/// Pings of one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse {
    /// When those left that are newer than the newest answered one; the oldest first.
    pending: VecDeque<Instant>,
    /// Smoothed round trip and its mean deviation (RFC 6298).
    rtt: Option<(Duration, Duration)>,
}

impl Pulse {
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(smoothed, _)| smoothed)
    }

    /// A ping leaves.
    pub(crate) fn ping(&mut self, now: Instant) {
        if self.pending.len() < REMEMBERED {
            self.pending.push_back(now);
        }
    }

    /// The answer to the ping that left at `sent`. The ones before it may have been lost on an otherwise good way.
    pub(crate) fn answer(&mut self, now: Instant, sent: Instant) {
        self.pending.retain(|at| *at > sent);
        let sample = now.saturating_duration_since(sent);
        self.rtt = Some(match self.rtt {
            None => (sample, sample / 2),
            Some((rtt, deviation)) => ((rtt * 7 + sample) / 8, (deviation * 3 + sample.abs_diff(rtt)) / 4),
        });
    }

    /// Starts to count anew: what was missed so far was missed for a known reason.
    pub(crate) fn forgive(&mut self) {
        self.pending.clear();
    }

    /// How long an answer may take.
    fn overdue(&self) -> Duration {
        self.rtt
            .map_or(UNKNOWN, |(rtt, deviation)| (rtt + (deviation * 4).max(rtt / 4) + SLACK).max(PATIENCE))
    }

    fn misses(&self, now: Instant) -> usize {
        let overdue = self.overdue();
        self.pending.iter().take_while(|sent| **sent + overdue <= now).count()
    }

    pub(crate) fn doubt(&self, now: Instant) -> Doubt {
        match self.misses(now) {
            0 => Doubt::None,
            1..3 => Doubt::Late,
            3..6 => Doubt::Serious,
            _ => Doubt::Dead,
        }
    }

    /// When [`doubt`](Self::doubt) may grow; none: not before the next ping.
    pub(crate) fn next_doubt(&self, now: Instant) -> Option<Instant> {
        let overdue = self.overdue();
        self.pending.iter().map(|sent| *sent + overdue).find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn doubt_grows_with_every_missed_answer_and_goes_with_one_that_comes() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        pulse.ping(start);
        pulse.answer(start + ms(50), start);
        let mut told = Vec::new();
        for n in 0..6 {
            pulse.ping(start + ms(400 + 50 * n));
        }
        for at in (400..1200).step_by(10) {
            let doubt = pulse.doubt(start + ms(at));
            if told.last().is_none_or(|(last, _)| *last != doubt) {
                told.push((doubt, at));
            }
        }
        let doubts: Vec<_> = told.iter().map(|(doubt, _)| *doubt).collect();
        assert_eq!(doubts, [Doubt::None, Doubt::Late, Doubt::Serious, Doubt::Dead]);
        assert!((540..700).contains(&told[1].1), "{told:?}");
        assert_eq!(pulse.misses(start + ms(1200)), 6);
        pulse.answer(start + ms(1200), start + ms(500));
        assert_eq!(pulse.pending.len(), 3, "those after it are still missing");
        pulse.answer(start + ms(1210), start + ms(650));
        assert_eq!(pulse.doubt(start + ms(9000)), Doubt::None);
        assert_eq!(pulse.next_doubt(start + ms(1211)), None);
    }

    #[test]
    fn the_next_doubt_comes_when_it_says() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        pulse.ping(start);
        pulse.answer(start + ms(100), start);
        pulse.ping(start + ms(400));
        let at = pulse.next_doubt(start + ms(401)).unwrap();
        assert_eq!(pulse.doubt(at - ms(1)), Doubt::None);
        assert_eq!(pulse.doubt(at), Doubt::Late);
        assert_eq!(pulse.next_doubt(at), None);
    }

    #[test]
    fn a_way_whose_time_varies_is_given_more_of_it() {
        let start = Instant::now();
        let (mut even, mut uneven) = (Pulse::default(), Pulse::default());
        for n in 0..20 {
            let sent = start + ms(400 * n);
            even.answer(sent + ms(100), sent);
            uneven.answer(sent + ms(if n % 2 == 0 { 40 } else { 160 }), sent);
        }
        assert!(uneven.overdue() > even.overdue() + ms(100));
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        for n in 0..1000 {
            pulse.ping(start + ms(n));
        }
        assert_eq!(pulse.pending.len(), REMEMBERED);
        assert_eq!(pulse.doubt(start + ms(5000)), Doubt::Dead);
    }
}
