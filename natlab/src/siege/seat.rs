//! An honest player on real sockets: the shipping agent in a thread of its own.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use traversal_core::id::PlayerId;
use traversal_core::wire::message::{RoomOptions, RoomTarget};
use traversal_core::{AgentConfig, Command, Event, LobbyState, RequestKind, Secret};

use crate::player::Player;
use crate::world::{Node, NodeOutput};

/// A player lets this time pass between two requests.
const ASKS: Duration = Duration::from_secs(1);
/// This time passes between two kicks: with it a host stays within the requests that the server takes of a player (10 a
/// second).
const KICKS: Duration = Duration::from_millis(200);
/// The sockets beside the main one are looked at so often.
const LOOK: Duration = Duration::from_millis(10);
const MAIN: u32 = 0;

/// What a player does.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Opens this room; puts out whoever is none of these.
    Host { room: RoomOptions, friends: Vec<PlayerId> },
    /// Joins the room of this name.
    Join(String),
    /// It logs in, and no more.
    LogIn,
}

/// This says what became of a player.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// This is the time from the first hello to the login; none: it did not log in.
    pub(super) login: Option<Duration>,
    /// Its room was entered, and it played with as many others at the most.
    pub(super) entered: bool,
    pub(super) played_with: usize,
    /// What must not happen: lost sessions, rooms and players, requests without an answer.
    pub(super) faults: Vec<String>,
    /// How long the server took to answer its requests.
    pub(super) answers_ms: Vec<f64>,
    /// It got this many messages about wrong passwords of its room.
    pub(super) warnings: u32,
    /// It put out this many strangers.
    pub(super) kicked: u32,
}

/// These are the sockets of one player.
struct SeatSockets {
    main: UdpSocket,
    others: BTreeMap<u32, UdpSocket>,
}

fn open(ip: IpAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddr::new(ip, 0))
}

impl SeatSockets {
    fn send(&self, socket: u32, to: SocketAddr, ttl: Option<u8>, payload: &[u8]) {
        let socket = if socket == MAIN { Some(&self.main) } else { self.others.get(&socket) };
        let Some(socket) = socket else { return };
        if let Some(ttl) = ttl {
            let _ = socket.set_ttl(ttl.into());
        }
        // What the system does not take is lost, as on any network.
        let _ = socket.send_to(payload, to);
        if ttl.is_some() {
            let _ = socket.set_ttl(64);
        }
    }

    /// Waits for a datagram on the main socket at most so long, and takes what there is on all.
    fn receive(&self, wait: Duration, mut take: impl FnMut(u32, SocketAddr, &[u8])) {
        let mut buffer = [0; 2048];
        let wait = if self.others.is_empty() { wait } else { wait.min(LOOK) };
        let _ = self.main.set_read_timeout(Some(wait.max(Duration::from_micros(100))));
        if let Ok((length, from)) = self.main.recv_from(&mut buffer) {
            take(MAIN, from, &buffer[..length]);
        }
        for (id, socket) in &self.others {
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => take(*id, from, &buffer[..length]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
    }
}

/// Plays a part until told to stop, or until it is logged in where that is all.
pub(super) fn play(
    (ip, server): (IpAddr, SocketAddr),
    secret: [u8; 32],
    part: Part,
    (patience, stop): (Duration, Arc<AtomicBool>),
) -> std::io::Result<Fate> {
    let mut sockets = SeatSockets { main: open(ip)?, others: BTreeMap::new() };
    let local = sockets.main.local_addr()?;
    let start = Instant::now();
    let config = AgentConfig { name: format!("honest {}", secret[0]), ..AgentConfig::default() };
    let mut seat = Seat {
        player: Player::new(config, secret, local, start),
        part,
        fate: Fate::default(),
        start,
        ask_at: start + ASKS,
        asked_at: None,
        strangers: Vec::new(),
        kick_at: start,
    };
    seat.player.keep_talking(start, 20);
    seat.player.command(start, Command::LocalAddresses(vec![ip]));
    seat.player.command(start, Command::Connect(vec![server]));
    while !stop.load(Ordering::Relaxed) && start.elapsed() < patience {
        let now = Instant::now();
        seat.player.handle_timeout(now);
        while let Some(output) = seat.player.poll_output() {
            match output {
                NodeOutput::Transmit { socket, to, ttl, payload } => sockets.send(socket, to, ttl, &payload),
                NodeOutput::Open { socket, v6 } => {
                    let opened = if v6 { Err(ErrorKind::Unsupported.into()) } else { open(ip) };
                    let local = opened.and_then(|opened| {
                        opened.set_nonblocking(true)?;
                        let local = opened.local_addr();
                        sockets.others.insert(socket, opened);
                        local
                    });
                    seat.player.handle_socket(now, socket, local);
                }
                NodeOutput::Close { socket } => {
                    sockets.others.remove(&socket);
                }
                // UDP gets through on this machine: who asks for a stream has lost the server.
                NodeOutput::Connect { .. } => seat.player.handle_stream(now, false),
                NodeOutput::Disconnect => {}
            }
        }
        seat.take_events(now);
        seat.ask(now);
        if matches!(seat.part, Part::LogIn) && seat.fate.login.is_some() {
            break;
        }
        let wake = seat.player.poll_timeout().map_or(ASKS, |at| at.saturating_duration_since(now));
        let player = &mut seat.player;
        sockets.receive(wake.min(ASKS / 10), |socket, from, datagram| {
            player.handle_datagram(Instant::now(), socket, from, datagram);
        });
    }
    Ok(seat.fate)
}

struct Seat {
    player: Player,
    part: Part,
    fate: Fate,
    start: Instant,
    ask_at: Instant,
    asked_at: Option<Instant>,
    /// They are the members of its room whom it does not want, and when it puts the next one out.
    strangers: Vec<PlayerId>,
    kick_at: Instant,
}

impl Seat {
    fn fault(&mut self, what: String) {
        let after = self.start.elapsed().as_secs_f64();
        self.fate.faults.push(format!("{after:.1} s: {what}"));
    }

    fn take_events(&mut self, now: Instant) {
        self.player.failures.clear();
        self.player.refusals.clear();
        for (_, event) in std::mem::take(&mut self.player.events) {
            match event {
                Event::Lobby(LobbyState::Online { .. }) if self.fate.login.is_none() => {
                    self.fate.login = Some(self.start.elapsed());
                    let command = match &self.part {
                        Part::Host { room, .. } => Command::HostRoom(room.clone()),
                        Part::Join(name) => Command::JoinRoom {
                            target: RoomTarget::Name(name.clone()),
                            password: None::<Secret<String>>,
                            wait: Duration::from_secs(30),
                        },
                        Part::LogIn => continue,
                    };
                    self.player.command(now, command);
                }
                Event::Lobby(LobbyState::Connecting | LobbyState::Online { .. }) => {}
                Event::Lobby(state) if self.fate.login.is_some() => self.fault(format!("{state:?}")),
                Event::RoomEntered { .. } => self.fate.entered = true,
                Event::RoomLeft { reason } => self.fault(format!("out of the room: {reason:?}")),
                Event::HostChanged { .. } => self.fault("another host".into()),
                Event::PeerDisconnected { peer, reason } => self.fault(format!("{}: {reason}", peer.name)),
                Event::PeerConnected { .. } => {
                    self.fate.played_with = self.fate.played_with.max(self.player.paths.len());
                }
                Event::WrongPasswords { .. } => self.fate.warnings += 1,
                Event::Rooms(_) => self.answered(now),
                Event::RequestFailed { request, error } => {
                    if request == RequestKind::List {
                        self.asked_at = None;
                    }
                    // Somebody whom it wanted to put out has gone already.
                    if request != RequestKind::Kick {
                        self.fault(format!("{request:?}: {error}"));
                    }
                }
                Event::Members(members) => {
                    let Part::Host { friends, .. } = &self.part else { continue };
                    let own = self.player.id;
                    let ids = members.iter().map(|member| member.id);
                    self.strangers = ids.filter(|id| Some(*id) != own && !friends.contains(id)).collect();
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, now: Instant) {
        if let Some(asked) = self.asked_at.take() {
            self.fate.answers_ms.push(now.saturating_duration_since(asked).as_secs_f64() * 1e3);
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.fate.entered && now >= self.ask_at && self.asked_at.is_none() {
            self.ask_at = now + ASKS;
            self.asked_at = Some(now);
            self.player.command(now, Command::ListRooms(Default::default()));
        }
        if now >= self.kick_at
            && let Some(player) = self.strangers.pop()
        {
            self.kick_at = now + KICKS;
            self.fate.kicked += 1;
            let reason = "a stranger".to_string();
            self.player.command(
                now,
                Command::Kick { player, reason, rejoin: traversal_core::wire::message::Rejoin::Never },
            );
        }
    }
}
