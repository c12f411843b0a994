//! Quick matches: players who want the same are put into a room of their own.
//!
//! Enough in line -> a sign of life of each -> a host is chosen -> the registry takes the room -> all are in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::RngCore;
use traversal_core::id::{PlayerId, RoomId};
use traversal_core::wire::message::{
    MatchEnd, PlayerInfo, QuickMatch, QuickMatched, RequestError, Response, ToPlayer,
};

use super::liveness::ping_period;
use super::requests::Pending;
use super::{Server, Timer};
use crate::host_choice::{Candidate, choose_host};
use crate::kicked::Kicked;
use crate::limits::Bucket;
use crate::queue::{Left, QueueKey, check_wish};
use crate::registry::{RegistryOperation, RegistryReply};
use crate::rooms::{self, Room};

/// Key of the room's metadata that says what is played.
const MODE: &str = "mode";

/// How often it is looked whether a line may be told of its changes.
const LINES_PERIOD: Duration = Duration::from_millis(250);

/// Players on their way into one room.
#[derive(Debug)]
pub(super) struct Gathering {
    key: QueueKey,
    /// Who waited longest comes first.
    players: Vec<PlayerId>,
    /// Sessions that have yet to give a sign of life.
    suspects: BTreeSet<u64>,
    deadline: Instant,
    /// Between two pings of them.
    period: Duration,
    /// The registry is being asked.
    claiming: bool,
}

impl Server {
    pub(super) fn quick_match(
        &mut self,
        id: u64,
        player: PlayerId,
        wanted: QuickMatch,
    ) -> Result<Response, RequestError> {
        let wanted = check_wish(wanted)?;
        self.roster.may_seek_room(player)?;
        let client = self.roster.client(id).ok_or(RequestError::NoSuchPlayer)?;
        if self.queues.has(player) {
            return Err(RequestError::AlreadyQueued);
        }
        let from = client.ip();
        if self.rooms.len() >= self.cx.config.max_rooms
            || self.queues.is_full(from, self.cx.config.max_queued_per_address)
        {
            self.cx.counters.limited += 1;
            return Err(RequestError::Limited { retry_after_s: 30 });
        }
        let key = QueueKey {
            game: client.login().game.clone(),
            game_protocol: client.login().game_protocol,
            wanted,
        };
        if self.roster.room_of(player).is_some() {
            // Of an earlier session, and not wanted any more.
            self.leave_former(player);
        }
        self.queues.enter(player, key.clone(), from);
        self.gather(&key);
        Ok(Response::Done)
    }

    pub(super) fn leave_queue(&mut self, player: PlayerId) -> Result<Response, RequestError> {
        match self.queues.leave(player) {
            None => return Err(RequestError::NotQueued),
            Some(Left::Line(key)) => self.tell_queue(&key),
            Some(Left::Gathering(room)) => self.disperse(room),
        }
        Ok(Response::Done)
    }

    /// Puts together who can be put together.
    fn gather(&mut self, key: &QueueKey) {
        let now = self.cx.now;
        loop {
            let mut room = RoomId(self.cx.rng.next_u64());
            while self.rooms.contains_key(&room) || self.gatherings.contains_key(&room) {
                room = RoomId(self.cx.rng.next_u64());
            }
            let Some(players) = self.queues.gather(key, room) else { break };
            // One round trip, and nobody plays with one who was killed a moment ago.
            let silent = |id: &u64| self.roster.last_heard(*id).is_none_or(|heard| heard < now);
            let suspects: BTreeSet<u64> =
                players.iter().filter_map(|player| self.roster.session_of(*player)).filter(silent).collect();
            let wait = self.roster.wait_for(self.cx.config.liveness_wait, suspects.iter().copied());
            let (deadline, period) = (now + wait, ping_period(wait));
            let gathering =
                Gathering { key: key.clone(), players, suspects, deadline, period, claiming: false };
            self.gatherings.insert(room, gathering);
            self.gathering_timeout(room);
        }
        self.tell_queue(key);
    }

    /// Asks for signs of life until they are there or time is up.
    pub(super) fn gathering_timeout(&mut self, room: RoomId) {
        let now = self.cx.now;
        let Some(gathering) = self.gatherings.get(&room) else { return };
        if gathering.suspects.is_empty() {
            return self.claim_for(room);
        }
        if now >= gathering.deadline {
            for id in gathering.suspects.clone() {
                // It leaves what it waits for, and so this gathering is over.
                self.end_session(id, MatchEnd::Gone);
            }
            return;
        }
        let next = (now + gathering.period).min(gathering.deadline);
        let suspects = gathering.suspects.clone();
        self.cx.timers.set(Timer::Gathering(room), Some(next));
        for id in suspects {
            self.roster.ping(&self.cx, id);
        }
    }

    /// A session gave a sign of life.
    pub(super) fn gathering_heard(&mut self, id: u64) {
        let heard = |gathering: &mut Gathering| {
            gathering.suspects.remove(&id) && gathering.suspects.is_empty() && !gathering.claiming
        };
        let ready: Vec<RoomId> = self
            .gatherings
            .iter_mut()
            .filter_map(|(room, gathering)| heard(gathering).then_some(*room))
            .collect();
        for room in ready {
            self.claim_for(room);
        }
    }

    /// Someone left, or the registry did not take the room: the others wait on.
    fn disperse(&mut self, room: RoomId) {
        self.cx.timers.set(Timer::Gathering(room), None);
        let Some(gathering) = self.gatherings.remove(&room) else { return };
        if gathering.claiming {
            self.release(room);
        }
        self.queues.put_back(&gathering.key, &gathering.players);
        self.gather(&gathering.key);
    }

    /// All are there: the registry is asked to take their room.
    fn claim_for(&mut self, id: RoomId) {
        self.cx.timers.set(Timer::Gathering(id), None);
        let Some(gathering) = self.gatherings.get_mut(&id) else { return };
        gathering.claiming = true;
        let (key, mut players) = (gathering.key.clone(), gathering.players.clone());
        let candidates: Vec<Candidate> =
            players.iter().map(|player| self.roster.candidate(&self.cx, *player)).collect();
        // The host stands first; the others stay in their order.
        let chosen = choose_host(&candidates).unwrap_or(0);
        players[..=chosen].rotate_right(1);
        let host_id = players[0];
        if let Some(gathering) = self.gatherings.get_mut(&id) {
            gathering.players = players;
        }
        let host = self.roster.client_of(host_id).map(|client| (client.login().name.clone(), client.ip()));
        let Some((host_name, from)) = host else { return self.disperse(id) };
        let code = rooms::draw_code(&mut self.cx.rng);
        let QuickMatch { mode, players: capacity, topology } = key.wanted;
        let metadata = if mode.is_empty() { BTreeMap::new() } else { [(MODE.to_owned(), mode)].into() };
        let room = Room {
            id,
            game: key.game,
            game_protocol: key.game_protocol,
            name: code.clone(),
            code,
            capacity,
            public: false,
            auto_allow: true,
            metadata,
            topology,
            password: None,
            members: vec![PlayerInfo { id: host_id, name: host_name }],
            revision: 0,
            news: Bucket::full(rooms::ROOM_NEWS, self.cx.now),
            opened_from: from,
            claimed: false,
            migrate: true,
            epoch: 0,
            restored: false,
            generation: 0,
            kicked: Kicked::default(),
            guesses: None,
        };
        let record = room.record(self.cx.config.node);
        self.rooms.insert(id, room);
        self.ask_registry(RegistryOperation::Claim(record), Pending::Gathering(id));
    }

    /// The registry's answer. A code that is taken is drawn anew.
    pub(super) fn gathering_claimed(&mut self, id: RoomId, reply: Option<RegistryReply>) {
        if !self.gatherings.contains_key(&id) {
            // It was dispersed meanwhile, and the room released.
            return;
        }
        match reply {
            Some(RegistryReply::Claimed) => self.gathered(id),
            Some(RegistryReply::CodeTaken | RegistryReply::NameTaken(_)) => {
                self.rooms.remove(&id);
                self.claim_for(id);
            }
            _ => self.registry_silent(id),
        }
    }

    /// Without the registry there are no rooms: those who wait are told, rather than kept.
    fn registry_silent(&mut self, id: RoomId) {
        self.release(id);
        let Some(gathering) = self.gatherings.remove(&id) else { return };
        for player in &gathering.players {
            self.queues.leave(*player);
            self.roster.tell(&mut self.cx, *player, ToPlayer::QueueClosed(RequestError::RegistryUnavailable));
        }
    }

    /// The room is there: all are in it.
    fn gathered(&mut self, id: RoomId) {
        let Some(Gathering { key, players, .. }) = self.gatherings.remove(&id) else { return };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.claimed = true;
        }
        self.cx.counters.rooms_opened += 1;
        self.cx.counters.quick_matches += 1;
        tracing::info!(mode = key.wanted.mode, players = players.len(), game = %key.game, "quick match");
        let mut info = None;
        for player in &players {
            self.queues.leave(*player);
            info = self.take_in(*player, id);
        }
        let Some(room) = info else { return };
        for player in &players {
            let matched = QuickMatched { room: room.clone(), wanted: key.wanted.clone() };
            self.roster.tell(&mut self.cx, *player, ToPlayer::QuickMatched(Box::new(matched)));
            self.tell_ticket(id, *player);
        }
        for (index, player) in players.iter().enumerate().skip(1) {
            self.match_with(id, *player, &players[..index]);
        }
        self.publish(id);
    }

    /// Tells all in a line how it comes along: at once, or where it changes faster than that is of use, some changes at
    /// a time. The last one has just come, and is told its place in any case.
    fn tell_queue(&mut self, key: &QueueKey) {
        let now = self.cx.now;
        if !self.queues.may_tell(now, key) {
            if !self.cx.timers.is_set(Timer::Lines) {
                self.cx.timers.set(Timer::Lines, Some(now + LINES_PERIOD));
            }
            if let Some((player, status)) = self.queues.status(key).pop() {
                self.roster.tell(&mut self.cx, player, ToPlayer::Queue(status));
            }
            return;
        }
        for (player, status) in self.queues.status(key) {
            self.roster.tell(&mut self.cx, player, ToPlayer::Queue(status));
        }
    }

    /// Tells the lines that were not told of their last changes.
    pub(super) fn tell_lines(&mut self) {
        self.cx.timers.set(Timer::Lines, None);
        for key in self.queues.take_untold() {
            self.tell_queue(&key);
        }
    }
}
