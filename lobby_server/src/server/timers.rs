//! Deadlines of the core.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use traversal_core::id::{JoinId, PartyId, PlayerId, RoomId};

use crate::ids::SessionId;
use crate::registry::RegistryId;
use crate::tokens::TokenId;

/// This says what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Session(SessionId),
    Stale(PlayerId),
    Registry(RegistryId),
    Ask(JoinId),
    Check(RoomId),
    Loss(RoomId),
    Gathering(RoomId),
    Searches,
    /// Somebody outside was asked about a player's token.
    Token(TokenId),
    /// The members of a room are told who is inside.
    News(RoomId),
    /// The members of a room are told of more that changed.
    Shared(RoomId),
    /// A room's host is told of wrong passwords.
    Guesses(RoomId),
    /// Those in line for a quick match are told how it comes along.
    Lines,
    /// Players in line whose tolerance has widened are looked at.
    Looks,
    /// The members of a room who have no match with their host get one.
    Pairs(RoomId),
    /// Players who have nothing to finish are sent away, since the server ends.
    SeeOff,
    /// More players are told of the other nodes.
    Nodes,
    /// What the registry did not know yet is asked again.
    Moving,
    /// A player has waited for a quick match at this node for a while.
    Alone(PlayerId),
    /// The next players in lines are looked at: their lines may belong to another node.
    Owners,
    /// The player of this session has logged in at another node some time ago.
    Double(SessionId),
    /// The other server is asked whether it is there.
    Neighbour,
    /// Something of a player's contacts was put off.
    Contacts(PlayerId),
    /// The next players' contacts at other nodes are told anew.
    Resync,
    /// Words that the registry did not take are handed to it again.
    Post,
    /// A call of this player is decided by now.
    Calling(PlayerId),
    /// It has rung at this player for long enough.
    Called(PlayerId),
    /// No word has come of texts that this player wrote to contacts.
    Texts(PlayerId),
    /// Players who watch rooms are told what is new, and the registry is asked for it.
    Listing,
    /// Something of a party is due.
    Party(PartyId),
    /// Parties whose nodes were perhaps gone are looked for again.
    Parties,
}

/// These are deadlines in order; there is one for each key.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Every player has one of these, so they stand apart: they take two thirds of the others' memory.
    sessions: Line<SessionId>,
    others: Line<Timer>,
}

#[derive(Debug)]
struct Line<K> {
    queue: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Line<K> {
    fn set(&mut self, key: K, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, key));
        }
        if let Some(at) = at {
            self.queue.insert((at, key));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    fn pop(&mut self) -> Option<K> {
        let (_, key) = self.queue.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl Timers {
    /// Sets a deadline anew; none: there is nothing to wait for.
    pub(super) fn set(&mut self, key: Timer, at: Option<Instant>) {
        match key {
            Timer::Session(id) => self.sessions.set(id, at),
            _ => self.others.set(key, at),
        }
    }

    /// Sets a deadline, if there is no earlier one.
    pub(super) fn set_earlier(&mut self, key: Timer, at: Instant) {
        if self.others.by_key.get(&key).is_none_or(|known| at < *known) {
            self.set(key, Some(at));
        }
    }

    /// Returns whether there is a deadline for this.
    pub(super) fn is_set(&self, key: Timer) -> bool {
        match key {
            Timer::Session(id) => self.sessions.by_key.contains_key(&id),
            _ => self.others.by_key.contains_key(&key),
        }
    }

    /// Returns the first deadline of all.
    pub(super) fn next(&self) -> Option<Instant> {
        self.sessions.next().into_iter().chain(self.others.next()).min()
    }

    /// Takes a deadline that has come by now. Of those of one instant the sessions' come first.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let at = self.next().filter(|at| *at <= now)?;
        if self.sessions.next() == Some(at) {
            return self.sessions.pop().map(Timer::Session);
        }
        self.others.pop()
    }
}
