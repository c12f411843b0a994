//! What is going to happen, in order of time and, at one instant, as it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::nat::Header;

use super::HostId;
use super::net::Place;

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Happening {
    /// A packet reaches a place.
    Packet { place: Place, header: Header, payload: Vec<u8> },
    /// A host's timeout is due.
    Wake { host: HostId, generation: u64 },
}

#[derive(Debug)]
struct Queued {
    at: Duration,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// What is to happen in the world, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
}

impl Agenda {
    pub(super) fn push(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Queued { at, sequence: self.sequence, happening }));
    }

    pub(super) fn pop(&mut self) -> Option<(Duration, Happening)> {
        self.queue.pop().map(|Reverse(queued)| (queued.at, queued.happening))
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        self.queue.peek().map(|Reverse(queued)| queued.at)
    }
}
