//! The agent, and all that is around it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::id::{JoinId, MatchId};
use traversal_core::wire::handshake::ServerHandshake;
use traversal_core::wire::message::{Frame, PlayerInfo, RelayGrant, ToPlayer, ToServer, Welcome};
use traversal_core::wire::pair::{PairChannel, PairKeys, PairMessage};
use traversal_core::wire::session::ServerSession;
use traversal_core::wire::{Kind, MAX_DATAGRAM, RELAY_HEADER};
use traversal_core::{
    Agent, AgentConfig, Command, Event, Identity, LobbyState, Output, SocketId, StreamState, Transmit,
    is_sendable,
};

use crate::messages::{Known, usual_addresses};
use crate::servers::{SECRET, at};

/// There are this many other players, who are one with the server.
const PEERS: usize = 3;
/// This is the agent's socket, and where the server sees it.
const LOCAL: &str = "192.168.1.2:40000";
const PUBLIC: &str = "203.0.113.1:40000";
/// This many datagrams are remembered, to be sent again.
const RECENT: usize = 32;
/// Outputs and events that one input may have, but for the time: a plan has eight addresses tested and sockets opened.
const MOST_AT_ONCE: usize = 700;
/// The agent may wake up this many times in one second: more would be a circle. Punching sends 200 datagrams, each of
/// which may be one.
const MOST_WAKES: usize = 2_000;
/// The agent may send other players this many datagrams in one second that nobody asked for: twice the cap for
/// punching, since a second of the clock may have the ends of two bursts, and pings of the paths.
const MOST_SENT: usize = 500;

/// This is what became of a socket that was refused.
const REFUSED: &str = "could not be opened";
/// At most this many sockets are open at a time, of three players' attempts, a classification and what is to be
/// closed.
const MOST_SOCKETS: usize = 3 * 256 + 64;

struct Peer {
    identity: Identity,
    ephemeral: Identity,
}

pub(crate) struct Stage {
    agent: Agent,
    now: Instant,
    server: ServerHandshake,
    rng: ChaCha20Rng,
    session: Option<ServerSession>,
    /// These are the agent's keys, once it has logged in.
    agent_keys: Option<([u8; 32], [u8; 32])>,
    peers: Vec<Peer>,
    channels: BTreeMap<MatchId, PairChannel>,
    sockets: BTreeMap<SocketId, SocketAddr>,
    /// This is what became of the sockets that are not open.
    gone: BTreeMap<SocketId, &'static str>,
    stream: bool,
    pub(crate) known: Known,
    recent: VecDeque<Vec<u8>>,
    pub(crate) deaf: bool,
    pub(crate) no_sockets: bool,
    online: bool,
    /// The agent was woken: what it sends now it sends of its own accord.
    woken: bool,
    /// This is what it has sent so to other players, in which second.
    second: (u64, usize),
    start: Instant,
}

impl Stage {
    /// The agent is logged in.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let peers: Vec<Peer> = (0..PEERS as u8)
            .map(|n| Peer {
                identity: Identity::from_secret([n + 20; 32]),
                ephemeral: Identity::from_secret([n + 120; 32]),
            })
            .collect();
        let identity = Identity::from_secret([1; 32]);
        let mut players: Vec<PlayerInfo> = peers
            .iter()
            .map(|peer| PlayerInfo { id: peer.identity.player_id(), name: "evil".into() })
            .collect();
        players.push(PlayerInfo { id: identity.player_id(), name: "own".into() });
        let keys =
            peers.iter().map(|peer| (peer.identity.public_key(), peer.ephemeral.public_key())).collect();
        let grant = RelayGrant { token: [6; RELAY_HEADER - 1], bytes_per_second: 100_000, lifetime_s: 60 };
        let known = Known {
            players,
            keys,
            matches: (1..=6).map(MatchId).collect(),
            joins: vec![JoinId(1)],
            grants: vec![grant, RelayGrant { lifetime_s: u32::MAX, ..grant }],
            addresses: usual_addresses(),
            ..Known::default()
        };
        let mut stage = Self {
            agent: Agent::new(AgentConfig::default(), identity, [2; 32], (at(LOCAL), None)),
            now,
            server: ServerHandshake::new(Identity::from_secret(SECRET), [5; 32], now),
            rng: ChaCha20Rng::from_seed([7; 32]),
            session: None,
            agent_keys: None,
            peers,
            channels: BTreeMap::new(),
            sockets: [(SocketId::MAIN, at(LOCAL))].into(),
            gone: BTreeMap::new(),
            stream: false,
            known,
            recent: VecDeque::new(),
            deaf: false,
            no_sockets: false,
            online: false,
            woken: false,
            second: (0, 0),
            start: now,
        };
        stage.command(Command::LocalAddresses(vec![at(LOCAL).ip()]));
        stage.command(Command::Connect(vec![stage.server_address()]));
        stage.drain();
        assert!(stage.online, "logged in");
        stage
    }

    pub(crate) fn server_address(&self) -> SocketAddr {
        at("198.18.0.10:3478")
    }

    pub(crate) fn open_sockets(&self) -> Vec<SocketId> {
        self.sockets.keys().copied().chain(self.stream.then_some(SocketId::STREAM)).collect()
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.agent.handle_command(self.now, command);
    }

    pub(crate) fn stream(&mut self, state: StreamState) {
        self.agent.handle_stream(self.now, state);
    }

    pub(crate) fn say(&mut self, message: ToPlayer) {
        if let ToPlayer::Plan(plan) = &message {
            self.open_channel(plan.match_id, plan.peer.id, plan.hosting);
        }
        let now = self.now;
        if let Some(session) = &mut self.session {
            let _ = session.send(now, message);
        }
        self.flush();
    }

    /// Opens the other end of the channel that the agent makes of a plan.
    fn open_channel(&mut self, match_id: MatchId, peer: traversal_core::id::PlayerId, agent_hosts: bool) {
        let Some((key, ephemeral)) = self.agent_keys else { return };
        let Some(peer) = self.peers.iter().find(|known| known.identity.player_id() == peer) else { return };
        let keys = PairKeys {
            identity: &peer.identity,
            ephemeral: &peer.ephemeral,
            peer_key: &key,
            peer_ephemeral: &ephemeral,
            pair_secret: &[5; 32],
            hosting: !agent_hosts,
        };
        if let Some(channel) = PairChannel::new(match_id, &keys) {
            self.channels.entry(match_id).or_insert(channel);
        }
    }

    pub(crate) fn seal(&mut self, kind: Kind, frame: &Frame<ToPlayer>) -> Option<Vec<u8>> {
        self.session.as_mut()?.seal(self.now, kind, frame)
    }

    /// Seals as one of the other players does, through the relay or not.
    pub(crate) fn seal_pair(
        &mut self,
        u: &mut Unstructured<'_>,
        payload: Option<&[u8]>,
        message: &PairMessage,
    ) -> Result<Option<Vec<u8>>> {
        if self.channels.is_empty() {
            return Ok(None);
        }
        let index = u.choose_index(self.channels.len())?;
        let relayed = u.ratio(1, 4)?;
        let channel = self.channels.values_mut().nth(index).expect("as many as there are");
        let sealed = match payload {
            Some(payload) => channel.seal_data_on(0, payload),
            None => channel.seal_message(message),
        };
        let Some(sealed) = sealed else { return Ok(None) };
        if relayed {
            return Ok(Some([&[Kind::Relay as u8], &self.known.grants[0].token[..], &sealed].concat()));
        }
        Ok(Some(sealed))
    }

    pub(crate) fn recent(&self, u: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
        if self.recent.is_empty() {
            return Ok(None);
        }
        Ok(self.recent.get(u.choose_index(self.recent.len())?).cloned())
    }

    pub(crate) fn give(&mut self, socket: SocketId, from: SocketAddr, datagram: Vec<u8>) {
        self.agent.handle_datagram(self.now, socket, from, &datagram);
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(datagram);
    }

    /// The machine is in another network: the main socket has another address.
    pub(crate) fn another_network(&mut self, n: u8) {
        let local = SocketAddr::new([192, 168, 2, n].into(), 40_000);
        self.sockets.insert(SocketId::MAIN, local);
        self.agent.handle_socket(self.now, SocketId::MAIN, Ok(local));
    }

    /// The game sends, and looks at what it has.
    pub(crate) fn play(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let player = self.known.players[u.choose_index(self.known.players.len())?].id;
        let _ = self.agent.path(self.now, player);
        let _ = self.agent.export(player, b"label", b"context");
        let length = u.int_in_range(0..=MAX_DATAGRAM)?;
        let _ = self.agent.send_on(self.now, player, u8::arbitrary(u)? % 17, &vec![7; length]);
        if u.ratio(1, 8)? {
            self.drain();
            let released = self.agent.release_socket(self.now, player);
            if let Ok(released) = released {
                self.sockets.remove(&released.socket);
                self.gone.insert(released.socket, "given away");
                if released.socket == SocketId::MAIN {
                    self.another_network(1);
                }
            }
        }
        Ok(())
    }

    /// Takes what the agent has to say; true if there was anything.
    pub(crate) fn drain(&mut self) -> bool {
        let mut count = 0;
        loop {
            while let Some(event) = self.agent.poll_event() {
                count += 1;
                if let Event::Lobby(state) = event {
                    self.online = matches!(state, LobbyState::Online { .. });
                }
            }
            let Some(output) = self.agent.poll_output() else { break };
            count += 1;
            assert!(count <= MOST_AT_ONCE, "one input has a bounded output");
            match output {
                Output::Transmit(transmit) => self.transmitted(&transmit),
                Output::OpenSocket { socket, v6 } => self.open(socket, v6),
                Output::CloseSocket { socket } => {
                    // One that is given up before the answer came may be one that could not be opened.
                    let refused = self.gone.get(&socket) == Some(&REFUSED);
                    let was_open = self.sockets.remove(&socket).is_some() || refused;
                    assert!(was_open, "{socket:?} is closed and is not open: {:?}", self.gone.get(&socket));
                    self.gone.insert(socket, "closed");
                }
                Output::OpenStream { to, .. } => {
                    assert!(is_sendable(to));
                    self.stream = true;
                }
                Output::CloseStream => self.stream = false,
                other => panic!("what is a driver to do with {other:?}?"),
            }
        }
        count > 0
    }

    fn open(&mut self, socket: SocketId, v6: bool) {
        let port = 50_000 + (socket.0 % 10_000) as u16;
        let ip: IpAddr = if v6 { at("[2001:db8::2]:1").ip() } else { at(LOCAL).ip() };
        let local = SocketAddr::new(ip, port);
        let opened = if self.no_sockets { Err(std::io::ErrorKind::AddrInUse.into()) } else { Ok(local) };
        if opened.is_ok() {
            self.sockets.insert(socket, local);
            assert!(self.sockets.len() <= MOST_SOCKETS, "{} sockets are open", self.sockets.len());
        } else {
            self.gone.insert(socket, REFUSED);
        }
        self.agent.handle_socket(self.now, socket, opened);
    }

    fn transmitted(&mut self, transmit: &Transmit) {
        let Transmit { socket, to, payload, .. } = transmit;
        assert!(is_sendable(*to), "{to}: nobody is there");
        assert!((1..=MAX_DATAGRAM).contains(&payload.len()));
        let open = self.sockets.contains_key(socket) || (*socket == SocketId::STREAM && self.stream);
        assert!(open, "{socket:?} is not open: {:?} {transmit:02x?}", self.gone.get(socket));
        if *to == self.server_address() && !self.deaf {
            self.serve(*socket, payload);
        }
        let of_server = to.ip() == at("198.18.0.11:1").ip() || to.ip() == self.server_address().ip();
        if self.woken && !of_server {
            let second = self.now.duration_since(self.start).as_secs();
            let before = if second == self.second.0 { self.second.1 } else { 0 };
            self.second = (second, before + 1);
            assert!(before < MOST_SENT, "more than {MOST_SENT} datagrams in one second: {:#?}", self.agent);
        }
    }

    /// The server answers as an honest one does: what it says beside that is a step of its own.
    fn serve(&mut self, socket: SocketId, datagram: &[u8]) {
        let from = at(PUBLIC);
        let over_stream = socket == SocketId::STREAM;
        let answer = match Kind::of(datagram) {
            Some(Kind::Hello) => self.server.handle_hello(self.now, (from, over_stream), datagram).ok(),
            Some(Kind::Init) => self.let_in(over_stream, datagram),
            Some(Kind::Control | Kind::Probe) => self.heard(datagram),
            _ => None,
        };
        if let Some(answer) = answer {
            self.give(socket, self.server_address(), answer);
        }
        self.flush();
    }

    fn let_in(&mut self, over_stream: bool, datagram: &[u8]) -> Option<Vec<u8>> {
        let from = at(PUBLIC);
        let pending = self.server.handle_init(self.now, (from, over_stream), datagram, &mut self.rng).ok()?;
        self.agent_keys = Some((pending.public_key, pending.login.ephemeral));
        let probe_targets = ["198.18.0.10:3478", "198.18.0.10:3479", "198.18.0.11:3478", "198.18.0.11:3479"];
        let welcome = Welcome {
            session: 7,
            observed: from,
            probe_targets: probe_targets.map(at).to_vec(),
            session_timeout_s: 35,
            other_family: Vec::new(),
            reset: [6; 16],
        };
        let (answer, session) = pending.accept(&welcome, self.now).ok()?;
        self.session = Some(session);
        Some(answer)
    }

    fn heard(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (now, observed) = (self.now, at(PUBLIC));
        let session = self.session.as_mut()?;
        match session.handle(now, datagram).ok()?? {
            Frame::Ping { id } => session.seal(now, Kind::Control, &Frame::Pong { id, observed }),
            Frame::Probe(probe) => {
                session.seal(now, Kind::Probe, &Frame::ProbeSeen { tag: probe.tag, observed })
            }
            Frame::Reliable { body: ToServer::Request { id, .. }, .. } => {
                self.known.requests = vec![id];
                None
            }
            _ => None,
        }
    }

    /// Delivers what the server's session has to say.
    fn flush(&mut self) {
        while let Some(datagram) = self.session.as_mut().and_then(ServerSession::poll_datagram) {
            self.give(SocketId::MAIN, self.server_address(), datagram);
        }
    }

    pub(crate) fn sleep(&mut self, time: Duration) {
        self.drain();
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(due) = self.agent.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.agent.handle_timeout(self.now);
            self.woken = true;
            let progress = self.drain() || self.agent.poll_timeout().is_none_or(|next| next > self.now);
            assert!(progress, "woken, nothing put out, and the same instant again: {:#?}", self.agent);
            self.woken = false;
            wakes += 1;
            let most = MOST_WAKES * (time.as_secs() as usize + 1);
            assert!(wakes <= most, "{wakes} wake-ups in {time:?}: {:#?}", self.agent);
            let now = self.now;
            if let Some(session) = &mut self.session {
                session.handle_timeout(now);
            }
            self.flush();
        }
        self.now = end;
    }
}
