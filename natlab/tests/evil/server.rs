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
use traversal_core::wire::handshake::ServerHandshake;
use traversal_core::wire::message::{
    Frame, PlayerInfo, Request, Response, RoomInfo, ToPlayer, ToServer, Topology, Welcome,
};
use traversal_core::wire::session::ServerSession;

/// A player who trusts it.
struct Guest {
    session: ServerSession,
    address: SocketAddr,
    /// For keys with "other players".
    ephemeral: [u8; 32],
    id: traversal_core::id::PlayerId,
}

/// See the module's documentation.
pub(crate) struct EvilServer {
    handshake: ServerHandshake,
    rng: ChaCha20Rng,
    guests: BTreeMap<u64, Guest>,
    answers: BTreeMap<Vec<u8>, Vec<u8>>,
    outputs: VecDeque<NodeOutput>,
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
            probe_targets,
            other_family: Vec::new(),
        }
    }

    /// Tells all its guests this; what does not fit a datagram is not sent.
    pub(crate) fn say(&mut self, now: Instant, message: &ToPlayer) {
        for guest in self.guests.values_mut() {
            let _ = guest.session.send(now, message.clone());
        }
        self.flush();
    }

    /// The login key of its only guest.
    pub(crate) fn victims_key(&self) -> [u8; 32] {
        self.guests.values().next().map(|guest| guest.ephemeral).unwrap_or_default()
    }

    /// Control datagrams that wait for an acknowledgement; the script goes on when there are few.
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

    fn send(&mut self, socket: u32, to: SocketAddr, payload: Vec<u8>) {
        self.outputs.push_back(NodeOutput::Transmit { socket, to, ttl: None, payload });
    }

    fn let_in(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let pending = self.handshake.handle_init(now, from, datagram, &mut self.rng).ok()?;
        let session = self.guests.len() as u64 + 1;
        let (ephemeral, id) = (pending.login.ephemeral, pending.player);
        let welcome = Welcome {
            session,
            observed: from,
            probe_targets: self.probe_targets.clone(),
            session_timeout_s: u32::MAX,
            other_family: self.other_family.clone(),
        };
        let (answer, session_of) = pending.accept(&welcome, now).ok()?;
        self.guests.insert(session, Guest { session: session_of, address: from, ephemeral, id });
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

/// Somebody who does not exist.
pub(crate) fn nobody(number: u64) -> PlayerInfo {
    let mut id = [0xEE; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    PlayerInfo { id: traversal_core::id::PlayerId(id), name: "nobody".into() }
}

impl Node for EvilServer {
    fn handle_datagram(&mut self, now: Instant, socket: u32, from: SocketAddr, datagram: &[u8]) {
        match Kind::of(datagram) {
            Some(Kind::Hello) => {
                if let Ok(cookie) = self.handshake.handle_hello(now, from, datagram) {
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
