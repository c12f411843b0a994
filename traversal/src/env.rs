//! The surroundings of one input, which every part of the agent needs.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand_chacha::ChaCha20Rng;

use crate::Identity;
use crate::api::{Event, Output, SocketId, Transmit};
use crate::config::AgentConfig;

/// These are the surroundings of one input: time, settings, randomness, and where outputs and events go. The link to
/// the server and the agent's sockets need these alone.
pub(crate) struct Env<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a AgentConfig,
    pub(crate) identity: &'a Identity,
    pub(crate) main: Main,
    /// These addresses are on the machine's own interfaces, without ports; there are none until some were named.
    pub(crate) local: &'a [IpAddr],
    pub(crate) rng: &'a mut ChaCha20Rng,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    pub(crate) events: &'a mut VecDeque<Event>,
}

/// These are the families of IP in which a player can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    pub(crate) fn with(self, address: SocketAddr) -> Self {
        Self { v4: self.v4 || address.is_ipv4(), v6: self.v6 || address.is_ipv6() }
    }

    pub(crate) fn shares_one_with(self, other: Self) -> bool {
        (self.v4 && other.v4) || (self.v6 && other.v6)
    }
}

/// The main sockets have these local addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Main {
    pub(crate) v4: SocketAddr,
    pub(crate) v6: Option<SocketAddr>,
}

impl Main {
    /// Returns the main socket that reaches `to`, if there is one.
    pub(crate) fn towards(self, to: SocketAddr) -> Option<SocketId> {
        match (to, self.v6) {
            (SocketAddr::V4(_), _) => Some(SocketId::MAIN),
            (SocketAddr::V6(_), Some(_)) => Some(SocketId::MAIN_V6),
            (SocketAddr::V6(_), None) => None,
        }
    }
}

impl Env<'_> {
    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn transmit(&mut self, socket: SocketId, to: SocketAddr, payload: Vec<u8>) {
        self.transmit_with_ttl(socket, to, None, payload);
    }

    pub(crate) fn transmit_with_ttl(
        &mut self,
        socket: SocketId,
        to: SocketAddr,
        ttl: Option<u8>,
        payload: Vec<u8>,
    ) {
        self.outputs.push_back(Output::Transmit(Transmit { socket, to, ttl, payload }));
    }

    /// Sends from the main socket of the right family, if there is one.
    pub(crate) fn transmit_main(&mut self, to: SocketAddr, payload: Vec<u8>) {
        if let Some(socket) = self.main.towards(to) {
            self.transmit(socket, to, payload);
        }
    }

    /// The own addresses as they are registered: each interface address with the port of its main socket (M28).
    pub(crate) fn local_endpoints(&self) -> Vec<SocketAddr> {
        let port = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => Some(self.main.v4.port()),
            IpAddr::V6(_) => self.main.v6.map(|main| main.port()),
        };
        let mut endpoints: Vec<SocketAddr> =
            self.local.iter().filter_map(|ip| port(ip).map(|port| SocketAddr::new(*ip, port))).collect();
        // IPv4 first, loopback last: the server takes only so many.
        endpoints.sort_by_key(|endpoint| (endpoint.ip().is_loopback(), endpoint.is_ipv6()));
        endpoints.truncate(crate::wire::message::MAX_LOCAL_ADDRESSES);
        endpoints
    }
}
