//! The way between two machines: delay, jitter, loss.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the Internet does to every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineSettings {
    /// A packet takes this long from one machine to another, one way.
    pub delay: Duration,
    /// It takes up to this much longer, evenly distributed; packets overtake each other then.
    pub jitter: Duration,
    /// This share of the packets gets lost, 0 to 1.
    pub loss: f64,
}

/// This is a packet on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OnItsWay {
    due: Duration,
    /// Packets that are due at the same time stay in order.
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

/// It holds the packets under way, in the order in which they arrive.
#[derive(Debug)]
pub(crate) struct Line {
    settings: LineSettings,
    rng: ChaCha8Rng,
    queue: BinaryHeap<Reverse<OnItsWay>>,
    number: u64,
    spare: Vec<Vec<u8>>,
}

/// At most this many packets are under way; what is too much gets lost, as in any router's queue.
const CAPACITY: usize = 1 << 16;

impl Line {
    pub(crate) fn new(settings: LineSettings, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { settings, rng, queue: BinaryHeap::new(), number: 0, spare: Vec::new() }
    }

    /// Sends a copy of `bytes` on its way to `to`; false when it is lost.
    pub(crate) fn send(&mut self, now: Duration, to: usize, bytes: &[u8]) -> bool {
        let lost = self.settings.loss > 0.0 && self.rng.random::<f64>() < self.settings.loss;
        if lost || self.queue.len() >= CAPACITY {
            return false;
        }
        let jitter = self.settings.jitter.mul_f64(self.rng.random());
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        self.number += 1;
        let due = now + self.settings.delay + jitter;
        self.queue.push(Reverse(OnItsWay { due, number: self.number, to, bytes: copy }));
        true
    }

    /// When the next packet arrives.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.queue.peek().map(|Reverse(next)| next.due)
    }

    /// Returns a packet that has arrived, and where.
    pub(crate) fn arrived(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(packet)| (packet.to, packet.bytes))
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < 256 {
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_arrive_after_the_delay_and_in_order() {
        let mut line = Line::new(LineSettings { delay: 20 * MS, ..Default::default() }, 1);
        for n in 0..10_u8 {
            assert!(line.send(MS * u32::from(n / 5), 3, &[n]));
        }
        assert_eq!(line.arrived(20 * MS - Duration::from_nanos(1)), None);
        for n in 0..10_u8 {
            assert_eq!(line.arrived(21 * MS), Some((3, vec![n])));
        }
        assert_eq!(line.next_due(), None);
    }

    #[test]
    fn the_asked_share_gets_lost() {
        let mut line = Line::new(LineSettings { loss: 0.1, ..Default::default() }, 1);
        let lost = (0..20_000).filter(|_| !line.send(MS, 0, b"x")).count();
        // Five standard deviations about 2,000.
        assert!((1788..=2212).contains(&lost), "{lost}");
    }

    #[test]
    fn jitter_is_bounded_and_reorders() {
        let mut line = Line::new(LineSettings { jitter: 10 * MS, ..Default::default() }, 1);
        for n in 0..100_u8 {
            line.send(Duration::ZERO, 0, &[n]);
        }
        assert!(line.next_due().is_some_and(|due| due < 10 * MS));
        let order: Vec<u8> =
            std::iter::from_fn(|| line.arrived(10 * MS)).map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(order.len(), 100);
        assert!(!order.is_sorted());
    }
}
