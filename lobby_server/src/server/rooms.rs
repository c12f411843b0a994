//! Rooms: who is in them, on the way into them, and in line for them; who hosts them, and what becomes of them.
//!
//! A room's registry is an effect: a command goes out, and what it is for waits here for the reply.

mod away;
mod backfill;
mod banning;
mod calling;
mod chatting;
mod creating;
mod elsewhere;
mod gathering;
mod guessing;
mod invites;
mod joining;
mod kick_notes;
mod listing;
mod liveness;
mod membership;
mod migration;
mod parties;
mod requests;
mod seat_notes;
mod seats;
mod shared;
mod spectating;
mod take_up;
mod watching;
mod wishes;

#[cfg(feature = "fuzzing")]
pub(super) use take_up::ticket_seal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use traversal_core::id::{JoinId, PlayerId, RoomId};
use traversal_core::wire::message::{RequestError, Response, ToPlayer};

use super::context::Context;
use super::matches::Matches;
use super::roster::Roster;
use crate::config::ServerConfig;
use crate::ids::{Asker, SessionId};
use crate::limits::PrefixLimiter;
use crate::queue::Queues;
use crate::registry::RegistryId;
use crate::room::Room;
use away::Away;
use elsewhere::Elsewhere;
use gathering::Gathering;
use joining::Ask;
use listing::Listing;
use liveness::Check;
use migration::Loss;
use parties::Parties;
use wishes::Pending;

/// This owner has the rooms, and what players wait for on their way into them.
pub(super) struct Rooms {
    rooms: BTreeMap<RoomId, Room>,
    /// This is what goes on when the registry answers.
    pending: BTreeMap<RegistryId, Pending>,
    next_registry: u64,
    asks: BTreeMap<JoinId, Ask>,
    checks: BTreeMap<RoomId, Check>,
    /// Each session that a check waits for, with the rooms of these checks: it is looked up with every datagram.
    checks_of: BTreeMap<SessionId, BTreeSet<RoomId>>,
    losses: BTreeMap<RoomId, Loss>,
    queues: Queues,
    gatherings: BTreeMap<RoomId, Gathering>,
    parties: Parties,
    elsewhere: Elsewhere,
    listing: Listing,
    /// These members are not heard, or have not taken their seats after a new login.
    away: BTreeMap<PlayerId, Away>,
    /// Who leaves a match that is being put together costs the others their time.
    leave_limit: PrefixLimiter,
    guess_limit: PrefixLimiter,
    code_limit: PrefixLimiter,
    /// The registry has taken these rooms of calls, or has not.
    opened_for_calls: Vec<(RoomId, bool)>,
}

/// These are the other owners of the server's state, and the context, lent to the rooms.
pub(super) struct Others<'a> {
    pub(super) cx: &'a mut Context,
    pub(super) roster: &'a mut Roster,
    pub(super) matches: &'a mut Matches,
}

impl Others<'_> {
    /// Sends a message to a player, if it is here.
    fn tell(&mut self, player: PlayerId, message: ToPlayer) {
        self.roster.tell(self.cx, player, message);
    }

    fn tell_session(&mut self, session: SessionId, message: ToPlayer) {
        self.roster.tell_session(self.cx, session, message);
    }

    /// Answers a request.
    fn respond(&mut self, asker: Asker, result: Result<Response, RequestError>) {
        self.roster.respond(self.cx, asker, result);
    }

    /// Asks for a sign of life.
    fn ping(&mut self, session: SessionId) {
        self.roster.ping(self.cx, session);
    }
}

impl Rooms {
    pub(super) fn new(config: &ServerConfig, limiter_key: [u8; 16], now: Instant) -> Self {
        Self {
            rooms: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_registry: 0,
            asks: BTreeMap::new(),
            checks: BTreeMap::new(),
            checks_of: BTreeMap::new(),
            losses: BTreeMap::new(),
            queues: Queues::default(),
            gatherings: BTreeMap::new(),
            parties: Parties::default(),
            elsewhere: Elsewhere::default(),
            listing: Listing::new(limiter_key, now),
            away: BTreeMap::new(),
            leave_limit: PrefixLimiter::new(gathering::LEAVE_RATE, limiter_key, now),
            guess_limit: PrefixLimiter::new(config.guess_rate, limiter_key, now),
            code_limit: PrefixLimiter::new(config.code_rate, limiter_key, now),
            opened_for_calls: Vec::new(),
        }
    }
}

#[cfg(test)]
impl Rooms {
    pub(super) fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// Returns the number of rooms, with those that the registry has not taken.
    pub(super) fn count(&self) -> usize {
        self.rooms.len()
    }

    /// Returns whether something waits for the registry.
    pub(super) fn waits_for_registry(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns whether some room's host is in question.
    pub(super) fn doubts_a_host(&self) -> bool {
        !self.losses.is_empty()
    }
}
