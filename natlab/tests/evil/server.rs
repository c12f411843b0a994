//! A lobby server that is somebody's tool: it has the right key, and says whatever it is told to say.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use natlab::world::{Node, NodeOutput};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::wire::Kind;
use traversal_core::wire::handshake::{ServerHandshake, refuse_unknown_session};
use traversal_core::wire::message::{
    Frame, PlayerInfo, Request, RequestError, Response, RoomInfo, RoomSummary, ToPlayer, ToServer, Topology,
    Welcome,
};
use traversal_core::wire::session::ServerSession;

/// It is a player who trusts it.
struct Guest {
    session: ServerSession,
    address: SocketAddr,
    /// These are the keys that it shows for "other players": of this login, and the lasting one.
    ephemeral: [u8; 32],
    key: [u8; 32],
    id: traversal_core::id::PlayerId,
}

/// It is described in the module's documentation.
pub(crate) struct EvilServer {
    handshake: ServerHandshake,
    rng: ChaCha20Rng,
    guests: BTreeMap<u64, Guest>,
    answers: BTreeMap<Vec<u8>, Vec<u8>>,
    outputs: VecDeque<NodeOutput>,
    /// In front of each true cookie there are a refusal and junk, as somebody on the way would forge them.
    pub(crate) forge: bool,
    /// How many of them there were.
    pub(crate) forged: usize,
    /// What it says to requests for lists.
    pub(crate) lists: Option<Vec<RoomSummary>>,
    /// What it says to wishes for quick matches.
    pub(crate) refuses: Option<RequestError>,
    /// What it calls its own sockets.
    pub(crate) probe_targets: Vec<SocketAddr>,
    /// What it calls its addresses in the other family.
    pub(crate) other_family: Vec<SocketAddr>,
}

impl EvilServer {
    pub(crate) fn new(probe_targets: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            handshake: ServerHandshake::new(Identity::from_secret([66; 32]), [6; 32], now),
            rng: ChaCha20Rng::from_seed([6; 32]),
            guests: BTreeMap::new(),
            answers: BTreeMap::new(),
            outputs: VecDeque::new(),
            forge: false,
            forged: 0,
            lists: None,
            refuses: None,
            probe_targets,
            other_family: Vec::new(),
        }
    }

    /// Returns the public key, which players pin.
    pub(crate) fn key(&self) -> [u8; 32] {
        self.handshake.identity().public_key()
    }

    /// Tells all its guests this; what does not fit a datagram is not sent.
    pub(crate) fn say(&mut self, now: Instant, message: &ToPlayer) {
        for guest in self.guests.values_mut() {
            let _ = guest.session.send(now, message.clone());
        }
        self.flush();
    }

    /// Tells all its guests this once, and forgets them.
    pub(crate) fn send_once(&mut self, now: Instant, frame: &Frame<ToPlayer>) {
        for guest in self.guests.values_mut() {
            guest.session.send_once(now, frame);
        }
        self.flush();
        self.guests.clear();
    }

    /// Returns the lasting and the login key of its only guest.
    pub(crate) fn victims_keys(&self) -> [[u8; 32]; 2] {
        self.guests.values().next().map(|guest| [guest.key, guest.ephemeral]).unwrap_or_default()
    }

    /// Tells whether every guest has acknowledged what is older than 0.4 s; the script goes on then.
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        self.guests
            .values()
            .all(|guest| guest.session.oldest_unacked(now).is_none_or(|age| age.as_millis() < 400))
    }

    fn flush(&mut self) {
        for guest in self.guests.values_mut() {
            while let Some(payload) = guest.session.poll_datagram() {
                self.outputs.push_back(NodeOutput::Transmit {
                    socket: 0,
                    to: guest.address,
                    ttl: None,
                    payload,
                });
            }
        }
    }

    /// Says in the clear that it does not know its guests' sessions, and shows this token.
    pub(crate) fn refuse_session(&mut self, token: [u8; 16]) {
        for (id, guest) in &self.guests {
            let mut named = vec![Kind::Control as u8];
            named.extend_from_slice(&id.to_le_bytes());
            named.resize(64, 0);
            let payload = refuse_unknown_session(&named, |_| Some(token)).unwrap();
            self.outputs.push_back(NodeOutput::Transmit { socket: 0, to: guest.address, ttl: None, payload });
        }
    }

    /// What can be made of a hello and its cookie without any key: no by version, busy for long, a cookie with another key, junk with
    /// the right one.
    fn forgeries(hello: &[u8], cookie: &[u8]) -> Vec<Vec<u8>> {
        let refusal = |version: [u8; 2], why: &[u8]| {
            [&[Kind::Refuse as u8], &hello[1..4], &version, &hello[6..22], why].concat()
        };
        let changed = |at: usize| {
            let mut cookie = cookie.to_vec();
            cookie[at] ^= 1;
            cookie
        };
        vec![refusal([9, 0], &[1]), refusal([1, 0], &[3, 255]), changed(cookie.len() - 1), changed(30)]
    }

    fn send(&mut self, socket: u32, to: SocketAddr, payload: Vec<u8>) {
        self.outputs.push_back(NodeOutput::Transmit { socket, to, ttl: None, payload });
    }

    fn let_in(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let pending = self.handshake.handle_init(now, (from, false), datagram, &mut self.rng).ok()?;
        let session = self.guests.len() as u64 + 1;
        let (ephemeral, id, key) = (pending.login.ephemeral, pending.player, pending.public_key);
        let welcome = Welcome {
            session,
            observed: from,
            probe_targets: self.probe_targets.clone(),
            session_timeout_s: u32::MAX,
            other_family: self.other_family.clone(),
            reset: [6; 16],
        };
        let (answer, session_of) = pending.accept(&welcome, now).ok()?;
        self.guests.insert(session, Guest { session: session_of, address: from, ephemeral, key, id });
        Some(answer)
    }

    fn control(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) -> Option<()> {
        let id = u64::from_le_bytes(datagram.get(1..9)?.try_into().ok()?);
        let guest = self.guests.get_mut(&id)?;
        match guest.session.handle(now, datagram).ok()?? {
            Frame::Ping { id } => {
                let pong = guest.session.seal(now, Kind::Control, &Frame::Pong { id, observed: from })?;
                self.send(socket, from, pong);
            }
            Frame::Probe(probe) => {
                let seen = Frame::ProbeSeen { tag: probe.tag, observed: from };
                let seen = guest.session.seal(now, Kind::Probe, &seen)?;
                self.send(socket, from, seen);
            }
            Frame::Reliable { body: ToServer::Request { id, request }, .. } => {
                let response = match request {
                    Request::ListRooms { .. } if self.lists.is_some() => {
                        Response::Rooms { rooms: self.lists.clone().unwrap_or_default(), next: None }
                    }
                    Request::QuickMatch(_) if self.refuses.is_some() => {
                        let result = Err(self.refuses.clone()?);
                        let _ = guest.session.send(now, ToPlayer::Response { id, result });
                        return Some(());
                    }
                    Request::CreateRoom { options } => Response::Room(RoomInfo {
                        id: traversal_core::id::RoomId(7),
                        name: options.name,
                        code: "EVIL66".into(),
                        host: guest.id,
                        capacity: u16::MAX,
                        metadata: BTreeMap::new(),
                        public: true,
                        auto_allow: true,
                        migrate: true,
                        epoch: 0,
                        topology: Topology::Star,
                        locked: false,
                        teams: Vec::new(),
                        seats: Default::default(),
                    }),
                    _ => Response::Done,
                };
                let _ = guest.session.send(now, ToPlayer::Response { id, result: Ok(response) });
            }
            _ => {}
        }
        Some(())
    }
}

/// Returns the lasting key of somebody who does not exist.
pub(crate) fn identity_of(number: u64) -> Identity {
    let mut secret = [0xEE; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    Identity::from_secret(secret)
}

/// Makes up somebody who does not exist.
pub(crate) fn nobody(number: u64) -> PlayerInfo {
    PlayerInfo { id: identity_of(number).player_id(), name: "nobody".into() }
}

impl Node for EvilServer {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        match Kind::of(datagram) {
            Some(Kind::Hello) => {
                if let Ok(cookie) = self.handshake.handle_hello(now, (from, false), datagram) {
                    let forgeries = if self.forge { Self::forgeries(datagram, &cookie) } else { Vec::new() };
                    self.forged += forgeries.len();
                    for forgery in forgeries {
                        self.send(socket, from, forgery);
                    }
                    self.send(socket, from, cookie);
                }
            }
            Some(Kind::Init) => {
                let known = self.answers.get(datagram).cloned();
                if let Some(answer) = known.or_else(|| self.let_in(now, from, datagram)) {
                    self.answers.insert(datagram.to_vec(), answer.clone());
                    self.send(socket, from, answer);
                }
            }
            Some(Kind::Control | Kind::Probe) => {
                let _ = self.control(now, socket, from, datagram);
            }
            _ => {}
        }
        self.flush();
    }

    fn handle_socket(&mut self, _: Instant, _: u32, _: io::Result<SocketAddr>) {}

    fn handle_timeout(&mut self, now: Instant) {
        for guest in self.guests.values_mut() {
            guest.session.handle_timeout(now);
        }
        self.flush();
    }

    fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.guests.values().filter_map(|guest| guest.session.poll_timeout()).min()
    }
}
