//! What the app and the network thread say to each other, and what both of them hold.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use crossbeam_channel::Sender;
use mio::Waker;
use traversal_core::id::PlayerId;
use traversal_core::{Command, Event, LinkQuality, LobbyState};

use crate::config::TraversalConfig;
use crate::error::SocketError;
use crate::handoff::PunchedSocket;
use crate::queue::Batches;
use crate::state::Counters;

/// This is how many requests, or reports, may be on their way at a time. A frame has a handful; further ones wait on
/// their own side.
pub(crate) const CHANNEL: usize = 1024;

/// This is what the app asks of the network thread.
pub(crate) enum Request {
    /// The agent gets this command as it is.
    Agent(Command),
    /// Log in to one of these servers, named as in the configuration.
    Connect(Vec<String>),
    /// Say how the connections do.
    Measure,
    /// Give the socket of the path to this player away.
    IntoSocket { player: PlayerId, reply: Sender<Result<PunchedSocket, SocketError>> },
}

/// This is what the network thread tells the app.
#[derive(Debug)]
pub(crate) enum Report {
    /// The agent has said this.
    Agent(Event),
    /// The agent said that a player is connected ([`Event::PeerConnected`]); this connection has that number.
    Connected { event: Event, generation: u32 },
    /// The connections do so, as measured at this time.
    Qualities(Instant, Vec<(PlayerId, LinkQuality)>),
    /// The player's socket was given away.
    Released(PlayerId),
    /// The player is about to be logged in at this server, with this key; none: at another node of the last one.
    Reached(Option<String>, [u8; 32]),
    /// These are the addresses of the game's sockets on this machine.
    Local(Vec<SocketAddr>),
    /// The lobby server's key is not the one in this file, so the link has this state.
    KeyChanged { state: LobbyState, server: String, file: PathBuf },
}

/// App and network thread share this.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Wakes the network thread.
    pub(crate) waker: Arc<Waker>,
    pub(crate) counters: Arc<Counters>,
    /// These game datagrams are for the app.
    pub(crate) incoming: Batches,
    /// These game datagrams come from the app.
    pub(crate) outgoing: Batches,
    /// Counts the frames of the app, so that the thread sees that it lives.
    pub(crate) ticks: Arc<AtomicU64>,
    /// This is set when the thread is to end.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn new(config: &TraversalConfig, waker: Arc<Waker>, counters: Arc<Counters>) -> Self {
        Self {
            waker,
            counters,
            incoming: Batches::new(config.incoming_datagrams),
            outgoing: Batches::new(config.outgoing_datagrams),
            ticks: Arc::default(),
            stop: Arc::default(),
        }
    }
}
