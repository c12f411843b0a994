//! What the driver's thread, the core's and the metrics know together.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::Waker;

use crate::histogram::Histogram;
use crate::registry::NodeSite;

/// This is how a registry is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryNumbers {
    /// The registry is one that nodes share; else it is in this process, and always there.
    pub shared: bool,
    /// The registry answers.
    pub up: bool,
    /// So many nodes are there, this one among them.
    pub nodes: u64,
    /// This counts what it was told and asked.
    pub commands: u64,
    /// This counts what it did not do.
    pub failed: u64,
    /// This counts the rooms that other nodes have by now, or that it has lost.
    pub rooms_lost: u64,
    /// This counts how long it took to answer a batch of commands.
    pub round_trip: Histogram,
}

impl RegistryNumbers {
    /// Returns those of a registry in this process.
    pub(crate) fn of_memory() -> Self {
        Self {
            shared: false,
            up: true,
            nodes: 1,
            commands: 0,
            failed: 0,
            rooms_lost: 0,
            round_trip: Histogram::of_turns(),
        }
    }
}

/// This is shared by the threads. A clone is the same.
#[derive(Clone)]
pub(super) struct Shared {
    state: Arc<State>,
}

struct State {
    waker: Arc<Waker>,
    node: u64,
    addresses: Vec<SocketAddr>,
    players: AtomicU32,
    draining: AtomicBool,
    up: AtomicBool,
    /// A number that was drawn last.
    drawn: AtomicU64,
    numbers: Mutex<RegistryNumbers>,
}

impl Shared {
    pub(super) fn new(waker: Arc<Waker>, node: u64, addresses: Vec<SocketAddr>) -> Self {
        let numbers = RegistryNumbers { shared: true, up: false, nodes: 0, ..RegistryNumbers::of_memory() };
        let state = State {
            waker,
            node,
            addresses,
            players: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            up: AtomicBool::new(false),
            drawn: AtomicU64::new(node),
            numbers: Mutex::new(numbers),
        };
        Self { state: Arc::new(state) }
    }

    /// Returns this node as the others are to know it.
    pub(super) fn site(&self) -> NodeSite {
        NodeSite {
            node: self.state.node,
            addresses: self.state.addresses.clone(),
            players: self.state.players.load(Ordering::Relaxed),
            draining: self.state.draining.load(Ordering::Relaxed),
        }
    }

    /// Notes how this node is.
    pub(super) fn set_site(&self, players: usize, draining: bool) {
        self.state.players.store(u32::try_from(players).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.state.draining.store(draining, Ordering::Relaxed);
    }

    /// Returns whether Redis answers, and has taken this node in.
    pub(super) fn is_up(&self) -> bool {
        self.state.up.load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, nodes: u64) {
        self.state.up.store(true, Ordering::Release);
        self.with(|numbers| numbers.nodes = nodes);
    }

    pub(super) fn set_down(&self) {
        self.state.up.store(false, Ordering::Release);
        self.with(|numbers| numbers.nodes = 0);
    }

    pub(super) fn count(&self, commands: usize, took: Duration) {
        self.with(|numbers| {
            numbers.commands += commands as u64;
            numbers.round_trip.observe(took);
        });
    }

    pub(super) fn count_failure(&self, commands: usize) {
        self.with(|numbers| numbers.failed += commands as u64);
    }

    pub(super) fn count_lost(&self) {
        self.with(|numbers| numbers.rooms_lost += 1);
    }

    /// Returns the numbers of the moment.
    pub(super) fn numbers(&self) -> RegistryNumbers {
        let mut numbers = self.with(|numbers| numbers.clone());
        numbers.up = self.is_up();
        numbers
    }

    /// Wakes the core's thread.
    pub(super) fn wake(&self) {
        // Where it fails the server ends.
        let _ = self.state.waker.wake();
    }

    /// Draws a number from 0 to 1, which no secret depends on (xorshift, Marsaglia 2003).
    pub(super) fn draw(&self) -> f64 {
        let mut drawn = self.state.drawn.load(Ordering::Relaxed);
        drawn ^= drawn << 13;
        drawn ^= drawn >> 7;
        drawn ^= drawn << 17;
        self.state.drawn.store(drawn, Ordering::Relaxed);
        (drawn >> 11) as f64 / (1u64 << 53) as f64
    }

    fn with<T>(&self, what: impl FnOnce(&mut RegistryNumbers) -> T) -> T {
        // Each change leaves them whole.
        what(&mut self.state.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
