//! Whether what is sent one way still arrives: pings, their answers, and how many in a row were missed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtt::RttEstimate;

/// So many unanswered pings are remembered: more of them tell nothing new.
const REMEMBERED: usize = 16;
/// An answer is waited for at least so long; a long way has its round trip and spread. A ping is not missed before
/// that, however short the way: the other side answers when its thread runs.
const PATIENCE: Duration = Duration::from_millis(100);
/// So much comes on top of round trip and variance: it is the other side's time to answer, which is its machine's,
/// not the network's.
const SLACK: Duration = Duration::from_millis(40);
/// An answer is waited for so long while none has told the round trip; it is more where what is known of the ways to
/// the server says so.
const UNKNOWN: Duration = Duration::from_millis(300);
/// This share of pings is lost where nothing is known, and it is the least that is counted with: 10 % loss each way.
const USUAL_LOSS: f32 = 0.19;
/// This is the most that is counted with: 30 % each way.
const MOST_LOSS: f32 = 0.5;
/// One ping has this weight in the measured loss.
const LOSS_WEIGHT: f32 = 1.0 / 16.0;
/// After an outage all its pings are missing at once; so many of them count as loss.
const MOST_MISSED: usize = 3;
/// Pings in a row without an answer that make it [serious](Doubt::Serious), and [certain](Doubt::Dead), at the usual loss.
const SERIOUS: f32 = 3.0;
const DEAD: f32 = 6.0;

/// This says how sure it is that a way is dead.
///
/// At 10 % loss each way a ping or its answer is lost in 19 of 100 cases, and a ping goes out every 400 ms: three in a
/// row (0.7 %) happen once a minute, so what follows from them must be cheap; six (0.005 %) once in two hours, so
/// they may move the game. Where more is lost, as many more must be missing as makes it as improbable: four and eight at
/// 15 % each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Answers come as they should.
    #[default]
    None,
    /// One is late: ask again at once, and faster.
    Late,
    /// Three are, or more where many get lost: get another way ready.
    Serious,
    /// Six are, or more where many get lost: any other way that answers is better.
    Dead,
}

/// Pings of one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse {
    /// This says when those left that are newer than the newest answered one; the oldest first.
    pending: VecDeque<Instant>,
    rtt: RttEstimate,
    /// This is what the round trip may be, before one was measured.
    expected: Option<Duration>,
    /// This share of pings has no answer, 0 to 1.
    loss: f32,
}

impl Pulse {
    /// The pulse of a way whose round trip may be this.
    pub(crate) fn new(expected: Option<Duration>) -> Self {
        Self { expected, ..Self::default() }
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.rtt()
    }

    /// Returns how far the round trips lie from the smoothed one, on average.
    pub(crate) fn jitter(&self) -> Option<Duration> {
        self.rtt.spread()
    }

    /// Returns the share of pings that were not answered; those that are overdue count.
    pub(crate) fn loss(&self, now: Instant) -> f32 {
        (0..self.misses(now)).fold(self.loss, |loss, _| loss + (1.0 - loss) * LOSS_WEIGHT)
    }

    /// Notes that a ping leaves.
    pub(crate) fn ping(&mut self, now: Instant) {
        if self.pending.len() < REMEMBERED {
            self.pending.push_back(now);
        }
    }

    /// Takes the answer to the ping that left at `sent`. The ones before it may have been lost on an otherwise good
    /// way.
    pub(crate) fn answer(&mut self, now: Instant, sent: Instant) {
        for _ in self.pending.iter().filter(|at| **at < sent).take(MOST_MISSED) {
            self.loss += (1.0 - self.loss) * LOSS_WEIGHT;
        }
        self.loss -= self.loss * LOSS_WEIGHT;
        self.pending.retain(|at| *at > sent);
        self.rtt.sample(now.saturating_duration_since(sent));
    }

    /// Starts to count anew: what was missed so far was missed for a known reason.
    pub(crate) fn forgive(&mut self) {
        self.pending.clear();
    }

    /// Returns how long an answer may take.
    pub(crate) fn overdue(&self) -> Duration {
        match self.rtt.rtt() {
            // A quarter of the round trip at the least: the measured spread is small until the way gets busy.
            Some(rtt) => (self.rtt.overdue().max(rtt * 5 / 4) + SLACK).max(PATIENCE),
            None => self.expected.map_or(UNKNOWN, |rtt| (rtt * 3 / 2 + SLACK).max(UNKNOWN)),
        }
    }

    /// So many pings at the usual loss, or as many more as are as improbable at the measured one.
    pub(crate) fn in_a_row(&self, usual: f32) -> usize {
        let loss = self.loss.clamp(USUAL_LOSS, MOST_LOSS);
        (usual * USUAL_LOSS.ln() / loss.ln()).round() as usize
    }

    fn misses(&self, now: Instant) -> usize {
        let overdue = self.overdue();
        self.pending.iter().take_while(|sent| **sent + overdue <= now).count()
    }

    pub(crate) fn doubt(&self, now: Instant) -> Doubt {
        match self.misses(now) {
            0 => Doubt::None,
            misses if misses >= self.in_a_row(DEAD) => Doubt::Dead,
            misses if misses >= self.in_a_row(SERIOUS) => Doubt::Serious,
            _ => Doubt::Late,
        }
    }

    /// Returns when [`doubt`](Self::doubt) may grow; none: not before the next ping.
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
    fn a_far_way_is_not_doubted_before_an_answer_can_be_there() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Some(ms(1200)));
        for n in 0..4 {
            pulse.ping(start + ms(400 * n));
        }
        assert_eq!(pulse.doubt(start + ms(1800)), Doubt::None);
        assert_ne!(pulse.doubt(start + ms(2000)), Doubt::None);
    }

    #[test]
    fn where_more_is_lost_more_must_be_missing() {
        let start = Instant::now();
        let (mut clean, mut lossy) = (Pulse::default(), Pulse::default());
        for n in 0..200 {
            let sent = start + ms(400 * n);
            clean.ping(sent);
            clean.answer(sent + ms(100), sent);
            lossy.ping(sent);
            // Two of seven, as at 15 % each way.
            if !matches!(n % 7, 0 | 3) {
                lossy.answer(sent + ms(100), sent);
            }
        }
        let doubts = |pulse: &mut Pulse| {
            pulse.forgive();
            let at = |n: u64| start + ms(100_000 + 10 * n);
            let doubts = (0..10).map(|n| {
                pulse.ping(at(n));
                pulse.doubt(at(n) + ms(1000))
            });
            let doubts: Vec<Doubt> = doubts.collect();
            let first = |wanted| doubts.iter().position(|doubt| *doubt >= wanted).map(|index| index + 1);
            (first(Doubt::Serious), first(Doubt::Dead))
        };
        assert_eq!(doubts(&mut clean), (Some(3), Some(6)));
        assert_eq!(doubts(&mut lossy), (Some(4), Some(8)));
    }

    #[test]
    fn the_share_of_lost_pings_is_told_and_overdue_ones_count() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        assert_eq!(pulse.loss(start), 0.0);
        for n in 0..400 {
            let sent = start + ms(400 * n);
            pulse.ping(sent);
            if n % 5 != 0 {
                pulse.answer(sent + ms(50), sent);
            }
        }
        let now = start + ms(400 * 400);
        // One in five, by an average over about sixteen pings.
        assert!((0.1..0.3).contains(&pulse.loss(now)), "{}", pulse.loss(now));
        assert!(pulse.jitter().is_some_and(|jitter| jitter < ms(1)), "{:?}", pulse.jitter());
        // Then nothing is answered any more.
        let silent = (0..16).map(|n| {
            pulse.ping(now + ms(400 * n));
            pulse.loss(now + ms(400 * n) + pulse.overdue())
        });
        let silent: Vec<f32> = silent.collect();
        assert!(silent.is_sorted() && silent[15] > 0.6, "{silent:?}");
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
