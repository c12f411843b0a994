//! The server as a state machine without sockets, clock or threads.
//!
//! Run loop of a driver: give every input with the present time ([`Server::handle_datagram`],
//! [`Server::handle_registry_reply`], [`Server::handle_timeout`]), then drain [`Server::poll_transmit`] and
//! [`Server::poll_registry`], then wait until [`Server::poll_timeout`].
//!
//! After [`Server::handle_timeout`] at `now`, [`Server::poll_timeout`] is later than `now` (or none): a timer that sets
//! itself to an instant that has passed is moved on by [`TICK`]. So a driver that calls it only when it is due never
//! turns without progress.

mod context;
mod counters;
mod creating;
mod families;
mod gathering;
mod guessing;
mod joining;
mod keeping;
mod kick_notes;
mod knocks;
mod liveness;
mod login;
mod mapped_ports;
mod membership;
mod migration;
mod moving;
mod probes;
mod relaying;
mod reports;
mod requests;
mod seats;
mod session;
mod sockets;
mod sprays;
mod surroundings;
mod take_up;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::Identity;
use traversal_core::id::{JoinId, PlayerId, RoomId};
use traversal_core::wire::handshake::{ServerHandshake, refuse_unknown_session};
use traversal_core::wire::message::{Farewell, Frame};
use traversal_core::wire::port_report::ReportKey;
use traversal_core::wire::secret::{MacKey, mixed};
use traversal_core::wire::session::session_of;
use traversal_core::wire::{Kind, MAX_DATAGRAM};

use crate::census::Census;
use crate::config::ServerConfig;
use crate::limits::{PortTurns, PrefixLimiter, Rate};
use crate::outcomes::Outcomes;
use crate::queue::Queues;
use crate::registry::{MemoryRegistry, RegistryCommand, RegistryId};
use crate::relay::Relay;
use crate::rendezvous::Rendezvous;
use crate::rooms::Room;
use crate::sprays::Sprays;
use crate::stun;
use crate::surroundings::Watch;
use context::Context;
pub use counters::{Counters, Gauges};
use gathering::Gathering;
use joining::Ask;
use liveness::Check;
use login::RecentInits;
use migration::Loss;
use requests::Pending;
use session::{Client, Player};
use sockets::{Incoming, Route};
pub use sockets::{ServerSocket, ServerSocketId, ServerTransmit};
use timers::Timer;

/// A timer that was due is not due again sooner than this: far below every wait of the server.
const TICK: Duration = Duration::from_millis(1);

/// Cookies for the ports of one address that asks for more than [`ServerConfig::hello_rate`], each in its turn. With it no
/// address gets more than 200 kB a second, whoever pretends to be there.
const HELLO_TURNS: Rate = Rate::new(2048.0, 2048.0);

/// Checks the token of a login.
pub trait TokenCheck: Send {
    /// Whether this player may log in. Is to change nothing: a copy of a login, sent by somebody else, comes here too.
    ///
    /// # Errors
    /// Why not, for the player to read.
    fn check(&self, game: &str, player: PlayerId, name: &str, token: &[u8]) -> Result<(), String>;

    /// The player has proven to be there: a token that serves once is used up here, and no sooner.
    ///
    /// # Errors
    /// Why not, for the player to read: its session ends.
    fn spend(&self, game: &str, player: PlayerId, token: &[u8]) -> Result<(), String> {
        let _ = (game, player, token);
        Ok(())
    }
}

/// The server core. See the module for its run loop.
pub struct Server {
    cx: Context,
    handshake: ServerHandshake,
    token_check: Option<Box<dyn TokenCheck>>,
    sessions: BTreeMap<u64, Client>,
    players: BTreeMap<PlayerId, Player>,
    census: Census,
    inits: RecentInits,
    rooms: BTreeMap<RoomId, Room>,
    matches: Rendezvous,
    sprays: Sprays,
    relay: Relay,
    pending: BTreeMap<RegistryId, Pending>,
    asks: BTreeMap<JoinId, Ask>,
    checks: BTreeMap<RoomId, Check>,
    losses: BTreeMap<RoomId, Loss>,
    /// Sessions of members who are matched with the others as soon as they are heard.
    awaited: BTreeSet<u64>,
    queues: Queues,
    gatherings: BTreeMap<RoomId, Gathering>,
    /// Sessions that have something to send or whose timer may have changed.
    dirty: BTreeSet<u64>,
    /// There was a handshake since entropy was mixed in.
    handshakes: bool,
    next_registry: u64,
    hello_limit: PrefixLimiter,
    hello_turns: (PortTurns, PrefixLimiter),
    report_key: ReportKey,
    /// Makes what proves an address.
    path_key: MacKey,
    /// Sealed datagrams of sessions that are not known.
    unknown_limit: PrefixLimiter,
    login_limit: PrefixLimiter,
    stun_limit: PrefixLimiter,
    guess_limit: PrefixLimiter,
    code_limit: PrefixLimiter,
    mapped_port_limit: PrefixLimiter,
    outcomes: Outcomes,
    watch: Watch,
    /// Findings that the log has, and since when.
    logged: BTreeMap<&'static str, Instant>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with these sockets. The same seed and the same inputs make the same run.
    pub fn new(
        config: ServerConfig,
        identity: Identity,
        seed: [u8; 32],
        sockets: Vec<ServerSocket>,
        now: Instant,
    ) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut cookie_key = [0; 32];
        rng.fill_bytes(&mut cookie_key);
        let mut report_key = [0; 32];
        rng.fill_bytes(&mut report_key);
        let mut path_key = [0; 32];
        rng.fill_bytes(&mut path_key);
        let mut limiter_key = [0; 16];
        rng.fill_bytes(&mut limiter_key);
        Self {
            handshake: ServerHandshake::new(identity, cookie_key, now),
            report_key: ReportKey::new(report_key),
            path_key: MacKey::new(path_key),
            hello_limit: PrefixLimiter::new(config.hello_rate, limiter_key, now),
            hello_turns: (
                PortTurns::new(limiter_key, now),
                PrefixLimiter::new(HELLO_TURNS, limiter_key, now),
            ),
            unknown_limit: PrefixLimiter::new(config.hello_rate, limiter_key, now),
            login_limit: PrefixLimiter::new(config.login_rate, limiter_key, now),
            stun_limit: PrefixLimiter::new(config.stun_rate, limiter_key, now),
            guess_limit: PrefixLimiter::new(config.guess_rate, limiter_key, now),
            code_limit: PrefixLimiter::new(config.code_rate, limiter_key, now),
            mapped_port_limit: PrefixLimiter::new(config.mapped_port_rate, limiter_key, now),
            inits: RecentInits::default(),
            token_check: None,
            sessions: BTreeMap::new(),
            players: BTreeMap::new(),
            census: Census::default(),
            rooms: BTreeMap::new(),
            matches: Rendezvous::default(),
            sprays: Sprays::default(),
            relay: Relay::new(config.relay_limits(), now),
            pending: BTreeMap::new(),
            asks: BTreeMap::new(),
            checks: BTreeMap::new(),
            losses: BTreeMap::new(),
            awaited: BTreeSet::new(),
            queues: Queues::default(),
            gatherings: BTreeMap::new(),
            dirty: BTreeSet::new(),
            handshakes: false,
            next_registry: 0,
            outcomes: Outcomes::new(),
            watch: Watch::default(),
            logged: BTreeMap::new(),
            cx: Context::new(config, sockets, rng, now),
        }
    }

    /// Has every login's token checked.
    pub fn set_token_check(&mut self, check: Box<dyn TokenCheck>) {
        self.token_check = Some(check);
    }

    /// A handshake was made since entropy was last mixed in: the driver is to give some
    /// ([`mix_entropy`](Self::mix_entropy)). A simulator does not, and has the same run from the same seed.
    pub fn wants_entropy(&self) -> bool {
        self.handshakes
    }

    /// Input: 32 bytes from the system's entropy.
    pub fn mix_entropy(&mut self, entropy: [u8; 32]) {
        self.cx.rng = mixed(&mut self.cx.rng, entropy);
        self.handshakes = false;
    }

    /// Tells the time of day, in seconds since 1970: tickets of rooms end after a day then, also over a restart.
    pub fn set_time_of_day(&mut self, now: Instant, seconds: u64) {
        self.cx.set_time_of_day(now, seconds);
    }

    /// The key that clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.handshake.identity().public_key()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.cx.counters
    }

    /// How matches went since the start, by cause and NATs.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Numbers of the moment.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            sessions: self.players.len(),
            rooms: self.rooms.values().filter(|room| room.claimed).count(),
            queued: self.queues.len(),
            matches: self.matches.len(),
            relays: self.relay.len(),
        }
    }

    /// Whether a player is logged in over this connection.
    pub fn serves_stream(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.census.has_way((socket, peer))
    }

    /// A datagram came in on a socket that is bound to one address.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: ServerSocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        self.handle_datagram_at(now, socket, None, from, datagram);
    }

    /// A datagram came in; `asked` is the address that it was sent to, where the socket is bound to all and the
    /// system says it. Answers leave from there.
    pub fn handle_datagram_at(
        &mut self,
        now: Instant,
        socket: ServerSocketId,
        asked: Option<IpAddr>,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        self.cx.now = now;
        self.cx.counters.datagrams_in += 1;
        self.cx.counters.bytes_in += datagram.len() as u64;
        if usize::from(socket.0) >= self.cx.sockets.len() || datagram.len() > MAX_DATAGRAM || from.port() == 0
        {
            self.cx.counters.dropped += 1;
            return;
        }
        let route = Route { socket, asked, peer: from };
        self.cx.incoming = Incoming { bytes: datagram.len(), proven: None };
        self.dispatch(route, datagram);
        self.cx.incoming = Incoming::default();
    }

    fn dispatch(&mut self, route: Route, datagram: &[u8]) {
        match Kind::of(datagram) {
            // Changes no state that has to be settled.
            Some(Kind::Relay) => return self.handle_relay(route, datagram),
            Some(Kind::Hello) => self.handle_hello(route, datagram),
            Some(Kind::Init) => self.handle_init(route, datagram),
            Some(kind @ (Kind::Control | Kind::Probe)) => self.handle_sealed(route, kind, datagram),
            Some(_) => self.cx.counters.dropped += 1,
            None if self.cx.is_stream(route) => self.cx.counters.dropped += 1,
            None => self.handle_stun(route, datagram),
        }
        self.settle();
    }

    fn handle_hello(&mut self, route: Route, datagram: &[u8]) {
        let now = self.cx.now;
        let reply = if self.cx.stopping {
            ServerHandshake::refuse_busy(datagram)
        } else {
            self.handshake.handle_hello(now, (route.peer, self.cx.is_stream(route)), datagram).ok()
        };
        let Some(reply) = reply.filter(|reply| reply.len() <= datagram.len()) else {
            self.cx.counters.dropped += 1;
            return;
        };
        // Only what would be answered counts, so that junk does not use up somebody's rate.
        let ip = route.peer.ip();
        let (turns, turn_limit) = &mut self.hello_turns;
        // A flood does not keep the others who share its address out.
        let allowed =
            self.hello_limit.allow(ip, now) || (turns.take(route.peer, now) && turn_limit.allow(ip, now));
        if allowed {
            self.cx.transmit(route, reply);
        } else {
            self.cx.counters.limited += 1;
        }
    }

    fn handle_sealed(&mut self, route: Route, kind: Kind, datagram: &[u8]) {
        let Some(id) = session_of(datagram) else {
            self.cx.counters.dropped += 1;
            return;
        };
        if self.sessions.contains_key(&id) {
            self.handle_session_datagram(id, route, kind, datagram);
            return;
        }
        self.cx.counters.dropped += 1;
        if kind == Kind::Control
            && self.unknown_limit.allow(route.peer.ip(), self.cx.now)
            && let Some(reply) =
                refuse_unknown_session(datagram, |id| self.handshake.reset_token(self.cx.config.node, id))
        {
            self.cx.transmit(route, reply);
        }
    }

    fn handle_stun(&mut self, route: Route, datagram: &[u8]) {
        let request = if self.cx.config.stun { stun::parse(datagram) } else { None };
        let Some(request) = request else {
            self.cx.counters.dropped += 1;
            return;
        };
        if !self.stun_limit.allow(route.peer.ip(), self.cx.now) {
            self.cx.counters.limited += 1;
            return;
        }
        let far = self.cx.other(route, true, true);
        if let Some(refusal) = stun::unknown_attributes(&request, far.is_some()) {
            self.cx.hand_out(route, refusal);
            return;
        }
        let from = if request.change_ip || request.change_port {
            self.cx.other(route, request.change_ip, request.change_port)
        } else {
            Some(route)
        };
        let Some(from) = from else {
            self.cx.counters.dropped += 1;
            return;
        };
        self.cx.counters.stun += 1;
        let other = far.and_then(|route| self.cx.told_address(route));
        let reply = stun::success(&request, route.peer, self.cx.told_address(from), other);
        self.cx.hand_out(from, reply);
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named. Afterwards that is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        let mut handled = BTreeSet::new();
        while let Some(timer) = self.cx.timers.pop(now) {
            if !handled.insert(timer) {
                self.cx.timers.set(timer, Some(now + TICK));
                continue;
            }
            match timer {
                Timer::Session(id) => self.session_timeout(id),
                Timer::Stale(player) => self.stale_timeout(player),
                Timer::Registry(id) => self.registry_timeout(id),
                Timer::Ask(join) => self.ask_timeout(join),
                Timer::Check(room) => self.check_timeout(room),
                Timer::Loss(room) => self.loss_timeout(room),
                Timer::Gathering(room) => self.gathering_timeout(room),
                Timer::Sprays => self.sprays.handle_timeout(now),
                Timer::News(room) => self.tell_members(room),
                Timer::Guesses(room) => self.tell_guesses(room),
                Timer::Lines => self.tell_lines(),
                Timer::Pairs(room) => self.pair_up(room),
            }
            self.settle();
        }
        self.settle();
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<ServerTransmit> {
        self.cx.transmits.pop_front()
    }

    /// The next thing that the registry is to do; its answer comes back by
    /// [`handle_registry_reply`](Self::handle_registry_reply).
    pub fn poll_registry(&mut self) -> Option<RegistryCommand> {
        self.cx.commands.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    /// Answers all that waits for the registry out of one in memory. For drivers without another.
    pub fn turn_registry(&mut self, now: Instant, registry: &mut MemoryRegistry) {
        while let Some(command) = self.poll_registry() {
            let reply = registry.handle(command.operation);
            self.handle_registry_reply(now, command.id, Ok(reply));
        }
    }

    /// Tells every player that the server stops, and lets nobody in any more.
    pub fn stop(&mut self, now: Instant, reason: &str) {
        self.cx.now = now;
        self.cx.stopping = true;
        let ids: Vec<u64> = self.sessions.keys().copied().collect();
        for id in ids {
            if let Some(client) = self.sessions.get_mut(&id) {
                client
                    .session
                    .send_once(now, &Frame::Goodbye { reason: reason.into(), why: Farewell::Leaving });
                self.dirty.insert(id);
            }
        }
        self.settle();
    }

    /// Moves what sessions have to send to the outputs.
    fn settle(&mut self) {
        loop {
            self.tell_turns();
            let Some(id) = self.dirty.pop_first() else { break };
            self.flush(id);
        }
    }

    fn flush(&mut self, id: u64) {
        let silence = self.silence(id);
        let Some(client) = self.sessions.get_mut(&id) else { return };
        let silent = client.session.last_heard() + silence;
        let due = client.session.poll_timeout().map_or(silent, |due| due.min(silent));
        self.cx.timers.set(Timer::Session(id), Some(due));
        let route = client.route;
        let mut datagrams = Vec::new();
        while let Some(datagram) = client.session.poll_datagram() {
            datagrams.push(datagram);
        }
        for datagram in datagrams {
            self.cx.hand_out(route, datagram);
        }
    }
}
