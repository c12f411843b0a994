//! The link to the lobby server: login, keepalive, loss, and login again (M23, M28, M31). By UDP, and over a TCP
//! stream where UDP does not get through.

mod contacted;
mod ends;
mod family;
mod nodes;
mod online;
mod receiving;
mod shaking;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use zeroize::Zeroizing;

use crate::Identity;
use crate::api::{Event, KnownServer, LobbyError, LobbyState, SocketId, StreamState};
use crate::config::{AgentConfig, RelayPolicy};
use crate::env::Env;
use crate::text;
use crate::way::Way;
use crate::wire::Kind;
use crate::wire::message::{Farewell, Frame, Login, ToPlayer, ToServer};
use crate::wire::port_report::PortReport;
pub(crate) use contacted::Contacted;
use nodes::Nodes;
pub(crate) use online::{MatchUse, Online};
use shaking::Shaking;
use stream::Stream;

/// This is the link and what it is about to do.
#[derive(Debug)]
pub(crate) struct ServerLink {
    servers: Vec<SocketAddr>,
    /// The login under way goes to these addresses, in turn.
    targets: Vec<SocketAddr>,
    /// These are other nodes of the servers.
    nodes: Nodes,
    contacted: Contacted,
    /// This is what is known of the servers' keys, where none is pinned (trust on first use).
    known: Vec<KnownServer>,
    /// This is the key that the server had at addresses of which nothing is known.
    first_key: Option<[u8; 32]>,
    state: State,
    backoff: Duration,
    /// This player is in a room, whose other members wait for it.
    in_room: bool,
    /// This says when the session was lost that no other one has followed yet.
    lost_at: Option<Instant>,
    stream: Stream,
    /// The last login came about over the stream.
    blocked: bool,
    /// This says whether the session moved between UDP and the stream, or to another public address, and the agent
    /// was not told yet.
    moved: bool,
    /// A login has begun since the driver was asked for entropy last.
    begun: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The next login begins at this time.
    Waiting(Instant),
    Shaking(Box<Shaking>),
    Online(Box<Online>),
}

/// This is what the server saw of a probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSeen {
    pub(crate) observed: SocketAddr,
    /// This is the report, to be shown again; `None` unless that was asked for.
    pub(crate) report: Option<PortReport>,
}

/// This is what came of an input, for the rooms.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The player is online (again): what waited is to be taken up.
    LoggedIn,
    /// The session is lost.
    Lost,
    /// The server said something, in a reliable frame.
    Message(ToPlayer),
    /// The server answered a probe.
    ProbeSeen { tag: u32, seen: ProbeSeen, from: SocketAddr },
    /// Something came in that was sent to the forwarded port.
    MappedPortSeen { port: u16, token: [u8; 16], from: SocketAddr },
    /// What the server has sent to a mapping of ours came in at this socket.
    Knock { tag: u32, socket: SocketId },
}

/// The families in turn (RFC 8305 section 4), IPv4 first, though the RFC prefers IPv6: the family of the session is
/// the one whose NAT gets measured, and it is IPv4 that has NATs to measure.
fn interleaved(servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut v4, mut v6): (VecDeque<_>, VecDeque<_>) = servers.into_iter().partition(SocketAddr::is_ipv4);
    let mut mixed = Vec::with_capacity(v4.len() + v6.len());
    while !v4.is_empty() || !v6.is_empty() {
        mixed.extend(v4.pop_front());
        mixed.extend(v6.pop_front());
    }
    mixed
}

/// Returns the addresses with those of each of these servers in an order by chance, so that a name with several addresses
/// has its players spread over them. Servers stay in the order in which the game has named them: players of games whose
/// servers know nothing of each other meet at the first. So do addresses that are of no named server.
fn spread(mut servers: Vec<SocketAddr>, known: &[KnownServer], rng: &mut impl RngCore) -> Vec<SocketAddr> {
    for server in known {
        for v4 in [true, false] {
            let is_its = |address: &SocketAddr| address.is_ipv4() == v4 && server.addresses.contains(address);
            let places: Vec<usize> = (0..servers.len()).filter(|place| is_its(&servers[*place])).collect();
            // Fisher and Yates.
            for count in (2..=places.len()).rev() {
                let chosen = rng.next_u32() as usize % count;
                servers.swap(places[count - 1], places[chosen]);
            }
        }
    }
    servers
}

impl ServerLink {
    pub(crate) fn new(config: &AgentConfig) -> Self {
        Self {
            servers: Vec::new(),
            targets: Vec::new(),
            nodes: Nodes::default(),
            contacted: Contacted::default(),
            known: Vec::new(),
            first_key: None,
            state: State::Idle,
            backoff: config.relogin_min,
            in_room: false,
            lost_at: None,
            stream: Stream::default(),
            blocked: false,
            moved: false,
            begun: false,
        }
    }

    /// Notes whether other members of a room wait for this player.
    pub(crate) fn set_in_room(&mut self, in_room: bool) {
        self.in_room = in_room;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(crate) fn forget_begun(&mut self) {
        self.begun = false;
    }

    /// Notes which addresses are of which server.
    pub(crate) fn know(&mut self, servers: Vec<KnownServer>) {
        self.known = servers;
    }

    /// Returns the key that the server at this address had when it was first reached, to be read or noted.
    pub(super) fn key_at(&mut self, server: SocketAddr) -> &mut Option<[u8; 32]> {
        let known = self.known.iter_mut().find(|known| known.addresses.contains(&server));
        known.map_or(&mut self.first_key, |known| &mut known.key)
    }

    /// Has the next login begin with another server than the one at this address, where there is another one.
    pub(super) fn pass_over(&mut self, server: SocketAddr) {
        self.nodes.pass_over(server);
        let known = self.known.iter().find(|known| known.addresses.contains(&server));
        let its = |address: &SocketAddr| match known {
            Some(known)
                if known.addresses.iter().filter(|other| other.is_ipv4() == server.is_ipv4()).count() < 2 =>
            {
                known.addresses.contains(address)
            }
            // A name with several addresses may be several machines.
            _ => *address == server,
        };
        let Some(place) = self.servers.iter().position(its) else { return };
        let mut order = self.servers.clone();
        order.rotate_left(place);
        let (passed, mut next): (Vec<_>, Vec<_>) = order.into_iter().partition(its);
        next.extend(passed);
        self.servers = interleaved(next);
    }

    /// Logs in to these, replacing what was.
    pub(crate) fn connect(&mut self, env: &mut Env<'_>, servers: Vec<SocketAddr>) {
        let reachable = servers.into_iter().filter(|server| env.main.towards(*server).is_some());
        self.servers = interleaved(spread(reachable.collect(), &self.known, env.rng));
        self.first_key = None;
        self.nodes.forget();
        self.blocked = false;
        self.stream.close(env);
        self.backoff = env.config.relogin_min;
        if self.servers.is_empty() {
            self.state = State::Idle;
            let reason = String::from("it has no address that this machine can reach");
            env.emit(Event::Lobby(LobbyState::Refused { error: LobbyError::Unresolvable { reason } }));
        } else {
            env.emit(Event::Lobby(LobbyState::Connecting));
            self.start(env);
        }
    }

    /// The servers have other addresses by now.
    pub(crate) fn servers_moved(&mut self, env: &mut Env<'_>, servers: Vec<SocketAddr>) {
        let reachable: Vec<_> =
            servers.into_iter().filter(|server| env.main.towards(*server).is_some()).collect();
        // Resolvers give a name's addresses in turn: another order is no reason to begin a login anew.
        let same = reachable.len() == self.servers.len()
            && reachable.iter().all(|server| self.servers.contains(server));
        if same || reachable.is_empty() {
            return;
        }
        self.servers = interleaved(spread(reachable, &self.known, env.rng));
        if matches!(self.state, State::Shaking(_) | State::Waiting(_)) {
            self.stream.close(env);
            self.backoff = env.config.relogin_min;
            self.start(env);
        }
    }

    /// Logs out and stays out.
    pub(crate) fn disconnect(&mut self, env: &mut Env<'_>) {
        if let State::Online(online) = &mut self.state {
            online
                .session
                .send_once(env.now, &Frame::Goodbye { reason: String::new(), why: Farewell::Leaving });
            self.drain(env);
        }
        self.stream.close(env);
        if self.is_wanted() {
            self.state = State::Idle;
            env.emit(Event::Lobby(LobbyState::Offline));
        }
    }

    fn start(&mut self, env: &mut Env<'_>) {
        self.begun = true;
        let mut secret = Zeroizing::new([0; 32]);
        env.rng.fill_bytes(&mut *secret);
        let ephemeral = Identity::from_secret(*secret);
        let relay_only = env.config.relay == RelayPolicy::Only;
        let login = Login {
            game: env.config.game.clone(),
            game_protocol: env.config.game_protocol,
            name: text::NAME.clean(&env.config.name),
            token: env.config.token.to_vec(),
            ephemeral: ephemeral.public_key(),
            local: if relay_only || !env.config.lan { Vec::new() } else { env.local_endpoints() },
            relay_only,
        };
        self.targets = self.nodes.targets(env, &self.servers);
        let mut shaking = Shaking::new(env, &self.targets, login, ephemeral, self.blocked);
        shaking.deadline = env.now + self.nodes.patience(env.config.login_timeout);
        self.state = State::Shaking(Box::new(shaking));
        self.handle_timeout(env, env.config.keepalive);
    }

    /// Takes note of what became of the stream.
    pub(crate) fn handle_stream(&mut self, env: &mut Env<'_>, state: StreamState) {
        // What was closed from here is of no interest.
        let Some(to) = self.stream.to() else { return };
        let was_open = self.stream.is_open();
        match state {
            StreamState::Open => self.stream.opened(),
            StreamState::Closed => self.stream.closed(),
        }
        match (&mut self.state, state) {
            (State::Shaking(shaking), StreamState::Open) => {
                shaking.stream_open(env, to, self.stream.age(env.now));
                shaking.handle_timeout(env, &self.targets, &mut self.stream, &mut self.contacted);
            }
            (State::Shaking(shaking), StreamState::Closed) => shaking.stream_closed(env.now),
            (State::Online(online), StreamState::Open) if online.wants_stream() => {
                online.knock(env, SocketId::STREAM);
            }
            (State::Online(online), StreamState::Closed) => online.stream_closed(env.now, was_open),
            (_, StreamState::Open) => self.stream.close(env),
            (State::Idle | State::Waiting(_), StreamState::Closed) => {}
        }
    }

    /// Asks the server at once whether it sees us where it did (after a change of the machine's addresses).
    pub(crate) fn check_now(&mut self, now: Instant) {
        if let State::Online(online) = &mut self.state {
            online.check_now(now);
        }
    }

    /// Another player's datagram came by this way.
    pub(crate) fn carried(&mut self, now: Instant, socket: SocketId) {
        if let State::Online(online) = &mut self.state {
            online.carried(now, socket);
        }
    }

    /// Does what is due; `quiet` says how long the link may be idle.
    pub(crate) fn handle_timeout(&mut self, env: &mut Env<'_>, quiet: Duration) -> Option<LinkEvent> {
        match &mut self.state {
            State::Idle => None,
            State::Waiting(until) => {
                if *until <= env.now {
                    self.start(env);
                }
                None
            }
            State::Shaking(shaking) => {
                if shaking.deadline <= env.now {
                    self.timed_out(env);
                } else {
                    shaking.handle_timeout(env, &self.targets, &mut self.stream, &mut self.contacted);
                }
                None
            }
            State::Online(online) => {
                let lost = online.handle_timeout(env, &mut self.stream, quiet);
                self.drain(env);
                if lost { self.lost(env, LobbyError::Lost) } else { None }
            }
        }
    }

    /// Tells the server, if there is a session.
    pub(crate) fn tell(&mut self, env: &mut Env<'_>, message: ToServer) {
        if let State::Online(online) = &mut self.state {
            // The queue is full only when the server has not answered for long; it will be noticed as lost.
            let _ = online.session.send(env.now, message);
            self.drain(env);
        }
    }

    /// Seals a probe of the session; none without a session.
    pub(crate) fn seal_probe(&mut self, now: Instant, frame: &Frame<ToServer>) -> Option<Vec<u8>> {
        self.online().and_then(|online| online.session.seal(now, Kind::Probe, frame))
    }

    /// Sends what the session has ready.
    pub(crate) fn drain(&mut self, env: &mut Env<'_>) {
        if let State::Online(online) = &mut self.state {
            let Way { socket, remote: server } = online.uplink();
            while let Some(datagram) = online.session.poll_datagram() {
                if socket != SocketId::STREAM {
                    self.contacted.note(env.now, server.ip());
                }
                env.transmit(socket, server, datagram);
            }
        }
    }

    pub(crate) fn poll_timeout(&self, quiet: Duration) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Waiting(until) => Some(*until),
            State::Shaking(shaking) => shaking.poll_timeout(),
            State::Online(online) => online.poll_timeout(&self.stream, quiet),
        }
    }
}
