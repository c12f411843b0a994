//! Quick matches: players who want the same are put into a room of their own.
//!
//! Enough in line who suit each other -> a sign of life of each -> all say yes, where they are asked -> a host is chosen -> the
//! registry takes the room -> all are in. `claiming` has the last three steps.

mod claiming;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{MatchEnd, MatchFound, QuickMatch, RequestError, Response, ToPlayer};

use super::liveness::ping_period;
use super::{Others, Rooms};
use crate::ids::{Asker, SessionId};
use crate::limits::Rate;
use crate::queue::{Comer, Group, Left, QueueKey, Unit, check_wish};
use crate::server::refusals::Refusal;
use crate::server::timers::Timer;

/// It is looked so often whether a line may be told of its changes.
const LINES_PERIOD: Duration = Duration::from_millis(250);

/// So many players whose tolerance widens are looked at in one turn, and a turn is so far from the next. A look in vain takes
/// 80 us in a line of 100,000 (the bench `matchmaking`): a quarter of the server's time goes there at the most.
const LOOKS_AT_ONCE: usize = 32;
/// See [`LOOKS_AT_ONCE`].
const LOOKS_PERIOD: Duration = Duration::from_millis(10);
/// So many rooms that look for players look at the line in one turn, beside the players.
const ROOMS_AT_ONCE: usize = 8;

/// The players of a match are asked whether they play.
#[derive(Debug)]
struct Proposal {
    number: u64,
    /// These have not said yes yet.
    open: BTreeSet<PlayerId>,
}

/// These players are on their way into one room.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) key: Arc<QueueKey>,
    /// Who waited longest comes first.
    pub(super) players: Vec<PlayerId>,
    /// These are the teams, where there are any.
    teams: Vec<Vec<PlayerId>>,
    /// They were asked whether they play.
    proposal: Option<Proposal>,
    /// These sessions have yet to give a sign of life.
    suspects: BTreeSet<SessionId>,
    deadline: Instant,
    /// Two pings of them are this far apart.
    period: Duration,
    /// The registry is being asked.
    claiming: bool,
    /// They come into this room, which is there already, and into these teams of it, one for each player; none: they get a room of
    /// their own.
    pub(super) into: Option<(RoomId, Vec<u8>)>,
}

/// Matches that are being put together may be left, refused or not answered so often from one address; who does it more often
/// does not wait for another one meanwhile.
pub(super) const LEAVE_RATE: Rate = Rate::new(0.1, 10.0);

impl Rooms {
    /// Puts a player in line for a quick match.
    pub(super) fn quick_match(
        &mut self,
        others: &mut Others<'_>,
        Asker { session, player, .. }: Asker,
        wanted: QuickMatch,
    ) -> Result<Response, RequestError> {
        let wanted = check_wish(wanted)?;
        others.roster.may_seek_room(player)?;
        let client = others.roster.client(session).ok_or(RequestError::NoSuchPlayer)?;
        if self.party_id(player).is_some() {
            return self.quick_match_of_party(others, player, wanted);
        }
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        let from = client.ip();
        if !self.leave_limit.would_allow(from, others.cx.now) {
            others.cx.counters.limit(Refusal::QueueOfAddress);
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        let full = if self.rooms.len() >= others.cx.config.max_rooms {
            Some(Refusal::RoomsFull)
        } else {
            let full = self.queues.is_full(from, others.cx.config.max_queued_per_address);
            full.then_some(Refusal::QueueOfAddress)
        };
        if let Some(full) = full {
            others.cx.counters.limit(full);
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        let key = QueueKey::of(client.login().game(), client.login().game_protocol, &wanted);
        if others.roster.room_of(player).is_some() {
            // Of an earlier session, and not wanted any more.
            self.leave_former(others, player);
        }
        let nat = others.roster.host_candidate(others.cx, player);
        let numbers = wanted.rules.numbers.iter().map(|number| number.value).collect();
        let unit = Unit { first: Comer { player, from, nat, numbers }, mates: Vec::new() };
        self.stand_in_line(others, unit, (&key, &wanted));
        Ok(Response::Done)
    }

    /// Puts a player or a party in line, and together with others if there are enough.
    pub(super) fn stand_in_line(
        &mut self,
        others: &mut Others<'_>,
        unit: Unit,
        (key, wanted): (&QueueKey, &QuickMatch),
    ) {
        let players: Vec<PlayerId> = unit.all().map(|comer| comer.player).collect();
        let first = unit.first.player;
        self.queues.enter(others.cx.now, unit, (key.clone(), wanted));
        self.wait_alone(others, first, key);
        self.gather(others, first);
        self.tell_queue(others, key);
        for player in players {
            self.tell_place(others, player);
        }
        self.set_look_timer(others);
    }

    /// Takes a player out of the line, or out of the match that is being put together.
    pub(crate) fn leave_queue(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
    ) -> Result<Response, RequestError> {
        let with_party = self.party_wants(player);
        self.party_leaves_line(others, player, RequestError::PartyRefused);
        let left = self.out_of_line(others, player) || with_party;
        left.then_some(Response::Done).ok_or(RequestError::NotQueued)
    }

    /// Takes a player and all who wait as one with it out of the line, or out of the match that is being put together. False: it
    /// waited for none.
    pub(super) fn out_of_line(&mut self, others: &mut Others<'_>, player: PlayerId) -> bool {
        match self.queues.leave(player) {
            None => return false,
            Some(Left::Line(key)) => self.tell_queue(others, &key),
            Some(Left::Gathering(room)) => {
                self.count_left(others, player);
                self.disperse(others, room);
            }
        }
        true
    }

    pub(super) fn count_left(&mut self, others: &Others<'_>, player: PlayerId) {
        if let Some(client) = others.roster.client_of(player) {
            self.leave_limit.allow(client.ip(), others.cx.now);
        }
    }

    /// Puts this player into a room that looks for such, or together with others whom it suits, if there are enough.
    fn gather(&mut self, others: &mut Others<'_>, player: PlayerId) {
        let now = others.cx.now;
        let mut room = RoomId(others.cx.rng.next_u64());
        while self.rooms.contains_key(&room) || self.gatherings.contains_key(&room) {
            room = RoomId(others.cx.rng.next_u64());
        }
        if self.find_running_room(others, player, room) {
            return;
        }
        if let Some(Group { key, players, teams }) = self.queues.gather(now, player, room) {
            self.begin_gathering(others, room, (key, players, teams), None);
        }
    }

    /// Waits for signs of life of players who were put together.
    pub(super) fn begin_gathering(
        &mut self,
        others: &mut Others<'_>,
        room: RoomId,
        (key, players, teams): (Arc<QueueKey>, Vec<PlayerId>, Vec<Vec<PlayerId>>),
        into: Option<(RoomId, Vec<u8>)>,
    ) {
        let now = others.cx.now;
        // One round trip, and nobody plays with one who was killed a moment ago.
        let silent = |id: &SessionId| others.roster.last_heard(*id).is_none_or(|heard| heard < now);
        let suspects: BTreeSet<SessionId> =
            players.iter().filter_map(|player| others.roster.session_of(*player)).filter(silent).collect();
        let wait = others.roster.wait_for(others.cx.config.liveness_wait, suspects.iter().copied());
        let (deadline, period) = (now + wait, ping_period(wait));
        let (proposal, claiming) = (None, false);
        let gathering =
            Gathering { key, players, teams, proposal, suspects, deadline, period, claiming, into };
        self.gatherings.insert(room, gathering);
        self.gathering_timeout(others, room);
    }

    /// Looks at players whose tolerance has widened.
    pub(crate) fn look_at_lines(&mut self, others: &mut Others<'_>) {
        let now = others.cx.now;
        for room in self.queues.take_due_rooms(now, ROOMS_AT_ONCE) {
            self.look_for_players(others, room);
        }
        for player in self.queues.take_due(now, LOOKS_AT_ONCE) {
            let key = self.queues.line_of(player);
            self.gather(others, player);
            if let Some(key) = key.filter(|_| self.queues.gathering_of(player).is_some()) {
                self.tell_queue(others, &key);
            }
        }
        self.set_look_timer(others);
    }

    pub(super) fn set_look_timer(&self, others: &mut Others<'_>) {
        let next = self.queues.next_look().map(|at| at.max(others.cx.now + LOOKS_PERIOD));
        others.cx.timers.set(Timer::Looks, next);
    }

    /// A player says whether it plays the match that was found.
    pub(super) fn answer_match(
        &mut self,
        others: &mut Others<'_>,
        player: PlayerId,
        (number, accept): (u64, bool),
    ) -> Result<Response, RequestError> {
        let room = self.queues.gathering_of(player).ok_or(RequestError::NotQueued)?;
        let gathering = self.gatherings.get_mut(&room);
        let proposal = gathering.and_then(|gathering| gathering.proposal.as_mut());
        let proposal =
            proposal.filter(|proposal| proposal.number == number).ok_or(RequestError::NotQueued)?;
        if !accept {
            others.tell(player, ToPlayer::QueueClosed(RequestError::MatchRefused));
            return self.leave_queue(others, player);
        }
        if proposal.open.remove(&player) && proposal.open.is_empty() {
            self.claim_for(others, room);
        }
        Ok(Response::Done)
    }

    /// All are there: they are asked whether they play, or their room is claimed at once.
    fn propose(&mut self, others: &mut Others<'_>, room: RoomId) {
        let Some(gathering) = self.gatherings.get_mut(&room) else { return };
        let accept_s = gathering.key.wanted.rules.accept_s;
        let Some(within_s) = accept_s.filter(|_| gathering.proposal.is_none()) else {
            return self.claim_for(others, room);
        };
        let number = others.cx.rng.next_u64();
        let players = gathering.players.clone();
        // With those who are inside already, where it runs.
        let count = gathering.into.as_ref().map_or(players.len() as u16, |_| gathering.key.wanted.players);
        gathering.proposal = Some(Proposal { number, open: players.iter().copied().collect() });
        gathering.deadline = others.cx.now + Duration::from_secs(within_s.into());
        others.cx.timers.set(Timer::Gathering(room), Some(gathering.deadline));
        let found = MatchFound { proposal: number, within_s, players: count };
        for player in players {
            others.tell(player, ToPlayer::MatchFound(found));
        }
    }

    /// Who has not said in time whether it plays waits no longer; the others wait on.
    fn unanswered(&mut self, others: &mut Others<'_>, room: RoomId, silent: BTreeSet<PlayerId>) {
        for player in silent {
            // With the first one of a party all of it are out.
            let open = self.queues.has(player);
            self.queues.leave(player);
            self.count_left(others, player);
            if open {
                self.party_leaves_line(others, player, RequestError::PartyRefused);
            }
            others.tell(player, ToPlayer::QueueClosed(RequestError::MatchUnanswered));
        }
        self.disperse(others, room);
    }

    /// Asks for signs of life until they are there or time is up.
    pub(crate) fn gathering_timeout(&mut self, others: &mut Others<'_>, room: RoomId) {
        let now = others.cx.now;
        let Some(gathering) = self.gatherings.get(&room) else { return };
        if let Some(open) =
            gathering.proposal.as_ref().map(|proposal| &proposal.open).filter(|open| !open.is_empty())
        {
            if now >= gathering.deadline {
                return self.unanswered(others, room, open.clone());
            }
            return others.cx.timers.set(Timer::Gathering(room), Some(gathering.deadline));
        }
        if gathering.suspects.is_empty() {
            return self.propose(others, room);
        }
        if now >= gathering.deadline {
            for id in gathering.suspects.clone() {
                // It leaves what it waits for, and so this gathering is over.
                self.end_session(others, id, MatchEnd::Gone);
            }
            return;
        }
        let next = (now + gathering.period).min(gathering.deadline);
        let suspects = gathering.suspects.clone();
        others.cx.timers.set(Timer::Gathering(room), Some(next));
        for id in suspects {
            others.ping(id);
        }
    }

    /// A session gave a sign of life.
    pub(super) fn gathering_heard(&mut self, others: &mut Others<'_>, id: SessionId) {
        let player = others.roster.player_in(id);
        let Some(room) = player.and_then(|player| self.queues.gathering_of(player)) else { return };
        let Some(gathering) = self.gatherings.get_mut(&room) else { return };
        if gathering.suspects.remove(&id) && gathering.suspects.is_empty() && !gathering.claiming {
            self.propose(others, room);
        }
    }

    /// Someone left, or the registry did not take the room, or the room has no place for them any more: the others wait on.
    pub(super) fn disperse(&mut self, others: &mut Others<'_>, room: RoomId) {
        others.cx.timers.set(Timer::Gathering(room), None);
        let Some(gathering) = self.gatherings.remove(&room) else { return };
        if gathering.claiming {
            self.release(others, room);
        }
        if let Some((into, _)) = &gathering.into {
            self.queues.free_up(others.cx.now, *into, room);
        }
        self.queues.put_back(others.cx.now, &gathering.players);
        for player in &gathering.players {
            self.gather(others, *player);
        }
        self.tell_queue(others, &gathering.key);
        for player in &gathering.players {
            // It may have come here only to wait a moment, and that moment is over.
            if self.queues.line_of(*player).is_some() {
                self.wait_alone(others, *player, &gathering.key);
            }
            if gathering.proposal.is_some() {
                self.tell_place(others, *player);
            }
        }
        self.set_look_timer(others);
        if let Some((into, _)) = gathering.into {
            self.tell_backfill(others, into);
        }
    }

    /// Tells those in a line how it comes along: at once, or where it changes faster than that is of use, some changes at
    /// a time, and of a long line some players at a time.
    pub(super) fn tell_queue(&mut self, others: &mut Others<'_>, key: &QueueKey) {
        let now = others.cx.now;
        for (player, status) in self.queues.news(now, key) {
            others.tell(player, ToPlayer::Queue(status));
        }
        if self.queues.has_untold() && !others.cx.timers.is_set(Timer::Lines) {
            others.cx.timers.set(Timer::Lines, Some(now + LINES_PERIOD));
        }
    }

    /// Tells a player who has come, or has come back, its place in any case.
    pub(super) fn tell_place(&mut self, others: &mut Others<'_>, player: PlayerId) {
        if self.queues.line_of(player).is_some()
            && let Some(status) = self.queues.status_of(others.cx.now, player)
        {
            others.tell(player, ToPlayer::Queue(status));
        }
    }

    /// Tells the lines that were not told of their last changes.
    pub(crate) fn tell_lines(&mut self, others: &mut Others<'_>) {
        others.cx.timers.set(Timer::Lines, None);
        for key in self.queues.take_untold() {
            self.tell_queue(others, &key);
        }
    }
}
