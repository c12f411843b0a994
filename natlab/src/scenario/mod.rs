//! Two players, a lobby server and the networks between them: built from settings, run, and told as a report.

mod draw;
mod internet;
mod party;
mod preparing;
mod report;
mod settings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use lobby_server::ServerConfig;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::Command;

use crate::link::Link;
use crate::lobby::{self, Lobby, SimulatedProgram};
use crate::nat::NatConfig;
use crate::oracle::{self, Outlook, Relation};
use crate::player::Player;
use crate::world::{HostId, NatId, SegmentId, World};

pub use draw::{Draw, Worlds};
pub use party::PartyWorld;
pub use report::{JoinReport, Side};
pub use settings::{Ipv6, JoinMoment, PairWorldSettings};

/// The players' main sockets have this port.
const GAME_PORT: u16 = 40_000;
/// This is the room of every scenario.
const ROOM: &str = "lab";
/// How long a login may take before the run is given up: several tries of the agent.
const LOGIN_PATIENCE: Duration = Duration::from_secs(20);
/// How long classification may take before the join is asked for all the same.
const CLASSIFY_PATIENCE: Duration = Duration::from_secs(8);
/// Two servers have found each other by then: players come after it.
const LINKED: Duration = Duration::from_secs(3);
/// What a run waits beyond the agents' own deadline for both to say how it ended.
const GRACE: Duration = Duration::from_secs(6);

/// This is a world with two players and a server in it.
pub struct PairWorld {
    /// This is the simulated internet that they live in.
    pub world: World<SimulatedProgram>,
    /// This is the host of the room; `left` on the command line.
    pub left: HostId,
    /// It is the player who joins.
    pub right: HostId,
    /// It is the host on which the lobby server runs.
    pub server: HostId,
    /// It is the host of the second server, where the second address is another machine's.
    pub neighbour: Option<HostId>,
    /// They are the NATs of the left player, the inner one first.
    pub left_nats: Vec<NatId>,
    /// These are the NATs of the right player.
    pub right_nats: Vec<NatId>,
    settings: PairWorldSettings,
    requested: Duration,
    /// It is, of two who start together, the one that was logged in last.
    last: HostId,
}

/// This is the network outside of all NATs.
const INTERNET: SegmentId = World::<SimulatedProgram>::INTERNET;

fn seed_of(rng: &mut ChaCha8Rng) -> [u8; 32] {
    rng.random()
}

impl PairWorld {
    /// Builds the world; nobody has said anything in it yet.
    pub fn new(mut settings: PairWorldSettings) -> Self {
        if settings.left.is_empty() && settings.relation == Relation::SameOuterNat {
            // There is none to share.
            settings.relation = Relation::Apart;
        }
        match settings.relation {
            Relation::Apart => {}
            Relation::SameLan => settings.right.clone_from(&settings.left),
            Relation::SameOuterNat => {
                settings.right.pop();
                settings.right.extend(settings.left.last().cloned());
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut world: World<SimulatedProgram> = World::new(rng.random());
        world.set_core_hops(settings.core_hops);
        let seed = seed_of(&mut rng);
        let machines = if settings.two_machines { vec![Some(0), Some(1)] } else { vec![None] };
        let servers: Vec<HostId> =
            machines.into_iter().map(|machine| add_lobby(&mut world, &settings, machine, seed)).collect();
        let (server, neighbour) = (servers[0], servers.get(1).copied());
        if neighbour.is_some() {
            // Servers are there long before players are.
            world.run_until(LINKED);
        }
        let (left_inside, left_nats) =
            add_chain(&mut world, INTERNET, 1, &settings.left, &settings.left_link);
        let (right_inside, right_nats) = add_right_chain(&mut world, &settings, left_inside, &left_nats);
        for (nats, v6) in [(&left_nats, &settings.left_v6), (&right_nats, &settings.right_v6)] {
            let (Ipv6::Beside(filter) | Ipv6::Only(filter)) = v6 else { continue };
            // One filter, at the door; further inside there are only routers.
            for nat in nats {
                world.allow_v6(*nat, NatConfig::preset("none").unwrap_or_default());
            }
            if let Some(outer) = nats.last() {
                world.allow_v6(*outer, filter.clone());
            }
        }
        let left = add_player(&mut world, left_inside, 1, &settings, &settings.left, seed_of(&mut rng));
        let right = add_player(&mut world, right_inside, 2, &settings, &settings.right, seed_of(&mut rng));
        Self {
            world,
            left,
            right,
            server,
            neighbour,
            left_nats,
            right_nats,
            settings,
            requested: Duration::ZERO,
            last: right,
        }
    }

    /// Returns the settings that it was built with.
    pub fn settings(&self) -> &PairWorldSettings {
        &self.settings
    }

    /// What can be hoped for here.
    pub fn outlook(&self) -> Outlook {
        oracle::outlook(&self.settings.left, &self.settings.right, self.settings.relation)
    }

    /// Returns a player, to look at.
    ///
    /// # Panics
    /// If another program has been put on that host.
    pub fn player(&self, host: HostId) -> &Player {
        match self.world.node(host).player() {
            Some(player) => player,
            None => panic!("{host:?} runs no player"),
        }
    }

    /// Lets a player act.
    pub fn act<R>(&mut self, host: HostId, action: impl FnOnce(&mut Player, Instant) -> R) -> Option<R> {
        self.world.act(host, |node, now| node.player_mut().map(|player| action(player, now)))
    }

    /// Ends the server without a word.
    pub fn stop_server(&mut self) {
        self.world.replace_node(self.server, SimulatedProgram::Idle);
    }

    /// Starts a server that knows nothing but its key.
    pub fn start_server(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (now, machine) = (self.world.instant(), self.neighbour.map(|_| 0));
        let fresh = new_lobby(&self.settings, machine, seed_of(&mut rng), now);
        self.world.replace_node(self.server, SimulatedProgram::Lobby(Box::new(fresh)));
    }

    /// Ends the second server without a word.
    pub fn stop_neighbour(&mut self) {
        if let Some(neighbour) = self.neighbour {
            self.world.replace_node(neighbour, SimulatedProgram::Idle);
        }
    }

    /// Starts the second server anew.
    pub fn start_neighbour(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        if let Some(neighbour) = self.neighbour {
            let fresh = new_lobby(&self.settings, Some(1), seed_of(&mut rng), self.world.instant());
            self.world.replace_node(neighbour, SimulatedProgram::Lobby(Box::new(fresh)));
        }
    }

    /// When the join was asked for.
    pub fn requested(&self) -> Duration {
        self.requested
    }

    /// Runs until `done` holds, at the most for so long; whether it does hold.
    pub fn wait(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.world.now() + patience;
        loop {
            if done(self) {
                return true;
            }
            if self.world.next_at().is_none_or(|at| at > end) {
                self.world.run_until(end);
                return done(self);
            }
            self.world.step();
        }
    }

    /// Tells whether both have a direct path and have heard the other's game over some path.
    pub fn is_direct_and_played(&self) -> bool {
        self.is_direct() && self.is_played()
    }

    /// Whether both have a direct path.
    pub fn is_direct(&self) -> bool {
        let (left, right) = (self.player(self.left), self.player(self.right));
        let (Some(left_id), Some(right_id)) = (left.id, right.id) else { return false };
        left.is_direct(right_id) && right.is_direct(left_id)
    }

    /// Whether both have heard the other's game.
    pub fn is_played(&self) -> bool {
        let (left, right) = (self.player(self.left), self.player(self.right));
        let (Some(left_id), Some(right_id)) = (left.id, right.id) else { return false };
        left.heard.contains_key(&right_id) && right.heard.contains_key(&left_id)
    }

    /// Nothing more will come of this attempt.
    fn is_over(&self) -> bool {
        let given_up = |player: &Player| !player.failures.is_empty() && player.paths.is_empty();
        self.is_direct_and_played()
            || (given_up(self.player(self.left)) && given_up(self.player(self.right)))
            || !self.player(self.right).refusals.is_empty()
    }

    /// Joins and runs to the end of the attempt.
    pub fn join(&mut self) -> JoinReport {
        self.join_watched(|_| {})
    }

    /// Does the same with an onlooker, who is called when the join is about to be asked for, and after all that happens
    /// from then on.
    pub fn join_watched(&mut self, mut look: impl FnMut(&Self)) -> JoinReport {
        let ready = self.prepare();
        look(self);
        if ready {
            self.request();
            // The time until both NATs are known does not count, up to as much again.
            let patience = 2 * self.settings.config.connect_deadline + GRACE;
            let mut marked = false;
            let end = self.world.now() + patience;
            while !self.is_over() && self.world.next_at().is_some_and(|at| at <= end) {
                self.world.step();
                look(self);
                if !marked && self.is_direct() {
                    marked = true;
                    for host in [self.left, self.right] {
                        self.world.mark(host);
                    }
                }
            }
        }
        JoinReport::of(self, ready)
    }
}

/// Makes a lobby server: the only one, or one of two.
fn new_lobby(
    settings: &PairWorldSettings,
    machine: Option<usize>,
    mut seed: [u8; 32],
    now: Instant,
) -> Lobby {
    let Some(machine) = machine else {
        return Lobby::new(ServerConfig::default(), settings.two_addresses, seed, now);
    };
    seed[0] ^= machine as u8;
    Lobby::one_of_two(ServerConfig::default(), machine, seed, now)
}

/// Puts a lobby server into the internet: the only one, or one of two.
fn add_lobby(
    world: &mut World<SimulatedProgram>,
    settings: &PairWorldSettings,
    machine: Option<usize>,
    seed: [u8; 32],
) -> HostId {
    let addresses = match machine {
        Some(machine) => vec![lobby::ADDRESSES[machine], lobby::ADDRESSES_V6[machine]],
        None => [lobby::ADDRESSES, lobby::ADDRESSES_V6].concat(),
    };
    let first = match machine {
        Some(machine) => lobby::sockets_of(machine)[..lobby::PORTS.len()].to_vec(),
        None => lobby::sockets(settings.two_addresses),
    };
    let link = settings.server_link.clone();
    let server = world.add_host(INTERNET, addresses, &first, link, SimulatedProgram::Idle);
    let now = world.instant();
    let node = new_lobby(settings, machine, seed, now);
    world.replace_node(server, SimulatedProgram::Lobby(Box::new(node)));
    world.exempt(&lobby::ADDRESSES);
    world.exempt(&lobby::ADDRESSES_V6);
    if let Some(machine) = machine {
        let sockets = lobby::sockets_of(machine);
        world.listen(server, first.len() as u32, sockets[0]);
        for (socket, local) in sockets.into_iter().enumerate().skip(first.len() + 1) {
            world.bind(server, socket as u32, local);
        }
        return server;
    }
    let (listener, local) = lobby::listener(settings.two_addresses);
    world.listen(server, listener, local);
    for (socket, local) in lobby::sockets_v6(settings.two_addresses) {
        world.bind(server, socket, local);
    }
    server
}

/// Adds the right player's row of NATs, or as much of it as is not the left player's.
fn add_right_chain(
    world: &mut World<SimulatedProgram>,
    settings: &PairWorldSettings,
    left_inside: SegmentId,
    left_nats: &[NatId],
) -> (SegmentId, Vec<NatId>) {
    match settings.relation {
        Relation::SameLan => (left_inside, left_nats.to_vec()),
        Relation::SameOuterNat => match left_nats.last() {
            Some(outer) => {
                // Each side has what is left of its row below the common one; nothing is left: it is in the
                // network between.
                let shared = world.inside_of(*outer);
                let inner = &settings.right[..settings.right.len() - 1];
                let (inside, mut nats) = add_chain(world, shared, 2, inner, &Link::default());
                nats.push(*outer);
                (inside, nats)
            }
            None => (left_inside, Vec::new()),
        },
        Relation::Apart => add_chain(world, INTERNET, 2, &settings.right, &settings.right_link),
    }
}

/// Adds a row of NATs from `outer` inwards; the link is that of the outermost. `side` keeps addresses apart.
fn add_chain(
    world: &mut World<SimulatedProgram>,
    outer: SegmentId,
    side: u8,
    chain: &[NatConfig],
    link: &Link,
) -> (SegmentId, Vec<NatId>) {
    let mut segment = outer;
    let mut nats = Vec::new();
    for (depth, config) in chain.iter().rev().enumerate() {
        let external = (1..=config.pool as u8)
            .map(|n| {
                IpAddr::V4(match depth as u8 {
                    // Below firewalls alone addresses are public.
                    depth if world.is_public(segment) => Ipv4Addr::new(198, 18, side, n + 64 * depth.min(2)),
                    // RFC 6598's shared addresses, as between a carrier's NAT and its customers'.
                    depth => Ipv4Addr::new(100, 64 + depth, side, n),
                })
            })
            .collect();
        // A row without delay of its own shares the link of its outer end.
        let link = if depth == 0 { link.clone() } else { Link::default() };
        let (nat, inner) = world.add_nat(segment, config.clone(), external, link);
        nats.insert(0, nat);
        segment = inner;
    }
    (segment, nats)
}

fn add_player(
    world: &mut World<SimulatedProgram>,
    segment: SegmentId,
    side: u8,
    settings: &PairWorldSettings,
    chain: &[NatConfig],
    secret: [u8; 32],
) -> HostId {
    let public = !chain.iter().any(NatConfig::translates);
    let ip = if public { Ipv4Addr::new(198, 18, side, 200) } else { Ipv4Addr::new(192, 168, 1, 1 + side) };
    let link = match (chain.is_empty(), side) {
        (false, _) => Link::default(),
        (true, 1) => settings.left_link.clone(),
        (true, _) => settings.right_link.clone(),
    };
    let port = GAME_PORT + u16::from(side);
    let v6 = match if side == 1 { &settings.left_v6 } else { &settings.right_v6 } {
        Ipv6::None => None,
        Ipv6::Beside(_) | Ipv6::Only(_) => {
            Some(IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, u16::from(side), 0, 0, 0, 0, 2)))
        }
    };
    let v6_only = matches!(if side == 1 { &settings.left_v6 } else { &settings.right_v6 }, Ipv6::Only(_));
    let v4 = (!v6_only).then_some(IpAddr::from(ip));
    let addresses: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    let local = SocketAddr::new(v4.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port);
    let local_v6 = v6.map(|ip| SocketAddr::new(ip, port));
    let mut config = settings.config.clone();
    config.name = if side == 1 { "left".into() } else { "right".into() };
    if let Some(relays) = settings.relays {
        config.relay = relays[usize::from(side - 1)];
    }
    let player = Player::dual(config, secret, (local, local_v6), world.instant());
    let sockets: Vec<SocketAddr> = [local].into_iter().chain(local_v6).collect();
    let program = SimulatedProgram::Player(Box::new(player));
    let host = world.add_host(segment, addresses.clone(), &sockets, link, program);
    world.act(host, |node, now| {
        if let Some(player) = node.player_mut() {
            player.command(now, Command::LocalAddresses(addresses));
        }
    });
    host
}
