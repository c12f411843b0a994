//! A crowd logs in at once on a server that is too slow for it: who is logged in already stays so, and in the end all are in.
//!
//! The players are the shipping agents, the server is the shipping core behind the shipping door. Its machine is modelled:
//! one thread, for which each datagram takes its time, and a receive buffer as long as Linux grants by default.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lobby_server::door::{Answer, Door, Newcomer};
use lobby_server::{ServerConfig, ServerSocketId};
use natlab::lobby::{Lobby, sockets};
use natlab::player::Player;
use natlab::world::{Node, NodeOutput};
use traversal_core::wire::Kind;
use traversal_core::{AgentConfig, Command, Event, LobbyState};

/// 212,992 bytes (`net.core.rmem_default`) hold so many hellos: each counts with 1,200 bytes and the kernel's own about it.
const BUFFER: usize = 180;
/// A small virtual server with a busy neighbour takes so long for an init, which is four multiplications on the curve, and for
/// anything else: twenty times what this project's figures say of a core to itself.
const INIT: Duration = Duration::from_millis(8);
const OTHER: Duration = Duration::from_micros(400);
/// What is only put at the door.
const PUT: Duration = Duration::from_micros(40);
const DELAY: Duration = Duration::from_millis(30);
const KNOWN: usize = 40;
const CROWD: usize = 900;

/// A server on a slow machine.
struct Slow {
    lobby: Lobby,
    address: SocketAddr,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    /// None: everything is taken as it comes.
    door: Option<Door>,
    free_at: Instant,
    lost: u32,
}

impl Slow {
    fn is_ready(&self) -> bool {
        !self.inbox.is_empty() || self.door.as_ref().is_some_and(|door| !door.is_empty())
    }

    /// Takes the next thing that waits.
    fn work(&mut self, now: Instant) {
        let cost = |datagram: &[u8]| if Kind::of(datagram) == Some(Kind::Init) { INIT } else { OTHER };
        let spent = if let Some((from, datagram)) = self.inbox.pop_front() {
            match &mut self.door {
                Some(door) if Door::is_for(&datagram) => {
                    let socket = ServerSocketId(0);
                    door.come(Newcomer { since: now, socket, asked: None, from, datagram });
                    PUT
                }
                _ => {
                    self.lobby.handle_datagram(now, 0, from, &datagram);
                    cost(&datagram)
                }
            }
        } else {
            match self.door.as_mut().and_then(|door| door.next(now)) {
                Some((newcomer, Answer::Serve)) => {
                    self.lobby.handle_datagram(now, 0, newcomer.from, &newcomer.datagram);
                    cost(&newcomer.datagram)
                }
                Some((newcomer, Answer::ComeBack { again_s })) => {
                    self.lobby.server().turn_away(now, &newcomer, again_s);
                    self.lobby.handle_timeout(now);
                    OTHER
                }
                None => Duration::ZERO,
            }
        };
        self.free_at = now + spent;
    }
}

/// The player at this address.
fn number_of(address: SocketAddr) -> usize {
    let IpAddr::V4(ip) = address.ip() else { panic!("all are at addresses of IPv4") };
    let [_, _, high, low] = ip.octets();
    usize::from(high - 113) * 250 + usize::from(low - 1)
}

/// A datagram: for which player (none: for the server), from where, and what it says.
type UnderWay = (Option<usize>, SocketAddr, Vec<u8>);

struct Scene {
    now: Instant,
    server: Slow,
    players: Vec<Player>,
    /// What is under way: to the server, or to this player.
    wire: BTreeMap<(Instant, u64), UnderWay>,
    sent: u64,
    /// When each player is to be woken, in order and by player.
    timetable: BTreeSet<(Instant, usize)>,
    due: Vec<Option<Instant>>,
    sessions_lost: u32,
}

fn address(player: usize) -> SocketAddr {
    (Ipv4Addr::new(203, 0, 113 + (player / 250) as u8, (player % 250) as u8 + 1), 40_000).into()
}

impl Scene {
    fn new(seed: u8, with_door: bool) -> Self {
        let now = Instant::now();
        let lobby = Lobby::new(ServerConfig::default(), false, [seed; 32], now);
        let server = Slow {
            lobby,
            address: sockets(false)[0],
            inbox: VecDeque::new(),
            door: with_door.then(|| Door::new(now)),
            free_at: now,
            lost: 0,
        };
        Self {
            now,
            server,
            players: Vec::new(),
            wire: BTreeMap::new(),
            sent: 0,
            timetable: BTreeSet::new(),
            due: Vec::new(),
            sessions_lost: 0,
        }
    }

    fn add(&mut self, seed: u8) {
        let number = self.players.len();
        let mut secret = [seed; 32];
        // The lowest bits of the first byte are no part of a key (RFC 7748, section 5).
        secret[8..16].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        // Keepalives as in a room; no stream beside, which this model does not have.
        let config = AgentConfig { keepalive: Duration::from_secs(4), tcp: false, ..AgentConfig::default() };
        let mut player = Player::new(config, secret, address(number), self.now);
        player.chatty = false;
        player.command(self.now, Command::Connect(vec![self.server.address]));
        self.players.push(player);
        self.due.push(None);
        self.drain(number);
    }

    fn put(&mut self, to: Option<usize>, from: SocketAddr, payload: Vec<u8>) {
        self.sent += 1;
        self.wire.insert((self.now + DELAY, self.sent), (to, from, payload));
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.players[number].poll_output() {
            match output {
                NodeOutput::Transmit { socket: 0, to, payload, .. } if to == self.server.address => {
                    self.put(None, address(number), payload);
                }
                // Nobody's NAT is measured here: that is another matter, and the same for all.
                NodeOutput::Open { socket, .. } => {
                    let refused = Err(std::io::ErrorKind::Unsupported.into());
                    self.players[number].handle_socket(self.now, socket, refused);
                }
                _ => {}
            }
        }
        for (_, event) in std::mem::take(&mut self.players[number].events) {
            let lost =
                matches!(&event, Event::Lobby(LobbyState::Retrying { .. } | LobbyState::Refused { .. }));
            self.sessions_lost += u32::from(lost && number < KNOWN);
        }
        let due = self.players[number].poll_timeout();
        let old = std::mem::replace(&mut self.due[number], due);
        if let Some(old) = old {
            self.timetable.remove(&(old, number));
        }
        self.timetable.extend(due.map(|due| (due, number)));
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.server.lobby.poll_output() {
            if let NodeOutput::Transmit { to, payload, .. } = output {
                self.put(Some(number_of(to)), self.server.address, payload);
            }
        }
    }

    /// Lets time pass, up to this much; `until` is asked now and then.
    fn run(&mut self, time: Duration, until: impl Fn(&Self) -> bool) {
        let (end, mut turns) = (self.now + time, 0u32);
        loop {
            turns += 1;
            if turns.is_multiple_of(256) && until(self) {
                return;
            }
            let next = self.timetable.first().map(|(at, _)| *at).into_iter();
            let next = next.chain(self.wire.keys().next().map(|(at, _)| *at));
            let next = next.chain(self.server.lobby.poll_timeout());
            let next = next.chain(self.server.is_ready().then_some(self.server.free_at));
            match next.min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            let now = self.now;
            while let Some(((at, _), _)) = self.wire.first_key_value()
                && *at <= now
            {
                let Some((_, (to, from, payload))) = self.wire.pop_first() else { break };
                match to {
                    Some(number) => {
                        self.players[number].handle_datagram(now, 0, from, &payload);
                        self.drain(number);
                    }
                    None if self.server.inbox.len() >= BUFFER => self.server.lost += 1,
                    None => self.server.inbox.push_back((from, payload)),
                }
            }
            if self.server.lobby.poll_timeout().is_some_and(|at| at <= now) {
                self.server.lobby.handle_timeout(now);
            }
            if self.server.free_at <= now && self.server.is_ready() {
                self.server.work(now);
            }
            self.drain_server();
            while let Some((_, number)) = self.timetable.first().copied().filter(|(at, _)| *at <= now) {
                self.players[number].handle_timeout(now);
                self.drain(number);
            }
        }
        self.now = self.now.max(end);
    }

    fn online(&self) -> usize {
        self.players.iter().filter(|player| player.is_online()).count()
    }
}

/// This is what became of a crowd.
#[derive(Debug)]
struct Outcome {
    /// So often one of those who were there lost its session.
    sessions_lost: u32,
    /// The receive buffer had no room for so many datagrams.
    datagrams_lost: u32,
    /// It took so long until all were in; none: longer than a minute.
    all_in: Option<Duration>,
}

/// Has a crowd come at once.
fn crowd(seed: u8, with_door: bool) -> Outcome {
    let mut scene = Scene::new(seed, with_door);
    (0..KNOWN).for_each(|_| scene.add(seed));
    scene.run(Duration::from_secs(20), |_| false);
    assert_eq!((scene.online(), scene.sessions_lost), (KNOWN, 0), "the first ones");
    let start = scene.now;
    (0..CROWD).for_each(|_| scene.add(seed));
    scene.run(Duration::from_secs(60), |scene| scene.online() == KNOWN + CROWD);
    let all_in = (scene.online() == KNOWN + CROWD).then(|| scene.now - start);
    Outcome { sessions_lost: scene.sessions_lost, datagrams_lost: scene.server.lost, all_in }
}

#[test]
fn who_is_logged_in_stays_so_while_a_crowd_comes_and_the_crowd_gets_in() {
    // 900 logins are 7 s of work at the least.
    for seed in 1..=3 {
        let outcome = crowd(seed, true);
        assert_eq!(outcome.sessions_lost, 0, "seed {seed}: {outcome:?}");
        assert!(
            outcome.all_in.is_some_and(|time| time < Duration::from_secs(30)),
            "seed {seed}: {outcome:?}"
        );
    }
}

/// The same scene is an overload: with one queue for all the first ones are lost.
#[test]
fn with_one_queue_for_all_a_crowd_throws_others_out() {
    let outcome = crowd(1, false);
    assert!(outcome.sessions_lost > 0 && outcome.datagrams_lost > 0, "{outcome:?}");
}
