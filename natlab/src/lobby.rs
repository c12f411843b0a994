//! The shipping lobby server's core on a simulated host.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use lobby_server::registry::{BEAT, MemoryRegistry, NodeSite, RegistryDown};
use lobby_server::{NeighbourPlaces, Server, ServerConfig, ServerSocket, ServerSocketId};
use traversal_core::Identity;
use traversal_core::wire::message::{Frame, ToServer};

use crate::player::Player;
use crate::world::{Node, NodeOutput};

/// The simulated server has these two addresses.
pub const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 10)),
    IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 11)),
];
/// This is the same in IPv6.
pub const ADDRESSES_V6: [IpAddr; 2] = [
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11)),
];
/// All servers have this secret key.
const KEY: [u8; 32] = [42; 32];

/// It listens on these two ports.
pub const PORTS: [u16; 2] = [3478, 3479];

/// Two servers with one address each have their link at this port.
const LINK_PORT: u16 = 3480;

/// Returns the sockets of one of two servers with one address each, in the order of their numbers: those of players, the one
/// that takes TCP, and the link's.
pub fn sockets_of(machine: usize) -> Vec<SocketAddr> {
    let players = |ip: IpAddr| PORTS.map(|port| SocketAddr::new(ip, port));
    let mut sockets = players(ADDRESSES[machine]).to_vec();
    sockets.push(sockets[0]);
    sockets.extend(players(ADDRESSES_V6[machine]));
    sockets.push(SocketAddr::new(ADDRESSES[machine], LINK_PORT));
    sockets
}

/// Returns the core's number of the socket that takes TCP connections: after those of [`sockets`].
pub fn listener(two_addresses: bool) -> (u32, SocketAddr) {
    let sockets = sockets(two_addresses);
    (sockets.len() as u32, sockets[0])
}

/// Returns the server's sockets in IPv6, with their numbers: after the one that takes TCP.
pub fn sockets_v6(two_addresses: bool) -> Vec<(u32, SocketAddr)> {
    let (listener, _) = listener(two_addresses);
    let count = if two_addresses { 2 } else { 1 };
    let all = ADDRESSES_V6[..count].iter().flat_map(|ip| PORTS.map(|port| SocketAddr::new(*ip, port)));
    (listener + 1..).zip(all).collect()
}

/// This is a lobby server with its registry in memory.
#[derive(Debug)]
pub struct Lobby {
    server: Server,
    registry: MemoryRegistry,
    /// It is one of several nodes, and tells the registry then that it is there.
    beat: Option<(NodeSite, Instant)>,
    /// It does not reach the registry, nor the registry it.
    cut_off: bool,
    outputs: VecDeque<NodeOutput>,
    /// This is the number of the link's socket, where there is a second server.
    link: Option<u32>,
}

/// Returns the two addresses of this node of several, from 1 on; those of node 1 are [`ADDRESSES`].
pub fn addresses_of(node: u8) -> [IpAddr; 2] {
    [0, 1].map(|last| IpAddr::from([198, 18, 0, node * 10 + last]))
}

/// Returns the sockets of this node of several, in the order of their ids.
pub fn sockets_of_node(node: u8) -> Vec<SocketAddr> {
    addresses_of(node).iter().flat_map(|ip| PORTS.map(|port| SocketAddr::new(*ip, port))).collect()
}

/// Returns the server's sockets, in the order of their ids, with one address or two.
pub fn sockets(two_addresses: bool) -> Vec<SocketAddr> {
    let count = if two_addresses { 2 } else { 1 };
    ADDRESSES[..count].iter().flat_map(|ip| PORTS.map(|port| SocketAddr::new(*ip, port))).collect()
}

impl Lobby {
    /// Makes a server that has just started.
    pub fn new(config: ServerConfig, two_addresses: bool, seed: [u8; 32], now: Instant) -> Self {
        let mut sockets: Vec<ServerSocket> = sockets(two_addresses)
            .into_iter()
            .map(|local| ServerSocket {
                local,
                public: None,
                second_address: local.ip() == ADDRESSES[1],
                second_port: local.port() == PORTS[1],
                interface: None,
                stream: false,
            })
            .collect();
        sockets.push(ServerSocket { stream: true, ..sockets[0] });
        sockets.extend(sockets_v6(two_addresses).into_iter().map(|(_, local)| ServerSocket {
            second_address: local.ip() == ADDRESSES_V6[1],
            second_port: local.port() == PORTS[1],
            ..ServerSocket::first(local)
        }));
        // Its identity stays the same over restarts, its randomness need not.
        let server = Server::new(config, Identity::from_secret(KEY), seed, sockets, now);
        Self::alone(server)
    }

    fn alone(server: Server) -> Self {
        let (registry, outputs) = (MemoryRegistry::new(), VecDeque::new());
        Self { server, registry, beat: None, cut_off: false, outputs, link: None }
    }

    /// Makes one of several nodes, from 1 on, which share this registry. Its number in the registry is `incarnation`: a node
    /// that was started anew has another one.
    pub fn node(
        (node, incarnation): (u8, u64),
        config: ServerConfig,
        registry: MemoryRegistry,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        Self::with_key((node, incarnation), config, registry, seed, KEY, now)
    }

    /// Does the same with another key than that of all servers.
    pub fn with_key(
        (node, incarnation): (u8, u64),
        config: ServerConfig,
        registry: MemoryRegistry,
        seed: [u8; 32],
        key: [u8; 32],
        now: Instant,
    ) -> Self {
        let [first, second] = addresses_of(node);
        let mut sockets: Vec<ServerSocket> = sockets_of_node(node)
            .into_iter()
            .map(|local| ServerSocket {
                second_address: local.ip() == second,
                second_port: local.port() == PORTS[1],
                ..ServerSocket::first(local)
            })
            .collect();
        sockets.push(ServerSocket { stream: true, ..sockets[0] });
        let config = ServerConfig { node: incarnation, ..config };
        let server = Server::new(config, Identity::from_secret(key), seed, sockets, now);
        let addresses = vec![SocketAddr::new(first, PORTS[0])];
        let site = NodeSite { node: incarnation, addresses, players: 0, draining: false };
        let mut lobby = Self { registry, beat: Some((site, now)), ..Self::alone(server) };
        lobby.tell_registry(now);
        lobby
    }

    /// Cuts a node off from the registry, or has it reach it again.
    pub fn cut_off(&mut self, cut_off: bool) {
        self.cut_off = cut_off;
    }

    /// Tells the registry that this node is there, when it is time.
    fn tell_registry(&mut self, now: Instant) {
        let Some((site, next)) = self.beat.as_mut().filter(|(_, next)| *next <= now) else { return };
        *next = now + BEAT;
        site.players = self.server.gauges().sessions as u32;
        site.draining = !self.server.takes_players();
        if !self.cut_off {
            self.registry.beat(now, site.clone());
        }
    }

    /// Makes the first (0) or second (1) of two servers with one address each, which has just started.
    pub fn one_of_two(config: ServerConfig, machine: usize, seed: [u8; 32], now: Instant) -> Self {
        let (own, other) = (sockets_of(machine), sockets_of(1 - machine));
        let link = own.len() - 1;
        let socket = |index: usize| ServerSocket {
            second_port: own[index].port() == PORTS[1],
            stream: index == PORTS.len(),
            ..ServerSocket::first(own[index])
        };
        let sockets = (0..link).map(socket).collect();
        let mut server = Server::new(config, Identity::from_secret(KEY), seed, sockets, now);
        let players = vec![other[0], SocketAddr::new(ADDRESSES_V6[1 - machine], PORTS[0])];
        server.set_neighbour(now, NeighbourPlaces { players, links: vec![other[link]] });
        Self { link: Some(link as u32), ..Self::alone(server) }
    }

    /// Returns the core of the lobby server, to be asked or changed by a test.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// What a sealed datagram of a player's says: see [`Server::read`].
    pub fn read(&self, datagram: &[u8]) -> Option<Frame<ToServer>> {
        self.server.read(datagram)
    }

    /// Carries out what the core wants; whether it wanted anything of the registry.
    fn turn(&mut self, now: Instant) -> bool {
        let mut asked = false;
        let node = self.beat.as_ref().map_or(0, |(site, _)| site.node);
        while let Some(command) = self.server.poll_registry() {
            asked = true;
            let reply = if self.cut_off {
                Err(RegistryDown)
            } else {
                Ok(self.registry.handle(now, node, command.operation))
            };
            self.server.handle_registry_reply(now, command.id, reply);
        }
        let notes = if self.cut_off { Vec::new() } else { self.registry.notes(node) };
        for note in notes {
            asked = true;
            self.server.handle_registry_note(now, note);
        }
        while let Some((socket, transmit)) = self.link.zip(self.server.poll_link_transmit()) {
            let (to, payload) = (transmit.to, transmit.payload);
            self.outputs.push_back(NodeOutput::Transmit { socket, to, ttl: None, payload });
        }
        while let Some(transmit) = self.server.poll_transmit() {
            self.outputs.push_back(NodeOutput::Transmit {
                socket: u32::from(transmit.socket.0),
                to: transmit.to,
                ttl: None,
                payload: transmit.payload,
            });
        }
        asked
    }
}

impl Node for Lobby {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        if self.link == Some(socket) {
            self.server.handle_link_datagram(now, from, datagram);
        } else {
            self.server.handle_datagram(now, ServerSocketId(socket as u16), from, datagram);
        }
        self.turn(now);
    }

    fn handle_socket(&mut self, _: Instant, _: u32, _: io::Result<SocketAddr>) {}

    fn handle_timeout(&mut self, now: Instant) {
        let beats = self.beat.as_ref().is_some_and(|(_, next)| *next <= now);
        self.tell_registry(now);
        self.server.handle_timeout(now);
        let before = self.outputs.len();
        let asked = self.turn(now) || beats;
        // The server's run-loop contract: once woken, it has put something out or asks for a later time.
        assert!(
            asked || self.outputs.len() > before || self.server.poll_timeout().is_none_or(|at| at > now),
            "the server was woken, put nothing out, and asks for the same instant again: {:#?}",
            self.server
        );
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let beat = self.beat.as_ref().map(|(_, next)| *next);
        self.server.poll_timeout().into_iter().chain(beat).min()
    }
}

/// It is a program that runs on a host of a scenario.
#[derive(Debug)]
pub enum SimulatedProgram {
    /// A player runs here.
    Player(Box<Player>),
    /// The lobby server runs here.
    Lobby(Box<Lobby>),
    /// Nothing runs here: the host is switched on and silent.
    Idle,
}

impl SimulatedProgram {
    /// Returns the player that runs here, if one does.
    pub fn player(&self) -> Option<&Player> {
        match self {
            Self::Player(player) => Some(player),
            _ => None,
        }
    }

    /// Returns the player that runs here, if one does.
    pub fn player_mut(&mut self) -> Option<&mut Player> {
        match self {
            Self::Player(player) => Some(player),
            _ => None,
        }
    }

    /// Returns the server that runs here, if one does.
    pub fn lobby(&self) -> Option<&Lobby> {
        match self {
            Self::Lobby(lobby) => Some(lobby),
            _ => None,
        }
    }

    /// Returns the server that runs here, if one does.
    pub fn lobby_mut(&mut self) -> Option<&mut Lobby> {
        match self {
            Self::Lobby(lobby) => Some(lobby),
            _ => None,
        }
    }
}

impl Node for SimulatedProgram {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        match self {
            Self::Player(node) => node.handle_datagram(now, socket, from, datagram),
            Self::Lobby(node) => node.handle_datagram(now, socket, from, datagram),
            Self::Idle => {}
        }
    }

    fn handle_socket(&mut self, now: Instant, socket: u32, local: io::Result<SocketAddr>) {
        match self {
            Self::Player(node) => node.handle_socket(now, socket, local),
            Self::Lobby(node) => node.handle_socket(now, socket, local),
            Self::Idle => {}
        }
    }

    fn handle_too_long(&mut self, now: Instant, socket: u32, to: SocketAddr, length: usize) {
        if let Self::Player(node) = self {
            node.handle_too_long(now, socket, to, length);
        }
    }

    fn handle_stream(&mut self, now: Instant, open: bool) {
        if let Self::Player(node) = self {
            node.handle_stream(now, open);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Player(node) => node.handle_timeout(now),
            Self::Lobby(node) => node.handle_timeout(now),
            Self::Idle => {}
        }
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        match self {
            Self::Player(node) => node.poll_output(),
            Self::Lobby(node) => node.poll_output(),
            Self::Idle => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Player(node) => node.poll_timeout(),
            Self::Lobby(node) => node.poll_timeout(),
            Self::Idle => None,
        }
    }
}
