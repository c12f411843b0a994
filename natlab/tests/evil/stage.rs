//! One honest player with the shipping agent, a server and a player who mean harm, and people who have nothing to do
//! with it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use natlab::link::Link;
use natlab::lobby::Lobby;
use natlab::nat::NatSpec;
use natlab::player::Player;
use natlab::world::{HostId, Node, NodeOutput, World};
use traversal_core::wire::message::{Frame, RoomOptions, ToPlayer};
use traversal_core::{AgentConfig, Command, Identity};

use crate::liar::Liar;
use crate::peer::EvilPeer;
use crate::server::EvilServer;

/// These are the addresses of the server's sockets.
pub(crate) const SERVER: [SocketAddr; 4] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 10)), 3478),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 10)), 3479),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 11)), 3478),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 11)), 3479),
];
/// This is the address of the evil player.
pub(crate) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 2, 200)), 40_002);
/// These are the addresses of people on the internet.
pub(crate) const BYSTANDERS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 6)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
];
/// This is the address of somebody in the player's own network.
pub(crate) const LAN_BYSTANDER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 77));
/// This is the honest player's external address.
pub(crate) const VICTIM: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 1, 1));

/// They are the parts of a play: who runs on which host.
pub(crate) enum Cast {
    Player(Box<Player>),
    Server(Box<EvilServer>),
    Peer(Box<EvilPeer>),
    /// It is the shipping server, which does no harm.
    Lobby(Box<Lobby>),
    Liar(Box<Liar>),
    Bystander,
}

impl Cast {
    fn node(&mut self) -> Option<&mut dyn Node> {
        match self {
            Self::Player(node) => Some(node.as_mut()),
            Self::Server(node) => Some(node.as_mut()),
            Self::Peer(node) => Some(node.as_mut()),
            Self::Lobby(node) => Some(node.as_mut()),
            Self::Liar(node) => Some(node.as_mut()),
            Self::Bystander => None,
        }
    }
}

impl Node for Cast {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        if let Some(node) = self.node() {
            node.handle_datagram(now, socket, from, datagram);
        }
    }

    fn handle_socket(&mut self, now: Instant, socket: u32, local: io::Result<SocketAddr>) {
        if let Some(node) = self.node() {
            node.handle_socket(now, socket, local);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(node) = self.node() {
            node.handle_timeout(now);
        }
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.node().and_then(|node| node.poll_output())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Player(node) => node.poll_timeout(),
            Self::Server(node) => node.poll_timeout(),
            Self::Peer(node) => node.poll_timeout(),
            Self::Lobby(node) => node.poll_timeout(),
            Self::Liar(node) => node.poll_timeout(),
            Self::Bystander => None,
        }
    }
}

/// Returns the public key of a player who does not exist; nobody has the private one.
pub(crate) fn key_of_nobody() -> [u8; 32] {
    Identity::from_secret([77; 32]).public_key()
}

pub(crate) struct Stage {
    pub(crate) world: World<Cast>,
    pub(crate) victim: HostId,
    server: HostId,
    pub(crate) peer: HostId,
    bystanders: Vec<(IpAddr, HostId)>,
}

impl Stage {
    /// Everybody is there; nobody has said anything.
    pub(crate) fn new(seed: u64, nat: &str, link: Link) -> Self {
        let mut world: World<Cast> = World::new(seed);
        let internet = World::<Cast>::INTERNET;
        let now = world.instant();
        let server = Cast::Server(Box::new(EvilServer::new(SERVER.to_vec(), now)));
        let addresses = vec![SERVER[0].ip(), SERVER[2].ip()];
        let server = world.add_host(internet, addresses.clone(), &SERVER, link.clone(), server);
        world.exempt(&addresses);
        let config = nat.parse::<NatSpec>().unwrap().chain[0].clone();
        let (_, inside) = world.add_nat(internet, config, vec![VICTIM], link.clone());
        let local = SocketAddr::from(([192, 168, 1, 2], 40_001));
        let player = Player::new(AgentConfig::default(), [1; 32], local, now);
        let victim = world.add_host(
            inside,
            vec![local.ip()],
            &[local],
            Link::default(),
            Cast::Player(Box::new(player)),
        );
        let peer = Cast::Peer(Box::default());
        let peer = world.add_host(internet, vec![PEER.ip()], &[PEER], link.clone(), peer);
        let mut bystanders: Vec<(IpAddr, HostId)> = BYSTANDERS
            .into_iter()
            .map(|ip| (ip, world.add_host(internet, vec![ip], &[], link.clone(), Cast::Bystander)))
            .collect();
        let lan = world.add_host(inside, vec![LAN_BYSTANDER], &[], Link::default(), Cast::Bystander);
        bystanders.push((LAN_BYSTANDER, lan));
        let mut stage = Self { world, victim, server, peer, bystanders };
        stage.act(|player, now| player.command(now, Command::LocalAddresses(vec![local.ip()])));
        stage
    }

    /// The player knows the server's key.
    pub(crate) fn pin_server(&mut self) {
        let key = self.server().key();
        let now = self.world.instant();
        let local = SocketAddr::from(([192, 168, 1, 2], 40_001));
        let config = AgentConfig { server_keys: vec![key], ..AgentConfig::default() };
        self.act(|player, _| *player = Player::new(config, [1; 32], local, now));
        self.act(|player, now| player.command(now, Command::LocalAddresses(vec![local.ip()])));
    }

    /// The player logs in and opens a room, and its NAT has been measured.
    pub(crate) fn log_in(&mut self) {
        self.act(|player, now| player.command(now, Command::Connect(vec![SERVER[0]])));
        self.run(5);
        assert!(self.player().is_online(), "logged in");
        self.act(|player, now| {
            let options = RoomOptions { name: "trap".into(), ..RoomOptions::default() };
            player.command(now, Command::HostRoom(options));
        });
        self.run(3);
        assert!(self.player().in_room, "hosts a room");
        self.world.count_anew(self.victim);
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        let end = self.world.now() + Duration::from_secs(seconds);
        self.world.run_until(end);
    }

    pub(crate) fn act(&mut self, action: impl FnOnce(&mut Player, Instant)) {
        self.world.act(self.victim, |cast, now| match cast {
            Cast::Player(player) => action(player, now),
            _ => unreachable!("the honest player"),
        });
    }

    pub(crate) fn player(&self) -> &Player {
        match self.world.node(self.victim) {
            Cast::Player(player) => player,
            _ => unreachable!("the honest player"),
        }
    }

    pub(crate) fn server(&self) -> &EvilServer {
        match self.world.node(self.server) {
            Cast::Server(server) => server,
            _ => unreachable!("the server"),
        }
    }

    pub(crate) fn with_server<R>(&mut self, action: impl FnOnce(&mut EvilServer) -> R) -> R {
        self.world.act(self.server, |cast, _| match cast {
            Cast::Server(server) => action(server),
            _ => unreachable!("the server"),
        })
    }

    pub(crate) fn say(&mut self, message: &ToPlayer) {
        let now = self.world.instant();
        self.with_server(|server| server.say(now, message));
    }

    /// The server ends the session.
    pub(crate) fn bid_farewell(&mut self, frame: &Frame<ToPlayer>) {
        let now = self.world.instant();
        self.with_server(|server| server.send_once(now, frame));
    }

    pub(crate) fn with_peer<R>(&mut self, action: impl FnOnce(&mut EvilPeer) -> R) -> R {
        self.world.act(self.peer, |cast, _| match cast {
            Cast::Peer(peer) => action(peer),
            _ => unreachable!("the evil player"),
        })
    }

    /// Returns the number of datagrams that came to a bystander's door.
    pub(crate) fn got(&self, ip: IpAddr) -> u64 {
        let host = self.bystanders.iter().find(|(address, _)| *address == ip).unwrap().1;
        let stats = self.world.stats(host);
        stats.datagrams_received + stats.closed
    }

    /// Tells whether it is an address of the player's own NAT, to which its hairpin test goes.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip == VICTIM
    }
}
