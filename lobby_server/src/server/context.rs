//! What every owner of the server's state works with: the time, the settings, randomness, timers, and the outputs.
//!
//! It is lent to an owner beside the owner itself, so it holds nothing that one of them owns.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;

use super::counters::Counters;
use super::games::Games;
use super::neighbour::Emission;
use super::nodes::Nodes;
use super::sockets::{Incoming, Route, ServerSocket, ServerSocketId, ServerTransmit};
use super::timers::Timers;
use super::timings::Timings;
use crate::census::Way;
use crate::config::ServerConfig;
use crate::registry::RegistryCommand;
use crate::surroundings::Finding;

/// The context has the time, the settings, randomness, timers and outputs.
pub(super) struct Context {
    pub(super) config: ServerConfig,
    /// Behind our own stand those of another server, while it answers.
    pub(super) sockets: Vec<ServerSocket>,
    /// So many of the sockets are our own.
    pub(super) own_sockets: usize,
    /// This is the time of the input that is being dealt with.
    pub(super) now: Instant,
    /// This says when the server was made.
    start: Instant,
    /// This is the time of day at `start`, in seconds since 1970, if the driver has told it.
    epoch_s: Option<u64>,
    pub(super) rng: ChaCha20Rng,
    pub(super) timers: Timers,
    pub(super) counters: Counters,
    pub(super) timings: Timings,
    pub(super) games: Games,
    pub(super) nodes: Nodes,
    /// This is what the datagram that is being dealt with allows to be sent.
    pub(super) incoming: Incoming,
    /// The server ends: it lets nobody in any more.
    pub(super) stopping: bool,
    /// The server ends soon: it lets nobody in any more, and players are told this when they have nothing to finish.
    pub(super) draining: Option<String>,
    /// These are datagrams that wait to be sent.
    pub(super) transmits: VecDeque<ServerTransmit>,
    /// These are datagrams that another server is to send.
    pub(super) emissions: VecDeque<Emission>,
    /// This is wrong with the other server.
    pub(super) neighbour_trouble: Option<Finding>,
    /// These commands wait for the registry.
    pub(super) commands: VecDeque<RegistryCommand>,
}

impl Context {
    pub(super) fn new(
        config: ServerConfig,
        sockets: Vec<ServerSocket>,
        rng: ChaCha20Rng,
        now: Instant,
    ) -> Self {
        let budgets = &config.relay_budgets.games;
        let games = Games::new(budgets.keys().chain(&config.games).chain(config.relay_games.keys()));
        Self {
            config,
            own_sockets: sockets.len(),
            sockets,
            now,
            start: now,
            epoch_s: None,
            rng,
            timers: Timers::default(),
            counters: Counters::default(),
            timings: Timings::default(),
            games,
            nodes: Nodes::default(),
            incoming: Incoming::default(),
            stopping: false,
            draining: None,
            transmits: VecDeque::new(),
            emissions: VecDeque::new(),
            neighbour_trouble: None,
            commands: VecDeque::new(),
        }
    }

    /// Returns whether nobody is let in any more.
    pub(super) fn is_closing(&self) -> bool {
        self.stopping || self.draining.is_some()
    }

    /// Counts a room that was opened.
    pub(super) fn count_room(&mut self, game: &str) {
        self.counters.rooms_opened += 1;
        let slot = self.games.slot(game);
        self.games.at(slot).rooms_opened += 1;
    }

    /// The time since the server was made.
    pub(super) fn uptime(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// Notes the time of day, in seconds since 1970.
    pub(super) fn set_time_of_day(&mut self, now: Instant, seconds: u64) {
        self.epoch_s = seconds.checked_sub(now.saturating_duration_since(self.start).as_secs());
    }

    /// Returns the time of day in seconds since 1970. Where the driver has not told it, the server began in 1970.
    pub(super) fn calendar(&self) -> u64 {
        self.time_of_day().unwrap_or_else(|| self.uptime().as_secs())
    }

    /// Returns the time of day in seconds since 1970, if the driver has told it.
    pub(super) fn time_of_day(&self) -> Option<u64> {
        Some(self.epoch_s? + self.uptime().as_secs())
    }

    /// Finds the way from another of our addresses or ports to the same player.
    pub(super) fn other(&self, route: Route, address: bool, port: bool) -> Option<Route> {
        let present = self.sockets.get(usize::from(route.socket.0))?;
        let index = self.sockets.iter().position(|socket| {
            !socket.stream
                && socket.local.is_ipv4() == present.local.is_ipv4()
                && (socket.second_address != present.second_address) == address
                && (socket.second_port != present.second_port) == port
        })?;
        let asked = if address { None } else { route.asked };
        Some(Route { socket: ServerSocketId(index as u16), asked, peer: route.peer })
    }

    /// Returns whether there is a second address in this family.
    pub(super) fn has_second_address(&self, v4: bool) -> bool {
        self.sockets.iter().any(|socket| socket.second_address && socket.local.is_ipv4() == v4)
    }

    /// Returns whether what comes this way comes over TCP.
    pub(super) fn is_stream(&self, route: Route) -> bool {
        self.sockets.get(usize::from(route.socket.0)).is_some_and(|socket| socket.stream)
    }

    /// Returns the way as the census has it.
    pub(super) fn way(&self, route: Route) -> Way {
        Way { socket: route.socket, peer: route.peer, stream: self.is_stream(route) }
    }

    /// Returns whether both lead to one address by one protocol: what is proven about the one holds for the other.
    pub(super) fn same_way(&self, a: Route, b: Route) -> bool {
        a.peer == b.peer && self.is_stream(a) == self.is_stream(b)
    }

    /// Returns our end of a route, as the player at its other end knows it.
    pub(super) fn told_address(&self, route: Route) -> Option<SocketAddr> {
        let socket = self.sockets.get(usize::from(route.socket.0))?;
        let ip = match socket.public {
            Some(public) => public,
            None if socket.local.ip().is_unspecified() => route.asked?,
            None => socket.local.ip(),
        };
        Some(SocketAddr::new(ip, socket.local.port()))
    }

    /// Answers what has just come in, or has something sent because of it. To an address that is not proven to be the
    /// player's never more bytes go out than came in, whatever the message: nobody is reached by a forged source, or
    /// by a port that a player names, with more than the forger sends itself.
    pub(super) fn transmit(&mut self, route: Route, payload: Vec<u8>) {
        let proven =
            self.is_stream(route) || self.incoming.proven.is_some_and(|proven| self.same_way(proven, route));
        if !proven {
            let Some(left) = self.incoming.bytes.checked_sub(payload.len()) else {
                self.counters.withheld += 1;
                return;
            };
            self.incoming.bytes = left;
        }
        self.hand_out(route, payload);
    }

    /// Sends to where a player is proven to be.
    pub(super) fn hand_out(&mut self, route: Route, payload: Vec<u8>) {
        if usize::from(route.socket.0) >= self.own_sockets {
            self.emissions.push_back(Emission { route, proof: self.incoming.proof, payload });
            return;
        }
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += payload.len() as u64;
        self.transmits.push_back(ServerTransmit {
            socket: route.socket,
            source: route.asked,
            to: route.peer,
            payload,
        });
    }
}
