//! A game that carries what games carry: datagrams of 1,200 bytes all the time, and one reliable message of 60 kB in slices
//! as long as renet's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;

use crate::player::Game;

/// This is a datagram of the game's: what every connected path has to carry.
const DATAGRAM: usize = 1200;
/// This is a slice of the reliable message: longer than renet's, which have 1,200 bytes and its headers.
const SLICE: usize = 1322;
/// The reliable message is this long, in bytes.
const MESSAGE: usize = 60_000;
const SLICES: u16 = MESSAGE.div_ceil(SLICE) as u16;
/// This is the time between two frames of the game.
const FRAME: Duration = Duration::from_millis(33);
/// At most this many slices leave in one frame, which makes 320 kB/s.
const SLICES_A_FRAME: usize = 8;
/// A slice that was not acknowledged leaves again after this time.
const AGAIN: Duration = Duration::from_millis(400);

const IS_DATAGRAM: u8 = 1;
const IS_SLICE: u8 = 2;
const IS_ACK: u8 = 3;

/// What came from another player.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// This many datagrams of 1,200 bytes arrived.
    pub datagrams: u32,
    /// This is the longest time between two of them.
    pub longest_gap: Duration,
    slices: BTreeSet<u16>,
    latest: Option<Instant>,
}

impl Received {
    /// The reliable message is whole.
    pub fn has_message(&self) -> bool {
        self.slices.len() == usize::from(SLICES)
    }

    /// Starts to measure [`longest_gap`](Self::longest_gap) anew.
    pub fn forget_gaps(&mut self) {
        self.longest_gap = Duration::ZERO;
    }
}

/// What came in so far, by sender; shared with the game.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<PlayerId, Received>>>);

impl Ledger {
    /// What was received, by sender.
    pub fn read(&self) -> MutexGuard<'_, BTreeMap<PlayerId, Received>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reliable message and so many datagrams are here, of at least one player.
    pub fn is_delivered(&self, datagrams: u32) -> bool {
        self.read().values().any(|from| from.has_message() && from.datagrams >= datagrams)
    }
}

/// This is the game; see the [module's documentation](self).
#[derive(Debug, Default)]
pub struct Freight {
    ledger: Ledger,
    /// For each player these slices are not acknowledged yet, and each may leave again at this time.
    unacknowledged: BTreeMap<PlayerId, BTreeMap<u16, Instant>>,
    outgoing: VecDeque<(PlayerId, Vec<u8>)>,
    next_frame: Option<Instant>,
}

impl Freight {
    /// Nothing sent yet. The ledger tells what comes in.
    pub fn new() -> (Self, Ledger) {
        let game = Self::default();
        let ledger = game.ledger.clone();
        (game, ledger)
    }
}

fn filled(kind: u8, number: u16, length: usize) -> Vec<u8> {
    let mut datagram = vec![kind; length];
    datagram[1..3].copy_from_slice(&number.to_le_bytes());
    datagram
}

impl Game for Freight {
    fn connected(&mut self, now: Instant, player: PlayerId, _host: bool) {
        self.unacknowledged.entry(player).or_insert_with(|| (0..SLICES).map(|slice| (slice, now)).collect());
        self.next_frame.get_or_insert(now);
    }

    fn handle_datagram(&mut self, now: Instant, from: PlayerId, datagram: &[u8]) {
        let &[kind, low, high, ..] = datagram else { return };
        let number = u16::from_le_bytes([low, high]);
        let mut ledger = self.ledger.read();
        let received = ledger.entry(from).or_default();
        match (kind, datagram.len()) {
            (IS_DATAGRAM, DATAGRAM) => {
                received.datagrams += 1;
                let gap = received.latest.map_or(Duration::ZERO, |latest| now - latest);
                received.longest_gap = received.longest_gap.max(gap);
                received.latest = Some(now);
            }
            (IS_SLICE, SLICE) if number < SLICES => {
                received.slices.insert(number);
                self.outgoing.push_back((from, filled(IS_ACK, number, 3)));
            }
            (IS_ACK, 3) => {
                self.unacknowledged.entry(from).or_default().remove(&number);
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next_frame.is_none_or(|at| at > now) {
            return;
        }
        self.next_frame = Some(now + FRAME);
        for (player, slices) in &mut self.unacknowledged {
            self.outgoing.push_back((*player, filled(IS_DATAGRAM, 0, DATAGRAM)));
            for (slice, at) in slices.iter_mut().filter(|(_, at)| **at <= now).take(SLICES_A_FRAME) {
                *at = now + AGAIN;
                self.outgoing.push_back((*player, filled(IS_SLICE, *slice, SLICE)));
            }
        }
    }

    fn poll_datagram(&mut self) -> Option<(PlayerId, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next_frame
    }
}
