//! Rooms and players at other nodes: who wants what another node has is sent there, and a room that goes to another node
//! takes its members along.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use traversal_core::id::{PartyId, PlayerId, RoomId};
use traversal_core::wire::message::{RequestError, ToPlayer};

use super::wishes::{Pending, RoomClaim, Search};
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::queue::QueueKey;
use crate::registry::{LEASE, RegistryOperation, RegistryReply, RoomSite};
use crate::server::timers::Timer;

/// What the registry does not know yet is asked again so often: where a room is whose node is perhaps gone, or whether a name is
/// free.
pub(super) const SEARCH_AGAIN: Duration = Duration::from_millis(500);
/// It is looked for so long: its node has to be known to be gone, and one of its members to have taken it up elsewhere.
const SEARCHED: Duration = LEASE.saturating_mul(2);
/// A player who waits for a quick match at this node for so long goes to the node at which such players meet.
pub(super) const ALONE: Duration = Duration::from_secs(1);
/// So many players in lines are looked at in one turn when there are other nodes than before, which comes to 6,400 a second:
/// whose line belongs to another node now goes there.
const LOOKED_AT_ONCE: usize = 128;
/// See [`LOOKED_AT_ONCE`].
const LOOKED_EVERY: Duration = Duration::from_millis(20);
/// A player of a room here has logged in at another node. If something comes from the session here within this, there are two
/// of it; else it is the same one, which will be back for its room. Members of a room give a sign of life every 4 s.
const TWO_OF_ONE: Duration = Duration::from_secs(6);

/// A new room is claimed so long from a registry that does not know yet whether its name is free: its memory is new, and nodes
/// that are there have yet to tell of their rooms, which takes four seconds. Players wait for an answer that long.
const CLAIMED: Duration = Duration::from_secs(3);

/// This is what is tried again while the registry does not know the answer.
#[derive(Debug)]
enum Again {
    Search(Search),
    Claim(RoomClaim),
}

impl Again {
    fn asker(&self) -> Asker {
        match self {
            Self::Search(search) => search.wish.asker,
            Self::Claim(claim) => claim.asker,
        }
    }
}

/// This is what waits for other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// These are tried again at these times, in this order.
    again: VecDeque<(Instant, Again)>,
    /// The players of these sessions logged in at another node then.
    doubles: BTreeMap<SessionId, Instant>,
    /// There are other nodes than before: players in lines from this one on are looked at next.
    lines_from: Option<PlayerId>,
}

impl Rooms {
    /// Sends a player to the node of the room that it wants, where its request is answered.
    pub(super) fn send_to(&mut self, others: &mut Others<'_>, asker: Asker, site: RoomSite) {
        if site.addresses.is_empty() {
            return others.respond(asker, Err(RequestError::NoSuchRoom));
        }
        others.roster.is_served(asker.player, asker.request);
        others.cx.counters.sent_elsewhere += 1;
        others.tell_session(asker.session, ToPlayer::GoTo(site.addresses));
    }

    /// The node of the room is perhaps gone: the room is looked for again, for some seconds.
    pub(super) fn search_again(&mut self, others: &mut Others<'_>, mut search: Search) {
        let now = others.cx.now;
        let until = *search.until.get_or_insert(now + SEARCHED);
        if now + SEARCH_AGAIN > until {
            return others.respond(search.wish.asker, Err(RequestError::NoSuchRoom));
        }
        self.try_again_later(others, Again::Search(search));
    }

    /// The registry does not know yet whether the room's name is free, or whether the room is at another node: it is asked again,
    /// for some seconds. Who takes a room up asks again itself.
    pub(super) fn claim_again(&mut self, others: &mut Others<'_>, mut claim: RoomClaim) {
        let now = others.cx.now;
        let Some(room) = self.rooms.get(&claim.room) else { return };
        let error = if room.is_restored() {
            RequestError::NoSuchRoom
        } else if now + SEARCH_AGAIN > *claim.until.get_or_insert(now + CLAIMED) {
            RequestError::RegistryUnavailable
        } else {
            return self.try_again_later(others, Again::Claim(claim));
        };
        self.rooms.remove(&claim.room);
        others.respond(claim.asker, Err(error));
    }

    fn try_again_later(&mut self, others: &mut Others<'_>, what: Again) {
        self.elsewhere.again.push_back((others.cx.now + SEARCH_AGAIN, what));
        self.set_again_timer(others);
    }

    fn set_again_timer(&self, others: &mut Others<'_>) {
        others.cx.timers.set(Timer::Moving, self.elsewhere.again.front().map(|(at, _)| *at));
    }

    /// Tries again what is due.
    pub(crate) fn moving_timeout(&mut self, others: &mut Others<'_>) {
        let now = others.cx.now;
        while self.elsewhere.again.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, what)) = self.elsewhere.again.pop_front() else { break };
            let here = others.roster.client(what.asker().session).is_some();
            match what {
                // It takes the room back itself where the player is gone.
                Again::Claim(claim) => self.claim(others, claim),
                Again::Search(search) if here => self.search(others, search),
                Again::Search(_) => {}
            }
        }
        self.set_again_timer(others);
    }

    /// Another node has this room; or the registry has lost it, and is told of it again.
    pub(crate) fn room_lost(&mut self, others: &mut Others<'_>, id: RoomId, site: Option<RoomSite>) {
        let Some(room) = self.rooms.get(&id).filter(|room| room.is_open()) else {
            return self.party_lost(others, PartyId(id.0), site.as_ref());
        };
        match site {
            Some(site) => self.move_out(others, id, &site.addresses),
            None => {
                let record = Self::record_of(others, room);
                self.ask_registry(others, RegistryOperation::Claim(record), Pending::Again(id));
            }
        }
    }

    /// The registry was told again of a room that it had lost.
    pub(super) fn claimed_again(
        &mut self,
        others: &mut Others<'_>,
        id: RoomId,
        reply: Option<RegistryReply>,
    ) {
        match reply {
            Some(RegistryReply::Held(site)) => self.move_out(others, id, &site.addresses),
            Some(RegistryReply::Claimed) | None => {}
            // Those who are in it play on; nobody finds it, until its name is free.
            Some(reply) => tracing::debug!(?reply, "a room that the registry had lost is not known there"),
        }
    }

    /// Lets go of a room whose members are to log in at another node, where they take it up by their tickets. What they have
    /// between them goes on.
    pub(crate) fn move_out(&mut self, others: &mut Others<'_>, id: RoomId, to: &[SocketAddr]) {
        let Some(room) = self.rooms.get(&id) else { return };
        tracing::info!(room = %room.setup.options.name, game = %room.setup.game, "room moves to another node");
        let inside: Vec<PlayerId> = room.inside().collect();
        self.release(others, id);
        for member in inside {
            if others.roster.room_of(member) != Some(id) {
                continue;
            }
            let present = others.roster.is_present(member, id);
            self.part(others, member);
            others.matches.let_go(others.cx, member);
            if present && !to.is_empty() {
                others.cx.counters.sent_elsewhere += 1;
                others.tell(member, ToPlayer::GoTo(to.to_vec()));
            }
        }
        self.abandon_asks(others, id);
        self.abandon_check(others, id);
        self.abandon_loss(others, id);
    }

    /// Moves all rooms to other nodes, if there are any: this one ends.
    pub(crate) fn move_all_out(&mut self, others: &mut Others<'_>) {
        let open: Vec<RoomId> =
            self.rooms.iter().filter(|(_, room)| room.is_open()).map(|(id, _)| *id).collect();
        for id in open {
            let owner = others.cx.nodes.owner(None, &id.0.to_le_bytes());
            if let Some(addresses) = owner.map(|site| site.addresses.clone()) {
                self.move_out(others, id, &addresses);
            }
        }
        self.let_parties_go(others);
    }

    /// A player waits for a quick match: is this the node at which players with this wish meet? If not, it goes there unless
    /// it is matched here soon.
    pub(super) fn wait_alone(&mut self, others: &mut Others<'_>, player: PlayerId, key: &QueueKey) {
        let own = Some(others.cx.config.node);
        if others.cx.nodes.owner(own, &key.bytes()).is_some() {
            others.cx.timers.set(Timer::Alone(player), Some(others.cx.now + ALONE));
        }
    }

    /// There are other nodes than before: lines may belong to other nodes.
    pub(crate) fn nodes_changed(&mut self, others: &mut Others<'_>) {
        self.elsewhere.lines_from = Some(PlayerId([0; 16]));
        self.look_at_owners(others);
    }

    /// Looks at the next players in lines: is this still the node at which players with their wish meet?
    pub(crate) fn look_at_owners(&mut self, others: &mut Others<'_>) {
        let Some(first) = self.elsewhere.lines_from.take() else { return };
        let some = self.queues.players_from(first, LOOKED_AT_ONCE + 1);
        for player in some.iter().take(LOOKED_AT_ONCE) {
            if let Some(key) = self.queues.line_of(*player)
                && !others.cx.timers.is_set(Timer::Alone(*player))
            {
                self.wait_alone(others, *player, &key);
            }
        }
        self.elsewhere.lines_from = some.get(LOOKED_AT_ONCE).copied();
        let next = self.elsewhere.lines_from.map(|_| others.cx.now + LOOKED_EVERY);
        others.cx.timers.set(Timer::Owners, next);
    }

    /// A player has waited at this node for a while.
    pub(crate) fn alone_timeout(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let Some(key) = self.queues.line_of(player) else { return };
        let own = Some(others.cx.config.node);
        let owner = others.cx.nodes.owner(own, &key.bytes()).map(|site| site.addresses.clone());
        if let Some(addresses) = owner {
            if self.party_goes(others, player, &addresses) {
                return;
            }
            self.out_of_line(others, player);
            others.cx.counters.sent_elsewhere += 1;
            others.tell(player, ToPlayer::GoTo(addresses));
        }
    }

    /// Tells the registry that a player is here, or is not any more, where there may be other nodes.
    pub(crate) fn note_place(&mut self, others: &mut Others<'_>, player: PlayerId, here: bool) {
        if others.cx.config.node != 0 {
            let note = if here { RegistryOperation::Arrive } else { RegistryOperation::Depart };
            self.ask_registry(others, note(player), Pending::Nothing);
        }
    }

    /// A player has logged in at another node, and perhaps here since: the registry knows.
    pub(crate) fn player_elsewhere(&mut self, others: &mut Others<'_>, player: PlayerId) {
        if let Some(session) = others.roster.session_of(player) {
            self.ask_registry(others, RegistryOperation::Locate(player), Pending::Locate(session));
        }
    }

    /// The registry has said at which node the player of this session is.
    pub(super) fn located(&mut self, others: &mut Others<'_>, id: SessionId, node: Option<u64>) {
        if node.is_none_or(|node| node == others.cx.config.node) {
            return;
        }
        let Some(player) = others.roster.player_in(id) else { return };
        let in_room = others.roster.present_room(player).is_some();
        self.elsewhere.doubles.insert(id, others.cx.now);
        let wait = if in_room { TWO_OF_ONE } else { Duration::ZERO };
        others.cx.timers.set(Timer::Double(id), Some(others.cx.now + wait));
    }

    /// Returns whether the session of a player who is at another node is to end: it is in no room, or two play in one name.
    pub(crate) fn is_double(&mut self, others: &Others<'_>, id: SessionId) -> bool {
        let Some(since) = self.elsewhere.doubles.remove(&id) else { return false };
        let Some(player) = others.roster.player_in(id) else { return false };
        others.roster.present_room(player).is_none()
            || others.roster.last_heard(id).is_some_and(|heard| heard > since)
    }
}
