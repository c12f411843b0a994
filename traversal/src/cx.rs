//! What every part of the agent needs while it handles one input, and who owns it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Identity;
use crate::api::{Event, Output, SocketId, Transmit};
use crate::config::AgentConfig;
use crate::login::ServerLink;
use crate::punch::Budget;
use crate::sockets::Sockets;
use crate::wire::message::ToServer;

/// What the parts of the agent share. It is one field of the [`Agent`](crate::Agent), so that a part (a match, the lobby) and
/// this can be borrowed side by side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: AgentConfig,
    pub(crate) identity: Identity,
    pub(crate) main: Main,
    /// Addresses of the machine's own interfaces, without ports; empty until the game or the driver has named some.
    pub(crate) local: Vec<IpAddr>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) link: ServerLink,
    pub(crate) sockets: Sockets,
    pub(crate) budget: Budget,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
}

impl Shared {
    pub(crate) fn new(config: AgentConfig, identity: Identity, seed: [u8; 32], main: Main) -> Self {
        Self {
            link: ServerLink::new(&config),
            budget: Budget::new(config.caps),
            config,
            identity,
            main,
            local: Vec::new(),
            rng: ChaCha20Rng::from_seed(seed),
            sockets: Sockets::default(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Lends everything to a part that handles an input at `now`.
    pub(crate) fn cx(&mut self, now: Instant) -> Cx<'_> {
        Cx {
            env: Env {
                now,
                config: &self.config,
                identity: &self.identity,
                main: self.main,
                local: &self.local,
                rng: &mut self.rng,
                outputs: &mut self.outputs,
                events: &mut self.events,
            },
            link: &mut self.link,
            sockets: &mut self.sockets,
            budget: &mut self.budget,
        }
    }
}

/// The context of one input: [`Shared`], lent for as long as the input is handled. Its fields can be borrowed apart from
/// each other, as `cx.link.tell(&mut cx.env, ..)` does; what is in [`Env`] is also reached without naming it.
pub(crate) struct Cx<'a> {
    pub(crate) env: Env<'a>,
    pub(crate) link: &'a mut ServerLink,
    pub(crate) sockets: &'a mut Sockets,
    /// What this player may still send and open, over all its matches.
    pub(crate) budget: &'a mut Budget,
}

impl Cx<'_> {
    /// Tells the lobby server, if there is a session.
    pub(crate) fn tell(&mut self, message: ToServer) {
        self.link.tell(&mut self.env, message);
    }
}

impl<'a> Deref for Cx<'a> {
    type Target = Env<'a>;

    fn deref(&self) -> &Env<'a> {
        &self.env
    }
}

impl<'a> DerefMut for Cx<'a> {
    fn deref_mut(&mut self) -> &mut Env<'a> {
        &mut self.env
    }
}

/// The surroundings of one input: time, settings, randomness, and where outputs and events go. The link to the server and the
/// agent's sockets need these alone.
pub(crate) struct Env<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a AgentConfig,
    pub(crate) identity: &'a Identity,
    pub(crate) main: Main,
    /// See [`Shared::local`].
    pub(crate) local: &'a [IpAddr],
    pub(crate) rng: &'a mut ChaCha20Rng,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    pub(crate) events: &'a mut VecDeque<Event>,
}

/// The families of IP in which a player can be reached.
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

/// Local addresses of the main sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Main {
    pub(crate) v4: SocketAddr,
    pub(crate) v6: Option<SocketAddr>,
}

impl Main {
    /// The main socket that reaches `to`, if there is one.
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

    /// From the main socket of the right family.
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
