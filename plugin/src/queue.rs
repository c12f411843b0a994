//! Game datagrams on their way between app and network thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use traversal_core::id::PlayerId;

use crate::state::count;

/// This is a game datagram on its way, with the connection it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GameDatagram {
    pub(crate) player: PlayerId,
    pub(crate) generation: u32,
    pub(crate) channel: u8,
    pub(crate) payload: Vec<u8>,
}

/// This is a bounded queue of game datagrams that travel in batches: the bound counts datagrams.
#[derive(Clone)]
pub(crate) struct Batches {
    sender: Sender<Vec<GameDatagram>>,
    receiver: Receiver<Vec<GameDatagram>>,
    queued: Arc<AtomicUsize>,
    limit: usize,
}

impl Batches {
    pub(crate) fn new(limit: usize) -> Self {
        let (sender, receiver) = bounded(limit.max(1));
        Self { sender, receiver, queued: Arc::default(), limit: limit.max(1) }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Hands a batch over; the newest datagrams that do not fit are dropped and counted.
    pub(crate) fn push(&self, mut batch: Vec<GameDatagram>, dropped: &AtomicU64) {
        let room = self.limit.saturating_sub(self.queued.load(Ordering::Acquire));
        if batch.len() > room {
            count(dropped, (batch.len() - room) as u64);
            batch.truncate(room);
        }
        let length = batch.len();
        if length == 0 {
            return;
        }
        self.queued.fetch_add(length, Ordering::AcqRel);
        if self.sender.try_send(batch).is_err() {
            self.queued.fetch_sub(length, Ordering::AcqRel);
            count(dropped, length as u64);
        }
    }

    /// Takes the oldest batch; none: the queue is empty.
    pub(crate) fn pop(&self) -> Option<Vec<GameDatagram>> {
        let batch = self.receiver.try_recv().ok()?;
        self.queued.fetch_sub(batch.len(), Ordering::AcqRel);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_newest() {
        let batches = Batches::new(3);
        let dropped = AtomicU64::new(0);
        let datagram =
            |n: u8| GameDatagram { player: PlayerId([0; 16]), generation: 0, channel: 0, payload: vec![n] };
        batches.push(vec![datagram(1), datagram(2)], &dropped);
        batches.push(vec![datagram(3), datagram(4)], &dropped);
        batches.push(vec![datagram(5)], &dropped);
        let got: Vec<u8> = std::iter::from_fn(|| batches.pop()).flatten().map(|d| d.payload[0]).collect();
        assert_eq!(got, [1, 2, 3]);
        assert_eq!(dropped.into_inner(), 2);
    }
}
