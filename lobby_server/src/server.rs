//! The server as a state machine without sockets, clock or threads.
//!
//! Run loop of a driver: give every input with the present time ([`Server::handle_datagram`],
//! [`Server::handle_registry_reply`], [`Server::handle_timeout`]), then drain [`Server::poll_transmit`] and
//! [`Server::poll_registry`], then wait until [`Server::poll_timeout`].
//!
//! After [`Server::handle_timeout`] at `now`, [`Server::poll_timeout`] is later than `now` (or none): a timer that sets
//! itself to an instant that has passed is moved on by [`TICK`]. So a driver that calls it only when it is due never
//! turns without progress.

mod bans;
mod chat;
mod context;
mod counters;
mod dispatch;
mod games;
mod matches;
mod neighbour;
mod nodes;
pub(crate) mod operator;
mod people;
mod refusals;
mod rooms;
mod roster;
mod shown;
mod sockets;
mod stun;
mod surroundings;
#[cfg(test)]
mod tests;
mod timers;
mod timings;
mod token_checks;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use traversal_core::Identity;
use traversal_core::wire::secret::mixed;
use traversal_core::wire::session::session_of;
use traversal_core::wire::{Kind, MAX_DATAGRAM};

use crate::config::ServerConfig;
use crate::door::Newcomer;
use crate::ids::SessionId;
use crate::registry::{MemoryRegistry, RegistryCommand, RegistryDown, RegistryId, RegistryReply};
use crate::stun::{LONGEST_REQUEST, may_be};
use crate::tokens::NoVerdict;
pub use bans::{BanError, BanRow, Banned};
use chat::Chat;
pub use chat::ReportRow;
use context::Context;
pub use counters::{Counters, Gauges};
pub use games::GameNumbers;
use matches::Matches;
use neighbour::Neighbour;
pub use neighbour::{LinkTransmit, NeighbourState};
pub use operator::{NotOne, PlayerRow, RoomRow};
use people::People;
pub use refusals::{Refusal, Refusals};
use rooms::{Others, Rooms};
use roster::{Roster, RosterKeys};
use sockets::{Incoming, Route};
pub use sockets::{ServerSocket, ServerSocketId, ServerTransmit};
use stun::Stun;
use surroundings::Place;
use timers::Timer;
pub use timings::Timings;

/// A timer that was due is not due again sooner than this: far below every wait of the server.
const TICK: Duration = Duration::from_millis(1);

/// This is the core of the server. See the module for its run loop.
pub struct Server {
    cx: Context,
    roster: Roster,
    matches: Matches,
    rooms: Rooms,
    people: Box<People>,
    chat: Box<Chat>,
    stun: Stun,
    place: Place,
    /// Another server's address is the second one of this one.
    neighbour: Option<Box<Neighbour>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

impl Server {
    /// Makes a server with these sockets. The same seed and the same inputs make the same run.
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
            rooms: Rooms::new(&config, limiter_key, now),
            people: Box::new(People::new(limiter_key, now)),
            chat: Box::new(Chat::new()),
            stun: Stun::new(&config, limiter_key, now),
            place: Place::default(),
            neighbour: None,
            cx: Context::new(config, sockets, rng, now),
        }
    }

    /// A handshake was made since entropy was last mixed in: the driver is to give some
    /// ([`mix_entropy`](Self::mix_entropy)). A simulator does not, and has the same run from the same seed.
    pub fn wants_entropy(&self) -> bool {
        self.roster.wants_new_entropy()
    }

    /// Takes an input: 32 bytes from the system's entropy.
    pub fn mix_entropy(&mut self, entropy: [u8; 32]) {
        self.cx.rng = mixed(&mut self.cx.rng, entropy);
        self.roster.has_entropy();
    }

    /// Tells the time of day, in seconds since 1970: tickets of rooms end after a day then, also over a restart.
    pub fn set_time_of_day(&mut self, now: Instant, seconds: u64) {
        self.cx.set_time_of_day(now, seconds);
    }

    /// Borrows the rooms apart from what they work with.
    fn split(&mut self) -> (&mut Rooms, Others<'_>) {
        let others = Others { cx: &mut self.cx, roster: &mut self.roster, matches: &mut self.matches };
        (&mut self.rooms, others)
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
        let longest = if may_be(datagram) { LONGEST_REQUEST } else { MAX_DATAGRAM };
        if usize::from(socket.0) >= self.cx.own_sockets || datagram.len() > longest || from.port() == 0 {
            self.cx.counters.dropped += 1;
            return;
        }
        self.note_heard(from);
        self.take(Route { socket, asked, peer: from }, datagram);
    }

    fn take(&mut self, route: Route, datagram: &[u8]) {
        self.cx.incoming = Incoming { bytes: datagram.len(), ..Incoming::default() };
        self.dispatch(route, datagram);
        self.cx.incoming = Incoming::default();
    }

    /// A hello came in, and more of them than can be served: it is answered with the word to come back after so many seconds.
    pub fn turn_away(&mut self, now: Instant, newcomer: &Newcomer, again_s: u8) {
        self.cx.now = now;
        self.cx.counters.datagrams_in += 1;
        self.cx.counters.bytes_in += newcomer.datagram.len() as u64;
        self.cx.counters.limit(Refusal::HelloBusy);
        let route = Route { socket: newcomer.socket, asked: newcomer.asked, peer: newcomer.from };
        if usize::from(route.socket.0) < self.cx.own_sockets && route.peer.port() != 0 {
            self.note_heard(route.peer);
            self.cx.incoming = Incoming { bytes: newcomer.datagram.len(), ..Incoming::default() };
            self.roster.turn_away(&mut self.cx, route, &newcomer.datagram, again_s);
            self.cx.incoming = Incoming::default();
        }
    }

    /// Newcomers' datagrams came in that there was neither place nor time for.
    pub fn count_left_out(&mut self, count: u64) {
        self.cx.counters.datagrams_in += count;
        self.cx.counters.limited += count;
        self.cx.counters.refusals.count_many(Refusal::HelloBusy, count);
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
            None => self.stun.handle(&mut self.cx, route, datagram),
        }
        self.settle();
    }

    fn handle_sealed(&mut self, route: Route, kind: Kind, datagram: &[u8]) {
        let Some(id) = session_of(datagram).map(SessionId) else {
            self.cx.counters.dropped += 1;
            return;
        };
        if self.roster.client(id).is_some() {
            self.handle_session_datagram(id, route, kind, datagram);
            return;
        }
        if !self.forward(route, kind, datagram) {
            self.roster.refuse_unknown(&mut self.cx, route, kind, datagram);
        }
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
            self.dispatch_timer(timer);
            self.settle();
        }
        self.settle();
    }

    fn dispatch_timer(&mut self, timer: Timer) {
        let (rooms, mut others) = self.split();
        let others = &mut others;
        match timer {
            Timer::Session(id) => self.session_timeout(id),
            Timer::Searches => others.matches.search_timeout(others.cx),
            Timer::Token(id) => self.token_answered(id, Err(NoVerdict::TooLate)),
            Timer::Stale(player) => rooms.stale_timeout(others, player),
            Timer::Registry(id) => {
                if !self.post_answered(id, &Err(RegistryDown)) {
                    let (rooms, mut others) = self.split();
                    rooms.registry_timeout(&mut others, id);
                }
            }
            Timer::Ask(join) => rooms.ask_timeout(others, join),
            Timer::Check(room) => rooms.check_timeout(others, room),
            Timer::Loss(room) => rooms.loss_timeout(others, room),
            Timer::Gathering(room) => rooms.gathering_timeout(others, room),
            Timer::News(room) => rooms.tell_members(others, room),
            Timer::Shared(room) => rooms.spread(others, room),
            Timer::Guesses(room) => rooms.tell_guesses(others, room),
            Timer::Lines => rooms.tell_lines(others),
            Timer::Looks => rooms.look_at_lines(others),
            Timer::Pairs(room) => rooms.pair_up(others, room),
            Timer::SeeOff => self.see_off(),
            Timer::Nodes => self.tell_nodes(),
            Timer::Moving => rooms.moving_timeout(others),
            Timer::Alone(player) => rooms.alone_timeout(others, player),
            Timer::Owners => rooms.look_at_owners(others),
            Timer::Double(id) => {
                if rooms.is_double(others, id) {
                    self.replaced_elsewhere(id);
                }
            }
            Timer::Neighbour => self.neighbour_timeout(),
            Timer::Contacts(player) => self.contacts_timeout(player),
            Timer::Resync => self.resync_timeout(),
            Timer::Post => self.post_timeout(),
            Timer::Calling(player) => self.calling_timeout(player),
            Timer::Called(player) => self.called_timeout(player),
            Timer::Texts(player) => self.texts_timeout(player),
            Timer::Listing => rooms.listing_timeout(others),
            Timer::Party(id) => rooms.party_timeout(others, id),
            Timer::Parties => rooms.parties_timeout(others),
        }
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<ServerTransmit> {
        self.cx.transmits.pop_front()
    }

    /// Returns the next thing that the registry is to do; its answer comes back by
    /// [`handle_registry_reply`](Self::handle_registry_reply).
    pub fn poll_registry(&mut self) -> Option<RegistryCommand> {
        self.cx.commands.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    /// Takes the registry's answer to a command.
    pub fn handle_registry_reply(
        &mut self,
        now: Instant,
        id: RegistryId,
        reply: Result<RegistryReply, RegistryDown>,
    ) {
        self.cx.now = now;
        if !self.post_answered(id, &reply) {
            let (rooms, mut others) = self.split();
            rooms.registry_answered(&mut others, id, reply);
        }
        self.settle();
    }

    /// Answers all that waits for the registry out of one in memory. For drivers without another.
    pub fn turn_registry(&mut self, now: Instant, registry: &mut MemoryRegistry) {
        let node = self.cx.config.node;
        loop {
            while let Some(command) = self.poll_registry() {
                let reply = registry.handle(now, node, command.operation);
                self.handle_registry_reply(now, command.id, Ok(reply));
            }
            let notes = registry.notes(node);
            if notes.is_empty() {
                break;
            }
            for note in notes {
                self.handle_registry_note(now, note);
            }
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
        self.follow_people();
        loop {
            self.matches.tell_searches(&mut self.cx, &mut self.roster);
            let Some(id) = self.roster.pop_unsettled() else { break };
            self.flush(id);
        }
    }

    fn flush(&mut self, id: SessionId) {
        let (rooms, others) = self.split();
        let silence = rooms.look_after(&others, id);
        self.roster.set_session_timer(&mut self.cx, id, silence);
        self.roster.hand_over_datagrams(&mut self.cx, id);
    }
}
