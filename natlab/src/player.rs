//! The shipping agent on a simulated host, with the smallest of games on top.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use traversal_core::address::is_site;
use traversal_core::failure::FailureReport;
use traversal_core::id::PlayerId;
use traversal_core::nat::{Confidence, NatProfile};
use traversal_core::{
    Agent, AgentConfig, Command, Event, Identity, LobbyState, Output, PathInfo, PathKind, PortMappingState,
    RequestFailure, RequestKind, Said, Seat, SocketId, StreamBy, StreamState, TLS_PORT,
};

use crate::world::{Node, NodeOutput};

/// The game's datagrams have this period until one has come back.
const BEAT: Duration = Duration::from_millis(100);

/// This is a real game on top, instead of the small one.
pub trait Game: std::fmt::Debug {
    /// Hears that the first path to a player stands; `hosting`: this side hosts.
    fn connected(&mut self, now: Instant, player: PlayerId, hosting: bool);
    /// Hears that the path to a player is another one.
    fn moved(&mut self, _now: Instant, _player: PlayerId, _path: &PathInfo) {}
    /// Takes a datagram that came in.
    fn handle_datagram(&mut self, now: Instant, from: PlayerId, datagram: &[u8]);
    /// Is called when [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);
    /// Gives the next datagram to send, and to whom.
    fn poll_datagram(&mut self) -> Option<(PlayerId, Vec<u8>)>;
    /// Says when the next frame is due.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// This is a player: the agent, what it reported, and a game that greets everyone until it is greeted back.
#[derive(Debug)]
pub struct Player {
    agent: Agent,
    now: Instant,
    outputs: VecDeque<NodeOutput>,
    /// It holds everything the agent reported but game datagrams, with its time.
    pub events: Vec<(Instant, Event)>,
    /// This is the present path to each player.
    pub paths: BTreeMap<PlayerId, PathInfo>,
    /// When a path of a direct kind first stood.
    pub direct_at: BTreeMap<PlayerId, Instant>,
    /// When the first path to each player stood.
    pub connected_at: BTreeMap<PlayerId, Instant>,
    /// It counts the game datagrams that came in, by player.
    pub heard: BTreeMap<PlayerId, u32>,
    /// When the first of them came in.
    pub heard_at: BTreeMap<PlayerId, Instant>,
    /// It counts the game datagrams that went out, by player.
    pub said: BTreeMap<PlayerId, u32>,
    /// These are the reports of attempts that failed.
    pub failures: Vec<FailureReport>,
    /// These are the requests that failed, and why.
    pub refusals: Vec<(RequestKind, RequestFailure)>,
    /// How many channels to other players have ended.
    pub disconnects: u32,
    /// This is the link to the lobby server.
    pub lobby: LobbyState,
    /// It has this id, once logged in.
    pub id: Option<PlayerId>,
    /// What it knows of its NAT.
    pub nat: NatProfile,
    /// Whether it is in a room.
    pub in_room: bool,
    /// As a host it lets everyone in who asks.
    pub allows: bool,
    /// Its system lets it send into its own network (macOS and iOS: once the user has said so); else those sends fail.
    pub lan_allowed: bool,
    /// It does not answer those who ask to join.
    pub silent: bool,
    /// Whether it sends game datagrams.
    pub chatty: bool,
    rate: Option<u32>,
    next_beat: Option<Instant>,
    game: Option<Box<dyn Game>>,
    /// The agent was woken then and has put nothing out since.
    woken: Option<Instant>,
}

impl Player {
    /// Makes a player whose main socket is bound to `local`.
    pub fn new(config: AgentConfig, secret: [u8; 32], local: SocketAddr, now: Instant) -> Self {
        Self::dual(config, secret, (local, None), now)
    }

    /// Makes a player whose main sockets are bound to these: for IPv4, and for IPv6 where there is any.
    pub fn dual(
        config: AgentConfig,
        secret: [u8; 32],
        local: (SocketAddr, Option<SocketAddr>),
        now: Instant,
    ) -> Self {
        // The agent's randomness and its identity must not be the same bytes.
        let seed = secret.map(|byte| byte ^ 0x5a);
        let agent = Agent::new(config, Identity::from_secret(secret), seed, local);
        Self {
            agent,
            now,
            outputs: VecDeque::new(),
            events: Vec::new(),
            paths: BTreeMap::new(),
            direct_at: BTreeMap::new(),
            connected_at: BTreeMap::new(),
            heard: BTreeMap::new(),
            heard_at: BTreeMap::new(),
            said: BTreeMap::new(),
            failures: Vec::new(),
            refusals: Vec::new(),
            disconnects: 0,
            lobby: LobbyState::Offline,
            id: None,
            nat: NatProfile::default(),
            in_room: false,
            allows: true,
            lan_allowed: true,
            silent: false,
            chatty: true,
            rate: None,
            next_beat: None,
            game: None,
            woken: None,
        }
    }

    /// Has it play this game instead of the small one, before it meets anybody.
    pub fn play(&mut self, game: Box<dyn Game>) {
        self.chatty = false;
        self.game = Some(game);
    }

    /// Returns the agent of this player, to be asked or told by a test.
    pub fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// What a datagram to this player says: see [`Agent::read`].
    pub fn read(&self, datagram: &[u8]) -> Option<Said> {
        self.agent.read(datagram)
    }

    /// Does what the game wants.
    pub fn command(&mut self, now: Instant, command: Command) {
        self.now = now;
        self.agent.handle_command(now, command);
    }

    /// Whether the player is logged in.
    pub fn is_online(&self) -> bool {
        matches!(self.lobby, LobbyState::Online { .. })
    }

    /// Returns how it stands with the port that its router forwards, as it was told last.
    pub fn port_mapping(&self) -> PortMappingState {
        let told = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::PortMapping(state) => Some(*state),
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// Tells whether its NAT has been measured, as far as it can be.
    pub fn is_classified(&self) -> bool {
        self.nat.udp_blocked
            || matches!(self.nat.confidence, Confidence::Full | Confidence::Reduced | Confidence::Manual)
    }

    /// Tells whether the path to this player is a direct one.
    pub fn is_direct(&self, to: PlayerId) -> bool {
        self.paths.get(&to).is_some_and(|path| path.kind != PathKind::Relay)
    }

    /// Sends game datagrams to everyone from now on, so many a second.
    pub fn keep_talking(&mut self, now: Instant, rate: u32) {
        self.now = now;
        self.rate = Some(rate);
        self.next_beat = Some(now);
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            self.woken = None;
            match &event {
                Event::Datagram { player, payload, .. } => {
                    if let Some(game) = &mut self.game {
                        game.handle_datagram(self.now, *player, payload);
                    }
                    *self.heard.entry(*player).or_default() += 1;
                    self.heard_at.entry(*player).or_insert(self.now);
                    continue;
                }
                Event::Lobby(state) => {
                    self.lobby = state.clone();
                    if let LobbyState::Online { player, .. } = state {
                        self.id = Some(*player);
                    }
                }
                Event::Nat(profile) => self.nat = *profile,
                Event::RoomEntered { .. } => self.in_room = true,
                Event::RoomLeft { .. } => self.in_room = false,
                Event::JoinRequest { join, .. } if !self.silent => {
                    let answer =
                        Command::AnswerJoin { join: *join, allow: self.allows, reason: String::new() };
                    self.agent.handle_command(self.now, answer);
                }
                Event::PeerConnected { peer, path, seat, .. } => {
                    if let Some(game) = &mut self.game {
                        game.connected(self.now, peer.id, *seat == Seat::Host);
                    }
                    self.connected_at.entry(peer.id).or_insert(self.now);
                    self.take_path(peer.id, path.clone());
                    self.greet(peer.id);
                    self.next_beat = Some(self.now + BEAT);
                }
                Event::PathChanged { player, path } => {
                    if let Some(game) = &mut self.game {
                        game.moved(self.now, *player, path);
                    }
                    self.take_path(*player, path.clone());
                    // A real game sends with the next frame.
                    if !self.heard.contains_key(player) {
                        self.greet(*player);
                    }
                }
                Event::PeerDisconnected { peer, .. } => {
                    self.paths.remove(&peer.id);
                    self.disconnects += 1;
                }
                Event::PeerFailed { report, .. } => self.failures.push(report.clone()),
                Event::RequestFailed { request, error } => self.refusals.push((*request, error.clone())),
                _ => {}
            }
            self.events.push((self.now, event));
        }
    }

    /// Checks the agent's run-loop contract: once woken, it has put something out or asks for a later time.
    fn check_wake(&mut self) {
        let Some(now) = self.woken.take() else { return };
        let wish = self.agent.poll_timeout();
        assert!(
            wish.is_none_or(|at| at > now),
            "the agent was woken, put nothing out, and asks for the same instant again: {:#?}",
            self.agent
        );
    }

    fn take_path(&mut self, player: PlayerId, path: PathInfo) {
        if path.kind != PathKind::Relay {
            self.direct_at.entry(player).or_insert(self.now);
        }
        self.paths.insert(player, path);
    }

    /// Says whether this side has heard the other one.
    fn greet(&mut self, player: PlayerId) {
        if self.chatty {
            let heard = u8::from(self.heard.contains_key(&player));
            if self.agent.send(self.now, player, &[b'h', b'i', heard]) {
                *self.said.entry(player).or_default() += 1;
            }
        }
    }

    fn beat(&mut self) {
        let waiting: Vec<_> = self
            .paths
            .keys()
            .filter(|player| self.rate.is_some() || !self.heard.contains_key(player))
            .copied()
            .collect();
        for player in &waiting {
            self.greet(*player);
        }
        // Once heard, say so a few times more: the other side may not have heard this one.
        let unheard_long = self.connected_at.values().any(|at| self.now < *at + 20 * BEAT);
        if waiting.is_empty() && unheard_long {
            let players: Vec<_> = self.paths.keys().copied().collect();
            players.into_iter().for_each(|player| self.greet(player));
        }
        let period = self.rate.map_or(BEAT, |rate| Duration::from_secs(1) / rate.max(1));
        self.next_beat = (!waiting.is_empty() || unheard_long).then_some(self.now + period);
    }
}

impl Node for Player {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        self.now = now;
        self.agent.handle_datagram(now, SocketId(socket), from, datagram);
    }

    fn handle_socket(&mut self, now: Instant, socket: u32, local: io::Result<SocketAddr>) {
        self.now = now;
        self.agent.handle_socket(now, SocketId(socket), local);
    }

    fn handle_stream(&mut self, now: Instant, open: bool) {
        self.now = now;
        self.agent.handle_stream(now, if open { StreamState::Open } else { StreamState::Closed });
    }

    fn handle_too_long(&mut self, now: Instant, socket: u32, to: SocketAddr, length: usize) {
        self.now = now;
        self.agent.handle_too_long(now, SocketId(socket), to, length);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.next_beat.is_some_and(|at| at <= now) {
            self.beat();
        }
        if self.agent.poll_timeout().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now);
            self.woken = Some(now);
        }
        if let Some(game) = &mut self.game {
            if game.poll_timeout().is_some_and(|at| at <= now) {
                game.handle_timeout(now);
            }
            while let Some((player, datagram)) = game.poll_datagram() {
                self.agent.send(now, player, &datagram);
            }
        }
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.drain_events();
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let Some(output) = self.agent.poll_output() else {
            self.check_wake();
            return None;
        };
        self.woken = None;
        Some(match output {
            Output::Transmit(transmit) if !self.lan_allowed && is_site(transmit.to.ip()) => {
                return self.poll_output();
            }
            Output::Transmit(transmit) => NodeOutput::Transmit {
                socket: transmit.socket.0,
                to: transmit.to,
                ttl: transmit.ttl,
                payload: transmit.payload,
            },
            Output::OpenSocket { socket, v6 } => NodeOutput::Open { socket: socket.0, v6 },
            Output::CloseSocket { socket } => NodeOutput::Close { socket: socket.0 },
            // Nobody serves TLS here: such a connection is refused.
            Output::OpenStream { to, by } => {
                let to = if by == StreamBy::Tls { SocketAddr::new(to.ip(), TLS_PORT) } else { to };
                NodeOutput::Connect { socket: SocketId::STREAM.0, to }
            }
            Output::CloseStream => NodeOutput::Disconnect,
            _ => return self.poll_output(),
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let game = self.game.as_ref().and_then(|game| game.poll_timeout());
        [self.agent.poll_timeout(), self.next_beat, game].into_iter().flatten().min()
    }
}
