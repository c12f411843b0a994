//! One host and several who join it.

use std::time::Duration;

use lobby_server::{MemoryRegistry, ServerConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use traversal_core::wire::message::{RoomOptions, RoomTarget, Topology};
use traversal_core::{AgentConfig, Command};

use crate::link::Link;
use crate::lobby::{self, Lobby, SimulatedProgram};
use crate::nat::NatConfig;
use crate::player::Player;
use crate::world::{HostId, NatId, World};

use super::{GAME_PORT, INTERNET, LOGIN_PATIENCE, ROOM, add_chain, seed_of};

/// This is a world with a room that many enter.
pub struct PartyWorld {
    /// This is the simulated internet that they live in.
    pub world: World<SimulatedProgram>,
    /// It is the host on which the lobby server runs.
    pub server: HostId,
    /// These are the players, the host of the room first.
    pub players: Vec<HostId>,
    /// These are the NATs of each, the inner one first.
    pub nats: Vec<Vec<NatId>>,
    /// It is the room that is opened; for all of them if nothing else is said.
    pub room: RoomOptions,
    /// These are the secrets of the players' identities.
    secrets: Vec<[u8; 32]>,
    config: AgentConfig,
    /// The players' networks are this far from the internet.
    link: Link,
}

impl PartyWorld {
    /// Puts players behind these NATs, each in a network of its own, with the same one-way delay between any two.
    pub fn new(seed: u64, chains: &[Vec<NatConfig>], delay: Duration, config: &AgentConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world: World<SimulatedProgram> = World::new(rng.random());
        let link = Link::delay(delay / 2);
        let now = world.instant();
        let node = Lobby::new(ServerConfig::default(), true, seed_of(&mut rng), now);
        let server = world.add_host(
            INTERNET,
            lobby::ADDRESSES.to_vec(),
            &lobby::sockets(true),
            link.clone(),
            SimulatedProgram::Lobby(Box::new(node)),
        );
        world.exempt(&lobby::ADDRESSES);
        let (listener, local) = lobby::listener(true);
        world.listen(server, listener, local);
        let capacity = (chains.len() as u16).max(2);
        let room = RoomOptions { name: ROOM.into(), capacity, ..RoomOptions::default() };
        let (players, nats) = (Vec::new(), Vec::new());
        let mut party =
            Self { world, server, players, nats, room, secrets: Vec::new(), config: config.clone(), link };
        for chain in chains {
            let secret = seed_of(&mut rng);
            party.add_player(chain, secret);
        }
        party
    }

    /// Puts one more player behind these NATs.
    fn add_player(&mut self, chain: &[NatConfig], secret: [u8; 32]) -> usize {
        let now = self.world.instant();
        let side = self.players.len() as u8 + 1;
        let (inside, nats) = add_chain(&mut self.world, INTERNET, side, chain, &self.link);
        let public = !chain.iter().any(NatConfig::translates);
        let ip = if public { [198, 18, side, 200] } else { [192, 168, 1, side + 1] };
        let local = (ip, GAME_PORT + u16::from(side)).into();
        let config = AgentConfig { name: format!("player {side}"), ..self.config.clone() };
        let mut player = Player::new(config, secret, local, now);
        player.command(now, Command::LocalAddresses(vec![ip.into()]));
        let access = if chain.is_empty() { self.link.clone() } else { Link::default() };
        let program = SimulatedProgram::Player(Box::new(player));
        self.players.push(self.world.add_host(inside, vec![ip.into()], &[local], access, program));
        self.nats.push(nats);
        self.secrets.push(secret);
        self.players.len() - 1
    }

    /// Starts the game of a player a second time, on another machine behind these NATs, and returns its index.
    pub fn add_twin(&mut self, of: usize, chain: &[NatConfig]) -> usize {
        self.add_player(chain, self.secrets[of])
    }

    /// Returns a player, to look at.
    ///
    /// # Panics
    /// If another program has been put on that host.
    pub fn player(&self, index: usize) -> &Player {
        match self.world.node(self.players[index]).player() {
            Some(player) => player,
            None => panic!("no player {index}"),
        }
    }

    /// Does what a player's game wants.
    pub fn command(&mut self, index: usize, command: Command) {
        self.world.act(self.players[index], |node, now| {
            if let Some(player) = node.player_mut() {
                player.command(now, command);
            }
        });
    }

    /// Logs all in, gives them time to know their NATs, and has the first open the room. False if that cannot be
    /// done.
    pub fn prepare(&mut self) -> bool {
        self.prepare_as(self.room.topology)
    }

    /// Logs all in and gives them time to know their NATs. False if that cannot be done.
    pub fn log_in(&mut self) -> bool {
        for index in 0..self.players.len() {
            self.command(index, Command::Connect(vec![lobby::sockets(false)[0]]));
        }
        let everyone = |party: &Self, done: fn(&Player) -> bool| {
            (0..party.players.len()).all(|index| done(party.player(index)))
        };
        if !self.wait(LOGIN_PATIENCE, |party| everyone(party, Player::is_online)) {
            return false;
        }
        self.wait(super::CLASSIFY_PATIENCE, |party| everyone(party, Player::is_classified));
        true
    }

    /// Has the lobby server be node 1 of so many, which share a registry, and returns their hosts. The others get addresses of
    /// their own ([`lobby::addresses_of`]).
    pub fn spread_servers(&mut self, seed: u64, nodes: u8, registry: &MemoryRegistry) -> Vec<HostId> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = self.world.instant();
        let mut hosts = Vec::new();
        for node in 1..=nodes {
            let config = ServerConfig::default();
            let lobby = Lobby::node((node, node.into()), config, registry.clone(), seed_of(&mut rng), now);
            let program = SimulatedProgram::Lobby(Box::new(lobby));
            if node == 1 {
                self.world.replace_node(self.server, program);
                hosts.push(self.server);
                continue;
            }
            let addresses = lobby::addresses_of(node);
            let link = Link::delay(Duration::from_millis(15));
            let sockets = lobby::sockets_of_node(node);
            let host = self.world.add_host(INTERNET, addresses.to_vec(), &sockets, link, program);
            self.world.exempt(&addresses);
            self.world.listen(host, sockets.len() as u32, sockets[0]);
            hosts.push(host);
        }
        hosts
    }

    /// Logs a player in at this node of several.
    pub fn log_in_at(&mut self, index: usize, node: u8) -> bool {
        self.command(index, Command::Connect(vec![lobby::sockets_of_node(node)[0]]));
        self.wait(LOGIN_PATIENCE, |party| party.player(index).is_online())
            && self.wait(super::CLASSIFY_PATIENCE, |party| party.player(index).is_classified())
    }

    /// Puts a server that knows nothing in the place of the one that runs.
    pub fn restart_server(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = self.world.instant();
        let fresh = Lobby::new(ServerConfig::default(), true, seed_of(&mut rng), now);
        self.world.replace_node(self.server, SimulatedProgram::Lobby(Box::new(fresh)));
    }

    /// Does the same as [`prepare`](Self::prepare), with a room of this shape.
    pub fn prepare_as(&mut self, topology: Topology) -> bool {
        if !self.log_in() {
            return false;
        }
        let options = RoomOptions { topology, ..self.room.clone() };
        self.command(0, Command::HostRoom(options));
        self.wait(LOGIN_PATIENCE, |party| party.player(0).in_room)
    }

    /// Has a player ask to join.
    pub fn join(&mut self, index: usize) {
        let target = RoomTarget::Name(ROOM.into());
        let wait = Duration::from_secs(5);
        self.command(index, Command::JoinRoom { target, password: None, wait });
    }

    /// Tells whether the host and this player have a path, and both have heard the other's game.
    pub fn is_played(&self, index: usize) -> bool {
        self.has_played(0, index)
    }

    /// Tells whether two players have both heard the other's game.
    pub fn has_played(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.player(one), self.player(other));
        let (Some(one_id), Some(other_id)) = (one.id, other.id) else { return false };
        one.heard.contains_key(&other_id) && other.heard.contains_key(&one_id)
    }

    /// Tells whether the host and this player have a direct path.
    pub fn is_direct(&self, index: usize) -> bool {
        self.has_direct(0, index)
    }

    /// Tells whether two players have a direct path.
    pub fn has_direct(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.player(one), self.player(other));
        let (Some(one_id), Some(other_id)) = (one.id, other.id) else { return false };
        one.is_direct(other_id) && other.is_direct(one_id)
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
}
