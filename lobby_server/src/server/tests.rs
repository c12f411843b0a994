//! The core against players made of the wire layer.

mod amplification;
mod backfill;
mod bans;
mod chat;
mod elsewhere;
mod faults;
mod gathering;
mod guessing;
mod invites;
mod junk;
mod keeping;
mod kicked;
mod knocks;
mod listing;
mod logins;
mod mapped_ports;
mod members;
mod mesh;
mod migration;
mod neighbour;
mod people;
mod places;
mod probes;
mod pushes;
mod registered;
mod relay;
mod rooms;
mod seat_notes;
mod seating;
mod stun;
mod surroundings;
mod test_support;
mod texts;
mod victim;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use traversal_core::Identity;
use traversal_core::id::{PlayerId, RequestId};
use traversal_core::wire::handshake::{ClientHandshake, ClientProgress};
use traversal_core::wire::message::{
    Frame, Login, LoginRefusal, PunchPlan, Request, RequestError, Response, RoomInfo, RoomOptions,
    RoomTarget, RoomTicket, ToPlayer, ToServer, Welcome,
};
use traversal_core::wire::session::ClientSession;
use traversal_core::wire::{Kind, message};

use super::{Server, ServerSocket, ServerSocketId};
use crate::config::ServerConfig;
use crate::registry::MemoryRegistry;

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// This is a player: login, session, and what it was told.
pub(super) struct Fake {
    pub(super) identity: Identity,
    pub(super) address: SocketAddr,
    pub(super) login: Login,
    pub(super) handshake: ClientHandshake,
    pub(super) session: Option<ClientSession>,
    pub(super) welcome: Option<Welcome>,
    pub(super) refused: Option<LoginRefusal>,
    pub(super) in_clear: bool,
    pub(super) told: Vec<ToPlayer>,
    pub(super) frames: Vec<Frame<ToPlayer>>,
    /// The player is killed: it hears and says nothing.
    pub(super) dead: bool,
    next_request: u32,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) server: Server,
    pub(super) registry: Option<MemoryRegistry>,
    pub(super) fakes: Vec<Fake>,
    pub(super) rng: ChaCha20Rng,
    /// This keeps the first 4,096 datagrams that the server has sent, with their sockets and destinations.
    pub(super) sent: VecDeque<(ServerSocketId, SocketAddr, Vec<u8>)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(ServerConfig::default(), vec![ServerSocket::first(at("198.18.0.10:3478"))])
    }

    pub(super) fn with(config: ServerConfig, sockets: Vec<ServerSocket>) -> Self {
        let now = Instant::now();
        let server = Server::new(config, Identity::from_secret([9; 32]), [8; 32], sockets, now);
        Self {
            now,
            server,
            registry: Some(MemoryRegistry::new()),
            fakes: Vec::new(),
            rng: ChaCha20Rng::from_seed([7; 32]),
            sent: VecDeque::new(),
        }
    }

    /// Adds a player that is not logged in yet.
    pub(super) fn add(&mut self, secret: u8, address: &str) -> usize {
        let address = at(address);
        let login = Login {
            game: "game".into(),
            game_protocol: 1,
            name: format!("P{secret}"),
            token: Vec::new(),
            ephemeral: [secret; 32],
            local: vec![SocketAddr::new([192, 168, 1, secret].into(), address.port())],
            relay_only: false,
        };
        self.fakes.push(Fake {
            identity: Identity::from_secret([secret; 32]),
            address,
            login,
            handshake: ClientHandshake::new(&mut self.rng),
            session: None,
            welcome: None,
            refused: None,
            in_clear: false,
            told: Vec::new(),
            frames: Vec::new(),
            dead: false,
            next_request: 0,
        });
        self.fakes.len() - 1
    }

    /// Adds a player that is logged in.
    pub(super) fn player(&mut self, secret: u8, address: &str) -> usize {
        let index = self.add(secret, address);
        self.log_in(index);
        assert!(self.fakes[index].session.is_some(), "logged in");
        index
    }

    pub(super) fn log_in(&mut self, index: usize) {
        for _ in 0..2 {
            let datagram = self.fakes[index].handshake.datagram().to_vec();
            self.send_raw(index, &datagram);
        }
        // The first sealed datagram says that this is no replay.
        self.ping(index);
    }

    pub(super) fn ping(&mut self, index: usize) {
        let now = self.now;
        if let Some(session) = &mut self.fakes[index].session {
            session.send_once(now, &Frame::Ping { id: 1 });
        }
        self.turn();
    }

    pub(super) fn send_raw(&mut self, index: usize, datagram: &[u8]) {
        let from = self.fakes[index].address;
        self.send_from(ServerSocketId(0), from, datagram);
    }

    pub(super) fn send_from(&mut self, socket: ServerSocketId, from: SocketAddr, datagram: &[u8]) {
        self.server.handle_datagram(self.now, socket, from, datagram);
        self.turn();
    }

    /// Delivers everything until all is quiet.
    pub(super) fn turn(&mut self) {
        loop {
            if let Some(registry) = &mut self.registry {
                self.server.turn_registry(self.now, registry);
            }
            let mut quiet = true;
            while let Some(transmit) = self.server.poll_transmit() {
                quiet = false;
                self.sent.push_back((transmit.socket, transmit.to, transmit.payload.clone()));
                self.sent.truncate(4096);
                for fake in self.fakes.iter_mut().filter(|fake| fake.address == transmit.to && !fake.dead) {
                    fake.take(self.now, &transmit.payload, &mut self.rng);
                }
            }
            for index in 0..self.fakes.len() {
                let fake = &mut self.fakes[index];
                let Some(session) = &mut fake.session else { continue };
                let mut out = Vec::new();
                while let Some(datagram) = session.poll_datagram() {
                    out.push(datagram);
                }
                for datagram in out {
                    if !self.fakes[index].dead {
                        quiet = false;
                        let from = self.fakes[index].address;
                        self.server.handle_datagram(self.now, ServerSocketId(0), from, &datagram);
                    }
                }
            }
            if quiet {
                break;
            }
        }
    }

    /// Lets time pass, in steps of what the server and the players wait for.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let step = self.now + Duration::from_millis(50);
            let due = self.server.poll_timeout().map_or(step, |due| due.min(step));
            self.now = due.max(self.now + Duration::from_millis(1)).min(end);
            self.server.handle_timeout(self.now);
            for fake in &mut self.fakes {
                if let Some(session) = &mut fake.session {
                    session.handle_timeout(self.now);
                }
            }
            self.turn();
        }
    }

    /// Sends a request; the answer is read with [`Fake::answer`].
    pub(super) fn ask(&mut self, index: usize, request: Request) -> RequestId {
        let fake = &mut self.fakes[index];
        fake.next_request += 1;
        let id = RequestId(fake.next_request);
        let session = fake.session.as_mut().expect("a session");
        session.send(self.now, ToServer::Request { id, request }).unwrap();
        self.turn();
        id
    }

    pub(super) fn answer(&mut self, index: usize, request: Request) -> Result<Response, RequestError> {
        let id = self.ask(index, request);
        self.fakes[index].answer(id).expect("answered at once")
    }

    pub(super) fn host(&mut self, index: usize, options: RoomOptions) -> RoomInfo {
        match self.answer(index, Request::CreateRoom { options }) {
            Ok(Response::Room(info)) => info,
            other => panic!("a room, not {other:?}"),
        }
    }

    pub(super) fn say(&mut self, index: usize, message: ToServer) {
        let now = self.now;
        self.fakes[index].session.as_mut().expect("a session").send(now, message).unwrap();
        self.turn();
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.fakes[index].dead = true;
        self.fakes[index].session = None;
    }
}

pub(super) fn named(name: &str) -> RoomOptions {
    RoomOptions { name: name.into(), ..RoomOptions::default() }
}

pub(super) fn by_name(name: &str) -> Request {
    Request::JoinRoom { target: RoomTarget::Name(name.into()), password: None }
}

/// Returns the request to come back into a room, with the ticket that was given for it.
pub(super) fn back_to(room: &RoomInfo, ticket: RoomTicket) -> Request {
    Request::TakeUpRoom { ticket, code: room.code.clone(), options: room.options(None) }
}

impl Fake {
    pub(super) fn id(&self) -> PlayerId {
        self.identity.player_id()
    }

    fn take(&mut self, now: Instant, datagram: &[u8], rng: &mut ChaCha20Rng) {
        match Kind::of(datagram) {
            Some(Kind::Control | Kind::Probe) => {
                let Some(session) = &mut self.session else { return };
                let Ok(Some(frame)) = session.handle(now, datagram) else { return };
                match frame {
                    Frame::Reliable { body, .. } => self.told.push(body),
                    Frame::Ping { id } => {
                        session.send_once(now, &Frame::Pong { id, observed: self.address });
                    }
                    Frame::PathChallenge { token } => session.send_once(now, &Frame::PathResponse { token }),
                    other => self.frames.push(other),
                }
            }
            Some(_) => {
                let progress = self.handshake.handle(datagram, &self.identity, &[], &self.login, now, rng);
                match progress {
                    Ok(ClientProgress::Accepted(accepted)) => {
                        let (welcome, session, _) = *accepted;
                        self.welcome = Some(welcome);
                        self.session = Some(session);
                    }
                    Ok(ClientProgress::Refused(refusal)) => self.refused = Some(refusal),
                    Ok(ClientProgress::RefusedInClear(_)) => self.in_clear = true,
                    _ => {}
                }
            }
            None => {}
        }
    }

    pub(super) fn answer(&self, id: RequestId) -> Option<Result<Response, RequestError>> {
        self.told.iter().find_map(|message| match message {
            ToPlayer::Response { id: answered, result } if *answered == id => Some(result.clone()),
            _ => None,
        })
    }

    /// Returns the newest ticket.
    pub(super) fn ticket(&self) -> RoomTicket {
        let newest = self.told.iter().rev().find_map(|message| match message {
            ToPlayer::Ticket(ticket) => Some(*ticket),
            _ => None,
        });
        newest.expect("a ticket")
    }

    pub(super) fn plans(&self) -> Vec<PunchPlan> {
        self.told
            .iter()
            .filter_map(|message| match message {
                ToPlayer::Plan(plan) => Some((**plan).clone()),
                _ => None,
            })
            .collect()
    }

    /// Returns the newest list of members.
    pub(super) fn members(&self) -> Vec<PlayerId> {
        let mut parts: BTreeMap<(u32, u8), Vec<message::PlayerInfo>> = BTreeMap::new();
        for message in &self.told {
            if let ToPlayer::Members { revision, part, members, .. } = message {
                parts.insert((*revision, *part), members.clone());
            }
        }
        let Some((newest, _)) = parts.last_key_value().map(|((revision, part), _)| (*revision, *part)) else {
            return Vec::new();
        };
        parts
            .into_iter()
            .filter(|((revision, _), _)| *revision == newest)
            .flat_map(|(_, members)| members.into_iter().map(|member| member.id))
            .collect()
    }
}
