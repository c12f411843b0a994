//! The app's end of the driver, as resources.

use bevy_ecs::resource::Resource;
use crossbeam_channel::{TrySendError, bounded};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use traversal_core::Command;
use traversal_core::id::PlayerId;

use crate::config::TraversalConfig;
use crate::driver::Driver;
use crate::error::{SocketError, TraversalError};
use crate::handoff::PendingSocket;
use crate::messages::requests::ConnectLobby;
use crate::people::Told;
use crate::protocol::{Report, Request};
use crate::state::TraversalStats;
use crate::visit::Home;

/// Resource: this is the way to the network thread. Removing it, or dropping the app, says goodbye to everybody,
/// closes the sockets and ends the thread.
#[derive(Resource)]
pub struct TraversalLink {
    pub(crate) config: TraversalConfig,
    pub(crate) driver: Option<Driver>,
    /// Requests that found the channel full.
    waiting: VecDeque<Request>,
    stats: TraversalStats,
    /// The driver was told this of contacts.
    pub(crate) told: Told,
    /// This is a report that takes the place of something that ended in this frame: it is taken with the next.
    pub(crate) held: Option<Report>,
    /// This is why the driver could not start, until it was said.
    pub(crate) failure: Option<TraversalError>,
    /// These are the game's own settings, while an invite has led elsewhere.
    pub(crate) home: Option<Home>,
    /// The server that this player was logged in at last has this name and key.
    pub(crate) reached: Option<(String, [u8; 32])>,
    /// Others reach the server that runs in this game by this name.
    pub(crate) public_name: Option<String>,
}

impl TraversalLink {
    pub(crate) fn new(config: TraversalConfig, stats: TraversalStats) -> Self {
        let mut link = Self {
            config,
            driver: None,
            waiting: VecDeque::new(),
            held: None,
            stats,
            told: Told::default(),
            failure: None,
            home: None,
            reached: None,
            public_name: None,
        };
        if !link.config.lobby.is_empty() {
            link.connect(ConnectLobby { servers: link.config.lobby.clone(), ..ConnectLobby::default() });
        }
        link
    }

    /// Returns the configuration in force.
    pub fn config(&self) -> &TraversalConfig {
        &self.config
    }

    /// Gives the punched socket to `player` away for good: the plugin forgets the player, and the game talks to
    /// it by any stack it likes. Meant for [`Transport::Manual`](crate::Transport::Manual), called by both
    /// players once [`PeerConnected`](crate::PeerConnected) came.
    ///
    /// Each side chooses its own way to the other, and here both must mean the same: the player who joined gets
    /// the way that the host's latest datagram took. So the host sends some with [`Datagrams`](crate::Datagrams) before it calls
    /// this, and the other one calls it when they have come and ceased.
    ///
    /// Fails for a path over the relay and for a socket that other players are reached by, so it is for two
    /// players.
    ///
    /// With the `stock_netcode` feature, `netcode_server` and `netcode_client` make renet's own transports of
    /// it. Mind that renetcode 2.0.0 panics on some malformed datagrams *before* it decrypts them, if they come
    /// from the address of the other player, which anybody can forge: at least 18 bytes whose first byte has
    /// a low nibble of 1-6 and a high nibble of 9-15; at least 18 bytes but fewer than 17 plus the high nibble;
    /// and, where overflow checks are on, a sequence number next to 2^64 (0x85, eight times 0xff, 16 bytes).
    /// The sealed transport has none of this.
    pub fn into_socket(&mut self, player: PlayerId) -> PendingSocket {
        let (reply, receiver) = bounded(1);
        if self.driver.is_none() {
            // The receiver takes it at once: the channel has room for one.
            let _ = reply.send(Err(SocketError::NotRunning));
        } else {
            self.request(Request::IntoSocket { player, reply });
        }
        PendingSocket(Some(receiver))
    }

    pub(crate) fn command(&mut self, command: Command) -> bool {
        self.request(Request::Agent(command));
        self.driver.is_some()
    }

    /// Asks how the connections do; false: there is nobody to ask.
    pub(crate) fn measure(&mut self) -> bool {
        self.request(Request::Measure);
        self.driver.is_some()
    }

    fn request(&mut self, request: Request) {
        if self.driver.is_some() {
            self.waiting.push_back(request);
            self.hand_over();
        }
    }

    /// Hands requests to the driver; what finds the channel full goes with the next frame.
    pub(crate) fn hand_over(&mut self) {
        let Some(driver) = &self.driver else { return };
        let mut handed = false;
        while let Some(request) = self.waiting.pop_front() {
            match driver.requests.try_send(request) {
                Ok(()) => handed = true,
                Err(TrySendError::Full(request)) => {
                    self.waiting.push_front(request);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        if handed {
            driver.wake();
        }
    }

    /// Logs in, with a new driver where the old one cannot do it. True if the old one is gone.
    pub(crate) fn connect(&mut self, request: ConnectLobby) -> bool {
        let ConnectLobby { servers, name, token, server_keys } = request;
        let mut other = self.restore();
        let config = &mut self.config;
        if let Some(name) = name.filter(|name| *name != config.name) {
            (config.name, other) = (name, true);
        }
        if let Some(token) = token.filter(|token| **token != config.token) {
            (config.token, other) = (token.to_vec(), true);
        }
        if let Some(keys) = server_keys.filter(|keys| *keys != config.server_keys) {
            (config.server_keys, other) = (keys, true);
        }
        if !servers.is_empty() {
            config.lobby = servers;
        }
        let replaced = (other || !self.running()) && self.driver.take().is_some();
        if self.driver.is_none() {
            self.waiting.clear();
            self.held = None;
            self.told.forget();
            match Driver::start(&self.config, self.stats.0.clone()) {
                Ok(driver) => self.driver = Some(driver),
                Err(error) => {
                    self.failure = Some(error);
                    return replaced;
                }
            }
        }
        self.request(Request::Connect(self.config.lobby.clone()));
        replaced
    }

    pub(crate) fn running(&self) -> bool {
        self.driver.as_ref().is_some_and(Driver::running)
    }

    /// Tells the driver that the app lives.
    pub(crate) fn tick(&self) {
        if let Some(driver) = &self.driver {
            driver.shared.ticks.fetch_add(1, Ordering::Relaxed);
        }
    }
}
