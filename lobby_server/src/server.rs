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
mod gathering;
mod guessing;
mod joining;
mod kick_notes;
mod liveness;
mod matches;
mod membership;
mod migration;
mod requests;
mod roster;
mod seats;
mod session;
mod sockets;
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
use traversal_core::wire::secret::mixed;
use traversal_core::wire::session::session_of;
use traversal_core::wire::{Kind, MAX_DATAGRAM};

use crate::config::ServerConfig;
use crate::limits::PrefixLimiter;
use crate::outcomes::Outcomes;
use crate::queue::Queues;
use crate::registry::{MemoryRegistry, RegistryCommand, RegistryId};
use crate::rooms::Room;
use crate::stun;
use crate::surroundings::Watch;
use context::Context;
pub use counters::{Counters, Gauges};
use gathering::Gathering;
use joining::Ask;
use liveness::Check;
use matches::Matches;
use migration::Loss;
use requests::Pending;
use roster::{Roster, RosterKeys};
use sockets::{Incoming, Route};
pub use sockets::{ServerSocket, ServerSocketId, ServerTransmit};
use timers::Timer;

/// A timer that was due is not due again sooner than this: far below every wait of the server.
const TICK: Duration = Duration::from_millis(1);

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
    roster: Roster,
    matches: Matches,
    rooms: BTreeMap<RoomId, Room>,
    pending: BTreeMap<RegistryId, Pending>,
    asks: BTreeMap<JoinId, Ask>,
    checks: BTreeMap<RoomId, Check>,
    losses: BTreeMap<RoomId, Loss>,
    queues: Queues,
    gatherings: BTreeMap<RoomId, Gathering>,
    next_registry: u64,
    stun_limit: PrefixLimiter,
    guess_limit: PrefixLimiter,
    code_limit: PrefixLimiter,
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
        let mut keys = RosterKeys { cookie: [0; 32], report: [0; 32], path: [0; 32], limiter: [0; 16] };
        for key in [&mut keys.cookie, &mut keys.report, &mut keys.path] {
            rng.fill_bytes(key);
        }
        rng.fill_bytes(&mut keys.limiter);
        let limiter_key = keys.limiter;
        Self {
            roster: Roster::new(&config, identity, keys, now),
            matches: Matches::new(&config, now),
            stun_limit: PrefixLimiter::new(config.stun_rate, limiter_key, now),
            guess_limit: PrefixLimiter::new(config.guess_rate, limiter_key, now),
            code_limit: PrefixLimiter::new(config.code_rate, limiter_key, now),
            rooms: BTreeMap::new(),
            pending: BTreeMap::new(),
            asks: BTreeMap::new(),
            checks: BTreeMap::new(),
            losses: BTreeMap::new(),
            queues: Queues::default(),
            gatherings: BTreeMap::new(),
            next_registry: 0,
            watch: Watch::default(),
            logged: BTreeMap::new(),
            cx: Context::new(config, sockets, rng, now),
        }
    }

    /// Has every login's token checked.
    pub fn set_token_check(&mut self, check: Box<dyn TokenCheck>) {
        self.roster.use_token_check(check);
    }

    /// A handshake was made since entropy was last mixed in: the driver is to give some
    /// ([`mix_entropy`](Self::mix_entropy)). A simulator does not, and has the same run from the same seed.
    pub fn wants_entropy(&self) -> bool {
        self.roster.wants_new_entropy()
    }

    /// Input: 32 bytes from the system's entropy.
    pub fn mix_entropy(&mut self, entropy: [u8; 32]) {
        self.cx.rng = mixed(&mut self.cx.rng, entropy);
        self.roster.has_entropy();
    }

    /// Tells the time of day, in seconds since 1970: tickets of rooms end after a day then, also over a restart.
    pub fn set_time_of_day(&mut self, now: Instant, seconds: u64) {
        self.cx.set_time_of_day(now, seconds);
    }

    /// The key that clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.roster.identity().public_key()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.cx.counters
    }

    /// How matches went since the start, by cause and NATs.
    pub fn outcomes(&self) -> &Outcomes {
        self.matches.history()
    }

    /// Numbers of the moment.
    pub fn gauges(&self) -> Gauges {
        let (matches, relays) = self.matches.counts();
        Gauges {
            sessions: self.roster.player_count(),
            rooms: self.rooms.values().filter(|room| room.claimed).count(),
            queued: self.queues.len(),
            matches,
            relays,
        }
    }

    /// Whether a player is logged in over this connection.
    pub fn serves_stream(&self, socket: ServerSocketId, peer: SocketAddr) -> bool {
        self.roster.has_way(socket, peer)
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
            Some(Kind::Relay) => {
                return self.matches.handle_relay(&mut self.cx, &mut self.roster, route, datagram);
            }
            Some(Kind::Hello) => self.roster.handle_hello(&mut self.cx, route, datagram),
            Some(Kind::Init) => self.roster.handle_init(&mut self.cx, route, datagram),
            Some(kind @ (Kind::Control | Kind::Probe)) => self.handle_sealed(route, kind, datagram),
            Some(_) => self.cx.counters.dropped += 1,
            None if self.cx.is_stream(route) => self.cx.counters.dropped += 1,
            None => self.handle_stun(route, datagram),
        }
        self.settle();
    }

    fn handle_sealed(&mut self, route: Route, kind: Kind, datagram: &[u8]) {
        let Some(id) = session_of(datagram) else {
            self.cx.counters.dropped += 1;
            return;
        };
        if self.roster.client(id).is_some() {
            self.handle_session_datagram(id, route, kind, datagram);
            return;
        }
        self.roster.refuse_unknown(&mut self.cx, route, kind, datagram);
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
                Timer::Sprays => self.matches.search_timeout(&self.cx),
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
        self.roster.say_goodbye(&self.cx, reason);
        self.settle();
    }

    /// Moves what sessions have to send to the outputs.
    fn settle(&mut self) {
        loop {
            self.matches.tell_turns(&mut self.cx, &mut self.roster);
            let Some(id) = self.roster.pop_unsettled() else { break };
            self.flush(id);
        }
    }

    fn flush(&mut self, id: u64) {
        let silence = self.silence(id);
        self.roster.set_session_timer(&mut self.cx, id, silence);
        self.roster.hand_over_datagrams(&mut self.cx, id);
    }
}
