//! The server core and its players, without a network between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use lobby_server::{MemoryRegistry, Server, ServerConfig, ServerSocketId};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::id::RequestId;
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, PlayerInfo, Request, Response, RoomOptions, RoomTarget, ToPlayer, ToServer,
};
use traversal_core::wire::session::ClientSession;
use traversal_core::wire::{Kind, MAX_DATAGRAM};

use crate::messages::{Known, usual_addresses};
use crate::servers::{SECRET, at, sockets};

pub(crate) const PLAYERS: usize = 4;
/// The last player is the honest one.
const HONEST: usize = PLAYERS - 1;
/// Somebody between them remembers this many datagrams.
const RECENT: usize = 32;
/// The honest player pings within this, as the agent does in a room.
const PING: Duration = Duration::from_secs(4);
/// The honest player asks its question in the end with this number.
const LAST_REQUEST: RequestId = RequestId(u32::MAX);

pub(crate) struct Player {
    identity: Identity,
    /// The first is where it logs in from; the second is another port, the third another family.
    pub(crate) addresses: [SocketAddr; 3],
    login: Login,
    handshake: ClientHandshake,
    session: Option<ClientSession>,
    pub(crate) told: Vec<ToPlayer>,
    /// It hears nothing, and so acknowledges nothing.
    pub(crate) deaf: bool,
}

pub(crate) struct World {
    now: Instant,
    server: Server,
    registry: MemoryRegistry,
    registry_runs: bool,
    pub(crate) players: Vec<Player>,
    pub(crate) known: Known,
    rng: ChaCha20Rng,
    recent: VecDeque<Vec<u8>>,
}

impl World {
    /// Everybody is logged in, and in the room of the honest one, who hosts it; but for one, who is in none.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let config = ServerConfig::default();
        let server = Server::new(config, Identity::from_secret(SECRET), [8; 32], sockets(true), now);
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let players = (0..PLAYERS as u8).map(|n| Player::new(n + 1, &mut rng)).collect();
        let known = Known { addresses: usual_addresses(), ..Known::default() };
        let registry = MemoryRegistry::new();
        let recent = VecDeque::new();
        let mut world = Self { now, server, registry, registry_runs: true, players, known, rng, recent };
        for index in 0..PLAYERS {
            world.log_in(index);
            let player = &world.players[index];
            world.known.players.push(PlayerInfo { id: player.identity.player_id(), name: "P".into() });
        }
        let options = RoomOptions { name: "r".into(), ..RoomOptions::default() };
        world.ask(HONEST, RequestId(0), Request::CreateRoom { options });
        for index in [0, 1] {
            let target = RoomTarget::Name("r".into());
            world.ask(index, RequestId(0), Request::JoinRoom { target, password: None });
        }
        assert_eq!(world.server.gauges().matches, 2, "two have joined");
        world
    }

    fn ask(&mut self, index: usize, id: RequestId, request: Request) {
        self.say(index, ToServer::Request { id, request });
    }

    pub(crate) fn say(&mut self, index: usize, message: ToServer) {
        let now = self.now;
        if let Some(session) = &mut self.players[index].session {
            // Too long, or too many unheard: nothing is said.
            let _ = session.send(now, message);
        }
        self.turn();
    }

    pub(crate) fn seal(&mut self, index: usize, kind: Kind, frame: &Frame<ToServer>) -> Option<Vec<u8>> {
        self.players[index].session.as_mut()?.seal(self.now, kind, frame)
    }

    fn log_in(&mut self, index: usize) {
        for _ in 0..2 {
            let datagram = self.players[index].handshake.datagram().to_vec();
            self.give(ServerSocketId(0), self.players[index].addresses[0], datagram);
        }
        self.ping(index);
    }

    pub(crate) fn log_in_again(&mut self, index: usize) {
        let player = &mut self.players[index];
        (player.handshake, player.deaf) = (ClientHandshake::new(&mut self.rng), false);
        self.log_in(index);
    }

    fn ping(&mut self, index: usize) {
        let now = self.now;
        if let Some(session) = &mut self.players[index].session {
            session.send_once(now, &Frame::Ping { id: 1 });
        }
        self.turn();
    }

    pub(crate) fn recent(&self, u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
        if self.recent.is_empty() {
            return Ok(None);
        }
        Ok(self.recent.get(u.choose_index(self.recent.len())?).cloned())
    }

    /// Takes a datagram that comes in, and does all that comes of it.
    pub(crate) fn give(&mut self, socket: ServerSocketId, from: SocketAddr, datagram: Vec<u8>) {
        self.input(socket, from, &datagram);
        self.turn();
    }

    fn input(&mut self, socket: ServerSocketId, from: SocketAddr, datagram: &[u8]) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(datagram.to_vec());
        self.server.handle_datagram(self.now, socket, from, datagram);
        let stun = datagram.first().is_some_and(|first| *first < 4);
        self.deliver(if stun { usize::MAX } else { datagram.len() });
    }

    /// Hands out what the server sends; no more than so many bytes go where no player is.
    fn deliver(&mut self, mut for_strangers: usize) {
        if self.registry_runs {
            self.server.turn_registry(self.now, &mut self.registry);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            let length = transmit.payload.len();
            assert!((1..=MAX_DATAGRAM).contains(&length));
            let there = |player: &&mut Player| player.addresses.contains(&transmit.to);
            match self.players.iter_mut().find(there) {
                Some(player) => player.take(self.now, &transmit.payload, &mut self.known, &mut self.rng),
                None => {
                    let left = for_strangers.checked_sub(length);
                    for_strangers = left.expect("no more bytes to strangers than came in");
                }
            }
        }
    }

    /// Delivers datagrams until nobody has anything to say.
    fn turn(&mut self) {
        self.deliver(0);
        for round in 0.. {
            assert!(round < 1_000, "players and server answer each other for ever");
            let mut quiet = true;
            for index in 0..PLAYERS {
                let from = self.players[index].addresses[0];
                while let Some(datagram) =
                    self.players[index].session.as_mut().and_then(ClientSession::poll_datagram)
                {
                    quiet = false;
                    if !self.players[index].deaf {
                        self.input(ServerSocketId(0), from, &datagram);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    pub(crate) fn toggle_registry(&mut self) {
        self.registry_runs ^= true;
        self.turn();
    }

    /// Time passes, from one thing that is due to the next.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ping = self.now;
        while self.now < end {
            if self.now >= ping {
                for index in 0..PLAYERS {
                    self.ping(index);
                }
                ping = self.now + PING;
            }
            let sessions = self.players.iter().filter_map(|player| player.session.as_ref()?.poll_timeout());
            let due = sessions.chain(self.server.poll_timeout()).chain([ping, end]).min().unwrap_or(end);
            self.now = due.max(self.now + Duration::from_millis(1));
            self.server.handle_timeout(self.now);
            let next = self.server.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "the next timer is later");
            self.deliver(0);
            for player in &mut self.players {
                if let Some(session) = &mut player.session {
                    session.handle_timeout(self.now);
                }
            }
            self.turn();
        }
    }

    pub(crate) fn check(&self) {
        let gauges = self.server.gauges();
        assert!(gauges.sessions <= PLAYERS, "a player has one session");
        assert!(gauges.rooms <= PLAYERS, "and is in one room");
        assert!(gauges.matches <= PLAYERS * (PLAYERS - 1) / 2, "and has one match with each other player");
        assert!(gauges.queued <= PLAYERS && gauges.relays <= gauges.matches);
    }

    /// Whatever the others did, the honest player is served.
    pub(crate) fn check_end(&mut self) {
        self.registry_runs = true;
        self.pass(Duration::from_secs(3));
        self.ask(HONEST, LAST_REQUEST, Request::ListRooms { query: Default::default() });
        self.pass(Duration::from_millis(500));
        let told = &self.players[HONEST].told;
        let answered = |message: &ToPlayer| {
            matches!(message, ToPlayer::Response { id: LAST_REQUEST, result: Ok(Response::Rooms { .. }) })
        };
        assert!(told.iter().any(answered), "the honest player is answered");
        let thrown_out =
            |message: &ToPlayer| matches!(message, ToPlayer::RoomEnded { .. } | ToPlayer::HostChanged { .. });
        assert!(!told.iter().any(thrown_out), "the honest player keeps its room");
    }
}

impl Player {
    fn new(n: u8, rng: &mut ChaCha20Rng) -> Self {
        let address = SocketAddr::new([203, 0, 113, n].into(), 4000);
        Self {
            identity: Identity::from_secret([n; 32]),
            addresses: [address, SocketAddr::new(address.ip(), 4001), at(&format!("[2001:db8::{n}]:4000"))],
            login: Login {
                game: "game".into(),
                game_protocol: 1,
                name: format!("P{n}"),
                token: Vec::new(),
                ephemeral: Identity::from_secret([n + 100; 32]).public_key(),
                local: vec![SocketAddr::new([192, 168, 1, n].into(), 4000)],
                relay_only: false,
            },
            handshake: ClientHandshake::new(rng),
            session: None,
            told: Vec::new(),
            deaf: false,
        }
    }

    fn take(&mut self, now: Instant, datagram: &[u8], known: &mut Known, rng: &mut ChaCha20Rng) {
        if self.deaf {
            return;
        }
        if !matches!(Kind::of(datagram), Some(Kind::Control | Kind::Probe)) {
            let progress = self.handshake.handle(datagram, &self.identity, &[], &self.login, now, rng);
            if let Ok(ClientProgress::Accepted(accepted)) = progress {
                self.session = Some(accepted.1);
            }
            return;
        }
        let Some(session) = &mut self.session else { return };
        let Ok(Some(frame)) = session.handle(now, datagram) else { return };
        match frame {
            Frame::Reliable { body, .. } => {
                learn(known, &body);
                self.told.push(body);
            }
            Frame::Ping { id } => session.send_once(now, &Frame::Pong { id, observed: self.addresses[0] }),
            Frame::PathChallenge { token } => known.tokens.push(token),
            Frame::MappedPortSeen { token, .. } => known.tokens.push(token),
            Frame::PortSeen { report, .. } => known.reports.push(report),
            _ => {}
        }
    }
}

/// Lets all use what one was told.
fn learn(known: &mut Known, message: &ToPlayer) {
    match message {
        ToPlayer::Response { result: Ok(Response::Room(room)), .. } => known.rooms.push(room.clone()),
        ToPlayer::HostChanged { room, .. } | ToPlayer::RoomChanged(room) => known.rooms.push(room.clone()),
        ToPlayer::JoinRequest { join, .. } => known.joins.push(*join),
        ToPlayer::Ticket(ticket) => known.tickets.push(*ticket),
        ToPlayer::Plan(plan) => known.matches.push(plan.match_id),
        _ => {}
    }
}
